"""StatsD's door: sockets in, a window of metrics, and at each flush its rows to the store.

Three threads: one reads the sockets, one decodes batches into the window and flushes it, one carries flushed rows to
the store, which may be away for a while; of DogStatsD a fourth hands events and service checks on (telling.py).
Between them are queues of fixed length: a full one of batches is answered by not reading, a full one of flushes by
losing the newest, which is counted.
"""

from __future__ import annotations

import logging
import queue
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl

from appliance.clock import Clock
from appliance.metrics import Metrics
from tsdb.errors import NotReady
from tsdb.ingest.batch import Batch
from tsdb.ingest.cutter import LineCutter
from tsdb.ingest.decoded import Decoded, Refusals
from tsdb.ingest.graphite.exact import LINE_BYTES_MAX
from tsdb.ingest.graphite.names import canonical_of
from tsdb.ingest.ledger import Ledger
from tsdb.ingest.limits import IntakeLimits
from tsdb.ingest.listen import Listener
from tsdb.ingest.pump import Outcome, Pump
from tsdb.ingest.statsd.columns import decode
from tsdb.ingest.statsd.console import Console
from tsdb.ingest.statsd.flush import LastFlush, Rows, flush
from tsdb.ingest.statsd.management import Management, Told
from tsdb.ingest.statsd.rules import Rules
from tsdb.ingest.statsd.telling import Tell, Telling
from tsdb.ingest.statsd.window import Window
from tsdb.ingest.streams import Stream

STATSD = "statsd"
MANAGEMENT = "statsd_management"  # The name of the socket.
STREAM = Stream(
    protocol=STATSD,
    sockets=("statsd", "statsd_udp"),
    unit="line",
    cutter=lambda on_too_long: LineCutter(LINE_BYTES_MAX, on_too_long),
    count=lambda data: data.count(b"\n"),
    too_long="line_too_long",
    messages={"line_too_long": f"the line is longer than {LINE_BYTES_MAX:,} bytes"},
)
# A batch costs about a millisecond whatever it holds, and a flush is seconds away: longer than other protocols wait.
BATCH_AGE_MS_MAX = 250
FLUSHES_COUNT_MAX = 6  # A minute of a store that is away, at 10 s a flush.
ROW_BYTES = 20  # Series, time and value, as they go to the store.
_WAIT_S_MAX = 0.2


class _Flushed(NamedTuple):
    rows: Rows
    at_ms: int


class Door:
    """Serves the sockets while run() runs; the threads are its own."""

    def __init__(
        self,
        sockets: Mapping[str, socket.socket],
        pump: Pump,
        rules: Rules,
        *,
        ledger: Ledger,
        metrics: Metrics,
        clock: Clock,
        log: logging.Logger,
        limits: IntakeLimits,
        tell: Tell,
    ) -> None:
        self._pump = pump
        self._rules = rules
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._window = Window(rules)
        self._has_news = False
        self._flushed_ms: int | None = None
        self._next_ms = 0
        self._processing_time_ms = 0.0
        self._last = LastFlush(last_flush_s=clock.now_ms() // 1000, last_exception_s=clock.now_ms() // 1000)
        self._batches: queue.Queue[Batch | None] = queue.Queue(limits.in_flight_count_max)
        self._flushes: queue.Queue[_Flushed | None] = queue.Queue(FLUSHES_COUNT_MAX)
        self._is_given_up: Callable[[], bool] = lambda: False
        self._started_s = clock.now_ms() // 1000
        self._last_message_s = self._started_s
        self._bad_lines_count = 0
        self._telling = Telling(tell, STATSD, ledger, log) if rules.dogstatsd else None
        self._console: Console | None = None
        if MANAGEMENT in sockets:
            management = Management(rules, self._window, pump.crunching, self._told)
            self._console = Console(sockets[MANAGEMENT], management.answer, log)
        self.listener = Listener(
            *(sockets, self._submit),
            stream=STREAM,
            ledger=ledger,
            metrics=metrics,
            clock=clock,
            log=log,
            limits=replace(limits, batch_age_ms_max=min(BATCH_AGE_MS_MAX, rules.flush_interval_ms // 4)),
        )

    def run(self, is_stopped: Callable[[], bool], is_given_up: Callable[[], bool]) -> None:
        """Read until is_stopped(); then flush what the window holds, and try to store it until is_given_up()."""
        self._is_given_up = is_given_up
        self._next_ms = self._boundary_after(self._clock.now_ms())
        gathering = threading.Thread(target=self._gather, name="statsd-gather")
        storing = threading.Thread(target=self._store_all, name="statsd-store")
        gathering.start()
        storing.start()
        others = []
        if self._console is not None:
            others.append(threading.Thread(target=self._console.run, args=(is_stopped,), name="statsd-console"))
        if self._telling is not None:
            others.append(threading.Thread(target=self._telling.run, name="statsd-tell"))
        for thread in others:
            thread.start()
        self.listener.run(is_stopped)
        self._batches.put(None)
        gathering.join()
        if self._telling is not None:
            self._telling.end()
        storing.join()
        for thread in others:
            thread.join()

    def _told(self) -> Told:
        return Told(
            now_s=self._clock.now_ms() // 1000,
            started_s=self._started_s,
            last_message_s=self._last_message_s,
            bad_lines_count=self._bad_lines_count,
            last=self._last,
        )

    def _submit(self, batch: Batch, wait_s: float) -> bool:
        try:
            self._batches.put(batch, block=wait_s > 0, timeout=wait_s or None)
        except queue.Full:
            return False
        return True

    # Gathering.

    def _gather(self) -> None:
        while True:
            wait_s = (self._next_ms - self._clock.now_ms()) / 1000
            try:
                batch = self._batches.get(timeout=min(max(wait_s, 0.0), _WAIT_S_MAX))
            except queue.Empty:
                pass
            else:
                if batch is None:
                    break
                self._take(batch)
            self._flush_if_due()
        if self._has_news:  # Else it would be a second row of zeros, beside the rhythm.
            self._flush(self._clock.now_ms())
        self._flushes.put(None)

    def _take(self, batch: Batch) -> None:
        try:
            with self._pump.crunching:
                metrics = decode(batch.data(), dogstatsd=self._rules.dogstatsd)
                self._window.take(metrics, batch.reads_count)
        except Exception as error:  # noqa: BLE001 - A fault of our own costs this batch, and not the thread.
            self._log.error("a batch of StatsD is lost by a fault of our own", exc_info=error)
            lost = Refusals()
            lost.add("internal", count=batch.data().count(b"\n"), message=str(error))
            self._ledger.refused(STATSD, lost, lambda _: "")
            return
        self._has_news = True
        self._last_message_s = self._clock.now_ms() // 1000
        self._bad_lines_count += metrics.bad_count
        self._ledger.refused(STATSD, metrics.refusals, batch.sender_of)
        if metrics.notices:
            assert self._telling is not None, "only DogStatsD has notices"
            self._telling.put(metrics.notices, batch.sender_of)

    def _boundary_after(self, now_ms: int) -> int:
        interval_ms = self._rules.flush_interval_ms
        return (now_ms // interval_ms + 1) * interval_ms

    def _flush_if_due(self) -> None:
        now_ms = self._clock.now_ms()
        if now_ms < self._next_ms:
            if self._next_ms - now_ms > self._rules.flush_interval_ms:  # The clock was set back.
                self._next_ms = self._boundary_after(now_ms)
            return
        at_ms = self._boundary_after(now_ms) - self._rules.flush_interval_ms
        self._next_ms = at_ms + self._rules.flush_interval_ms
        self._flush(at_ms)

    def _flush(self, at_ms: int) -> None:
        """Hand on the rows of this window, with this time, and begin the next window."""
        began_s = self._clock.monotonic_s()
        with self._pump.crunching:
            if self._flushed_ms is not None:
                lag_ms = at_ms - self._flushed_ms - self._rules.flush_interval_ms
                self._window.set_gauge("timestamp_lag", lag_ms / 1000)
            rows = flush(self._window, replace(self._last, processing_time_ms=self._processing_time_ms))
            self._window.reset()
        self._flushed_ms = at_ms
        self._has_news = False
        self._processing_time_ms = (self._clock.monotonic_s() - began_s) * 1000
        try:
            self._flushes.put_nowait(_Flushed(rows, at_ms))
        except queue.Full:
            self._lose(rows.values.size, "the store was away for longer than flushes are kept")

    # Storing.

    def _store_all(self) -> None:
        while (flushed := self._flushes.get()) is not None:
            began_s = self._clock.monotonic_s()
            outcome = Outcome()
            try:
                self._pump.deliver(
                    decoded_of(flushed.rows, flushed.at_ms),
                    outcome,
                    protocol=STATSD,
                    sender_of=lambda _: "the flush",
                    gives_up=lambda _: self._is_given_up(),
                )
            except Exception as error:  # noqa: BLE001 - As above: this flush is lost, the next is not.
                if not isinstance(error, NotReady):
                    self._log.error("a flush of StatsD is lost by a fault of our own", exc_info=error)
                self._lose((outcome.samples_count or flushed.rows.values.size) - outcome.done_count, str(error))
                self._last = replace(self._last, last_exception_s=self._clock.now_ms() // 1000)
                continue
            self._last = replace(
                self._last,
                last_flush_s=flushed.at_ms // 1000,
                flush_time_ms=(self._clock.monotonic_s() - began_s) * 1000,
                flush_length=ROW_BYTES * flushed.rows.values.size,
            )

    def _lose(self, count: int, why: str) -> None:
        lost = Refusals()
        lost.add("store_away", count=count, message=why)
        self._ledger.refused(STATSD, lost, lambda _: "the flush")


def decoded_of(rows: Rows, at_ms: int) -> Decoded:
    """The rows as samples. What is no number is no sample; it is counted, as what a sender brings and nobody keeps."""
    refusals = Refusals()
    names, values = rows.names, rows.values
    is_number = ~np.isnan(values)
    if not is_number.all():
        refusals.ignore("nan", int(np.count_nonzero(~is_number)))
        names, values = names.filter(pl.Series(is_number)), values[is_number]
    return Decoded(
        names=names,
        name_index=None,
        timestamp_ms=np.full(values.size, at_ms, np.int64),
        value=values,
        canonical_of=canonical_of,
        refusals=refusals,
    )

"""The intake as one thing: listening sockets and acknowledged bodies in, columns to the store out."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain

from appliance.clock import Clock
from appliance.files import allow_open_files
from appliance.metrics import Metrics
from tsdb.errors import BodyTooLarge, DiskFull, NotReady, RefusedSample
from tsdb.ingest.arrow import body as arrow
from tsdb.ingest.batch import Batch
from tsdb.ingest.decoded import Body, Decoded, Refusals
from tsdb.ingest.graphite.carbon_rules import CarbonRules, RuleFolders
from tsdb.ingest.json import body as json
from tsdb.ingest.ledger import Ledger
from tsdb.ingest.limits import IntakeLimits
from tsdb.ingest.listen import Listener
from tsdb.ingest.metric_book import MetricBook
from tsdb.ingest.pump import Outcome, Pump, Sink
from tsdb.ingest.register import SeriesRegister
from tsdb.ingest.remote_write import body as remote_write
from tsdb.ingest.remote_write import symbols as remote_write_2
from tsdb.ingest.remote_write.known import KnownSeries
from tsdb.ingest.rows import body as rows
from tsdb.ingest.statsd.door import STREAM as STATSD_STREAM
from tsdb.ingest.statsd.door import Door as StatsdDoor
from tsdb.ingest.statsd.rules import Rules as StatsdRules
from tsdb.ingest.statsd.telling import Tell
from tsdb.ingest.streams import STREAMS, SampleStream
from tsdb.notices import Notice, Unwanted

DOORS: Mapping[str, Callable[[Body, IntakeLimits, KnownSeries], Decoded]] = {
    "json": lambda body, _, __: json.decode(body),
    "arrow": lambda body, limits, _: arrow.decode(body, limits),
    "rows": lambda body, _, __: rows.decode(body),
    "remote_write": remote_write.decode_snappy,
    "remote_write+zstd": remote_write.decode_zstd,
    "remote_write+2.0": remote_write_2.decode_snappy,
    "remote_write+2.0+zstd": remote_write_2.decode_zstd,
}
"""The decoders of acknowledged bodies. What follows a plus is its version or its encoding."""
_FILES_COUNT_SPARE = 256  # Beside the connections: libraries, the bus, the log.


class Intake:
    """Everything that comes in. run() serves the sockets in its thread; write() may be called from any other."""

    def __init__(
        self,
        sockets: Mapping[str, socket.socket],
        sink: Sink,
        *,
        metrics: Metrics,
        clock: Clock,
        log: logging.Logger,
        limits: IntakeLimits | None = None,
        book: MetricBook | None = None,
        statsd_rules: StatsdRules | None = None,
        tell: Tell | None = None,
        rule_folders: RuleFolders | None = None,
    ) -> None:
        """book: of what senders say of their metrics; without one, it is forgotten at the end.

        tell: takes events and service checks of DogStatsD; None: nobody is there.
        rule_folders: of carbon's rules for what Graphite's doors bring; None: there are none.
        """
        self._limits = limits or IntakeLimits()
        self._clock = clock
        self._log = log
        self.book = MetricBook(None, log) if book is None else book
        self._ledger = Ledger(metrics, clock, log)
        self._register = SeriesRegister()
        self._known = KnownSeries(self._register.seeds)  # Of remote-write.
        self._pump = Pump(sink, self._register, self._ledger, self._limits, log)
        self._carbon: CarbonRules | None = None
        if rule_folders is not None:
            seeds = self._register.seeds
            self._carbon = CarbonRules(
                *(rule_folders, self._pump, seeds), ledger=self._ledger, metrics=metrics, clock=clock, log=log
            )
        self._places = threading.Semaphore(self._limits.in_flight_count_max)
        self._in_flight = ThreadPoolExecutor(self._limits.in_flight_count_max, thread_name_prefix="intake")
        self._gives_up_s: float | None = None
        self._listeners = [
            Listener(
                sockets,
                partial(self._submit, stream),
                stream=stream,
                ledger=self._ledger,
                metrics=metrics,
                clock=clock,
                log=log,
                limits=self._limits,
            )
            for stream in STREAMS
            if not sockets.keys().isdisjoint(stream.sockets)
        ]
        self._statsd: StatsdDoor | None = None
        if not sockets.keys().isdisjoint(STATSD_STREAM.sockets):
            self._statsd = StatsdDoor(
                *(sockets, self._pump, statsd_rules or StatsdRules()),
                ledger=self._ledger,
                metrics=metrics,
                clock=clock,
                log=log,
                limits=self._limits,
                tell=tell or _nobody,
            )
            self._listeners.append(self._statsd.listener)

    def run(self, stopping: threading.Event) -> None:
        """Serve until stopping is set; then finish what is in memory, for at most twice stop_wait_ms_max."""
        allow_open_files(len(self._listeners) * self._limits.connections_count_max + _FILES_COUNT_SPARE)
        faults: list[Exception] = []

        def serve(listener: Listener) -> None:
            def is_stopped() -> bool:
                return bool(faults) or self._is_stopping(stopping)

            try:
                if self._statsd is not None and listener is self._statsd.listener:
                    self._statsd.run(is_stopped, self._is_given_up)
                else:
                    listener.run(is_stopped)
            except Exception as fault:  # noqa: BLE001 - Raised again below: the whole process starts anew.
                faults.append(fault)

        threads = [threading.Thread(target=serve, args=(each,), name="listener") for each in self._listeners]
        if self._carbon is not None:
            threads.append(threading.Thread(target=self._run_rules, args=(stopping, faults), name="carbon-rules"))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if faults:
            raise faults[0]
        stopping.wait()  # Where every listener is off.
        self._in_flight.shutdown(wait=True)
        if self._carbon is not None:
            self._carbon.finish(self._is_given_up)

    def _run_rules(self, stopping: threading.Event, faults: list[Exception]) -> None:
        assert self._carbon is not None
        try:
            self._carbon.run(lambda: bool(faults) or stopping.is_set(), stopping.wait)
        except Exception as fault:  # noqa: BLE001 - As of listeners.
            faults.append(fault)

    def write(self, door: str, body: Body, sender: str) -> Outcome:
        """Take one body in and answer when the store has it in its log.

        Raises: RefusedSample, if nothing in the body can be read; NotReady, if the store stays away: the body may be
        sent again as it is.
        """
        deadline_s = self._clock.monotonic_s() + self._limits.write_wait_ms_max / 1000
        protocol = door.partition("+")[0] if door in DOORS else "unknown"
        try:
            with self._pump.crunching:  # Of large bodies; small ones are through before anybody waits.
                decoded = self._decode(door, body)
        except RefusedSample as error:
            refusals = Refusals()
            refusals.add(error.reason, bytes(body[:1_000]), message=str(error))
            self._ledger.refused(protocol, refusals, lambda _: sender)
            raise
        if decoded.said:
            decoded.refusals.ignore("metadata", self.book.note(decoded.said))
        outcome = Outcome()
        self._pump.deliver(
            decoded,
            outcome,
            protocol=protocol,
            sender_of=lambda _: sender,
            gives_up=lambda error: isinstance(error, DiskFull) or self._clock.monotonic_s() >= deadline_s,
        )
        return outcome

    def stats(self) -> dict[str, object]:
        """What the System page shows of the intake."""
        return {
            **self._ledger.stats(),
            "connections_count": sum(each.connections_count for each in self._listeners),
            "udp_dropped": dict(chain.from_iterable(each.udp_dropped.items() for each in self._listeners)),
            "udp_buffer_bytes": dict(chain.from_iterable(each.udp_buffer_bytes.items() for each in self._listeners)),
            "series_count": self._register.series_count,
            "epoch": self._register.epoch,
            "carbon_rules": None if self._carbon is None else self._carbon.stats(),
        }

    def _decode(self, door: str, body: Body) -> Decoded:
        if door not in DOORS:
            raise RefusedSample("unknown_door", f"there is no door {door[:40]!r}; there are {', '.join(DOORS)}")
        if len(body) > self._limits.body_bytes_max:
            raise BodyTooLarge(f"the body has {len(body):,} bytes of at most {self._limits.body_bytes_max:,}; split it")
        return DOORS[door](body, self._limits, self._known)

    def _submit(self, stream: SampleStream, batch: Batch, wait_s: float) -> bool:
        if not self._places.acquire(timeout=wait_s) if wait_s else not self._places.acquire(blocking=False):
            return False
        outcome = Outcome()
        carried = self._in_flight.submit(self._carry, stream, batch, outcome)
        carried.add_done_callback(lambda done: self._land(done.exception(), stream, batch, outcome))
        return True

    def _carry(self, stream: SampleStream, batch: Batch, outcome: Outcome) -> None:
        """One batch from bytes to acknowledgement, in a thread of the pool."""
        with self._pump.crunching:
            decoded = stream.decode(batch.data(), self._clock.now_ms())
            if self._carbon is not None:
                decoded = self._carbon.apply(decoded)
        self._pump.deliver(
            decoded,
            outcome,
            protocol=stream.protocol,
            sender_of=batch.sender_of,
            gives_up=lambda _: self._is_given_up(),
        )

    def _land(self, error: BaseException | None, stream: SampleStream, batch: Batch, outcome: Outcome) -> None:
        """Give the batch's place back, and count what was lost of it, if anything was."""
        self._places.release()
        if error is None:
            return
        if not isinstance(error, NotReady):
            self._log.error("a part of a batch is lost by a fault of our own", exc_info=error)
        count = stream.count(batch.data()) if outcome.samples_count is None else outcome.samples_count
        lost = Refusals()
        reason = "store_away" if isinstance(error, NotReady) else "internal"
        lost.add(reason, count=count - outcome.done_count, message=str(error))
        self._ledger.refused(stream.protocol, lost, lambda _: "")

    def _is_stopping(self, stopping: threading.Event) -> bool:
        if stopping.is_set() and self._gives_up_s is None:
            self._gives_up_s = self._clock.monotonic_s() + self._limits.stop_wait_ms_max / 1000
        return stopping.is_set()

    def _is_given_up(self) -> bool:
        return self._gives_up_s is not None and self._clock.monotonic_s() >= self._gives_up_s


def _nobody(notices: Sequence[Notice], timeout_s: float) -> list[Unwanted]:
    raise NotReady("nobody here takes events and service checks")

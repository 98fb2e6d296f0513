"""carbon's rules at work: between the decoder of Graphite's lines and pickles and the store.

apply() is called by whoever carries a batch; run(), in a thread of its own, reads the files when they change and
brings what aggregation makes to the store. The values of intervals that have not ended lie in memory alone: a crash
loses them, while the samples themselves, which are stored beside them, are not concerned.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from appliance.clock import Clock
from appliance.metrics import Metrics
from tsdb.carbon.rulebook import Rulebook
from tsdb.errors import NotReady
from tsdb.ingest.decoded import Decoded, Refusals
from tsdb.ingest.graphite.aggregator import OUTPUTS_COUNT_MAX, Aggregator, Made
from tsdb.ingest.graphite.known_names import KnownNames, Ruled
from tsdb.ingest.graphite.names import canonical_of
from tsdb.ingest.graphite.rule_files import RuleFiles
from tsdb.ingest.ledger import Ledger
from tsdb.ingest.pump import Outcome, Pump

PROTOCOL = "graphite_aggregated"
LOOK_EVERY_S = 10.0  # At the files, as carbon does.
FLUSH_EVERY_S = 1.0
# What was made waits so long for a store that is away; then it is lost, and counted.
STORE_WAIT_S_MAX = 60.0


class RuleFolders(NamedTuple):
    """Where the rule files are, and where copies of good ones are kept."""

    rules: Path
    kept: Path


class CarbonRules:
    """Thread-safe."""

    def __init__(
        self,
        folders: RuleFolders,
        pump: Pump,
        seeds: tuple[int, int],
        *,
        ledger: Ledger,
        metrics: Metrics,
        clock: Clock,
        log: logging.Logger,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._files = RuleFiles(*folders, metrics, log)
        self._pump = pump
        self._seeds = seeds
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._look_every_s = look_every_s
        self._rewritten = metrics.counter("henge_graphite_rewritten_total", "Samples stored under another name.")
        self._aggregated = metrics.counter("henge_graphite_aggregated_total", "Values that aggregation rules took.")
        self._lock = threading.Lock()
        self._aggregator = Aggregator()
        self._names: KnownNames | None = None  # None: there are no rules.
        self._has_work = False
        self._read_files()

    def apply(self, decoded: Decoded) -> Decoded:
        """A batch as the rules want it stored; what they refuse is counted with its refusals."""
        if self._names is None:
            return decoded
        with self._lock:
            names = self._names
            if names is None:
                return decoded
            ruled = names.ruled(decoded)
            if ruled.output.size:
                self._aggregate(ruled)
        if ruled.renamed_count:
            self._rewritten.inc(ruled.renamed_count)
        return ruled.decoded

    def _aggregate(self, ruled: Ruled) -> None:
        """The lock is held."""
        refusals = ruled.decoded.refusals
        output, timestamp_ms, value = ruled.output, ruled.timestamp_ms, ruled.value
        if (is_over := output < 0).any():
            refusals.add(
                "too_many_aggregates",
                message=f"there are {OUTPUTS_COUNT_MAX:,} series made by aggregation; this would be one more",
                count=int(np.count_nonzero(is_over)),
            )
            output, timestamp_ms, value = output[~is_over], timestamp_ms[~is_over], value[~is_over]
        lost_count = self._aggregator.add(output, timestamp_ms, value)
        self._has_work = True
        self._aggregated.inc(output.size)
        _tell_lost(refusals, lost_count)

    def stats(self) -> dict[str, object]:
        return {**self._files.stats(), "outputs_count": self._aggregator.outputs_count}

    def run(self, is_stopped: Callable[[], bool], wait: Callable[[float], object]) -> None:
        """Look at the files and flush until is_stopped(). wait: for so many seconds, or until a stop."""
        looked_s = self._clock.monotonic_s()
        while not is_stopped():
            wait(FLUSH_EVERY_S)
            if (now_s := self._clock.monotonic_s()) - looked_s >= self._look_every_s:
                looked_s = now_s
                self._read_files()
            self.flush(is_stopped)

    def flush(self, is_stopped: Callable[[], bool] = lambda: True) -> None:
        """Bring to the store what has ended."""
        if not self._has_work:
            return
        with self._lock:
            made, lost_count = self._aggregator.take_due(self._clock.now_ms() // 1_000)
            if self._aggregator.prune() and self._names is not None:
                self._names.clear()  # They remember numbers of outputs.
        deadline_s = self._clock.monotonic_s() + STORE_WAIT_S_MAX
        self._store(made, lost_count, lambda _: is_stopped() or self._clock.monotonic_s() >= deadline_s)

    def finish(self, is_given_up: Callable[[], bool]) -> None:
        """Bring to the store what there is, when nothing more comes."""
        with self._lock:
            made = self._aggregator.take_all()
        self._store(made, 0, lambda _: is_given_up())

    def _store(self, made: Made, lost_count: int, gives_up: Callable[[NotReady], bool]) -> None:
        refusals = Refusals()
        _tell_lost(refusals, lost_count)
        decoded = Decoded(
            names=made.names,
            name_index=None,
            timestamp_ms=made.timestamp_ms,
            value=made.value,
            canonical_of=canonical_of,
            refusals=refusals,
        )
        if not len(decoded) and not refusals.total:
            return
        outcome = Outcome()
        try:
            self._pump.deliver(decoded, outcome, protocol=PROTOCOL, sender_of=_sender_of, gives_up=gives_up)
        except Exception as error:  # noqa: BLE001 - A fault of our own costs what was made now, and not the thread.
            if not isinstance(error, NotReady):
                self._log.error("what aggregation made is lost by a fault of our own", exc_info=error)
            lost = Refusals()
            reason = "store_away" if isinstance(error, NotReady) else "internal"
            lost.add(reason, count=len(decoded) - outcome.done_count, message=str(error))
            self._ledger.refused(PROTOCOL, lost, _sender_of)

    def _read_files(self) -> None:
        rulebook: Rulebook | None = self._files.refresh()
        if rulebook is None:
            return
        with self._lock:
            # What outputs have got so far stays: they are known by all that their rule says of them.
            self._names = None if rulebook.is_empty else KnownNames(rulebook, self._aggregator.number_of, self._seeds)


def _tell_lost(refusals: Refusals, count: int) -> None:
    if count:
        message = "more intervals, or values of percentiles, than are kept; times of long ago, or too many outputs"
        refusals.add("aggregation_full", message=message, count=count)


def _sender_of(_: int) -> str:
    return "aggregation-rules.conf"

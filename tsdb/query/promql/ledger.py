"""What one query holds at this moment, and what it has cost so far.

Columns and matrices are megabytes and few, so each is counted when it is made and given back when Python frees it,
whoever holds it last: the evaluation, or the message that carries the answer away.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tsdb.errors import QueriesBusy
from tsdb.query.promql.limits import MIB, Deadline, Limits
from tsdb.sample import Selection, SharedTimes

# While samples are gathered there are the parts (time and value, 16 B), the joined columns (16 B) and the places of one
# part in them (8 B for half of the samples, at worst).
READ_BYTES = 36
CELL_BYTES = 9  # Of a matrix: a float64 and a bool.
# The label set of a series: about 10 labels × (a tuple of 56 B, a reference of 8 B), and what it is grouped by.
LABELS_BYTES = 1_024
# Smaller arrays are not worth their book-keeping; a thousand operators hold a few of them each at most.
HELD_BYTES_MIN = 64 * 1_024

STAGES = ("queue", "parse", "select")  # What is left of the total is evaluation.


class Pool:
    """The bytes that all queries of a process hold together. Safe for threads."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._bytes_count = 0
        self._lock = threading.RLock()  # An array may be freed, and given back, while this very lock is held.

    @property
    def bytes_count(self) -> int:
        return self._bytes_count

    def take(self, count: int, *, must: bool = False) -> None:
        """Raises: QueriesBusy, if it is not there; with must, it is counted nevertheless."""
        with self._lock:
            if not must and self._bytes_count + count > self.bytes_max:
                raise QueriesBusy(
                    f"the queries that run now hold {self._bytes_count / MIB:,.1f} MiB of at most "
                    f"{self.bytes_max / MIB:,.1f} MiB (twice query.bytes_max), and this one needs "
                    f"{count / MIB:,.1f} MiB more; try again in a moment, narrow it, or raise query.bytes_max"
                )
            self._bytes_count += count

    def give(self, count: int) -> None:
        with self._lock:
            self._bytes_count -= count


class Ledger:
    """The account of one query. Its pool is shared, itself is for one thread; only arrays may be freed elsewhere."""

    def __init__(self, limits: Limits, deadline: Deadline, pool: Pool | None = None) -> None:
        self.limits = limits
        self.deadline = deadline
        self._pool = pool if pool is not None else Pool(2 * limits.bytes_max)
        self._made_s = time.monotonic()
        self._lock = threading.RLock()
        self._held_bytes = 0
        self._kept_bytes = 0
        self._known: set[int] = set()
        self._found_count = 0
        self.bytes_peak = 0
        self.series_count = 0
        self.samples_count = 0
        self.resolution_ms = 0  # The coarsest rollup that was read; 0: raw samples alone.
        self.duration_s_by_stage: dict[str, float] = {}

    @property
    def held_bytes(self) -> int:
        return self._held_bytes

    def check(self, where: str = "expression evaluation") -> None:
        """Raises: QueryTimeout, QueryCancelled."""
        self.deadline.check(where)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of one of STAGES, or "total"."""
        start_s = time.monotonic()
        try:
            yield
        finally:
            self.duration_s_by_stage[name] = self.duration_s_by_stage.get(name, 0.0) + time.monotonic() - start_s

    @contextmanager
    def room(self, count: int) -> Iterator[None]:
        """Set so many bytes aside for an operation: to be asked for before the first of them is allocated.

        What the operation leaves behind is counted by hold(), afterwards.
        Raises: QueryTooLarge, QueriesBusy; and what check() raises.
        """
        self.check()
        self._take(count)
        try:
            yield
        finally:
            self._give(count)

    def hold(self, *arrays: np.ndarray[Any, Any]) -> None:
        """Count arrays until they are freed; views count as what they are views of, once."""
        for array in arrays:
            owner = array
            while isinstance(owner.base, np.ndarray):
                owner = owner.base
            count = owner.nbytes
            if count < HELD_BYTES_MIN or id(owner) in self._known:
                continue
            self._known.add(id(owner))
            weakref.finalize(owner, self._freed, id(owner), count).atexit = False
            self._take(count, must=True)
        self.limits.check_bytes(self._held_bytes)

    def found(self, count: int) -> None:
        """A selection in the making will read so many samples in all; told before they are read.

        Raises: as room().
        """
        self.check("query preparation")
        self.limits.check_samples(count)
        more = (count - self._found_count) * READ_BYTES
        if more > 0:
            self._take(more)
            self._found_count = count

    def selected(self, selection: Selection) -> None:
        """A selection is there: count it, and give back what was set aside for its making. Raises: as room()."""
        samples_count = int(selection.value.size)
        self._give(self._found_count * READ_BYTES)
        self._found_count = 0
        self.limits.check_series(selection.series_count)
        self.limits.check_samples(samples_count)
        self.series_count += selection.series_count
        self.samples_count += samples_count
        self.resolution_ms = max(self.resolution_ms, selection.resolution_ms)
        self.keep(selection.series_count * LABELS_BYTES)
        times_ms = selection.times_ms
        self.hold(selection.offsets, times_ms.of_each_ms if isinstance(times_ms, SharedTimes) else times_ms)
        self.hold(selection.value)
        if selection.weight is not None:
            self.hold(selection.weight)
        self.check("query preparation")

    def keep(self, count: int) -> None:
        """Count bytes until the query ends. Raises: as room()."""
        self._take(count)
        self._kept_bytes += count

    def close(self) -> None:
        """The query has ended; what is left are the columns of its answer."""
        self._give(self._kept_bytes + self._found_count * READ_BYTES)
        self._kept_bytes = self._found_count = 0

    def waited(self) -> None:
        """The query's turn has come."""
        self.duration_s_by_stage["queue"] = time.monotonic() - self._made_s

    def figures(self) -> dict[str, int | float]:
        """What the query has cost: counts, the most bytes that it held at once, and milliseconds by stage."""
        spent_ms = {name: round(1_000 * spent_s, 3) for name, spent_s in self.duration_s_by_stage.items()}
        evaluate_ms = spent_ms.get("total", 0.0) - sum(spent_ms.get(name, 0.0) for name in STAGES)
        return {
            "series_count": self.series_count,
            "samples_count": self.samples_count,
            "bytes_peak": self.bytes_peak,
            "resolution_ms": self.resolution_ms,
            **{f"{name}_ms": spent_ms.get(name, 0.0) for name in STAGES},
            "evaluate_ms": round(max(evaluate_ms, 0.0), 3),
            "total_ms": spent_ms.get("total", 0.0),
        }

    def _take(self, count: int, *, must: bool = False) -> None:
        if not must:
            self.limits.check_bytes(self._held_bytes + count)
        self._pool.take(count, must=must)
        with self._lock:
            self._held_bytes += count
            self.bytes_peak = max(self.bytes_peak, self._held_bytes)

    def _give(self, count: int) -> None:
        self._pool.give(count)
        with self._lock:
            self._held_bytes -= count

    def _freed(self, key: int, count: int) -> None:
        self._known.discard(key)
        self._give(count)

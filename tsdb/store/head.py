"""The newest samples in memory: runs of at most a million samples, the last one open, the others sorted when asked.

Appending copies three columns and nothing else; no Python object exists per series or per sample.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tsdb.sample import Float64s, Int32s, Int64s
from tsdb.store.columns import Columns, offsets_of, ordered, spread

RUN_SAMPLE_COUNT_MAX = 1 << 20  # × (4 + 8 + 8) B = 20 MiB while open; sorting one takes 10-60 ms.


@dataclass(frozen=True, slots=True)
class SortedRun:
    """Samples sorted by (series, time), one per series and time.

    Series `series[i]` owns offsets[i]:offsets[i + 1] of both columns.
    """

    series: Int32s  # distinct, rising
    offsets: Int64s
    timestamp_ms: Int64s
    value: Float64s

    @property
    def size_bytes(self) -> int:
        return self.series.nbytes + self.offsets.nbytes + self.timestamp_ms.nbytes + self.value.nbytes

    def taken(self, ids: Int32s) -> Columns:
        """The samples of the given series, in the order of the ids, which are distinct."""
        if not self.series.size:
            return Columns.empty()
        at = np.searchsorted(self.series, ids)
        at[at == self.series.size] = 0
        here = self.series[at] == ids
        at, ids = at[here], ids[here]
        starts = self.offsets[at]
        lengths = self.offsets[at + 1] - starts
        where = spread(starts, lengths)
        return Columns(np.repeat(ids, lengths), self.timestamp_ms[where], self.value[where])


class Run:
    """One run; open until it is full. append() is for one thread, everything else for any.

    Invariant: what lies below `count` never changes, so a view of it stays good while more is appended.
    """

    def __init__(self) -> None:
        self._open: Columns | None = Columns(
            np.empty(RUN_SAMPLE_COUNT_MAX, np.int32),
            np.empty(RUN_SAMPLE_COUNT_MAX, np.int64),
            np.empty(RUN_SAMPLE_COUNT_MAX, np.float64),
        )
        self._sorted: SortedRun | None = None
        self._sort_lock = threading.Lock()
        self.count = 0
        self.min_ms = np.iinfo(np.int64).max
        self.max_ms = np.iinfo(np.int64).min

    def append(self, samples: Columns, start: int, min_ms: int, max_ms: int) -> int:
        """Copy samples from `start` on, as many as there is room for; returns how many."""
        assert self._open is not None
        count = min(samples.series.size - start, RUN_SAMPLE_COUNT_MAX - self.count)
        if count:
            at, source = slice(self.count, self.count + count), slice(start, start + count)
            self._open.series[at] = samples.series[source]
            self._open.timestamp_ms[at] = samples.timestamp_ms[source]
            self._open.value[at] = samples.value[source]
            self.min_ms, self.max_ms = min(self.min_ms, min_ms), max(self.max_ms, max_ms)
            self.count += count
        return count

    @property
    def is_full(self) -> bool:
        return self.count == RUN_SAMPLE_COUNT_MAX

    @property
    def is_sorted(self) -> bool:
        return self._sorted is not None

    @property
    def size_bytes(self) -> int:
        done = self._sorted
        return done.size_bytes if done is not None else 20 * self.count

    def view(self) -> SortedRun | Columns:
        """What there is now: sorted, if that has been done, else the columns in the order of arrival."""
        count, columns, done = self.count, self._open, self._sorted
        if done is not None:
            return done
        assert columns is not None
        return columns.taken(slice(0, count))

    def sort(self) -> SortedRun:
        """Sort the run for good. Nothing may be appended afterwards."""
        with self._sort_lock:
            if self._sorted is None:
                assert self._open is not None
                series, timestamp_ms, value = ordered(self._open.taken(slice(0, self.count)))
                ids, offsets = offsets_of(series)
                if timestamp_ms.base is not None:  # In order already: leave the large array to be freed.
                    timestamp_ms, value = timestamp_ms.copy(), value.copy()
                self._sorted = SortedRun(ids, offsets, timestamp_ms, value)
                self._open = None
            return self._sorted


class Head:
    """The list of runs. The engine's lock is held for append(), detach(), drop() and while `runs` is read."""

    def __init__(self) -> None:
        self.runs: tuple[Run, ...] = (Run(),)

    @property
    def sample_count(self) -> int:
        return sum(run.count for run in self.runs)

    @property
    def size_bytes(self) -> int:
        return sum(run.size_bytes for run in self.runs)

    def append(self, samples: Columns, min_ms: int, max_ms: int) -> None:
        """Copy a batch into the open run, opening others as they fill."""
        done_count = 0
        while done_count < samples.series.size:
            if self.runs[-1].is_full:
                self.runs = (*self.runs, Run())
            done_count += self.runs[-1].append(samples, done_count, min_ms, max_ms)

    def detach(self) -> tuple[Run, ...]:
        """Close the open run and return all runs, which stay readable here until they are dropped."""
        detached = tuple(run for run in self.runs if run.count)
        self.runs = (*detached, Run())
        return detached

    def drop(self, runs: Sequence[Run]) -> None:
        """Forget runs whose samples are in blocks."""
        gone = set(map(id, runs))
        self.runs = tuple(run for run in self.runs if id(run) not in gone)


def select_runs(runs: Sequence[Run], ids: Int32s, start_ms: int, end_ms: int, series_count: int) -> Columns:
    """The samples of some series in a range of time, both ends included, sorted by (series, time).

    ids: distinct and rising, all below series_count.
    """
    pieces = []
    for run in runs:
        if run.count == 0 or run.max_ms < start_ms or run.min_ms > end_ms:
            continue
        view = run.sort() if run.is_full else run.view()
        piece = view.taken(ids) if isinstance(view, SortedRun) else _of_series(view, ids, series_count)
        if run.min_ms < start_ms or run.max_ms > end_ms:
            piece = piece.taken((piece.timestamp_ms >= start_ms) & (piece.timestamp_ms <= end_ms))
        pieces.append(piece)
    return ordered(Columns.joined(pieces))


def _of_series(columns: Columns, ids: Int32s, series_count: int) -> Columns:
    if ids.size == 1:
        return columns.taken(np.flatnonzero(columns.series == ids[0]))
    # An appender may have added series since the ids were matched: they are not wanted, yet must be in the table.
    is_wanted = np.zeros(max(series_count, int(columns.series.max(initial=-1)) + 1), np.bool_)
    is_wanted[ids] = True
    return columns.taken(is_wanted[columns.series])


def present_ids(runs: Sequence[Run], start_ms: int, end_ms: int) -> Int32s:
    """The series that have samples in runs which overlap the range, rising."""
    found = []
    for run in runs:
        if run.count and run.max_ms >= start_ms and run.min_ms <= end_ms:
            view = run.sort() if run.is_full else run.view()
            found.append(view.series)
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.int32)

"""The newest samples in memory: runs of about a million samples, the last one open, the others sorted when asked.

Appending copies three columns and nothing else; no Python object exists per series or per sample. A run holds local ids
and knows the index that gave them: while an epoch ends, runs of two epochs stand side by side.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tsdb.sample import Int32s
from tsdb.store.columns import Columns, Rows, ordered, places_of, rows_of
from tsdb.store.index import SeriesIndex
from tsdb.store.pieces import Pieces
from tsdb.store.sorted_run import SortedRun, sorted_run

RUN_SAMPLE_COUNT_MAX = 1 << 20  # × (4 + 8 + 8) B = 20 MiB while open; sorting one takes 10-60 ms.
# A run with more is closed before a batch that it has no room for: a run that ends within a step, or within one of the
# streams that bring twenty, has series of several lengths, which is three times the work for every selection from it.
_FULL_SHARE = 0.75
# A selection of so few series searches so many runs that are full and not sorted yet, 1 ms each, rather than wait for
# their sorting; for more series that would be as much work.
_SEARCHED_SERIES_COUNT_MAX = 10_000
_SEARCHED_COUNT_MAX = 2
# Samples of an open run in which series are looked for at a time: less than a millisecond.
_LOOKED_AT_COUNT = 1 << 16
SPARE_COUNT_MAX = 2  # × 20 MiB, while samples come: as many runs as fill between two steps of upkeep.


class SpareColumns:
    """The columns of runs that have been sorted, for the next ones: the kernel need not clear as many pages anew.

    For any thread.
    """

    def __init__(self) -> None:
        self._kept: deque[Columns] = deque(maxlen=SPARE_COUNT_MAX)

    def take(self) -> Columns:
        with contextlib.suppress(IndexError):
            return self._kept.pop()
        return Columns(
            np.empty(RUN_SAMPLE_COUNT_MAX, np.int32),
            np.empty(RUN_SAMPLE_COUNT_MAX, np.int64),
            np.empty(RUN_SAMPLE_COUNT_MAX, np.float64),
        )

    def give(self, columns: Columns) -> None:
        """Nobody else may hold them, or a view of them."""
        self._kept.append(columns)

    def drop(self) -> None:
        self._kept.clear()


class Run:
    """One run; open until it is full. append() is for one thread, everything else for any.

    Invariant: what lies below `count` never changes, so a view of it stays good while more is appended.
    """

    def __init__(self, index: SeriesIndex, spare: SpareColumns) -> None:
        self.index = index
        self._spare = spare
        self._open: Columns | None = spare.take()
        self._is_viewed = False  # Whether somebody may have views of the open columns.
        self._sorted: SortedRun | None = None
        self._sort_lock = threading.Lock()
        self._is_closed = False
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

    def close_before(self, count: int) -> None:
        """Take nothing more, if so many samples do not fit and it is full enough."""
        if count > RUN_SAMPLE_COUNT_MAX - self.count and self.count >= _FULL_SHARE * RUN_SAMPLE_COUNT_MAX:
            self._is_closed = True

    @property
    def is_full(self) -> bool:
        """Whether nothing more comes."""
        return self._is_closed or self.count == RUN_SAMPLE_COUNT_MAX

    @property
    def is_sorted(self) -> bool:
        return self._sorted is not None

    @property
    def size_bytes(self) -> int:
        done = self._sorted
        return done.size_bytes if done is not None else 20 * self.count

    def view(self) -> SortedRun | Columns:
        """What there is now: sorted, if that has been done, else the columns in the order of arrival."""
        self._is_viewed = True  # Before the columns are read: sort() looks at it after it has taken them away.
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
                columns = self._open
                self._sorted = sorted_run(columns.taken(slice(0, self.count)))
                self._open = None
                if not self._is_viewed:
                    self._spare.give(columns)
            return self._sorted


class Head:
    """The list of runs, which is replaced, never changed. The engine's lock is held for append(), detach(), drop(), and
    while `runs` is read together with something else."""

    def __init__(self, index: SeriesIndex) -> None:
        self._index = index
        self.spare = SpareColumns()
        self.runs: tuple[Run, ...] = (Run(index, self.spare),)

    @property
    def sample_count(self) -> int:
        return sum(run.count for run in self.runs)

    @property
    def size_bytes(self) -> int:
        return sum(run.size_bytes for run in self.runs)

    def append(self, samples: Columns, min_ms: int, max_ms: int) -> None:
        """Copy a batch into the open run, opening others as they fill."""
        done_count = 0
        self.runs[-1].close_before(samples.series.size)
        while done_count < samples.series.size:
            if self.runs[-1].is_full:
                self.runs = (*self.runs, Run(self._index, self.spare))
            done_count += self.runs[-1].append(samples, done_count, min_ms, max_ms)

    def detach(self) -> tuple[Run, ...]:
        """Close the open run and return all runs, which stay readable here until they are dropped."""
        detached = tuple(run for run in self.runs if run.count)
        self.runs = (*detached, Run(self._index, self.spare))
        return detached

    def begin(self, index: SeriesIndex) -> None:
        """What comes from now on has ids of another index. The open run must be empty, as it is after detach()."""
        assert not self.runs[-1].count
        self._index = index
        self.runs = (*self.runs[:-1], Run(index, self.spare))

    def drop(self, runs: Sequence[Run]) -> None:
        """Forget runs whose samples are in blocks."""
        gone = set(map(id, runs))
        self.runs = tuple(run for run in self.runs if id(run) not in gone)


def sort_full(runs: Sequence[Run], breathe: Callable[[], None]) -> None:
    """Sort the runs that nothing more comes into. breathe: called after each, which takes 10-60 ms."""
    for run in runs:
        if run.is_full and not run.is_sorted:
            run.sort()
            breathe()


def by_index(runs: Sequence[Run]) -> list[tuple[SeriesIndex, tuple[Run, ...]]]:
    """Runs by the index of their ids, the older first: one pair, or two while an epoch ends."""
    indexes = {id(run.index): run.index for run in runs}
    return [(index, tuple(run for run in runs if run.index is index)) for index in indexes.values()]


def select_runs(runs: Sequence[Run], ids: Int32s, start_ms: int, end_ms: int) -> list[Pieces]:
    """The samples of some series in a range of time, both ends included, as parts still to be joined.

    ids: distinct; a row's number is the place of its series in ids.
    """
    parts = []
    left_count = _SEARCHED_COUNT_MAX if ids.size <= _SEARCHED_SERIES_COUNT_MAX else 0
    for run in runs:
        if run.count == 0 or run.max_ms < start_ms or run.min_ms > end_ms:
            continue
        if run.is_full and not run.is_sorted:
            view = run.view() if left_count > 0 else run.sort()
            left_count -= 1
        else:
            view = run.view()
        part = view.pieces(ids) if isinstance(view, SortedRun) else Pieces.of(_of_series(view, ids))
        if run.min_ms < start_ms or run.max_ms > end_ms:
            part = part.clipped(start_ms, end_ms)
        if part.row.size:
            parts.append(part)
    return parts


def _of_series(columns: Columns, ids: Int32s) -> Rows:
    """As SortedRun.taken, of an open run."""
    if ids.size == 1:
        found = columns.taken(np.flatnonzero(columns.series == ids[0]))
        return rows_of(ordered(found._replace(series=np.zeros(found.series.size, np.int32))))
    is_wanted = np.zeros(2 + int(ids.max(initial=-1)), np.bool_)  # The last for every id that is greater still.
    is_wanted[ids] = True
    found = columns.taken(np.flatnonzero(is_wanted.take(columns.series, mode="clip")))
    place = np.empty(is_wanted.size, np.int32)
    place[ids] = np.arange(ids.size, dtype=np.int32)
    return rows_of(ordered(found._replace(series=place[found.series])))


def is_present(index: SeriesIndex, runs: Sequence[Run]) -> npt.NDArray[np.bool_]:
    """By id: whether those runs whose ids are of the index have samples of the series; one pass, nothing is sorted."""
    views = [run.view() for run in runs if run.index is index]
    present = np.zeros(
        len(index), np.bool_
    )  # Counted after the views were taken: a series is there before its samples.
    for view in views:
        present[view.row if isinstance(view, SortedRun) else view.series] = True
    return present


def present_ids(runs: Sequence[Run], start_ms: int, end_ms: int) -> Int32s:
    """The series whose samples of some run begin before the end of a range of time, and end behind its start; rising.

    Of an open run, those that have samples in it."""
    found: list[npt.NDArray[np.integer]] = []
    for run in runs:
        if run.count and run.max_ms >= start_ms and run.min_ms <= end_ms:
            view = run.sort() if run.is_full else run.view()
            is_inside = run.min_ms >= start_ms and run.max_ms <= end_ms
            if isinstance(view, SortedRun):
                series = view.row
                first_ms, last_ms = view.first_ms, view.last_ms
                found.append(series if is_inside else series[(last_ms >= start_ms) & (first_ms <= end_ms)])
            else:
                inside = (view.timestamp_ms >= start_ms) & (view.timestamp_ms <= end_ms)
                found.append(view.series if is_inside else view.series[inside])
    return np.unique(np.concatenate(found)).astype(np.int32) if found else np.empty(0, np.int32)


def are_present(runs: Sequence[Run], start_ms: int, end_ms: int, ids: Int32s) -> npt.NDArray[np.bool_]:
    """Which of some series are among present_ids(); looks no further once it has seen all of them."""
    found = np.zeros(ids.size, np.bool_)
    left = np.arange(ids.size)
    for run in reversed(runs):
        if left.size and run.count and run.max_ms >= start_ms and run.min_ms <= end_ms:
            view = run.sort() if run.is_full else run.view()
            is_inside = run.min_ms >= start_ms and run.max_ms <= end_ms
            if isinstance(view, SortedRun):
                place, at = places_of(ids[left], view.row)
                if not is_inside:
                    place = place[(view.last_ms[at] >= start_ms) & (view.first_ms[at] <= end_ms)]
                found[left[place]] = True
            else:
                found[left] = _are_among(view, start_ms, end_ms, ids[left])
            left = left[~found[left]]
    return found


def _are_among(samples: Columns, start_ms: int, end_ms: int, ids: Int32s) -> npt.NDArray[np.bool_]:
    """Which of some series have samples in a range of time; from the last sample back, until all are seen."""
    is_seen = np.zeros(int(ids.max()) + 1, np.bool_)
    for end in range(samples.series.size, 0, -_LOOKED_AT_COUNT):
        piece = slice(max(0, end - _LOOKED_AT_COUNT), end)
        times_ms, series = samples.timestamp_ms[piece], samples.series[piece]
        series = series[(times_ms >= start_ms) & (times_ms <= end_ms)]
        is_seen[series[series < is_seen.size]] = True
        if is_seen[ids].all():
            break
    return is_seen[ids]

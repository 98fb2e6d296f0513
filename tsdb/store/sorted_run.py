"""A run of the head in order: samples by series, and a sequence of times that neighbours share kept once.

Series that are scraped together have the same times, so that a sorted sample takes little more than its value.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tsdb.sample import Float64s, Int32s, Int64s
from tsdb.store.columns import Columns, Rows, ordered, places_of, rows_of, spread
from tsdb.store.pieces import Pieces

# Stretches of rows of equal length are compared one after another; with fewer rows in each, times stay as they are.
_ROW_COUNT_MIN = 16
# Parts of steps are put in their places one after another, 5 µs each; with fewer samples in each, sorting is cheaper.
_PART_SAMPLE_COUNT_MIN = 512

_Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class SortedRun:
    """Row i is the series with the local id row[i], which rise: its values are offsets[i]:offsets[i + 1], and its times
    so many from time_starts[i] on, where other rows may have theirs too."""

    row: Int64s
    offsets: Int64s  # int64[row.size + 1], from 0
    time_starts: Int64s
    timestamp_ms: Int64s
    value: Float64s

    @staticmethod
    def of(rows: Rows) -> SortedRun:
        """Rows whose numbers rise; times that the row before has too are left out."""
        lengths = rows.lengths
        is_new = _has_new_times(rows, lengths)
        if is_new is None:
            return SortedRun(rows.row, rows.offsets, rows.offsets[:-1], rows.timestamp_ms, rows.value)
        firsts = np.flatnonzero(is_new)
        ends = np.cumsum(lengths[firsts])
        timestamp_ms = rows.timestamp_ms[spread(rows.offsets[firsts], lengths[firsts])]
        time_starts = (ends - lengths[firsts])[np.cumsum(is_new) - 1]
        return SortedRun(rows.row, rows.offsets, time_starts, timestamp_ms, rows.value)

    @property
    def size_bytes(self) -> int:
        return (
            self.row.nbytes
            + self.offsets.nbytes
            + self.time_starts.nbytes
            + self.timestamp_ms.nbytes
            + self.value.nbytes
        )

    @property
    def sample_count(self) -> int:
        return self.value.size

    @property
    def first_ms(self) -> Int64s:
        """By row: the time of its first sample."""
        return self.timestamp_ms[self.time_starts]

    @property
    def last_ms(self) -> Int64s:
        """By row: the time of its last sample."""
        return self.timestamp_ms[self.time_starts + np.diff(self.offsets) - 1]

    @property
    def lengths(self) -> Int64s:
        lengths: Int64s = np.diff(self.offsets)
        return lengths

    @property
    def all_pieces(self) -> Pieces:
        """All of it, each sample with its time; a row's number is the id of its series."""
        return self._pieces(self.row, slice(None))

    def pieces(self, ids: Int32s) -> Pieces:
        """Where the samples of the given series lie, which are distinct; a row's number is the place of its series in
        ids."""
        return self._pieces(*places_of(ids, self.row))

    def _pieces(self, row: Int64s, at: Int64s | slice) -> Pieces:
        starts = self.offsets[:-1][at]
        lengths = self.offsets[1:][at] - starts  # Of those rows alone: a run has as many as there are series.
        return Pieces(row, self.time_starts[at], lengths, self.timestamp_ms, self.value, starts)

    def taken(self, ids: Int32s) -> Rows:
        """The samples of the given series alone; see pieces()."""
        return self.pieces(ids).gathered()


def _has_new_times(rows: Rows, lengths: Int64s) -> npt.NDArray[np.bool_] | None:
    """By row: whether its times are others than those of the row before; None, if hardly any are the same."""
    starts = np.concatenate((np.zeros(1, np.intp), np.flatnonzero(lengths[1:] != lengths[:-1]) + 1))
    if starts.size * _ROW_COUNT_MIN > lengths.size:
        return None
    is_new = np.ones(lengths.size, np.bool_)
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), lengths.size], strict=True):
        times = rows.timestamp_ms[rows.offsets[start] : rows.offsets[end]].reshape(end - start, -1)
        is_new[start + 1 : end] = (times[1:] != times[:-1]).any(axis=1)
    return is_new if 2 * int(lengths[is_new].sum()) <= rows.value.size else None


def sorted_run(columns: Columns) -> SortedRun:
    """Samples in any order, sorted by (series, time), duplicates decided; nothing of the columns is kept."""
    found = _of_steps(columns)
    if found is not None:
        return found
    rows = rows_of(ordered(columns))
    if np.may_share_memory(rows.value, columns.value):  # In order already, and so still where they were.
        rows = rows._replace(timestamp_ms=rows.timestamp_ms.copy(), value=rows.value.copy())
    return SortedRun.of(rows)


def _of_steps(columns: Columns) -> SortedRun | None:
    """The run, if the same series come in the same order at one time after the other; a transposition instead of a
    sort, a fifth of the work. None, if they do not."""
    series, timestamp_ms, value = columns
    if series.size < _PART_SAMPLE_COUNT_MIN:
        return None
    is_end = (series[1:] <= series[:-1]) | (timestamp_ms[1:] != timestamp_ms[:-1])
    starts = np.concatenate((np.zeros(1, np.intp), np.flatnonzero(is_end) + 1))
    if starts.size * _PART_SAMPLE_COUNT_MIN > series.size:
        return None
    groups = _groups(series, starts)
    if groups is None:
        return None
    rows: list[Int32s] = []
    times: list[Int64s] = []
    values, done = np.empty(value.size), 0
    for group in groups:
        begins, count = _in_order(group, series, timestamp_ms)
        if begins is None:
            return None
        target = values[done : done + begins.size * count].reshape(count, begins.size)
        for step, begin in enumerate(begins.tolist()):
            target[:, step] = value[begin : begin + count]
        rows.append(series[begins[0] : begins[0] + count].astype(np.int64))
        times.append(timestamp_ms[begins])
        done += target.size
    row_counts, steps = np.array([row.size for row in rows]), np.array([one.size for one in times])
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(np.repeat(steps, row_counts))))
    return SortedRun(
        np.concatenate(rows), offsets, np.repeat(np.cumsum(steps) - steps, row_counts), np.concatenate(times), values
    )


def _groups(series: Int32s, starts: _Indices) -> list[list[tuple[int, int]]] | None:
    """Stretches of rising ids, cut so that two parts have ids in one range or none in common: the parts of each range
    as (begin, end), the ranges rising. None, if that makes too many parts."""
    ends = np.append(starts[1:], series.size)
    cuts = np.unique(np.concatenate((series[starts], series[ends - 1] + np.int64(1))))
    first, last = np.searchsorted(cuts, series[starts]), np.searchsorted(cuts, series[ends - 1], side="right")
    if int((last - first).sum()) * _PART_SAMPLE_COUNT_MIN > series.size:
        return None
    groups: dict[int, list[tuple[int, int]]] = {}
    for start, end, low, high in zip(starts.tolist(), ends.tolist(), first.tolist(), last.tolist(), strict=True):
        begins = [start, *(start + np.searchsorted(series[start:end], cuts[low + 1 : high])).tolist(), end]
        for number, (begin, stop) in enumerate(pairwise(begins), start=low):
            if stop > begin:
                groups.setdefault(number, []).append((begin, stop))
    return [groups[number] for number in sorted(groups)]


def _in_order(group: list[tuple[int, int]], series: Int32s, timestamp_ms: Int64s) -> tuple[_Indices | None, int]:
    """Where the parts of a group begin, by time, and how long each is; None, if they are not of the same series or two
    of one time."""
    begin, end = group[0]
    ids = series[begin:end]
    if any(stop - start != ids.size or not np.array_equal(series[start:stop], ids) for start, stop in group[1:]):
        return None, 0
    begins = np.array([start for start, _ in group])
    at_ms = timestamp_ms[begins]
    order = np.argsort(at_ms, kind="stable")
    return (begins[order], ids.size) if (np.diff(at_ms[order]) > 0).all() else (None, 0)

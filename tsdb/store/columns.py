"""Columns of samples in order: the duplicate rule, sorting by (series, time), gathering of many ranges at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tsdb.sample import Float64s, Int32s, Int64s, is_stale

_SIGN = np.uint64(1 << 63)


class Columns(NamedTuple):
    """Samples as columns of equal length; `series` holds ids or row numbers, as the place where it is used says."""

    series: Int32s
    timestamp_ms: Int64s
    value: Float64s

    @staticmethod
    def empty() -> Columns:
        return Columns(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float64))

    def taken(self, where: npt.NDArray[np.intp] | npt.NDArray[np.bool_] | slice) -> Columns:
        return Columns(self.series[where], self.timestamp_ms[where], self.value[where])


class Rows(NamedTuple):
    """Samples of several rows, CSR-shaped: row `row[i]` owns offsets[i]:offsets[i + 1] of both columns.

    What a row number means is said where it is used: a place in a list of series, as a rule. The numbers are distinct;
    within one row the times rise.
    """

    row: Int64s
    offsets: Int64s  # int64[row.size + 1], from 0
    timestamp_ms: Int64s
    value: Float64s

    @staticmethod
    def empty() -> Rows:
        return Rows(np.empty(0, np.int64), np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))

    @property
    def lengths(self) -> Int64s:
        return np.diff(self.offsets)

    def clipped(self, start_ms: int, end_ms: int) -> Rows:
        """Only the samples in a range of time, both ends included, and only rows that have some."""
        inside = (self.timestamp_ms >= start_ms) & (self.timestamp_ms <= end_ms)
        if inside.all():
            return self
        before = np.concatenate((np.zeros(1, np.int64), np.cumsum(inside)))[self.offsets]
        kept = np.diff(before) > 0
        offsets = np.append(before[:-1][kept], before[-1])
        return Rows(self.row[kept], offsets, self.timestamp_ms[inside], self.value[inside])


def value_rank(value: Float64s) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint64]]:
    """The total order of values by which duplicates are decided; compare the first array, then the second.

    A stale marker is lowest, then every other NaN by its bits, then the numbers: -Inf < … < -0.0 < +0.0 < … < +Inf.
    """
    bits = value.view(np.uint64)
    kind = np.where(np.isnan(value), np.int8(1), np.int8(2))
    kind[is_stale(value)] = 0
    rising = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return kind.astype(np.int8), np.where(kind == 2, rising, bits)


def ordered(columns: Columns) -> Columns:
    """Sort by (series, time) and keep the greatest of the values that one series has at one time.

    The answer depends on the set of samples only, not on their order (docs/format/series-key.md, duplicates).
    Costs one pass when the samples are in order already, as those of a scrape are.
    """
    series, timestamp_ms, value = columns
    if series.size < 2:
        return columns
    if (series[1:] < series[:-1]).any():
        order = stable_order(series)
        series, timestamp_ms, value = series[order], timestamp_ms[order], value[order]
    same_series = series[1:] == series[:-1]
    wrong = same_series & (timestamp_ms[1:] <= timestamp_ms[:-1])
    if not wrong.any():
        return Columns(series, timestamp_ms, value)
    series_number = np.concatenate((np.zeros(1, np.int64), np.cumsum(~same_series)))
    is_wrong = np.zeros(int(series_number[-1]) + 1, np.bool_)
    is_wrong[series_number[1:][wrong]] = True
    at = np.flatnonzero(is_wrong[series_number])
    order = at[_order_by_time(series_number[at], timestamp_ms[at])]
    timestamp_ms, value = timestamp_ms.copy(), value.copy()
    timestamp_ms[at], value[at] = timestamp_ms[order], value[order]
    is_same = same_series & (timestamp_ms[1:] == timestamp_ms[:-1])
    if not is_same.any():
        return Columns(series, timestamp_ms, value)
    _decide(is_same, value)
    last = np.append(~is_same, True)  # The last of equal times has the greatest value.
    return Columns(series[last], timestamp_ms[last], value[last])


def _order_by_time(row: Int64s, timestamp_ms: Int64s) -> npt.NDArray[np.intp]:
    """The stable order by (row, time) of samples whose rows rise already.

    One number for both, where it fits: batches that overtook each other leave long rising stretches, which numpy's
    merge sort joins ten times faster than a sort by two keys.
    """
    first_ms, last_ms = int(timestamp_ms.min()), int(timestamp_ms.max())
    span_ms = last_ms - first_ms + 1
    if span_ms * (int(row[-1]) + 1) >= 1 << 63:
        return np.lexsort((timestamp_ms, row))
    return np.argsort(row * span_ms + (timestamp_ms - first_ms), kind="stable")


def _decide(is_same: npt.NDArray[np.bool_], value: Float64s) -> None:
    """Sort the values of each stretch of equal times by rank, in place. is_same: a sample and the one behind it."""
    is_in = np.append(is_same, False)
    is_in[1:] |= is_same
    at = np.flatnonzero(is_in)
    stretch = np.cumsum(np.append(True, ~is_same))[at]
    kind, rank = value_rank(value[at])
    value[at] = value[at[np.lexsort((rank, kind, stretch))]]


def stable_order(series: Int32s) -> npt.NDArray[np.intp]:
    """The stable argsort of non-negative ids; sixteen bits at a time, where numpy has a radix sort."""
    rise_count = np.count_nonzero(series[1:] >= series[:-1])
    if rise_count > 0.98 * series.size:  # A few long rising stretches, which numpy's merge sort joins in few passes.
        return np.argsort(series, kind="stable")
    order = np.argsort((series & 0xFFFF).astype(np.uint16), kind="stable")
    high = (series >> 16).astype(np.uint16)
    return order[np.argsort(high[order], kind="stable")] if int(high.max()) else order


def places_of(wanted: Int32s, there: npt.NDArray[np.integer]) -> tuple[Int64s, Int64s]:
    """Which of the wanted ids are there, and at which places of `there`, distinct and rising: (index of wanted, place).

    A stretch without gaps, as the ids of a head often are, is found by subtraction alone.
    """
    if not there.size or not wanted.size:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    first = there[0]
    if int(there[-1]) - int(first) + 1 == there.size:
        found = np.flatnonzero((wanted >= first) & (wanted <= there[-1]))
        return found, wanted[found].astype(np.int64) - first
    at = np.searchsorted(there, wanted)
    at[at == there.size] = 0
    found = np.flatnonzero(there[at] == wanted)
    return found, at[found]


def spread(starts: Int64s, lengths: Int64s) -> Int64s:
    """The indices of many ranges, one after another: [start, start + length) for each."""
    if starts.size == 1:
        return np.arange(int(starts[0]), int(starts[0]) + int(lengths[0]), dtype=np.int64)
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if ends.size else 0
    indices = np.repeat(starts - (ends - lengths), lengths)
    indices += np.arange(total, dtype=np.int64)
    return indices


def rows_of(columns: Columns) -> Rows:
    """Columns that are ordered(), by row; no copy of the samples."""
    series = columns.series
    if not series.size:
        return Rows.empty()
    starts = np.flatnonzero(np.concatenate((np.ones(1, np.bool_), series[1:] != series[:-1])))
    offsets = np.append(starts, series.size).astype(np.int64)
    return Rows(series[starts].astype(np.int64), offsets, columns.timestamp_ms, columns.value)


def merged(parts: Sequence[Rows], row_count: int) -> Rows:
    """Join parts into the rows 0 … row_count - 1 in this order, duplicates decided; rows without samples are left out.

    Every sample is moved once, to its place; only rows whose parts overlap in time are sorted.
    """
    parts = [part for part in parts if part.row.size]
    if not parts:
        return Rows.empty()
    if len(parts) == 1 and bool((parts[0].row[1:] > parts[0].row[:-1]).all()):
        return parts[0]
    parts = sorted(parts, key=lambda part: int(part.timestamp_ms[0]))
    lengths = np.zeros(row_count, np.int64)
    for part in parts:
        lengths[part.row] += part.lengths
    ends = np.cumsum(lengths)
    filled = ends - lengths  # by row: where its next sample goes
    timestamp_ms = np.empty(int(ends[-1]), np.int64)
    value = np.empty(int(ends[-1]), np.float64)
    for part in parts:
        where = spread(filled[part.row], part.lengths)
        timestamp_ms[where] = part.timestamp_ms
        value[where] = part.value
        filled[part.row] += part.lengths
    row = np.flatnonzero(lengths)
    rows = Rows(row, np.append(ends[row] - lengths[row], ends[-1]), timestamp_ms, value)
    return _with_times_rising(rows)


def _with_times_rising(rows: Rows) -> Rows:
    """Sort the rows whose times do not rise, and decide their duplicates."""
    falls = rows.timestamp_ms[1:] <= rows.timestamp_ms[:-1]
    falls[rows.offsets[1:-1] - 1] = False  # From one row to the next a time may fall.
    if not falls.any():
        return rows
    wrong = np.unique(np.searchsorted(rows.offsets, np.flatnonzero(falls), side="right") - 1)
    lengths = rows.lengths[wrong]
    at = spread(rows.offsets[wrong], lengths)
    order = at[_order_by_time(np.repeat(np.arange(wrong.size), lengths), rows.timestamp_ms[at])]
    timestamp_ms, value = rows.timestamp_ms.copy(), rows.value.copy()
    timestamp_ms[at], value[at] = timestamp_ms[order], value[order]
    is_same = timestamp_ms[1:] == timestamp_ms[:-1]
    is_same[rows.offsets[1:-1] - 1] = False
    if not is_same.any():
        return Rows(rows.row, rows.offsets, timestamp_ms, value)
    _decide(is_same, value)
    last = np.append(~is_same, True)
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(last)))[rows.offsets]
    return Rows(rows.row, offsets, timestamp_ms[last], value[last])

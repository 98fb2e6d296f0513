"""The arithmetic of rollups: samples to buckets, buckets to longer buckets, and parts of one bucket to one.

Pure, on whole columns. What each aggregate means: docs/format/rollup.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tsdb.interface import Aggregate
from tsdb.sample import Float64s, Int64s, is_stale
from tsdb.store.columns import Rows, spread

# Cells of the matrix in which running sums are made, a stretch of rows at a time: × 8 B = 32 MiB.
_MATRIX_CELLS_MAX = 1 << 22


class Buckets(NamedTuple):
    """The buckets of several rows, CSR-shaped as Rows; a bucket covers (time - resolution, time]."""

    row: Int64s
    offsets: Int64s
    timestamp_ms: Int64s
    columns: Mapping[Aggregate, Float64s]

    def rows(self, aggregate: Aggregate) -> Rows:
        return Rows(self.row, self.offsets, self.timestamp_ms, self.columns[aggregate])

    def of_rows(self, is_wanted: npt.NDArray[np.bool_]) -> Buckets:
        """Only some of the rows; is_wanted: by place in `row`."""
        if is_wanted.all():
            return self
        inside = np.repeat(is_wanted, np.diff(self.offsets))
        offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(np.diff(self.offsets)[is_wanted])))
        columns = {aggregate: column[inside] for aggregate, column in self.columns.items()}
        return Buckets(self.row[is_wanted], offsets, self.timestamp_ms[inside], columns)


def kept(rows: Rows, inside: npt.NDArray[np.bool_]) -> Rows:
    """Only some of the samples, and only rows that have some."""
    if inside.all():
        return rows
    before = np.concatenate((np.zeros(1, np.int64), np.cumsum(inside)))[rows.offsets]
    has_some = np.diff(before) > 0
    offsets = np.append(before[:-1][has_some], before[-1])
    return Rows(rows.row[has_some], offsets, rows.timestamp_ms[inside], rows.value[inside])


def bucket_ends(timestamp_ms: Int64s, resolution_ms: int | Int64s) -> Int64s:
    """The end of the bucket in which each time lies."""
    ends: Int64s = -(-timestamp_ms // resolution_ms) * resolution_ms
    return ends


def as_written(rows: Rows, window_end_ms: int) -> Rows:
    """Buckets as a block holds them: what ends at or after the end of its window stands 1 ms before, inside of both."""
    return rows._replace(timestamp_ms=np.minimum(rows.timestamp_ms, window_end_ms - 1))


def as_read(rows: Rows, resolution_ms: int) -> Rows:
    """Undo as_written()."""
    return rows._replace(timestamp_ms=bucket_ends(rows.timestamp_ms, resolution_ms))


def bucketed(
    rows: Rows, resolution_ms: int | Int64s, before: Float64s, counted_until_ms: Int64s | None = None
) -> Buckets:
    """The buckets of samples as they came.

    resolution_ms: of all samples, or of each; the ends of a row's buckets must rise.
    before: by row number, the last number of the series before its first sample here; NaN: none, so that the first
    sample is no increase.
    counted_until_ms: by row number, up to when other rollups have counted the increase; `before` stands at that time
    then, and samples up to it are no increase.
    """
    is_wanted = ~is_stale(rows.value)
    if not isinstance(resolution_ms, int):
        resolution_ms = resolution_ms[is_wanted]
    rows = kept(rows, is_wanted)
    value = rows.value
    if not value.size:
        empty = np.empty(0, np.float64)
        return Buckets(rows.row, rows.offsets, rows.timestamp_ms, dict.fromkeys(Aggregate, empty))
    ends = bucket_ends(rows.timestamp_ms, resolution_ms)
    starts = _starts(rows.offsets, ends)
    is_number = ~np.isnan(value)
    with np.errstate(over="ignore", invalid="ignore"):
        columns = {
            Aggregate.LAST: value[np.append(starts[1:], value.size) - 1],
            Aggregate.MIN: np.fmin.reduceat(value, starts),
            Aggregate.MAX: np.fmax.reduceat(value, starts),
            Aggregate.SUM: np.add.reduceat(np.where(is_number, value, 0.0), starts),
            Aggregate.COUNT: np.add.reduceat(is_number.astype(np.float64), starts),
            Aggregate.INCREASE: np.add.reduceat(_steps(rows, is_number, before, counted_until_ms), starts),
        }
    return Buckets(rows.row, np.searchsorted(starts, rows.offsets), ends[starts], columns)


def coarser(buckets: Buckets, resolution_ms: int) -> Buckets:
    """Buckets of a resolution that is a multiple of theirs."""
    if not buckets.timestamp_ms.size:
        return buckets
    ends = bucket_ends(buckets.timestamp_ms, resolution_ms)
    starts = _starts(buckets.offsets, ends)
    columns = {aggregate: _reduced(column, starts, aggregate) for aggregate, column in buckets.columns.items()}
    return Buckets(buckets.row, np.searchsorted(starts, buckets.offsets), ends[starts], columns)


def combined(parts: Sequence[Rows], row_count: int, aggregate: Aggregate) -> Rows:
    """One aggregate of several parts, in the rows 0 … row_count - 1; what two have of one bucket becomes one.

    parts: in the order in which their samples lie in a bucket that several have a part of, which decides the last.
    """
    parts = [part for part in parts if part.row.size]
    if not parts:
        return Rows.empty()
    if len(parts) == 1 and bool((parts[0].row[1:] > parts[0].row[:-1]).all()):
        return parts[0]
    rows = _in_order(_placed(parts, row_count))
    starts = _starts(rows.offsets, rows.timestamp_ms)
    if starts.size == rows.value.size:
        return rows
    value = _reduced(rows.value, starts, aggregate)
    return Rows(rows.row, np.searchsorted(starts, rows.offsets), rows.timestamp_ms[starts], value)


def running(rows: Rows, anchor: Float64s) -> Rows:
    """Increases of buckets as a counter: it rises by each increase, and ends at the anchor of its row.

    anchor: by place in rows.row; NaN: it starts from 0. Sums are made row by row, so that a large counter costs a
    small one no digits.
    """
    lengths = rows.lengths
    sums = np.empty(rows.value.size, np.float64)
    order = np.argsort(lengths, kind="stable")[::-1]  # The longest first, so that the rows of a stretch fit its width.
    at = 0
    while at < order.size:
        width = int(lengths[order[at]])
        some = order[at : at + max(1, _MATRIX_CELLS_MAX // width)]
        inside = np.arange(width) < lengths[some][:, None]
        source = spread(rows.offsets[some], lengths[some])
        matrix = np.zeros(inside.shape, np.float64)
        matrix[inside] = rows.value[source]
        sums[source] = np.cumsum(matrix, axis=1)[inside]
        at += some.size
    ends = sums[rows.offsets[1:] - 1]
    shift = np.where(np.isnan(anchor), 0.0, anchor - ends)
    return rows._replace(value=sums + np.repeat(shift, lengths))


def last_numbers(rows: Rows) -> Float64s:
    """The last value of each row that is not NaN; NaN, if there is none. Shape as rows.row."""
    found = np.full(rows.row.size, np.nan)
    is_number = ~np.isnan(rows.value)
    place = np.where(is_number, np.arange(rows.value.size), -1)
    if place.size:
        last = np.maximum.reduceat(place, rows.offsets[:-1])
        found[last >= 0] = rows.value[last[last >= 0]]
    return found


def _starts(offsets: Int64s, ends: Int64s) -> Int64s:
    """Where another bucket begins, or another row."""
    is_start = np.ones(ends.size, np.bool_)
    is_start[1:] = ends[1:] != ends[:-1]
    is_start[offsets[:-1]] = True
    return np.flatnonzero(is_start)


def _steps(rows: Rows, is_number: npt.NDArray[np.bool_], before: Float64s, counted_until_ms: Int64s | None) -> Float64s:
    """By sample: how much its counter has risen since the number before it; after a reset, since 0."""
    steps = np.zeros(rows.value.size, np.float64)
    at = np.flatnonzero(is_number)
    if not at.size:
        return steps
    value = rows.value[at]
    place = np.repeat(np.arange(rows.row.size), rows.lengths)[at]
    previous = np.empty(value.size, np.float64)
    previous[1:] = value[:-1]
    is_first = np.ones(value.size, np.bool_)
    is_first[1:] = place[1:] != place[:-1]
    is_counted = np.zeros(value.size, np.bool_)
    if counted_until_ms is not None:
        is_counted = rows.timestamp_ms[at] <= counted_until_ms[rows.row[place]]
        is_first[1:] |= is_counted[:-1] & ~is_counted[1:]
    previous[is_first] = before[rows.row[place[is_first]]]
    step = np.where(value < previous, np.maximum(value, 0.0), value - previous)
    step[is_counted] = 0.0
    step[~np.isfinite(step)] = 0.0  # The first sample of all, and what an infinite counter does.
    steps[at] = step
    return steps


def _reduced(column: Float64s, starts: Int64s, aggregate: Aggregate) -> Float64s:
    reduced: Float64s
    with np.errstate(over="ignore", invalid="ignore"):
        match aggregate:
            case Aggregate.LAST:
                reduced = column[np.append(starts[1:], column.size) - 1]
            case Aggregate.MIN:
                reduced = np.fmin.reduceat(column, starts)
            case Aggregate.MAX:
                reduced = np.fmax.reduceat(column, starts)
            case Aggregate.SUM | Aggregate.COUNT | Aggregate.INCREASE:
                reduced = np.add.reduceat(column, starts)
    return reduced


def _placed(parts: Sequence[Rows], row_count: int) -> Rows:
    """The samples of each row one part after another."""
    lengths = np.zeros(row_count, np.int64)
    for part in parts:
        lengths[part.row] += part.lengths
    ends = np.cumsum(lengths)
    filled = ends - lengths
    timestamp_ms, value = np.empty(int(ends[-1]), np.int64), np.empty(int(ends[-1]), np.float64)
    for part in parts:
        where = spread(filled[part.row], part.lengths)
        timestamp_ms[where], value[where] = part.timestamp_ms, part.value
        filled[part.row] += part.lengths
    row = np.flatnonzero(lengths)
    return Rows(row, np.append(ends[row] - lengths[row], ends[-1]), timestamp_ms, value)


def _in_order(rows: Rows) -> Rows:
    """Each row by time; what has one time keeps its order."""
    falls = rows.timestamp_ms[1:] < rows.timestamp_ms[:-1]
    falls[rows.offsets[1:-1] - 1] = False
    if not falls.any():
        return rows
    wrong = np.unique(np.searchsorted(rows.offsets, np.flatnonzero(falls), side="right") - 1)
    lengths = rows.lengths[wrong]
    at = spread(rows.offsets[wrong], lengths)
    order = at[np.lexsort((rows.timestamp_ms[at], np.repeat(wrong, lengths)))]
    timestamp_ms, value = rows.timestamp_ms.copy(), rows.value.copy()
    timestamp_ms[at], value[at] = rows.timestamp_ms[order], rows.value[order]
    return Rows(rows.row, rows.offsets, timestamp_ms, value)

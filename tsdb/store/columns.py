"""Columns of samples in order: the duplicate rule, sorting by (series, time), gathering of many ranges at once."""

from __future__ import annotations

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

    @staticmethod
    def joined(parts: list[Columns]) -> Columns:
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return Columns.empty()
        return Columns(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def taken(self, where: npt.NDArray[np.intp] | npt.NDArray[np.bool_] | slice) -> Columns:
        return Columns(self.series[where], self.timestamp_ms[where], self.value[where])


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
    kind, rank = value_rank(value[at])
    order = at[np.lexsort((rank, kind, timestamp_ms[at], series[at]))]
    timestamp_ms, value = timestamp_ms.copy(), value.copy()
    timestamp_ms[at], value[at] = timestamp_ms[order], value[order]
    last = np.ones(series.size, np.bool_)  # The last of equal times has the greatest value.
    last[:-1] = ~same_series | (timestamp_ms[1:] != timestamp_ms[:-1])
    return Columns(series[last], timestamp_ms[last], value[last])


def stable_order(series: Int32s) -> npt.NDArray[np.intp]:
    """The stable argsort of non-negative ids; sixteen bits at a time, where numpy has a radix sort."""
    rise_count = np.count_nonzero(series[1:] >= series[:-1])
    if rise_count > 0.98 * series.size:  # A few long rising stretches, which numpy's merge sort joins in few passes.
        return np.argsort(series, kind="stable")
    order = np.argsort((series & 0xFFFF).astype(np.uint16), kind="stable")
    high = (series >> 16).astype(np.uint16)
    return order[np.argsort(high[order], kind="stable")] if int(high.max()) else order


def spread(starts: Int64s, lengths: Int64s) -> Int64s:
    """The indices of many ranges, one after another: [start, start + length) for each."""
    if starts.size == 1:
        return np.arange(int(starts[0]), int(starts[0]) + int(lengths[0]), dtype=np.int64)
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if ends.size else 0
    indices = np.repeat(starts - (ends - lengths), lengths)
    indices += np.arange(total, dtype=np.int64)
    return indices


def offsets_of(series: Int32s) -> tuple[Int32s, Int64s]:
    """The distinct ids of a sorted column, and where each begins: int64[distinct + 1], from 0."""
    if not series.size:
        return np.empty(0, np.int32), np.zeros(1, np.int64)
    starts = np.flatnonzero(np.concatenate((np.ones(1, np.bool_), series[1:] != series[:-1])))
    return series[starts], np.append(starts, series.size).astype(np.int64)

"""The smallest and largest value of every window."""

from __future__ import annotations

import numpy as np

from tsdb.query.kernel.sums import TABLE_CELLS, VISITS_MAX, reduced_windows
from tsdb.query.kernel.windows import Windows, row_blocks
from tsdb.sample import Float64s, Int64s


def window_extremes(function: np.ufunc, windows: Windows) -> Float64s:
    """np.fmin or np.fmax of every window: NaN only where all values are; any value for an empty window."""
    value, first, end = windows.value, windows.first, windows.end
    if not value.size:
        return np.full(first.shape, np.nan)
    if int((end - first).sum()) <= VISITS_MAX * value.size:
        return reduced_windows(function, value, first, end, empty=np.nan)
    extremes = np.empty(first.shape)
    for rows in row_blocks(first.shape, TABLE_CELLS):
        low, high = int(first[rows].min()), int(end[rows].max())
        extremes[rows] = _table_extremes(function, value[low:high], first[rows] - low, end[rows] - low)
    return extremes


def window_extreme_times_ms(function: np.ufunc, windows: Windows) -> Int64s:
    """When the extreme occurred: its last occurrence; the last sample where all values are NaN."""
    found = np.zeros(windows.first.size, np.int64)
    for cell, index in windows.parts():
        value = windows.value[index]
        extreme = function.reduce(value, axis=1)[:, None]
        is_extreme = (value == extreme) | np.isnan(extreme)
        last = value.shape[1] - 1 - np.argmax(is_extreme[:, ::-1], axis=1)
        found[cell] = windows.time_ms_at(index[np.arange(cell.size), last])
    return found.reshape(windows.first.shape)


def _table_extremes(function: np.ufunc, value: Float64s, first: Int64s, end: Int64s) -> Float64s:
    """Two blocks of the greatest power of two within a window cover it; they may overlap, which does no harm here."""
    count = (end - first).reshape(-1)
    start, stop = first.reshape(-1), end.reshape(-1)
    extreme = np.full(count.shape, np.nan)
    block, table = 1, value
    while True:
        here = np.flatnonzero((count >= block) & (count < 2 * block))
        extreme[here] = function(table[start[here]], table[stop[here] - block])
        block *= 2
        if not (count >= block).any():
            return extreme.reshape(first.shape)
        half = block // 2
        table = function(table[:-half], table[half:])

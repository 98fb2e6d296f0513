"""Aggregations over windows that move along rows: sums and extremes by doubling, the rest in pieces.

A window of w points is put together of windows of 1, 2, 4, … points, so a row costs log2(w) passes and every sum is one
of its own values alone: nothing is taken away again that was too large for what remains.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tsdb.query.graphite.consolidation import aggregation
from tsdb.sample import Float64s

# Of the copy that an aggregation makes of its windows, for those that need all values at once.
_PIECE_BYTES_MAX = 64 << 20
# Rows that are worked on at once: what is made of them on the way stays in the caches of a core.
_CACHED_BYTES_MAX = 256 << 10
Join = Callable[[Float64s, Float64s], Float64s]


def over_windows(rows: Float64s, size: int, join: Join) -> Float64s:
    """(series, steps) → (series, steps - size + 1): what join makes of the values of each window, in their order."""
    count = rows.shape[-1] - size + 1
    if count <= 0:
        return np.empty((*rows.shape[:-1], 0))
    power, length, at, rest = rows, 1, 0, size
    found: Float64s | None = None
    while True:
        if rest & 1:
            part = power[..., at : at + count]
            found = part if found is None else join(found, part)
            at += length
        rest >>= 1
        if not rest:
            assert found is not None, size
            return found
        power = join(power[..., :-length], power[..., length:])
        length *= 2


def moving(rows: Float64s, size: int, name: str, x_files_factor: float) -> Float64s:
    """The aggregation of what is there of each window of so many points; NaN where that is too little."""
    if size <= 0:
        return np.full((*rows.shape[:-1], rows.shape[-1] + 1), np.nan)
    found = np.empty((rows.shape[0], max(0, rows.shape[1] - size + 1)))
    step = max(1, _CACHED_BYTES_MAX // (8 * max(1, rows.shape[1])))
    for start in range(0, rows.shape[0], step):
        found[start : start + step] = _moving(rows[start : start + step], size, name, x_files_factor)
    return found


def _moving(rows: Float64s, size: int, name: str, x_files_factor: float) -> Float64s:
    there = np.where(np.isnan(rows), 0.0, 1.0)
    counts = over_windows(there, size, np.add)
    enough = (counts > 0) & (counts >= x_files_factor * size)
    with np.errstate(all="ignore"):
        return np.where(enough, _aggregated(rows, counts, size, name), np.nan)


def _aggregated(rows: Float64s, counts: Float64s, size: int, name: str) -> Float64s:
    if name in ("average", "avg", "avg_zero", "sum", "total"):
        sums = over_windows(np.nan_to_num(rows, nan=0.0, posinf=np.inf, neginf=-np.inf), size, np.add)
        return sums if name in ("sum", "total") else sums / counts
    if name == "count":
        return counts
    if name in ("min", "max"):
        return over_windows(rows, size, np.fmin if name == "min" else np.fmax)
    if name in ("range", "rangeOf"):
        return over_windows(rows, size, np.fmax) - over_windows(rows, size, np.fmin)
    if name == "multiply":
        return over_windows(np.where(np.isnan(rows), 1.0, rows), size, np.multiply)
    if name in ("last", "current"):
        return over_windows(rows, size, lambda first, second: np.where(np.isnan(second), first, second))
    reduce = aggregation(name)
    step = max(1, _PIECE_BYTES_MAX // (8 * size * max(1, rows.shape[0])))
    windows = sliding_window_view(rows, size, axis=-1)
    edges = [*range(0, windows.shape[1], step), windows.shape[1]]
    return np.concatenate([reduce(windows[:, start:end]) for start, end in pairwise(edges)], axis=-1)

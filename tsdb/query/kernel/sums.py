"""Sums that do not lose small values beside large ones.

Where all values have one sign a plain sum is exact to a few units in the last place. Otherwise large values may cancel,
and Prometheus uses the Kahan–Neumaier sum; here the same is had by pairs of floats (value and rounding error), added in
a tree, which numpy can do for all windows at once.

Source: T. J. Dekker, "A floating-point technique for extending the available precision", 1971 (two_sum by Knuth).
"""

from __future__ import annotations

import numpy as np

from tsdb.query.kernel.windows import row_blocks
from tsdb.sample import Float64s, Int64s

# Beyond this many visits of each sample on average, adding overlapping windows one by one costs more than the table.
VISITS_MAX = 16
# With tables, what is held besides the result are 40 B for each of this many cells, and two columns of their samples.
TABLE_CELLS = 2**20

Pairs = tuple[Float64s, Float64s]
"""A sum and its rounding error; the exact value is closest to their sum."""


def may_cancel(value: Float64s) -> bool:
    """Whether adding these values can lose digits: both signs occur. NaN and empty columns cannot."""
    if not value.size:
        return False
    return bool(np.fmin.reduce(value, axis=None) < 0 < np.fmax.reduce(value, axis=None))


def add_pairs(left: Pairs, right: Pairs) -> Pairs:
    total = left[0] + right[0]
    right_part = total - left[0]
    error = (left[0] - (total - right_part)) + (right[0] - right_part) + left[1] + right[1]
    # An infinite or undefined total has no rounding error; without this an infinity would turn into NaN.
    error = np.where(np.isfinite(error), error, 0.0)
    rounded = total + error
    carried = error - (rounded - total)
    return rounded, np.where(np.isfinite(carried), carried, 0.0)


def window_sums(value: Float64s, first: Int64s, end: Int64s) -> Float64s:
    """The sum of value[first:end] for every window; 0 for an empty one. Shape as first."""
    if not value.size:
        return np.zeros(first.shape)
    cancels = may_cancel(value)
    if not cancels and int((end - first).sum()) <= VISITS_MAX * value.size:
        return reduced_windows(np.add, value, first, end, empty=0.0)
    sums = np.empty(first.shape)
    for rows in row_blocks(first.shape, TABLE_CELLS):
        low, high = int(first[rows].min()), int(end[rows].max())
        part = value[low:high]
        error = np.zeros_like(part) if cancels else None
        sums[rows] = _table_sums(part, error, first[rows] - low, end[rows] - low)
    return sums


def reduced_windows(function: np.ufunc, value: Float64s, first: Int64s, end: Int64s, *, empty: float) -> Float64s:
    """function.reduceat over every window, each on its own."""
    # The extra value makes an end at the very end of the column a legal index; it belongs to no window.
    padded = np.append(value, empty)
    reduced = np.empty(first.shape)
    for rows in row_blocks(first.shape):
        reduced[rows] = _reduced_rows(function, padded, first[rows], end[rows])
    reduced[end <= first] = empty
    return reduced


def _reduced_rows(function: np.ufunc, padded: Float64s, first: Int64s, end: Int64s) -> Float64s:
    """Any value for an empty window."""
    rows, steps = first.shape
    if steps > 1 and np.array_equal(first[:, 1:], end[:, :-1]):
        # Each window begins where the one before it ends, so nothing lies between them that would be reduced as well.
        edges = np.concatenate((first, end[:, -1:]), axis=1)
        return function.reduceat(padded, edges.reshape(-1)).reshape(rows, steps + 1)[:, :-1]
    bounds = np.empty((rows, steps, 2), np.int64)
    bounds[..., 0], bounds[..., 1] = first, end
    return function.reduceat(padded, bounds.reshape(-1))[::2].reshape(rows, steps)


def _table_sums(total: Float64s, error: Float64s | None, first: Int64s, end: Int64s) -> Float64s:
    """Every window is a run of blocks of 1, 2, 4 … samples, one for each bit of its length.

    The table of one block length comes from the table of half of it, so long and overlapping windows cost only the
    logarithm of their length.
    """
    place, left = first.reshape(-1).copy(), (end - first).reshape(-1)
    sums, errors = np.zeros(place.size), np.zeros(place.size)
    block = 1
    while True:
        taking = np.flatnonzero(left & block)
        at = place[taking]
        if error is None:
            sums[taking] += total[at]
        else:
            sums[taking], errors[taking] = add_pairs((sums[taking], errors[taking]), (total[at], error[at]))
        place[taking] += block
        left[taking] -= block
        block *= 2
        if not left.any():
            break
        half = block // 2
        if error is None:
            total = total[:-half] + total[half:]
        else:
            total, error = add_pairs((total[:-half], error[:-half]), (total[half:], error[half:]))
    return (sums + errors).reshape(first.shape)


def window_means(value: Float64s, first: Int64s, end: Int64s) -> Float64s:
    """The mean of every window; any value for an empty one. A sum beyond the range of a float does not spoil it."""
    count = np.maximum(end - first, 1)
    scale = scale_for(value)
    means: Float64s = window_sums(value * scale if scale != 1.0 else value, first, end) / count / scale
    return means


def scale_for(value: Float64s) -> float:
    """A power of two by which values are multiplied, exactly, so that the sum of 2^64 of them stays finite."""
    if not value.size:
        return 1.0
    finite = np.where(np.isfinite(value), value, 0.0) if not np.isfinite(value.max() - value.min()) else value
    return 2.0**-64 if float(np.abs(finite).max()) > 2.0**958 else 1.0

"""What statsd derives from the values of timers, for all timers with equally many values at once.

Sums run over the sorted values from the smallest on, as statsd's do, so that they agree to the last bit: hence a
running sum along each row in place of numpy's pairwise one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tsdb.ingest.statsd.rules import Rules, number_text
from tsdb.sample import Float64s, Int64s

# The tables of one group are some ten times its values; a group is worked on in pieces of so many.
_PIECE_VALUES_COUNT = 1_000_000


def groups(ids: Int64s, values: Float64s) -> Iterator[tuple[Int64s, Float64s]]:
    """The values by timer: (ids, one row of sorted values each), for each number of values that some timer has.

    There are few such groups: of n values, at most √2n.
    """
    order = np.lexsort((values, ids))
    ids, values = ids[order], values[order]
    found, starts, counts = np.unique(ids, return_index=True, return_counts=True)
    for count in np.unique(counts).tolist():
        here = np.flatnonzero(counts == count)
        step = max(1, _PIECE_VALUES_COUNT // count)
        for at in range(0, here.size, step):
            piece = here[at : at + step]
            yield found[piece], values[starts[piece][:, None] + np.arange(count)]


def derived(rows: Float64s, sampled_count: Float64s, rules: Rules) -> Iterator[tuple[str, Float64s]]:
    """The figures of timers, a row of sorted values each, in statsd's order. sampled_count: by sample rates."""
    count = rows.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):
        sums, squares = np.cumsum(rows, axis=1), np.cumsum(rows * rows, axis=1)
        for percent in rules.percentiles:
            yield from _threshold(rows, sums, squares, percent)
        mean = sums[:, -1] / count
        off = rows - mean[:, None]
        middle = count // 2
        yield "std", np.sqrt(np.cumsum(off * off, axis=1)[:, -1] / count)
        yield "upper", rows[:, -1]
        yield "lower", rows[:, 0]
        yield "count", sampled_count
        yield "count_ps", sampled_count / (rules.flush_interval_ms / 1000)
        yield "sum", sums[:, -1]
        yield "sum_squares", squares[:, -1]
        yield "mean", mean
        yield "median", rows[:, middle] if count % 2 else (rows[:, middle - 1] + rows[:, middle]) / 2


def _threshold(rows: Float64s, sums: Float64s, squares: Float64s, percent: float) -> Iterator[tuple[str, Float64s]]:
    count = rows.shape[1]
    within = count if count == 1 else math.floor(abs(percent) / 100 * count + 0.5)
    if not within:
        return
    if percent > 0 or count == 1:
        boundary, total, total_squares = rows[:, within - 1], sums[:, within - 1], squares[:, within - 1]
    else:
        boundary = rows[:, count - within]
        # Of all values: statsd takes away what stands before the first, and that is no number.
        before, before_squares = (
            (sums[:, count - within - 1], squares[:, count - within - 1]) if within < count else (np.nan, np.nan)
        )
        total, total_squares = sums[:, -1] - before, squares[:, -1] - before_squares
    text = number_text(percent)
    yield f"count_{text}", np.full(rows.shape[0], float(within))
    yield f"mean_{text}", total / within
    yield f"{'upper' if percent > 0 else 'lower'}_{text}", boundary
    yield f"sum_{text}", total
    yield f"sum_squares_{text}", total_squares


def binned(rows: Float64s, bins: tuple[float, ...]) -> Iterator[tuple[str, Float64s]]:
    """How many values each bin has; a bin begins where the one before it ended."""
    before = np.zeros(rows.shape[0])
    for bound in bins:
        below = rows.shape[1] if bound == math.inf else np.count_nonzero(rows < bound, axis=1)
        until = np.maximum(before, below)
        yield f"bin_{number_text(bound)}", until - before
        before = until

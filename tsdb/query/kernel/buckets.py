"""Classic histograms at all steps at once: cumulative counts by upper bound, as (histograms, buckets, steps).

Loops run over the buckets of a histogram, a few dozen at most, for all histograms and steps together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tsdb.query.kernel.groups import Grouping, any_present, reduce_rows
from tsdb.query.kernel.steps import Bools, Cells
from tsdb.sample import Float64s, Int64s

# Neighbouring counts that differ relatively by less are taken for equal: float errors of sums and rates.
SMALL_DELTA = 1e-12


@dataclass(frozen=True, slots=True)
class Buckets:
    """Histograms padded to the same number of buckets; padding is absent at every step, with the bound NaN.

    Invariant: the bounds of one histogram rise.
    """

    bound: Float64s  # (histograms, buckets)
    count: Float64s  # (histograms, buckets, steps), cumulative; 0 where absent.
    present: Bools  # (histograms, buckets, steps)

    @staticmethod
    def of(cells: Cells, histogram: Int64s, bound: Float64s, histogram_count: int) -> Buckets:
        """From one row for each bucket: the histogram it belongs to, from 0, and its upper bound."""
        order = np.lexsort((bound, histogram))
        histogram, bound, cells = histogram[order], bound[order], cells.rows(order)
        if (even := Buckets._even(cells, histogram, bound, histogram_count)) is not None:
            return even
        is_new = np.ones(histogram.size, np.bool_)
        is_new[1:] = (histogram[1:] != histogram[:-1]) | (bound[1:] != bound[:-1])
        # Rows with the same bound, such as le="1" and le="1.0", are one bucket: their counts are added.
        merged = Grouping(np.cumsum(is_new) - 1, int(is_new.sum()))
        count = reduce_rows(np.add, np.where(cells.present, cells.value, 0.0), merged)
        present = any_present(cells.present, merged)
        histogram, bound = histogram[is_new], bound[is_new]
        place = np.arange(histogram.size) - np.searchsorted(histogram, histogram)
        shape = (histogram_count, int(place.max()) + 1)
        padded = (
            np.full(shape, np.nan),
            np.zeros((*shape, count.shape[1])),
            np.zeros((*shape, count.shape[1]), np.bool_),
        )
        for target, source in zip(padded, (bound, count, present), strict=True):
            target[histogram, place] = source
        return Buckets(*padded)

    @staticmethod
    def _even(cells: Cells, histogram: Int64s, bound: Float64s, histogram_count: int) -> Buckets | None:
        """Of ordered rows, if all histograms have as many buckets, each of them once, else None: nothing is moved."""
        width, rest = divmod(histogram.size, histogram_count)
        if rest or (histogram.reshape(-1, width) != np.arange(histogram_count)[:, None]).any():
            return None
        bounds = bound.reshape(-1, width)
        if not (bounds[:, 1:] > bounds[:, :-1]).all():
            return None
        count = cells.value if cells.present.all() else np.where(cells.present, cells.value, 0.0)
        shape = (histogram_count, width, cells.value.shape[1])
        return Buckets(bounds, count.reshape(shape), cells.present.reshape(shape))

    def common_bounds(self) -> Float64s | None:
        """The bounds of every histogram, if all have the same up to +Inf, and at each step all of them or none."""
        first = self.bound[0]
        is_common = first.size > 1 and np.isposinf(first[-1]) and bool(np.isfinite(first[:-1]).all())
        is_whole = is_common and bool((self.present == self.present[:, :1]).all())
        return first if is_whole and (self.bound == first).all() else None

    def rises(self) -> bool:
        """Whether every bucket counts as many observations as the one below it, or plainly more."""
        low, high = self.count[:, :-1], self.count[:, 1:]
        gap = high - low
        least = np.abs(high)
        least += np.abs(low)
        least *= 2 * SMALL_DELTA
        return bool(((gap > least) | (gap == 0)).all())

    def observations(self) -> tuple[Float64s, Bools]:
        """The count of the highest bucket, and whether that bucket reaches up to +Inf, as it must."""
        rank = np.where(self.present, np.arange(1, self.bound.shape[1] + 1)[None, :, None], 0)
        highest = np.maximum(rank.max(axis=1) - 1, 0)
        total = np.take_along_axis(self.count, highest[:, None, :], axis=1)[:, 0]
        bound = np.take_along_axis(self.bound, highest, axis=1)
        return total, np.isposinf(bound)

    def any_present(self) -> Bools:
        present: Bools = np.logical_or.reduce(self.present, axis=1)
        return present


def monotonic(buckets: Buckets) -> tuple[Buckets, Bools]:
    """Counts that fall with the bound, or rise by next to nothing, are set to the one before.

    With them, by histogram and step: whether a count fell by more than an error of rounding.
    """
    count = buckets.count.copy()
    before = np.full((count.shape[0], count.shape[2]), -np.inf)
    forced = np.zeros(before.shape, np.bool_)
    for i in range(count.shape[1]):
        here, present = count[:, i], buckets.present[:, i]
        gap = np.abs(here - before) / (np.abs(here) + np.abs(before))
        falls, is_same = here < before, gap < SMALL_DELTA
        comparable = present & np.isfinite(before)
        forced |= comparable & falls & ~is_same
        level = comparable & (falls | is_same)
        here[level] = before[level]
        before = np.where(present, here, before)
    return Buckets(buckets.bound, count, buckets.present), forced


def bucket_quantiles(buckets: Buckets, phi: Float64s) -> tuple[Cells, Bools]:
    """The phi[step]-quantile, linear within its bucket, and where counts were forced to rise to get it.

    Source: Prometheus promql/quantile.go, BucketQuantile.
    """
    if (bounds := buckets.common_bounds()) is not None and buckets.rises():
        quantile, is_forced = _looked_up(buckets.count, bounds, phi), np.zeros(phi.shape, np.bool_)
    else:
        quantile, is_forced = _searched(buckets, phi)
    outside = np.select([phi < 0, phi > 1], [-np.inf, np.inf], np.nan)
    inside = (phi >= 0) & (phi <= 1)
    forced = np.broadcast_to(is_forced & inside, quantile.shape)
    return Cells(np.where(inside, quantile, outside), buckets.any_present()), forced


def _searched(buckets: Buckets, phi: Float64s) -> tuple[Float64s, Bools]:
    """bucket_quantiles() for 0 <= phi <= 1, whatever the buckets are."""
    buckets, forced = monotonic(buckets)
    total, is_complete = buckets.observations()
    rank = phi * total
    quantile = np.full(total.shape, np.nan)
    found = np.zeros(total.shape, np.bool_)
    low_count, low_bound = np.zeros(total.shape), np.full(total.shape, np.nan)
    for i in range(buckets.bound.shape[1]):
        bound, count = np.broadcast_to(buckets.bound[:, i, None], total.shape), buckets.count[:, i]
        finite = buckets.present[:, i] & np.isfinite(bound)
        here = finite & ~found & (count >= rank)
        is_lowest = np.isnan(low_bound)
        start = np.where(is_lowest, 0.0, low_bound)
        within = start + (bound - start) * ((rank - low_count) / (count - low_count))
        quantile[here] = np.where(is_lowest & (bound <= 0), bound, within)[here]
        found |= here
        low_count, low_bound = np.where(finite, count, low_count), np.where(finite, bound, low_bound)
    # Beyond every finite bound, the highest of them is the best that can be said; with none there is nothing.
    quantile = np.where(found, quantile, low_bound)
    quantile = np.where(is_complete & (total != 0) & ~np.isnan(low_bound), quantile, np.nan)
    return quantile, forced & is_complete


def _looked_up(count: Float64s, bound: Float64s, phi: Float64s) -> Float64s:
    """The same, where all histograms have these bounds and no count falls: as many as lie below a rank, there it is."""
    total = count[:, -1]
    rank = phi * total
    place = np.zeros(total.shape, np.int64)
    for i in range(bound.size - 1):
        place += count[:, i] < rank
    highest = bound.size - 2  # Of the finite bounds.
    here = np.minimum(place, highest)
    below = np.maximum(here - 1, 0)
    is_lowest = here == 0
    low_count = np.where(is_lowest, 0.0, _at(count, below))
    start = np.where(is_lowest, 0.0, bound[below])
    quantile = start + (bound[here] - start) * ((rank - low_count) / (_at(count, here) - low_count))
    if bound[0] <= 0:
        quantile[is_lowest] = bound[0]
    quantile[place > highest] = bound[highest]
    quantile[total == 0] = np.nan
    return quantile


def _at(count: Float64s, bucket: Int64s) -> Float64s:
    """The count of one bucket for every (histogram, step)."""
    taken: Float64s = np.take_along_axis(count, bucket[:, None], axis=1)[:, 0]
    return taken


def bucket_fractions(buckets: Buckets, lower: Float64s, upper: Float64s) -> Cells:
    """The share of observations in (lower[step], upper[step]], linear within buckets."""
    total, is_complete = buckets.observations()
    fraction = (_ranks(buckets, upper, total) - _ranks(buckets, lower, total)) / total
    fraction = np.where(lower >= upper, 0.0, fraction)
    usable = is_complete & (total != 0) & ~np.isnan(lower) & ~np.isnan(upper)
    return Cells(np.where(usable, fraction, np.nan), buckets.any_present())


def _ranks(buckets: Buckets, value: Float64s, total: Float64s) -> Float64s:
    """How many observations lie below the value. Source: Prometheus promql/quantile.go, BucketFraction."""
    rank, found = total.copy(), np.zeros(total.shape, np.bool_)
    low_count, low_bound = np.zeros(total.shape), np.full(total.shape, np.nan)
    for i in range(buckets.bound.shape[1]):
        bound, count = np.broadcast_to(buckets.bound[:, i, None], total.shape), buckets.count[:, i]
        present = buckets.present[:, i]
        # The lowest bucket begins at 0 if it ends above it, and has no beginning otherwise.
        start = np.where(np.isnan(low_bound), np.where(bound > 0, 0.0, -np.inf), low_bound)
        at_start = present & ~found & (start >= value)
        within = present & ~found & ~at_start & (bound > value)
        inside = low_count + (count - low_count) * (value - start) / (bound - start)
        inside = np.where(np.isneginf(start), count, inside)
        rank = np.where(at_start, low_count, np.where(within, inside, rank))
        found |= at_start | within
        low_count, low_bound = np.where(present, count, low_count), np.where(present, bound, low_bound)
    return np.minimum(rank, total)

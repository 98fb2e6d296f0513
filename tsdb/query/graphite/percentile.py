"""Percentiles as graphite-web has them: of the values that are there, by rank from the smallest."""

from __future__ import annotations

import numpy as np

from tsdb.sample import Float64s


def percentile(values: Float64s, n: float, *, interpolate: bool = False) -> Float64s:
    """The n-th percentile along the last axis; NaN where nothing is there. Rank: n % of one more than there are."""
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan)
    ordered = np.sort(values, axis=-1)  # NaN goes to the end.
    counts = np.count_nonzero(~np.isnan(values), axis=-1)
    fraction = n / 100.0 * (counts + 1)
    rank = np.floor(fraction).astype(np.int64)
    remainder = fraction - rank
    if not interpolate:
        rank = rank + (remainder > 0)
    last = np.maximum(counts - 1, 0)
    place = np.clip(rank - 1, 0, last)
    place = np.where(rank == 0, 0, np.where(rank - 1 == counts, last, place))
    found = np.take_along_axis(ordered, place[..., None], axis=-1)[..., 0]
    if interpolate:
        following = np.take_along_axis(ordered, np.minimum(place + 1, last)[..., None], axis=-1)[..., 0]
        found = np.where(rank < counts, found + remainder * (following - found), found)
    return np.where(counts > 0, found, np.nan)

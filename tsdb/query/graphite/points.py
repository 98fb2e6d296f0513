"""As many points as can be shown: what maxDataPoints makes of series, as graphite-web's JSON has it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tsdb.query.graphite.consolidation import consolidated
from tsdb.query.graphite.series import Series


def fitted(group: Sequence[Series], points_max: int | None) -> list[Series]:
    """Series with at most so many points, each by its own consolidation.

    Bands of points begin at multiples of their length, so that a graph does not tremble when it is drawn again a moment
    later; the points before the first whole band are left out.
    """
    if not group or points_max is None:
        return list(group)
    if points_max == 1:
        return [_as_one(one) for one in group]
    span_s = max(one.end_s for one in group) - min(one.start_s for one in group)
    return [_fitted(one, span_s, points_max) for one in group]


def _as_one(one: Series) -> Series:
    values = consolidated(one.values, max(1, one.values.size), one.consolidate_by, one.x_files_factor)
    return one.but(values=values[:1], step_s=max(one.end_s - one.start_s, 1))


def _fitted(one: Series, span_s: int, points_max: int) -> Series:
    count = span_s / one.step_s
    if points_max >= count:
        return one
    per_point = math.ceil(count / points_max)
    band_s = per_point * one.step_s
    nudge_s = band_s + one.start_s % one.step_s - one.start_s % band_s
    dropped = max(0, nudge_s // one.step_s - 1)
    values = consolidated(one.values[dropped:], per_point, one.consolidate_by, one.x_files_factor)
    return one.but(start_s=one.start_s + nudge_s, step_s=band_s, values=values)

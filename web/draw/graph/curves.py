"""Series as they are drawn: whose axis, which colour, and the heights between which an area lies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tsdb.answer import RenderedSeries
from tsdb.sample import Float64s
from web.draw.graph.colors import Color, color
from web.draw.graph.errors import BadPicture
from web.draw.graph.wanted import Wanted


@dataclass(slots=True, kw_only=True)
class Curve:
    """values: NaN for gaps, never infinite. base: where its area begins, None for the axis; without one no area."""

    name: str
    start_s: float
    step_s: float
    values: Float64s
    color: Color
    is_right: bool
    is_invisible: bool
    is_vertical: bool  # Lines over the whole height instead of a curve.
    has_area: bool
    width: float
    dash: float | None
    base: Float64s | None = None

    @property
    def last_s(self) -> float:
        return self.start_s + self.step_s * max(0, self.values.size - 1)

    @property
    def has_values(self) -> bool:
        return not np.isnan(self.values).all()


def curves(series: Sequence[RenderedSeries], wanted: Wanted) -> list[Curve]:
    """In their order. Raises: BadPicture, for a colour that is none."""
    colors = itertools.cycle(wanted.lines)
    found = [_curve(one, index, wanted, colors) for index, one in enumerate(series)]
    for is_right in (False, True):
        _stack([one for one in found if one.has_area and one.is_right is is_right], wanted)
    return found


def _curve(one: RenderedSeries, index: int, wanted: Wanted, colors: Any) -> Curve:
    options = one.options
    is_right = bool(options.get("secondYAxis"))
    side = wanted.right if is_right else wanted.left
    chosen = color(str(options["color"])) if options.get("color") else side.color or next(colors)
    values = np.where(np.isfinite(one.values), one.values, np.nan)
    is_vertical = bool(options.get("drawAsInfinite"))
    if wanted.null_as_zero and not is_vertical:
        values = np.nan_to_num(values, nan=0.0)
    is_area = wanted.area_mode in ("all", "stacked") or (wanted.area_mode == "first" and index == 0)
    return Curve(
        name=one.name,
        start_s=one.start_s,
        step_s=one.step_s,
        values=values,
        color=chosen.faded(_number(options, "alpha", 1.0)),
        is_right=is_right,
        is_invisible=bool(options.get("invisible")),
        is_vertical=is_vertical,
        has_area=not is_vertical and (is_area or bool(options.get("stacked"))),
        width=min(_number(options, "lineWidth", side.width_px or wanted.line_width), 1_000.0),
        dash=_number(options, "dashed", side.dash_px or 0.0) or None,
    )


def _number(options: dict[str, Any], name: str, default: float) -> float:
    """Raises: BadPicture, for what a function was given that cannot be drawn."""
    found = options.get(name)
    if found is None:
        return default
    if not isinstance(found, int | float) or not math.isfinite(found) or found < 0:
        raise BadPicture(f"{name}: {found!r} is no number of at least 0")
    return float(found)


def _stack(areas: Sequence[Curve], wanted: Wanted) -> None:
    """Set bases: each area lies on those before it. With areaMode=stacked the values are added up, too.

    Those that stacked() and areaBetween() make have been added up already.
    """
    if wanted.area_mode in ("first", "all") or len(areas) < 2:
        return
    start_s, step_s = min(one.start_s for one in areas), min(one.step_s for one in areas)
    count = round((max(one.last_s for one in areas) - start_s) / step_s) + 1
    height = np.full(count, np.nan)
    times_s = (start_s + step_s * np.arange(count)).astype(np.float64)
    for one in areas:
        own = _resampled(one, times_s)
        base = height.copy()
        if wanted.area_mode == "stacked":
            own = own + np.nan_to_num(height, nan=0.0)
        one.start_s, one.step_s, one.values, one.base = start_s, step_s, own, base
        height = np.where(np.isnan(own), height, own)


def _resampled(one: Curve, times_s: Float64s) -> Float64s:
    """Its values at other times, each held for its step."""
    if not one.values.size:
        return np.full(times_s.size, np.nan)
    at = np.floor((times_s - one.start_s) / one.step_s).astype(np.int64)
    is_there = (at >= 0) & (at < one.values.size)
    found: Float64s = np.where(is_there, one.values[np.clip(at, 0, one.values.size - 1)], np.nan)
    return found

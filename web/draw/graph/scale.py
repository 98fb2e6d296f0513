"""The scale of a value axis: from where to where, with ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tsdb.sample import Float64s
from web.draw.graph import units

ROOM_PX = 26  # Between two ticks, at least.
TICK_COUNT_MAX = 12
_TIME_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400)
_EXTREME = 1e300  # Wider ranges than this would overflow when they are subtracted.
_STEPS_TRIED_MAX = 60
LOG_BASE_MIN, LOG_BASE_MAX = 1.1, 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What of an axis is given, by whom draws it; None for what the values decide."""

    low: float | None = None
    high: float | None = None
    limit: float | None = None  # The top is not above it, whatever the values.
    step: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Invariant: bottom < top; ticks rise and lie within."""

    bottom: float
    top: float
    ticks: list[float]
    labels: list[str]
    minor: list[float] = field(default_factory=list)  # Between the ticks.
    log_base: float | None = None

    def shares(self, values: Float64s) -> Float64s:
        """Where values lie, 0 at the bottom and 1 at the top; NaN for those that have no place."""
        with np.errstate(all="ignore"):
            if self.log_base is None:
                found: Float64s = (values - self.bottom) / (self.top - self.bottom)
                return found
            positive = np.where(values > 0, values, np.nan)
            low, high = math.log(self.bottom), math.log(self.top)
            logs: Float64s = (np.log(positive) - low) / (high - low)
            return logs


def linear(
    low: float, high: float, bounds: Bounds, *, height_px: float, system: str = "si", minor_count: int = 1
) -> Scale:
    """For values from low to high; both NaN for none."""
    low, high = _range(low, high, bounds)
    count_max = min(max(2, int(height_px // ROOM_PX)), TICK_COUNT_MAX)
    step = bounds.step or _step(low, high, count_max, system)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if last - first > 10 * TICK_COUNT_MAX:  # A step that is given, and far too small.
        step = _step(low, high, count_max, system)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    bottom = low if bounds.low is not None else first * step
    top = high if bounds.high is not None else max(last, first + 1) * step
    if not bottom < top:  # The last digits of very large numbers.
        bottom, top = low, high
    slack = 1e-9 * (top - bottom)
    ticks = [index * step for index in range(first, last + 1) if bottom - slack <= index * step <= top + slack]
    parts = minor_count + 1
    minor = [(index + part / parts) * step for index in range(first, last + 1) for part in range(1, parts)]
    return Scale(
        bottom=bottom,
        top=top,
        ticks=ticks,
        labels=units.labels(ticks, step, system),
        minor=[one for one in minor if bottom < one < top],
    )


def logarithmic(low: float, high: float, bounds: Bounds, base: float, *, height_px: float, system: str = "si") -> Scale:
    """For values above 0 alone: the others have no place."""
    low = bounds.low if bounds.low is not None and bounds.low > 0 else low if low > 0 else math.nan
    high = bounds.high if bounds.high is not None and bounds.high > 0 else high
    if math.isnan(low) or not high > 0:
        low, high = 1.0, base
    low, high = min(max(low, 1 / _EXTREME), _EXTREME), min(max(high, 1 / _EXTREME), _EXTREME)
    first = math.floor(math.log(low, base) + 1e-9)
    last = max(math.ceil(math.log(high, base) - 1e-9), first + 1)
    stride = max(1, math.ceil((last - first) / max(2, min(height_px // ROOM_PX, TICK_COUNT_MAX))))
    exponents = [one for one in range(first, last + 1, stride) if abs(one * math.log10(base)) < 300]
    ticks = [float(base) ** one for one in exponents]
    return Scale(
        bottom=float(base) ** first,
        top=float(base) ** last,
        ticks=ticks,
        labels=[units.short(one, system) for one in ticks],
        log_base=base,
    )


def _range(low: float, high: float, bounds: Bounds) -> tuple[float, float]:
    """Finite, low below high; around values that are all the same, so that their line is not the frame."""
    if math.isnan(low):
        low, high = 0.0, 1.0
    elif low == high and bounds.low is None and bounds.high is None:
        room = abs(low) / 10
        low, high = (low - room, high + room) if room else (0.0, 1.0)
    low = low if bounds.low is None else bounds.low
    high = high if bounds.high is None else bounds.high
    if bounds.limit is not None:
        high = min(high, bounds.limit)
    low, high = min(max(low, -_EXTREME), _EXTREME), min(max(high, -_EXTREME), _EXTREME)
    if not high - low > abs(low) * 1e-14:
        high = low + max(1.0, abs(low) / 10) if bounds.high is None else high
        low = low if high > low else high - max(1.0, abs(high) / 10)
    return low, high


def _step(low: float, high: float, count_max: int, system: str) -> float:
    """The smallest round step that needs no more than so many."""
    wanted = (high - low) / count_max
    step = wanted
    for step in _round_steps(wanted, system):
        if math.ceil(high / step - 1e-9) - math.floor(low / step + 1e-9) <= count_max:
            break
    return step


def _round_steps(at_least: float, system: str) -> Iterator[float]:
    """Rising, from one that is at least so large."""
    scale = 1 if system == "sec" else 1_000
    if system in ("sec", "msec") and at_least >= scale:
        yield from (float(one * scale) for one in _TIME_STEPS_S if one * scale >= at_least)
        yield from _decimal_steps(at_least / (86_400 * scale), 86_400.0 * scale)
    elif system == "binary" and at_least >= 1:
        exponent = math.ceil(math.log2(at_least))
        yield from (2.0 ** (exponent + more) for more in range(_STEPS_TRIED_MAX) if exponent + more < 1_000)
    else:
        yield from _decimal_steps(at_least, 1.0)


def _decimal_steps(at_least: float, unit: float) -> Iterator[float]:
    exponent = math.floor(math.log10(at_least))
    for more in range(_STEPS_TRIED_MAX // 4):
        for digits in (1.0, 2.0, 2.5, 5.0):
            if (step := digits * 10.0 ** (exponent + more)) >= at_least * (1 - 1e-9):
                yield step * unit

"""Values changed by those around them: differences, sums so far, gaps that are filled."""

from __future__ import annotations

import math

import numpy as np

from tsdb.query.graphite.attime import seconds_of
from tsdb.query.graphite.context import Invocation
from tsdb.query.graphite.errors import BadTarget
from tsdb.query.graphite.functions.transform import changed
from tsdb.query.graphite.registry import SERIES_LIST, Kind, function, optional, required
from tsdb.query.graphite.series import Series
from tsdb.sample import Float64s, Int64s

GROUP = "Transform"
MAX_VALUE, MIN_VALUE = optional("maxValue", Kind.FLOAT), optional("minValue", Kind.FLOAT)
LIMIT = optional("limit", Kind.INTEGER_OR_INF, "Infinity")


def before(values: Float64s) -> Float64s:
    """What each value follows directly; NaN for the first."""
    found = np.full_like(values, np.nan)
    found[..., 1:] = values[..., :-1]
    return found


@function("derivative", group=GROUP, parameters=[SERIES_LIST])
def derivative(call: Invocation, group: list[Series]) -> list[Series]:
    """The difference from one value to the next."""
    return changed(group, lambda values: values - before(values), "derivative({})", ("derivative", "1"))


def risen(values: Float64s, most: float | None, least: float | None) -> Float64s:
    """By how much a counter has risen since the value before; what wraps at `most` begins again at `least` or 0."""
    previous = before(values)
    if most is not None:
        previous = np.where(before(values) > most, np.nan, previous)
    difference = values - previous
    floor = 0.0 if least is None else least
    if most is not None:
        wrapped = (most - previous) + (values - floor) + 1
        difference = np.where(difference < 0, wrapped, difference)
        difference = np.where(values > most, np.nan, difference)
    elif least is not None:
        difference = np.where((difference < 0) & (values >= least), values - least, difference)
    if least is not None:
        difference = np.where(values < least, np.nan, difference)
    return np.where(difference < 0, np.nan, difference)


@function("nonNegativeDerivative", group=GROUP, parameters=[SERIES_LIST, MAX_VALUE, MIN_VALUE])
def non_negative_derivative(
    call: Invocation, group: list[Series], most: float | None, least: float | None
) -> list[Series]:
    """By how much a counter has risen since the value before; nothing where it has fallen."""
    return changed(
        group,
        lambda values: risen(values, most, least),
        "nonNegativeDerivative({})",
        ("nonNegativeDerivative", "1"),
    )


@function("perSecond", group=GROUP, parameters=[SERIES_LIST, MAX_VALUE, MIN_VALUE])
def per_second(call: Invocation, group: list[Series], most: float | None, least: float | None) -> list[Series]:
    """How fast a counter rises, a second, to the millionth."""
    return [
        made
        for one in group
        for made in changed(
            [one],
            lambda values, step_s=one.step_s: np.round(risen(values, most, least) / step_s, 6),  # type: ignore[misc]
            "perSecond({})",
            ("perSecond", "1"),
        )
    ]


def summed(values: Float64s) -> Float64s:
    """The sum up to each value; nothing where there is no value."""
    there = ~np.isnan(values)
    return np.where(there, np.cumsum(np.where(there, values, 0), axis=-1), np.nan)


@function("integral", group=GROUP, parameters=[SERIES_LIST])
def integral(call: Invocation, group: list[Series]) -> list[Series]:
    """The sum of all values so far."""
    return changed(group, summed, "integral({})", ("integral", "1"))


@function("integralByInterval", group=GROUP, parameters=[SERIES_LIST, required("intervalUnit", Kind.STRING)])
def integral_by_interval(call: Invocation, group: list[Series], interval: str) -> list[Series]:
    """The sum of the values so far, which begins anew with each interval after the start of the range."""
    interval_s = abs(seconds_of(interval))
    if not interval_s:
        raise BadTarget(f"integralByInterval(): the interval {interval!r} is empty")
    found = []
    for one in group:
        times = one.start_s + one.step_s * np.arange(one.values.size)
        turn = (times - call.context.start_s) // interval_s
        total = np.cumsum(np.where(np.isnan(one.values), 0, one.values))
        begins = np.flatnonzero(np.diff(turn, prepend=turn[0] - 1 if turn.size else 0))
        base = np.concatenate(([0.0], total))[begins]
        values = total - np.repeat(base, np.diff(np.append(begins, one.values.size)))
        name = f"integralByInterval({one.name},'{interval}')"
        found.append(one.but(name=name, path=name, values=values))
        found[-1].tags["integralByInterval"] = interval
    return found


def _last_place(values: Float64s) -> Int64s:
    """Where the newest value up to each place stands; -1 before the first."""
    places = np.where(np.isnan(values), -1, np.arange(values.shape[-1]))
    return np.asarray(np.maximum.accumulate(places, axis=-1), np.int64)


@function("keepLastValue", group=GROUP, parameters=[SERIES_LIST, LIMIT])
def keep_last_value(call: Invocation, group: list[Series], limit: float | str) -> list[Series]:
    """Gaps of at most so many points filled with the value before them."""
    most = math.inf if isinstance(limit, str) else limit

    def kept(values: Float64s) -> Float64s:
        last = _last_place(values)
        found = np.take_along_axis(values, np.maximum(last, 0), axis=-1)
        return np.where((last >= 0) & (_gap_lengths(values, is_open_counted=True) <= most), found, np.nan)

    return changed(group, kept, "keepLastValue({})")


def _gap_lengths(values: Float64s, *, is_open_counted: bool) -> Float64s:
    """By place: how long the gap is in which it lies, 0 outside of gaps; infinite for one that does not end, or its
    length where that counts."""
    size = values.shape[-1]
    last = _last_place(values)
    following = size - 1 - _last_place(values[..., ::-1])[..., ::-1]  # `size` behind the last value.
    lengths = np.where(np.isnan(values), following - last - 1, 0).astype(np.float64)
    return lengths if is_open_counted else np.where(following == size, np.where(np.isnan(values), np.inf, 0), lengths)


@function("interpolate", group=GROUP, parameters=[SERIES_LIST, LIMIT])
def interpolate(call: Invocation, group: list[Series], limit: float | str) -> list[Series]:
    """Gaps of at most so many points filled with a straight line between the values around them."""
    most = math.inf if isinstance(limit, str) else limit

    def filled(values: Float64s) -> Float64s:
        size = values.shape[-1]
        last = _last_place(values)
        following = size - 1 - _last_place(values[..., ::-1])[..., ::-1]
        low = np.take_along_axis(values, np.maximum(last, 0), axis=-1)
        high = np.take_along_axis(values, np.minimum(following, size - 1), axis=-1)
        line = low + (np.arange(size) - last) * (high - low) / np.maximum(following - last, 1)
        is_gap = np.isnan(values) & (last >= 0) & (following < size)
        return np.where(is_gap & (_gap_lengths(values, is_open_counted=False) <= most), line, values)

    return changed(group, filled, "interpolate({})")


@function("delay", group=GROUP, parameters=[SERIES_LIST, required("steps", Kind.INTEGER)])
def delay(call: Invocation, group: list[Series], steps: int) -> list[Series]:
    """Each series moved so many steps to the right, or to the left if negative."""

    def moved(values: Float64s) -> Float64s:
        found = np.full_like(values, np.nan)
        size = values.shape[-1]
        if 0 <= steps < size:
            found[..., steps:] = values[..., : size - steps]
        elif -size < steps < 0:
            found[..., :steps] = values[..., -steps:]
        return found

    return changed(group, moved, f"delay({{}},{steps})", ("delay", str(steps)))


@function("compressPeriodicGaps", group=GROUP, parameters=[SERIES_LIST])
def compress_periodic_gaps(call: Invocation, group: list[Series]) -> list[Series]:
    """Series that have a value only at every n-th step given with that step instead."""
    found = []
    for one in group:
        name = f"compressPeriodicGaps({one.name})"
        places = np.flatnonzero(~np.isnan(one.values))[:3]
        gap = int(places[1] - places[0]) if places.size == 3 and places[2] - places[1] == places[1] - places[0] else 1
        if gap > 1:
            first = int(places[0]) % gap if places[0] >= gap else int(places[0])
            values = one.values[first::gap]
            made = one.but(
                name=name,
                path=name,
                start_s=(start_s := one.start_s + first * one.step_s),
                end_s=start_s + (values.size - 1) * gap * one.step_s,  # Of the last value, as graphite-web says it.
                step_s=gap * one.step_s,
                values=values,
            )
        else:
            made = one.but(name=name, path=name)
        found.append(made)
    return found

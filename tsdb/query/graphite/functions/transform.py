"""Every value changed by itself: scaled, shifted, rounded, its logarithm and the like."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tsdb.query.graphite.context import Invocation
from tsdb.query.graphite.errors import BadTarget
from tsdb.query.graphite.registry import SERIES_LIST, Kind, function, optional, required
from tsdb.query.graphite.series import Series, by_row, normalized
from tsdb.sample import Float64s

GROUP = "Transform"
Change = Callable[[Float64s], Float64s]


def changed(group: list[Series], change: Change, name: str, tag: tuple[str, str] | None = None) -> list[Series]:
    """Each series with its values changed. name: of the new series, with {} for that of the old."""
    with np.errstate(all="ignore"):
        rows = by_row(group, change)
    return [
        one.but(
            name=(title := name.replace("{}", one.name)),
            path=title,
            values=values,
            tags={**one.tags, **dict([tag] if tag else [])},
        )
        for one, values in zip(group, rows, strict=True)
    ]


def finite(values: Float64s) -> Float64s:
    """What has no finite value has none at all."""
    return np.where(np.isfinite(values), values, np.nan)


@function("absolute", group=GROUP, parameters=[SERIES_LIST])
def absolute(call: Invocation, group: list[Series]) -> list[Series]:
    """Each value without its sign."""
    return changed(group, np.abs, "absolute({})", ("absolute", "1"))


@function("scale", group=GROUP, parameters=[SERIES_LIST, required("factor", Kind.FLOAT)])
def scale(call: Invocation, group: list[Series], factor: float) -> list[Series]:
    """Each value times a factor."""
    return changed(group, lambda values: values * factor, f"scale({{}},{factor:g})", ("scale", str(factor)))


@function("add", group=GROUP, parameters=[SERIES_LIST, required("constant", Kind.FLOAT)])
def add(call: Invocation, group: list[Series], constant: float) -> list[Series]:
    """Each value plus a constant."""
    return changed(group, lambda values: values + constant, f"add({{}},{int(constant)})", ("add", str(constant)))


@function("offset", group=GROUP, parameters=[SERIES_LIST, required("factor", Kind.FLOAT)])
def offset(call: Invocation, group: list[Series], factor: float) -> list[Series]:
    """Each value plus a number, which may be negative."""
    return changed(group, lambda values: values + factor, f"offset({{}},{factor:g})", ("offset", str(factor)))


@function("scaleToSeconds", group=GROUP, parameters=[SERIES_LIST, required("seconds", Kind.FLOAT)])
def scale_to_seconds(call: Invocation, group: list[Series], seconds: float) -> list[Series]:
    """Values that stand for one step each, as they would be for so many seconds, to the millionth."""
    return [
        made
        for one in group
        for made in changed(
            [one],
            lambda values, step_s=one.step_s: np.round(values * (seconds / step_s), 6),  # type: ignore[misc]
            f"scaleToSeconds({{}},{seconds:g})",
            ("scaleToSeconds", str(seconds)),
        )
    ]


@function("offsetToZero", group=GROUP, parameters=[SERIES_LIST])
def offset_to_zero(call: Invocation, group: list[Series]) -> list[Series]:
    """Each series moved so that its smallest value is 0."""
    found = []
    for one in group:
        there = one.values[~np.isnan(one.values)]
        least = float(there.min()) if there.size else 0.0
        tags = {**one.tags, "offsetToZero": str(least) if there.size else "None"}
        name = f"offsetToZero({one.name})"
        found.append(one.but(name=name, path=name, values=one.values - least, tags=tags))
    return found


@function("pow", group=GROUP, parameters=[SERIES_LIST, required("factor", Kind.FLOAT)])
def power(call: Invocation, group: list[Series], factor: float) -> list[Series]:
    """Each value to a power; nothing where that is no number."""

    def raised(values: Float64s) -> Float64s:
        return np.where(np.isnan(values), np.nan, finite(np.power(values, factor)))

    return changed(group, raised, f"pow({{}},{factor:g})", ("pow", str(factor)))


@function("squareRoot", group=GROUP, parameters=[SERIES_LIST])
def square_root(call: Invocation, group: list[Series]) -> list[Series]:
    """The square root of each value that is not negative."""
    return changed(group, np.sqrt, "squareRoot({})", ("squareRoot", "1"))


@function("invert", group=GROUP, parameters=[SERIES_LIST])
def invert(call: Invocation, group: list[Series]) -> list[Series]:
    """1 over each value; nothing for 0."""
    return changed(group, lambda values: finite(1 / values), "invert({})", ("invert", "1"))


@function("log", group=GROUP, parameters=[SERIES_LIST, optional("base", Kind.INTEGER, 10)])
def logarithm(call: Invocation, group: list[Series], base: int) -> list[Series]:
    """The logarithm of each positive value."""
    if base <= 0 or base == 1:
        raise BadTarget(f"log(): the base is {base}; it must be positive and not 1")
    return changed(
        group, lambda values: finite(np.log(values) / np.log(base)), f"log({{}}, {base})", ("log", str(base))
    )


@function("exp", group=GROUP, parameters=[SERIES_LIST])
def exponential(call: Invocation, group: list[Series]) -> list[Series]:
    """e to the power of each value; nothing where that is too large for a number."""
    return changed(group, lambda values: finite(np.exp(values)), "exp({})", ("exp", "e"))


@function("logit", group=GROUP, parameters=[SERIES_LIST])
def logit(call: Invocation, group: list[Series]) -> list[Series]:
    """ln(x / (1 - x)) of each value between 0 and 1."""
    return changed(group, lambda values: finite(np.log(values / (1 - values))), "logit({})", ("logit", "logit"))


@function("sigmoid", group=GROUP, parameters=[SERIES_LIST])
def sigmoid(call: Invocation, group: list[Series]) -> list[Series]:
    """1 / (1 + exp(-x)) of each value."""
    return changed(group, lambda values: finite(1 / (1 + np.exp(-values))), "sigmoid({})", ("sigmoid", "sigmoid"))


@function("round", group=GROUP, parameters=[SERIES_LIST, optional("precision", Kind.INTEGER, 0)])
def rounded(call: Invocation, group: list[Series], precision: int) -> list[Series]:
    """Each value rounded to so many decimals, halves to the even digit."""
    text = f",{precision}" if precision else ""
    return changed(group, lambda values: _rounded(values, precision), f"round({{}}{text})", ("round", str(precision)))


def _rounded(values: Float64s, precision: int) -> Float64s:
    return np.asarray(np.round(values, precision), np.float64)


@function("minMax", group=GROUP, parameters=[SERIES_LIST])
def min_max(call: Invocation, group: list[Series]) -> list[Series]:
    """Each series stretched so that its smallest value is 0 and its largest 1."""

    def stretched(values: Float64s) -> Float64s:
        there = ~np.isnan(values)
        least = np.where(there, values, np.inf).min(axis=-1, keepdims=True, initial=np.inf)
        most = np.where(there, values, -np.inf).max(axis=-1, keepdims=True, initial=-np.inf)
        found = (values - least) / (most - least)
        return np.where(there & ~np.isfinite(found), 0.0, found)

    return changed(group, stretched, "minMax({})")


@function("isNonNull", group=GROUP, parameters=[SERIES_LIST])
def is_non_null(call: Invocation, group: list[Series]) -> list[Series]:
    """1 where there is a value and 0 where there is none."""
    return changed(group, lambda values: np.where(np.isnan(values), 0.0, 1.0), "isNonNull({})", ("isNonNull", "1"))


@function(
    "transformNull",
    group=GROUP,
    parameters=[
        SERIES_LIST,
        optional("default", Kind.FLOAT, 0),
        optional("referenceSeries", Kind.SERIES_LIST),
    ],
)
def transform_null(
    call: Invocation, group: list[Series], default: float, reference: list[Series] | None
) -> list[Series]:
    """A number where there is no value; with reference series, only where one of those has a value."""
    name = f"transformNull({{}},{default:g})"
    tag = ("transformNull", str(default))
    if not reference:
        return changed(group, lambda values: np.where(np.isnan(values), default, values), name, tag)
    rows, _, _, _ = normalized(reference)
    is_there = np.asarray(np.any(~np.isnan(rows), axis=0))
    name = f"transformNull({{}},{default:g},referenceSeries)"
    found = []
    for one in group:
        mask = np.zeros(one.values.size, np.bool_)
        size = min(is_there.size, mask.size)
        mask[:size] = is_there[:size]
        values = np.where(np.isnan(one.values) & mask, default, one.values)
        found.append(one.but(name=(title := name.replace("{}", one.name)), path=title, values=values))
        found[-1].tags |= dict([tag, ("referenceSeries", "1")])
    return found

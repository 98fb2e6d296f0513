"""Series over other series: quotients, shares, weighted means."""

from __future__ import annotations

from typing import Any

import numpy as np

from tsdb.query.graphite.context import Invocation
from tsdb.query.graphite.errors import BadTarget
from tsdb.query.graphite.functions.combine import aggregated
from tsdb.query.graphite.functions.grouping import NODES, grouped
from tsdb.query.graphite.naming import key_of
from tsdb.query.graphite.registry import SERIES_LIST, Kind, function, optional, required
from tsdb.query.graphite.series import Series, joined_paths, normalized
from tsdb.sample import Float64s

GROUP = "Combine"
MISSING = "MISSING"


def quotient(dividend: Float64s, divisor: Float64s) -> Float64s:
    """None where either is missing or the divisor is 0."""
    with np.errstate(all="ignore"):
        return np.where(divisor == 0, np.nan, dividend / divisor)


def _divided(one: Series, other: Series) -> Series:
    rows, start_s, end_s, step_s = normalized([one, other])
    name = f"divideSeries({one.name},{other.name})"
    return Series(name, start_s, end_s, step_s, quotient(rows[0], rows[1]), {"name": name})


@function(
    "divideSeries",
    group=GROUP,
    parameters=[required("dividendSeriesList", Kind.SERIES_LIST), required("divisorSeries", Kind.SERIES_LIST)],
)
def divide_series(call: Invocation, dividends: list[Series], divisors: list[Series]) -> list[Series]:
    """Each series of a list divided by one series."""
    if not divisors:
        return [_nothing(one, f"divideSeries({one.name},{MISSING})") for one in dividends]
    if len(divisors) > 1:
        raise BadTarget(f"divideSeries(): the second argument must be one series, not {len(divisors)}")
    return [_divided(one, divisors[0]) for one in dividends]


def _nothing(like: Series, name: str) -> Series:
    return like.but(name=name, path=name, values=np.full(like.values.size, np.nan))


@function(
    "divideSeriesLists",
    group=GROUP,
    parameters=[required("dividendSeriesList", Kind.SERIES_LIST), required("divisorSeriesList", Kind.SERIES_LIST)],
)
def divide_series_lists(call: Invocation, dividends: list[Series], divisors: list[Series]) -> list[Series]:
    """The first list divided by the second, pair by pair."""
    if len(dividends) != len(divisors):
        raise BadTarget(
            f"divideSeriesLists(): the lists must be equally long, not {len(dividends)} and {len(divisors)} series"
        )
    return [_divided(one, other) for one, other in zip(dividends, divisors, strict=True)]


@function("asPercent", "pct", group=GROUP, parameters=[SERIES_LIST, optional("total", Kind.ANY), NODES])
def as_percent(call: Invocation, group: list[Series], total: Any, *nodes: int | str) -> list[Series]:
    """Each series as a percentage: of their sum, of a number, of one series, or of a series each.

    With nodes or tags, of the sum or the total of those series that agree in them.
    """
    if nodes:
        return _percent_by_key(call, group, total, nodes)
    if isinstance(total, list) and total:
        if len(total) not in (1, len(group)):
            raise BadTarget(
                "asPercent(): the second argument must be missing, a number, one series, or as many series as the "
                f"first argument has, which is {len(group)}; it has {len(total)}"
            )
        pairs = [(one, total[0]) for one in group]
        if len(total) > 1:
            ordered = sorted(group, key=lambda one: one.name)
            pairs = list(zip(ordered, sorted(total, key=lambda one: one.name), strict=True))
        return [_percent(one, other) for one, other in pairs]
    if not group:
        return []
    if total is None or isinstance(total, list):
        rows, _, _, _ = normalized(group)
        there = ~np.isnan(rows)
        whole = np.where(there.any(axis=0), np.where(there, rows, 0).sum(axis=0), np.nan)
        text = joined_paths(group)
        return [
            _share(one, row, whole, f"sumSeries({text})") for one, row in zip(_aligned(group, rows), rows, strict=True)
        ]
    if isinstance(total, bool | str) or not isinstance(total, int | float):
        raise BadTarget(f"asPercent(): the second argument {total!r} must be a number or series")
    return [_share(one, one.values, np.full(one.values.size, float(total)), f"{total:g}") for one in group]


def _aligned(group: list[Series], rows: Float64s) -> list[Series]:
    _, start_s, end_s, step_s = normalized(group)
    return [one.but(start_s=start_s, end_s=end_s, step_s=step_s) for one in group]


def _share(one: Series, values: Float64s, whole: Float64s, text: str) -> Series:
    name = f"asPercent({one.name},{text})"
    percent = 100 * quotient(values, whole)
    return Series(name, one.start_s, one.end_s, one.step_s, percent, {"name": name})


def _percent(one: Series, other: Series) -> Series:
    rows, start_s, end_s, step_s = normalized([one, other])
    aligned = one.but(start_s=start_s, end_s=end_s, step_s=step_s)
    return _share(aligned, rows[0], rows[1], other.name)


def _no_percent(like: Series, name: str) -> Series:
    found = _nothing(like, name)
    found.tags = {"name": name}
    return found


def _percent_by_key(call: Invocation, group: list[Series], total: Any, nodes: tuple[int | str, ...]) -> list[Series]:
    def by_key(some: list[Series]) -> dict[str, list[Series]]:
        return grouped(some, lambda one: key_of(one, nodes))

    if total is not None and not isinstance(total, list):
        raise BadTarget("asPercent(): with nodes, the total must be None or series")
    parts = by_key(group)
    totals = {
        key: some[0] if len(some) == 1 else aggregated(call, some, "sum")[0]
        for key, some in (parts if total is None else by_key(total)).items()
    }
    found = []
    for key in dict.fromkeys([*parts, *totals]):
        for one in parts.get(key, []):
            if key in totals:
                found.append(_percent(one, totals[key]))
            else:
                found.append(_no_percent(one, f"asPercent({one.name},{MISSING})"))
        if key not in parts:
            found.append(_no_percent(totals[key], f"asPercent({MISSING},{totals[key].name})"))
    return found


@function(
    "weightedAverage",
    group=GROUP,
    parameters=[required("seriesListAvg", Kind.SERIES_LIST), required("seriesListWeight", Kind.SERIES_LIST), NODES],
)
def weighted_average(call: Invocation, group: list[Series], weights: list[Series], *nodes: int | str) -> list[Series]:
    """The mean of a list, in which a series counts as much as the one of the second list with the same nodes."""
    by_key, weight_by_key = ({key_of(one, nodes): one for one in some} for some in (group, weights))
    pairs = [(one, weight_by_key[key]) for key, one in by_key.items() if key in weight_by_key]
    if not pairs:
        return []
    count = len(pairs)
    rows, start_s, end_s, step_s = normalized([one for one, _ in pairs] + [one for _, one in pairs] + weights)
    values, weight, every_weight = rows[:count], rows[count : 2 * count], rows[2 * count :]
    there = ~(np.isnan(values) | np.isnan(weight))
    products = np.where(there, values * weight, 0).sum(axis=0)
    sums = np.where(np.isnan(every_weight), 0, every_weight).sum(axis=0)
    found = quotient(np.where(there.any(axis=0), products, np.nan), sums)
    text = ",".join(str(node) for node in nodes)
    name = f"weightedAverage({joined_paths(group)}, {joined_paths(weights)}, {text})"
    return [Series(name, start_s, end_s, step_s, found, {"name": name})]

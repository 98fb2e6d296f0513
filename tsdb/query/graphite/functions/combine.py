"""Many series made one, point by point: sums, means and the like."""

from __future__ import annotations

from itertools import chain

import numpy as np

from tsdb.query.graphite.consolidation import AGGREGATION_NAMES, across, aggregation, x_files_enough
from tsdb.query.graphite.context import Invocation
from tsdb.query.graphite.errors import BadTarget
from tsdb.query.graphite.percentile import percentile
from tsdb.query.graphite.registry import SERIES_LIST, SERIES_LISTS, Kind, function, optional, required
from tsdb.query.graphite.series import Series, joined_paths, normalized

GROUP = "Combine"
FUNC = required("func", Kind.AGGREGATION, options=AGGREGATION_NAMES)
X_FILES_FACTOR = optional("xFilesFactor", Kind.FLOAT)


def aggregated(call: Invocation, group: list[Series], name: str, x_files_factor: float | None = None) -> list[Series]:
    """One series of several by an aggregation, after which it is named; none of none."""
    name = name.removesuffix("Series")
    reduce = aggregation(name)
    if not group:
        return []
    rows, start_s, end_s, step_s = normalized(group)
    factor = group[0].x_files_factor if x_files_factor is None else x_files_factor
    values = across(rows, lambda columns: np.where(x_files_enough(columns, factor), reduce(columns), np.nan))
    title = f"{name}Series({joined_paths(group)})"
    tags = {"name": title, **common_tags(group), "aggregatedBy": name}
    return [Series(title, start_s, end_s, step_s, values, tags, x_files_factor=factor)]


def common_tags(group: list[Series]) -> dict[str, str]:
    """The tags that all series have, with the same value."""
    common = dict(group[0].tags)
    for one in group:
        for tag in [tag for tag, text in common.items() if one.tags.get(tag) != text]:
            del common[tag]
    return common


@function("sumSeries", "sum", group=GROUP, parameters=[SERIES_LISTS])
def sum_series(call: Invocation, *groups: list[Series]) -> list[Series]:
    """The sum of all series at each point."""
    return aggregated(call, list(chain(*groups)), "sum")


@function("averageSeries", "avg", group=GROUP, parameters=[SERIES_LISTS])
def average_series(call: Invocation, *groups: list[Series]) -> list[Series]:
    """The mean of all series at each point."""
    return aggregated(call, list(chain(*groups)), "average")


@function("minSeries", group=GROUP, parameters=[SERIES_LISTS])
def min_series(call: Invocation, *groups: list[Series]) -> list[Series]:
    """The smallest value at each point."""
    return aggregated(call, list(chain(*groups)), "min")


@function("maxSeries", group=GROUP, parameters=[SERIES_LISTS])
def max_series(call: Invocation, *groups: list[Series]) -> list[Series]:
    """The largest value at each point."""
    return aggregated(call, list(chain(*groups)), "max")


@function("rangeOfSeries", group=GROUP, parameters=[SERIES_LISTS])
def range_of_series(call: Invocation, *groups: list[Series]) -> list[Series]:
    """The distance between the smallest and the largest value at each point."""
    return aggregated(call, list(chain(*groups)), "rangeOf")


@function("diffSeries", group=GROUP, parameters=[SERIES_LISTS])
def diff_series(call: Invocation, *groups: list[Series]) -> list[Series]:
    """The first series minus all others."""
    return aggregated(call, list(chain(*groups)), "diff")


@function("multiplySeries", group=GROUP, parameters=[SERIES_LISTS])
def multiply_series(call: Invocation, *groups: list[Series]) -> list[Series]:
    """The product of all series at each point where every one of them has a value."""
    group = list(chain(*groups))
    return group if len(group) == 1 else aggregated(call, group, "multiply")


@function("stddevSeries", group=GROUP, parameters=[SERIES_LISTS])
def stddev_series(call: Invocation, *groups: list[Series]) -> list[Series]:
    """The standard deviation among all series at each point."""
    return aggregated(call, list(chain(*groups)), "stddev")


@function(
    "countSeries",
    group=GROUP,
    parameters=[optional("seriesLists", Kind.SERIES_LIST, multiple=True)],
)
def count_series(call: Invocation, *groups: list[Series]) -> list[Series]:
    """How many series there are, as a line; 0 without any."""
    group = list(chain(*groups))
    if not group:
        context = call.context
        return [constant(call, 0.0, "0", (context.start_s, context.end_s))]
    _, start_s, end_s, step_s = normalized(group)
    title = f"countSeries({joined_paths(group)})"
    values = np.full((end_s - start_s) // step_s, float(len(group)))
    return [Series(title, start_s, end_s, step_s, values, {"name": title})]


def constant(call: Invocation, value: float, name: str, times_s: tuple[int, int]) -> Series:
    """A line of three points at one height."""
    start_s, end_s = times_s
    step_s = max(1, (end_s - start_s) // 2)
    return Series(name, start_s, end_s, step_s, np.full(3, float(value)), {"name": name})


@function("aggregate", group=GROUP, parameters=[SERIES_LIST, FUNC, X_FILES_FACTOR])
def aggregate(call: Invocation, group: list[Series], name: str, x_files_factor: float | None) -> list[Series]:
    """All series made one by an aggregation of your choice, such as sum, max or median."""
    return aggregated(call, group, name, x_files_factor)


@function(
    "percentileOfSeries",
    group=GROUP,
    parameters=[SERIES_LIST, required("n", Kind.FLOAT), optional("interpolate", Kind.BOOLEAN, False)],
)
def percentile_of_series(call: Invocation, group: list[Series], n: float, interpolate: bool) -> list[Series]:
    """The n-th percentile among all series at each point."""
    if n <= 0:
        raise BadTarget("percentileOfSeries(): the percent n must be greater than 0")
    if not group:
        return []
    rows, start_s, end_s, step_s = normalized(group)
    title = f"percentileOfSeries({group[0].path},{n:g})"
    values = across(rows, lambda columns: percentile(columns, n, interpolate=interpolate))
    return [Series(title, start_s, end_s, step_s, values, {"name": title})]


@function("powSeries", group=GROUP, parameters=[required("seriesList", Kind.SERIES_LIST, multiple=True)])
def pow_series(call: Invocation, *groups: list[Series]) -> list[Series]:
    """The first series to the power of the second, that to the power of the third, and so on."""
    group = list(chain(*groups))
    if not group:
        return []
    rows, start_s, end_s, step_s = normalized(group)
    with np.errstate(all="ignore"):
        values = rows[0].copy()
        for row in rows[1:]:
            values = np.where(np.isnan(values) | np.isnan(row), np.nan, np.power(values, row))
    values[~np.isfinite(values)] = np.nan
    title = f"powSeries({joined_paths(group)})"
    return [Series(title, start_s, end_s, step_s, values, {"name": title})]

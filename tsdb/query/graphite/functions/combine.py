"""Many series made one: sums, means and the like, point by point."""

from __future__ import annotations

from itertools import chain

import numpy as np

from tsdb.query.graphite.consolidation import AGGREGATION_NAMES, aggregation, x_files_enough
from tsdb.query.graphite.context import Invocation
from tsdb.query.graphite.registry import SERIES_LIST, SERIES_LISTS, Kind, function, optional, required
from tsdb.query.graphite.series import Series, joined_paths, normalized

GROUP = "Combine"


def aggregated(
    call: Invocation, group: list[Series], name: str, x_files_factor: float | None = None, written: str | None = None
) -> list[Series]:
    """One series of several by an aggregation, which its name says; none of none."""
    if not group:
        return []
    name = name.removesuffix("Series")
    reduce = aggregation(name)
    rows, start_s, end_s, step_s = normalized(group)
    factor = call.context.x_files_factor if x_files_factor is None else x_files_factor
    columns = np.ascontiguousarray(rows.T)
    values = np.where(x_files_enough(columns, factor), reduce(columns), np.nan)
    title = f"{written or name + 'Series'}({joined_paths(group)})"
    common = dict(set.intersection(*(set(one.tags.items()) for one in group)))
    tags = {"name": title, **common, "aggregatedBy": name}
    return [Series(title, start_s, end_s, step_s, values, tags, x_files_factor=factor)]


@function("sumSeries", "sum", group=GROUP, parameters=[SERIES_LISTS])
def sum_series(call: Invocation, *groups: list[Series]) -> list[Series]:
    """The sum of all series at each point."""
    return aggregated(call, list(chain(*groups)), "sum")


@function(
    "aggregate",
    group=GROUP,
    parameters=[
        SERIES_LIST,
        required("func", Kind.AGGREGATION, options=AGGREGATION_NAMES),
        optional("xFilesFactor", Kind.FLOAT),
    ],
)
def aggregate(call: Invocation, group: list[Series], name: str, x_files_factor: float | None) -> list[Series]:
    """All series made one by an aggregation of your choice, such as sum, max or median."""
    return aggregated(call, group, name, x_files_factor)

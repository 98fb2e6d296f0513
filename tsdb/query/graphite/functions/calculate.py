"""One number for a whole series, drawn as a line: aggregates, percentiles, trends."""

from __future__ import annotations

import math

import numpy as np

from tsdb.query.graphite.attime import epoch_of
from tsdb.query.graphite.consolidation import AGGREGATION_NAMES
from tsdb.query.graphite.context import Invocation
from tsdb.query.graphite.functions.filters import figures
from tsdb.query.graphite.functions.graph import constant_line
from tsdb.query.graphite.percentile import percentile
from tsdb.query.graphite.registry import SERIES_LIST, Kind, function, optional, required
from tsdb.query.graphite.series import Series

GROUP = "Calculate"


@function(
    "aggregateLine",
    group=GROUP,
    parameters=[
        SERIES_LIST,
        optional("func", Kind.AGGREGATION, "average", options=AGGREGATION_NAMES),
        optional("keepStep", Kind.BOOLEAN, False),
    ],
)
def aggregate_line(call: Invocation, group: list[Series], name: str, keeps_step: bool) -> list[Series]:
    """A line at the height of an aggregation of each series."""
    found = []
    for one, value in zip(group, figures(group, name).tolist(), strict=True):
        text = "None" if math.isnan(value) else f"{value:g}"
        title = f"aggregateLine({one.name}, {text})"
        if keeps_step:
            found.append(one.but(name=title, path=title, values=np.full(one.values.size, value)))
        else:
            is_count = name.removesuffix("Series") == "count"
            (line,) = constant_line(call, int(value) if is_count else value)
            found.append(line.but(name=title, path=title))
    return found


@function("nPercentile", group=GROUP, parameters=[SERIES_LIST, required("n", Kind.FLOAT)])
def n_percentile(call: Invocation, group: list[Series], n: float) -> list[Series]:
    """A line at the n-th percentile of each series that has values."""
    found = []
    for one in group:
        value = float(percentile(one.values, n))
        if not math.isnan(value):
            name = f"nPercentile({one.name}, {n:g})"
            found.append(one.but(name=name, path=name, values=np.full(one.values.size, value)))
            found[-1].tags["nPercentile"] = str(n)
    return found


@function(
    "linearRegression",
    group=GROUP,
    parameters=[SERIES_LIST, optional("startSourceAt", Kind.DATE), optional("endSourceAt", Kind.DATE)],
)
def linear_regression(call: Invocation, group: list[Series], start: str | None, end: str | None) -> list[Series]:
    """A straight line laid through each series, by its values between two times."""
    context = call.context
    start_s = context.start_s if start is None else epoch_of(start, context.now_s, context.zone)
    end_s = context.end_s if end is None else epoch_of(end, context.now_s, context.zone)
    sources = call.again(0, context.between(start_s, end_s))
    found = []
    for one, source in zip(group, sources, strict=False):
        line = _line_through(source)
        if line is None:
            continue
        slope, height, middle_s = line
        times = one.start_s + one.step_s * np.arange(one.values.size, dtype=np.float64)
        name = f"linearRegression({one.name}, {start_s}, {end_s})"
        found.append(one.but(name=name, path=name, values=height + slope * (times - middle_s)))
        found[-1].tags["linearRegressions"] = f"{start_s}, {end_s}"
    return found


def _line_through(source: Series) -> tuple[float, float, float] | None:
    """(slope a second, mean height, time of the mean) of the least squares; None of fewer than two values."""
    there = np.flatnonzero(~np.isnan(source.values))
    if there.size < 2:
        return None
    times, values = source.start_s + source.step_s * there.astype(np.float64), source.values[there]
    middle_s, height = float(times.mean()), float(values.mean())
    away = times - middle_s
    return float((away * (values - height)).sum() / (away * away).sum()), height, middle_s

"""Some of the series: those above a limit, the largest, those of a name; and some of their values."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from tsdb import regex
from tsdb.query.graphite.consolidation import AGGREGATION_NAMES, aggregation, x_files_enough
from tsdb.query.graphite.context import Invocation
from tsdb.query.graphite.errors import BadTarget
from tsdb.query.graphite.functions.combine import FUNC
from tsdb.query.graphite.functions.transform import changed
from tsdb.query.graphite.grammar import Path
from tsdb.query.graphite.percentile import percentile
from tsdb.query.graphite.registry import SERIES_LIST, SERIES_LISTS, Kind, function, optional, required
from tsdb.query.graphite.series import Series, by_row, normalized
from tsdb.sample import Float64s

GROUP = "Filter Series"
Bools = npt.NDArray[np.bool_]
COUNT, LIMIT = required("n", Kind.INTEGER), required("n", Kind.FLOAT)
FUNC_OR_AVERAGE = optional("func", Kind.AGGREGATION, "average", options=AGGREGATION_NAMES)
PATTERN = required("pattern", Kind.STRING)
OPERATORS: dict[str, Callable[[Float64s, float], Bools]] = {
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
}


def figures(group: Sequence[Series], name: str) -> Float64s:
    """One number for each series, by an aggregation; NaN for one without values."""
    reduce = aggregation(name)
    return np.array([float(value) for value in by_row(group, reduce)], np.float64) if group else np.empty(0)


def _kept(group: list[Series], is_kept: Bools) -> list[Series]:
    return [one for one, keep in zip(group, is_kept, strict=True) if keep]


def _compared(group: list[Series], name: str, sign: str, limit: float) -> list[Series]:
    if sign not in OPERATORS:
        raise BadTarget(f"Unsupported operator: {sign}; there are {', '.join(OPERATORS)}")
    return _kept(group, OPERATORS[sign](_with_least(figures(group, name)), limit))


def _with_least(values: Float64s) -> Float64s:
    """What has no number is less than every number."""
    return np.where(np.isnan(values), -np.inf, values)


@function(
    "filterSeries",
    group=GROUP,
    parameters=[
        SERIES_LIST,
        FUNC,
        required("operator", Kind.STRING, options=tuple(OPERATORS)),
        required("threshold", Kind.FLOAT),
    ],
)
def filter_series(call: Invocation, group: list[Series], name: str, sign: str, limit: float) -> list[Series]:
    """The series of which an aggregation is above a limit, below it, or equal to it."""
    return _compared(group, name, sign, limit)


@function("averageAbove", group=GROUP, parameters=[SERIES_LIST, LIMIT])
def average_above(call: Invocation, group: list[Series], limit: float) -> list[Series]:
    """The series whose mean is above a limit."""
    return _compared(group, "average", ">", limit)


@function("averageBelow", group=GROUP, parameters=[SERIES_LIST, LIMIT])
def average_below(call: Invocation, group: list[Series], limit: float) -> list[Series]:
    """The series whose mean is not above a limit."""
    return _compared(group, "average", "<=", limit)


@function("currentAbove", group=GROUP, parameters=[SERIES_LIST, LIMIT])
def current_above(call: Invocation, group: list[Series], limit: float) -> list[Series]:
    """The series whose last value is above a limit."""
    return _compared(group, "last", ">", limit)


@function("currentBelow", group=GROUP, parameters=[SERIES_LIST, LIMIT])
def current_below(call: Invocation, group: list[Series], limit: float) -> list[Series]:
    """The series whose last value is not above a limit."""
    return _compared(group, "last", "<=", limit)


@function("maximumAbove", group=GROUP, parameters=[SERIES_LIST, LIMIT])
def maximum_above(call: Invocation, group: list[Series], limit: float) -> list[Series]:
    """The series whose largest value is above a limit."""
    return _compared(group, "max", ">", limit)


@function("maximumBelow", group=GROUP, parameters=[SERIES_LIST, LIMIT])
def maximum_below(call: Invocation, group: list[Series], limit: float) -> list[Series]:
    """The series whose largest value is not above a limit."""
    return _compared(group, "max", "<=", limit)


@function("minimumAbove", group=GROUP, parameters=[SERIES_LIST, LIMIT])
def minimum_above(call: Invocation, group: list[Series], limit: float) -> list[Series]:
    """The series whose smallest value is above a limit."""
    return _compared(group, "min", ">", limit)


@function("minimumBelow", group=GROUP, parameters=[SERIES_LIST, LIMIT])
def minimum_below(call: Invocation, group: list[Series], limit: float) -> list[Series]:
    """The series whose smallest value is not above a limit."""
    return _compared(group, "min", "<=", limit)


def ordered(group: list[Series], name: str, *, largest_first: bool) -> list[Series]:
    """By a number of each, those without one as the smallest of all; equal ones stay in their order."""
    values = _with_least(figures(group, name))
    order = np.argsort(-values if largest_first else values, kind="stable")
    return [group[index] for index in order]


def _of_ends(group: list[Series], count: int, name: str, *, largest_first: bool) -> list[Series]:
    aggregation(name)
    return ordered(group, name, largest_first=largest_first)[: max(0, count)]


@function("highest", group=GROUP, parameters=[SERIES_LIST, COUNT, FUNC_OR_AVERAGE])
def highest(call: Invocation, group: list[Series], count: int, name: str) -> list[Series]:
    """The n series of which an aggregation is largest."""
    return _of_ends(group, count, name, largest_first=True)


@function("lowest", group=GROUP, parameters=[SERIES_LIST, COUNT, FUNC_OR_AVERAGE])
def lowest(call: Invocation, group: list[Series], count: int, name: str) -> list[Series]:
    """The n series of which an aggregation is smallest."""
    return _of_ends(group, count, name, largest_first=False)


@function("highestAverage", group=GROUP, parameters=[SERIES_LIST, COUNT])
def highest_average(call: Invocation, group: list[Series], count: int) -> list[Series]:
    """The n series with the largest means."""
    return _of_ends(group, count, "average", largest_first=True)


@function("highestCurrent", group=GROUP, parameters=[SERIES_LIST, COUNT])
def highest_current(call: Invocation, group: list[Series], count: int) -> list[Series]:
    """The n series with the largest last values."""
    return _of_ends(group, count, "current", largest_first=True)


@function("highestMax", group=GROUP, parameters=[SERIES_LIST, COUNT])
def highest_max(call: Invocation, group: list[Series], count: int) -> list[Series]:
    """The n series with the largest values."""
    return _of_ends(group, count, "max", largest_first=True)


@function("lowestAverage", group=GROUP, parameters=[SERIES_LIST, COUNT])
def lowest_average(call: Invocation, group: list[Series], count: int) -> list[Series]:
    """The n series with the smallest means."""
    return _of_ends(group, count, "average", largest_first=False)


@function("lowestCurrent", group=GROUP, parameters=[SERIES_LIST, COUNT])
def lowest_current(call: Invocation, group: list[Series], count: int) -> list[Series]:
    """The n series with the smallest last values."""
    return _of_ends(group, count, "current", largest_first=False)


@function("limit", group=GROUP, parameters=[SERIES_LIST, COUNT])
def limit_series(call: Invocation, group: list[Series], count: int) -> list[Series]:
    """The first n series; with a negative n, all but the last."""
    return group[:count]


@function("mostDeviant", group=GROUP, parameters=[SERIES_LIST, COUNT])
def most_deviant(call: Invocation, group: list[Series], count: int) -> list[Series]:
    """The n series that vary most, by their variance."""
    return ordered([one for one in group if not np.isnan(one.values).all()], "stddev", largest_first=True)[:count]


@function("grep", group=GROUP, parameters=[SERIES_LIST, PATTERN])
def grep(call: Invocation, group: list[Series], pattern: str) -> list[Series]:
    """The series in whose name a regular expression is found."""
    search = regex.compiled(pattern).search
    return [one for one in group if search(one.name)]


@function("exclude", group=GROUP, parameters=[SERIES_LIST, PATTERN])
def exclude(call: Invocation, group: list[Series], pattern: str) -> list[Series]:
    """The series in whose name a regular expression is not found."""
    search = regex.compiled(pattern).search
    return [one for one in group if not search(one.name)]


@function("unique", group=GROUP, parameters=[SERIES_LISTS])
def unique(call: Invocation, *groups: list[Series]) -> list[Series]:
    """Each series once, by name."""
    found: dict[str, Series] = {}
    for one in chain(*groups):
        found.setdefault(one.name, one)
    return list(found.values())


@function("removeEmptySeries", group=GROUP, parameters=[SERIES_LIST, optional("xFilesFactor", Kind.FLOAT)])
def remove_empty_series(call: Invocation, group: list[Series], x_files_factor: float | None) -> list[Series]:
    """The series with enough values: one at least, or a share of all."""
    factor = call.context.x_files_factor if x_files_factor is None else x_files_factor
    return [one for one in group if x_files_enough(one.values, factor)]


@function("averageOutsidePercentile", group=GROUP, parameters=[SERIES_LIST, LIMIT])
def average_outside_percentile(call: Invocation, group: list[Series], n: float) -> list[Series]:
    """The series whose mean lies outside of the middle percentiles of all means."""
    low, high = sorted((n, 100 - n))
    means = figures(group, "average")
    least, most = percentile(means, low), percentile(means, high)
    return _kept(group, ~((means > least) & (means < most)))


@function("removeBetweenPercentile", group=GROUP, parameters=[SERIES_LIST, LIMIT])
def remove_between_percentile(call: Invocation, group: list[Series], n: float) -> list[Series]:
    """The series that at some point lie outside of the middle percentiles of all."""
    if not group:
        return []
    low, high = sorted((n, 100 - n))
    rows, _, _, _ = normalized(group)
    columns = np.ascontiguousarray(rows.T)
    least, most = percentile(columns, low), percentile(columns, high)
    is_inside = (rows > least) & (rows < most)
    return _kept(group, np.asarray(np.any(~is_inside, axis=1)))


@function(
    "useSeriesAbove",
    group=GROUP,
    parameters=[
        SERIES_LIST,
        required("value", Kind.FLOAT),
        required("search", Kind.STRING),
        required("replace", Kind.STRING),
    ],
)
def use_series_above(
    call: Invocation, group: list[Series], value: float, search: str, replacement: str
) -> list[Series]:
    """For each series whose largest value is above a limit, the one whose name has a part replaced."""
    pattern = regex.compiled(search)
    names = dict.fromkeys(pattern.sub(replacement, one.name) for one in _compared(group, "max", ">", value))
    return [one for name in names for one in call.evaluate(call.context, Path(name))]


DATA = "Filter Data"


def _without(group: list[Series], is_removed: Callable[[Float64s], Bools], name: str) -> list[Series]:
    return changed(group, lambda values: np.where(is_removed(values), np.nan, values), name)


@function("removeAboveValue", group=DATA, parameters=[SERIES_LIST, LIMIT])
def remove_above_value(call: Invocation, group: list[Series], n: float) -> list[Series]:
    """No value where it is above a limit."""
    return _without(group, lambda values: values > n, f"removeAboveValue({{}}, {n:g})")


@function("removeBelowValue", group=DATA, parameters=[SERIES_LIST, LIMIT])
def remove_below_value(call: Invocation, group: list[Series], n: float) -> list[Series]:
    """No value where it is below a limit."""
    return _without(group, lambda values: values < n, f"removeBelowValue({{}}, {n:g})")


def _tagged(group: list[Series], n: float) -> list[Series]:
    """A series without values has no percentile."""
    return [one if np.isnan(one.values).all() else one.but(tags=one.tags | {"nPercentile": str(n)}) for one in group]


@function("removeAbovePercentile", group=DATA, parameters=[SERIES_LIST, LIMIT])
def remove_above_percentile(call: Invocation, group: list[Series], n: float) -> list[Series]:
    """No value where it is above the n-th percentile of its series."""
    name = f"removeAbovePercentile({{}}, {n:g})"
    return _tagged(_without(group, lambda values: values > percentile(values, n)[..., None], name), n)


@function("removeBelowPercentile", group=DATA, parameters=[SERIES_LIST, LIMIT])
def remove_below_percentile(call: Invocation, group: list[Series], n: float) -> list[Series]:
    """No value where it is below the n-th percentile of its series."""
    name = f"removeBelowPercentile({{}}, {n:g})"
    return _tagged(_without(group, lambda values: values < percentile(values, n)[..., None], name), n)


SORTING = "Sorting"


@function(
    "sortBy",
    group=SORTING,
    parameters=[SERIES_LIST, FUNC_OR_AVERAGE, optional("reverse", Kind.BOOLEAN, False)],
)
def sort_by(call: Invocation, group: list[Series], name: str, is_reversed: bool) -> list[Series]:
    """The series in the order of an aggregation."""
    return ordered(group, name, largest_first=is_reversed)


@function("sortByTotal", group=SORTING, parameters=[SERIES_LIST])
def sort_by_total(call: Invocation, group: list[Series]) -> list[Series]:
    """The series in the order of their sums, largest first."""
    return ordered(group, "sum", largest_first=True)


@function("sortByMaxima", group=SORTING, parameters=[SERIES_LIST])
def sort_by_maxima(call: Invocation, group: list[Series]) -> list[Series]:
    """The series in the order of their largest values, largest first."""
    return ordered(group, "max", largest_first=True)


@function("sortByMinima", group=SORTING, parameters=[SERIES_LIST])
def sort_by_minima(call: Invocation, group: list[Series]) -> list[Series]:
    """The series that rise above 0, in the order of their smallest values."""
    return ordered(_compared(group, "max", ">", 0), "min", largest_first=False)


@function(
    "sortByName",
    group=SORTING,
    parameters=[SERIES_LIST, optional("natural", Kind.BOOLEAN, False), optional("reverse", Kind.BOOLEAN, False)],
)
def sort_by_name(call: Invocation, group: list[Series], natural: bool, is_reversed: bool) -> list[Series]:
    """The series in the order of their names; natural: with 9 before 10."""

    def padded(name: str) -> str:
        return re.sub(r"\d+", lambda found: found[0].zfill(10), name)

    return sorted(group, key=lambda one: padded(one.name) if natural else one.name, reverse=is_reversed)

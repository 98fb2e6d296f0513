"""Series taken together by parts of their names or by tags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from tsdb.query.graphite.consolidation import AGGREGATION_NAMES
from tsdb.query.graphite.context import Invocation
from tsdb.query.graphite.errors import BadTarget
from tsdb.query.graphite.functions.combine import FUNC, X_FILES_FACTOR, aggregated
from tsdb.query.graphite.grammar import parse_target
from tsdb.query.graphite.naming import key_of, node_or_tag
from tsdb.query.graphite.registry import FUNCTIONS, SERIES_LIST, Kind, function, optional, required
from tsdb.query.graphite.series import Series

GROUP = "Combine"
_SERIES_FUNCTIONS = (
    "asPercent averageSeries averageSeriesWithWildcards countSeries diffSeries diffSeriesLists maxSeries minSeries "
    "multiplySeries multiplySeriesLists multiplySeriesWithWildcards pct powSeries rangeOfSeries stddevSeries sumSeries "
    "sumSeriesLists sumSeriesWithWildcards"
)
CALLBACK_NAMES = tuple(sorted({*AGGREGATION_NAMES, *_SERIES_FUNCTIONS.split()}))
POSITIONS = optional("position", Kind.NODE, multiple=True)
NODES = optional("nodes", Kind.NODE_OR_TAG, multiple=True)


def grouped(group: Sequence[Series], key: Callable[[Series], str]) -> dict[str, list[Series]]:
    """By key, in the order in which keys come first."""
    found: dict[str, list[Series]] = {}
    for one in group:
        found.setdefault(key(one), []).append(one)
    return found


def _combined(call: Invocation, group: list[Series], callback: str) -> Series:
    """One series of several, by an aggregation or another function."""
    found = call.called(callback, [group]) if callback in FUNCTIONS else aggregated(call, group, callback)
    if not found:
        raise BadTarget(f"{call.name}(): {callback}() gave no series")
    return found[0]


@function(
    "groupByNodes",
    group=GROUP,
    parameters=[SERIES_LIST, required("callback", Kind.AGGREGATION_OR_SERIES_FUNCTION, options=CALLBACK_NAMES), NODES],
)
def group_by_nodes(call: Invocation, group: list[Series], callback: str, *nodes: int | str) -> list[Series]:
    """Series whose names agree in some nodes, or tags, made one; named after those."""
    return [
        _combined(call, some, callback).but(name=key)
        for key, some in grouped(group, lambda one: key_of(one, nodes)).items()
    ]


@function(
    "groupByNode",
    group=GROUP,
    parameters=[
        SERIES_LIST,
        required("nodeNum", Kind.NODE_OR_TAG),
        optional("callback", Kind.AGGREGATION_OR_SERIES_FUNCTION, "average", options=CALLBACK_NAMES),
    ],
)
def group_by_node(call: Invocation, group: list[Series], node: int | str, callback: str) -> list[Series]:
    """Series whose names agree in one node, or tag, made one; named after it."""
    return group_by_nodes(call, group, callback, node)


@function(
    "groupByTags",
    group=GROUP,
    parameters=[
        SERIES_LIST,
        required("callback", Kind.AGGREGATION_OR_SERIES_FUNCTION, options=CALLBACK_NAMES),
        required("tags", Kind.TAG, multiple=True),
    ],
)
def group_by_tags(call: Invocation, group: list[Series], callback: str, *tags: str) -> list[Series]:
    """Series that agree in some tags made one; named like a tagged series with those tags."""
    if not tags:
        raise BadTarget("groupByTags() needs a tag at least")
    names = {one.tags.get("name", "") for one in group}
    common = names.pop() if len(names) == 1 else callback
    found = []
    for some in grouped(group, lambda one: ";".join(one.tags.get(tag, "") for tag in tags)).values():
        kept = {tag: some[0].tags.get(tag, "") for tag in tags}
        metric = kept.pop("name", common)
        name = ";".join([metric, *(f"{tag}={kept[tag]}" for tag in sorted(kept))])
        found.append(_combined(call, some, callback).but(name=name, path=name, tags={"name": metric, **kept}))
    return found


def _with_wildcards(call: Invocation, group: list[Series], callback: str, positions: Sequence[int]) -> list[Series]:
    def key(one: Series) -> str:
        return ".".join(node for at, node in enumerate(one.name.split(".")) if at not in positions)

    return [aggregated(call, some, callback)[0].but(name=name) for name, some in grouped(group, key).items()]


@function("aggregateWithWildcards", group=GROUP, parameters=[SERIES_LIST, FUNC, POSITIONS])
def aggregate_with_wildcards(call: Invocation, group: list[Series], name: str, *positions: int) -> list[Series]:
    """Series whose names agree but for some nodes made one, by an aggregation of your choice."""
    return _with_wildcards(call, group, name, positions)


@function("sumSeriesWithWildcards", group=GROUP, parameters=[SERIES_LIST, POSITIONS])
def sum_series_with_wildcards(call: Invocation, group: list[Series], *positions: int) -> list[Series]:
    """The sum of series whose names agree but for some nodes."""
    return _with_wildcards(call, group, "sum", positions)


@function("averageSeriesWithWildcards", group=GROUP, parameters=[SERIES_LIST, POSITIONS])
def average_series_with_wildcards(call: Invocation, group: list[Series], *positions: int) -> list[Series]:
    """The mean of series whose names agree but for some nodes."""
    return _with_wildcards(call, group, "average", positions)


@function("multiplySeriesWithWildcards", group=GROUP, parameters=[SERIES_LIST, POSITIONS])
def multiply_series_with_wildcards(call: Invocation, group: list[Series], *positions: int) -> list[Series]:
    """The product of series whose names agree but for some nodes."""
    return _with_wildcards(call, group, "multiply", positions)


FIRST_LIST, SECOND_LIST = (
    required("seriesListFirstPos", Kind.SERIES_LIST),
    required("seriesListSecondPos", Kind.SERIES_LIST),
)


def _of_lists(
    call: Invocation, first: list[Series], second: list[Series], name: str, x_files_factor: float | None = None
) -> list[Series]:
    """The first series of both lists made one, then the second, and so on."""
    if len(first) != len(second):
        raise BadTarget(f"{call.name}(): the lists must be equally long, not {len(first)} and {len(second)} series")
    return [
        made.but(name=f"{name}Series({one.name},{other.name})")
        for one, other in zip(first, second, strict=True)
        for made in aggregated(call, [one, other], name, x_files_factor)
    ]


@function("aggregateSeriesLists", group=GROUP, parameters=[FIRST_LIST, SECOND_LIST, FUNC, X_FILES_FACTOR])
def aggregate_series_lists(
    call: Invocation, first: list[Series], second: list[Series], name: str, x_files_factor: float | None
) -> list[Series]:
    """Two lists taken together pair by pair, by an aggregation of your choice."""
    return _of_lists(call, first, second, name, x_files_factor)


@function("sumSeriesLists", group=GROUP, parameters=[FIRST_LIST, SECOND_LIST])
def sum_series_lists(call: Invocation, first: list[Series], second: list[Series]) -> list[Series]:
    """The sums of two lists, pair by pair."""
    return _of_lists(call, first, second, "sum")


@function("diffSeriesLists", group=GROUP, parameters=[FIRST_LIST, SECOND_LIST])
def diff_series_lists(call: Invocation, first: list[Series], second: list[Series]) -> list[Series]:
    """The first list minus the second, pair by pair."""
    return _of_lists(call, first, second, "diff")


@function("multiplySeriesLists", group=GROUP, parameters=[FIRST_LIST, SECOND_LIST])
def multiply_series_lists(call: Invocation, first: list[Series], second: list[Series]) -> list[Series]:
    """The products of two lists, pair by pair."""
    return _of_lists(call, first, second, "multiply")


@function("group", group=GROUP, parameters=[optional("seriesLists", Kind.SERIES_LIST, multiple=True)])
def group_series(call: Invocation, *groups: list[Series]) -> list[Series]:
    """Several lists as one, for a function that takes only one."""
    return list(chain(*groups))


@function(
    "mapSeries",
    "map",
    group=GROUP,
    parameters=[SERIES_LIST, required("mapNodes", Kind.NODE_OR_TAG, multiple=True)],
)
def map_series(call: Invocation, group: list[Series], *nodes: int | str) -> Any:
    """Lists of series that agree in some nodes, for reduceSeries."""
    return list(grouped(group, lambda one: key_of(one, nodes)).values())


@function(
    "reduceSeries",
    "reduce",
    group=GROUP,
    parameters=[
        required("seriesLists", Kind.SERIES_LISTS),
        required("reduceFunction", Kind.STRING),
        required("reduceNode", Kind.NODE),
        required("reduceMatchers", Kind.STRING, multiple=True),
    ],
)
def reduce_series(call: Invocation, groups: list[list[Series]], name: str, node: int, *wanted: str) -> list[Series]:
    """Of each list the series whose node is one of some, given to a function in that order."""
    found: dict[str, dict[str, Series]] = {}
    for one in chain(*groups):
        nodes = one.name.split(".")
        if node_or_tag(one, node) in wanted:
            key = ".".join([*nodes[:node], "reduce", name])
            found.setdefault(key, {})[node_or_tag(one, node)] = one
    reduced = []
    for key, by_node in found.items():
        groups_of_one = [[by_node[node_name]] for node_name in wanted if node_name in by_node]
        made = call.called(name, groups_of_one)
        reduced += [one.but(name=key) for one in made[:1]]
    return reduced


@function(
    "applyByNode",
    group=GROUP,
    parameters=[
        SERIES_LIST,
        required("nodeNum", Kind.NODE),
        required("templateFunction", Kind.STRING),
        optional("newName", Kind.STRING),
    ],
)
def apply_by_node(
    call: Invocation, group: list[Series], node: int, template: str, new_name: str | None
) -> list[Series]:
    """A target evaluated for each prefix of the names up to a node; % in it stands for the prefix."""
    prefixes: dict[str, None] = {}
    for one in group:
        nodes = one.name.split(".")
        if not 0 <= node < len(nodes):
            raise BadTarget(f"applyByNode(): {one.name[:200]} does not have a node {node}")
        prefixes[".".join(nodes[: node + 1])] = None
    found = []
    for prefix in sorted(prefixes):
        for made in call.evaluate(call.context, parse_target(template.replace("%", prefix))):
            name = made.name if new_name is None else new_name.replace("%", prefix)
            found.append(made.but(name=name, path=prefix))
    return found

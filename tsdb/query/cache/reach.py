"""Which expressions have, at a step, a value that does not depend on the range that was asked for; and what of later
samples that value may depend on. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tsdb.query.promql import nodes
from tsdb.query.promql.rollups import READINGS
from tsdb.sample import METRIC_NAME, MatchOp

RANGE_FUNCTIONS = frozenset({"start", "end", "range"})
"""What these give is the range itself."""

PICKS = frozenset({"topk", "bottomk", "limitk"})
"""Of equals they take the first in the order of the rows."""

ELEMENTWISE = frozenset(
    "abs ceil floor round clamp clamp_min clamp_max sqrt exp ln log2 log10 sgn".split()  # noqa: SIM905
)


def ahead_ms(node: nodes.Node) -> int | None:
    """How far behind a step the newest sample may lie that its value depends on: less than 0, where all is offset.

    None, if the value at a step also depends on the ends of the range, and so must not be kept.
    """
    found = list(_offsets(node, 0))
    if None in found:
        return None
    return max((-offset_ms for offset_ms in found if offset_ms is not None), default=0)


def _offsets(node: nodes.Node, outer_ms: int) -> Iterator[int | None]:
    """Of each selector, how much earlier than the step it is read; None for what forbids to keep the answer.

    A chain of operators may be a thousand long: no recursion along it.
    """
    while isinstance(node, nodes.Binary):
        yield from _offsets(node.right, outer_ms)
        node = node.left
    match node:
        case nodes.Selector():
            yield _later(node.moment, outer_ms)
        case nodes.RangeSelector():
            yield _later(node.selector.moment, outer_ms)
        case nodes.Subquery():
            here_ms = _later(node.moment, outer_ms)
            yield here_ms
            if here_ms is not None:
                yield from _offsets(node.inner, here_ms)
        case _:
            if _looks_at_the_range(node):
                yield None
            if isinstance(node, nodes.Call) and node.name == "info":
                yield outer_ms  # Its own series are read at the step, if the first argument of all is no selector.
            for below in _below(node):
                yield from _offsets(below, outer_ms)


def _looks_at_the_range(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Aggregation):
        return node.name in PICKS and not _is_ordered(node.inner)
    return isinstance(node, nodes.Call) and node.name in RANGE_FUNCTIONS


def _below(node: nodes.Node) -> Sequence[nodes.Node]:
    if isinstance(node, nodes.Call):
        return node.arguments
    if isinstance(node, nodes.Aggregation):
        return (node.inner,) if node.parameter is None else (node.inner, node.parameter)
    return (node.inner,) if isinstance(node, nodes.Negation) else ()


def _later(moment: nodes.Moment, outer_ms: int) -> int | None:
    return None if moment.at is not None else outer_ms + moment.offset_ms


def _is_ordered(node: nodes.Node) -> bool:
    """Whether two rows stand in the same order whatever the range: in that of the labels of one metric's series.

    Groups are numbered as their first rows come, and which rows there are depends on the range.
    """
    while True:
        match node:
            case nodes.Selector():
                return _is_of_one_metric(node)
            case nodes.RangeSelector():
                return _is_of_one_metric(node.selector)
            case nodes.Call() if node.name in READINGS and node.arguments:
                node = next((one for one in node.arguments if isinstance(one, nodes.RangeSelector)), nodes.Text(""))
            case nodes.Call() if node.name in ELEMENTWISE and node.arguments:
                node = node.arguments[0]
            case nodes.Negation():
                node = node.inner
            case _:
                return False


def _is_of_one_metric(selector: nodes.Selector) -> bool:
    return any(one.name == METRIC_NAME and one.op is MatchOp.EQUAL for one in selector.matchers)

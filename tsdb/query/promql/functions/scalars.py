"""Between scalars and vectors, and whether there is anything at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tsdb.query.kernel.steps import Cells
from tsdb.query.kernel.windows import filled
from tsdb.query.promql.functions.family import Function
from tsdb.query.promql.nodes import Call, Node, RangeSelector, Selector
from tsdb.query.promql.rollups import READINGS
from tsdb.query.promql.values import Scalar, Value, Vector
from tsdb.sample import METRIC_NAME, Labels, MatchOp

if TYPE_CHECKING:
    from tsdb.query.kernel.steps import Bools
    from tsdb.query.promql.evaluator import Evaluator


def _constant(value: float) -> Function:
    def call(evaluator: Evaluator, node: Call) -> Value:
        return Scalar(np.full(evaluator.steps.count, value))

    return call


def _vector(evaluator: Evaluator, node: Call) -> Value:
    value = evaluator.scalar(node.arguments[0])[None, :]
    return Vector.named([()], Cells(value, np.ones(value.shape, np.bool_)))


def _scalar(evaluator: Evaluator, node: Call) -> Value:
    """The value of the only row at each step; NaN where there is none, or more than one."""
    cells = evaluator.vector(node.arguments[0]).cells
    total = np.where(cells.present, cells.value, 0.0).sum(axis=0)
    return Scalar(np.where(cells.present.sum(axis=0) == 1, total, np.nan))


def _absent(evaluator: Evaluator, node: Call) -> Value:
    cells = evaluator.vector(node.arguments[0]).cells
    return _where_absent(node.arguments[0], cells.present)


def _absent_over_time(evaluator: Evaluator, node: Call) -> Value:
    argument = node.arguments[0]
    vector = evaluator.over_windows(
        argument, READINGS[node.name], lambda windows, _: Cells(np.zeros(windows.end.shape), filled(windows))
    )
    return _where_absent(node.arguments[0], vector.cells.present)


def _where_absent(argument: Node, present: Bools) -> Vector:
    absent: Bools = ~np.logical_or.reduce(present, axis=0, keepdims=True)
    return Vector.named([_absent_labels(argument)], Cells(np.ones(absent.shape), absent)).filled_rows()


def _absent_labels(argument: Node) -> Labels:
    """What is known of the series that is not there: the labels whose first `=` no other matcher of them follows.

    Source: createLabelsForAbsentFunction in promql/functions.go of Prometheus 3.
    """
    selector = argument.selector if isinstance(argument, RangeSelector) else argument
    known: dict[str, str] = {}
    equal: set[str] = set()
    for matcher in selector.matchers if isinstance(selector, Selector) else ():
        if matcher.name == METRIC_NAME:
            continue
        if matcher.op is MatchOp.EQUAL and matcher.name not in equal:
            equal.add(matcher.name)
            known[matcher.name] = matcher.value
        else:
            known.pop(matcher.name, None)
    return tuple(sorted((name, text) for name, text in known.items() if text))


def _least(evaluator: Evaluator, node: Call) -> Value:
    return Scalar(np.minimum(evaluator.scalar(node.arguments[0]), evaluator.scalar(node.arguments[1])))


def _greatest(evaluator: Evaluator, node: Call) -> Value:
    return Scalar(np.maximum(evaluator.scalar(node.arguments[0]), evaluator.scalar(node.arguments[1])))


FUNCTIONS: dict[str, Function] = {
    "pi": _constant(np.pi),
    "vector": _vector,
    "scalar": _scalar,
    "absent": _absent,
    "absent_over_time": _absent_over_time,
    "min_of": _least,
    "max_of": _greatest,
}

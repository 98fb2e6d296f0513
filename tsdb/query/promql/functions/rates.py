"""rate and its kin: the change of a series over a window."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from tsdb.query.kernel.rates import extrapolated, instantaneous
from tsdb.query.kernel.steps import Cells
from tsdb.query.kernel.windows import Windows
from tsdb.query.promql.functions.family import Function
from tsdb.query.promql.labels import values_of
from tsdb.query.promql.nodes import Call
from tsdb.query.promql.rollups import READINGS
from tsdb.query.promql.values import Value
from tsdb.sample import METRIC_NAME

if TYPE_CHECKING:
    from tsdb.query.promql.evaluator import Evaluator


COUNTER_FUNCTIONS = ("rate", "increase")  # Which say so, if what they are given does not look like a counter.


def _of_windows(change: Callable[[Windows], Cells]) -> Function:
    def call(evaluator: Evaluator, node: Call) -> Value:
        reading = READINGS[node.name]
        vector = evaluator.over_windows(node.arguments[0], reading, lambda windows, columns: change(windows))
        if node.name in COUNTER_FUNCTIONS:
            metrics = sorted({name for name in values_of(vector.labels, METRIC_NAME) if name})
            evaluator.annotations.check_counters(metrics, node.place(0))
        return evaluator.unnamed(vector)

    return call


FUNCTIONS: dict[str, Function] = {
    "rate": _of_windows(partial(extrapolated, is_counter=True, is_rate=True)),
    "increase": _of_windows(partial(extrapolated, is_counter=True, is_rate=False)),
    "delta": _of_windows(partial(extrapolated, is_counter=False, is_rate=False)),
    "irate": _of_windows(partial(instantaneous, is_rate=True)),
    "idelta": _of_windows(partial(instantaneous, is_rate=False)),
}

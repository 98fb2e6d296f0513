"""Functions that map every value on its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tsdb.query.kernel.steps import Cells
from tsdb.query.promql.functions.family import Function
from tsdb.query.promql.nodes import Call
from tsdb.query.promql.values import Value
from tsdb.sample import Float64s

if TYPE_CHECKING:
    from tsdb.query.promql.evaluator import Evaluator

Map = Callable[[Float64s], Float64s]


def _mapped(function: Map) -> Function:
    def call(evaluator: Evaluator, node: Call) -> Value:
        vector = evaluator.vector(node.arguments[0])
        return evaluator.unnamed(evaluator.mapped(vector, lambda value, _: function(value)))

    return call


def _sign(value: Float64s) -> Float64s:
    return np.where(np.isnan(value), value, np.sign(value))


def _round(evaluator: Evaluator, node: Call) -> Value:
    """To the nearest multiple, halves up. Source: Prometheus promql/functions.go, funcRound."""
    vector = evaluator.vector(node.arguments[0])
    to_nearest = evaluator.scalar(node.arguments[1]) if len(node.arguments) > 1 else np.ones(1)
    # The inverse first, as in Prometheus: round(x, 0.1) then shows 2.3 and not 2.3000000000000003.
    inverse = 1.0 / to_nearest
    inverse = np.broadcast_to(inverse, (evaluator.steps.count,))

    def rounded(value: Float64s, columns: slice) -> Float64s:
        by = inverse[columns]
        result: Float64s = np.floor(value * by + 0.5) / by
        return result

    return evaluator.unnamed(evaluator.mapped(vector, rounded))


def _clamped(evaluator: Evaluator, node: Call, low: Float64s, high: Float64s) -> Value:
    vector = evaluator.vector(node.arguments[0])
    low, high = (np.broadcast_to(bound, (evaluator.steps.count,)) for bound in (low, high))

    def clamped(value: Float64s, columns: slice) -> Float64s:
        # A NaN bound makes the value NaN, as in Go's math.Max and math.Min.
        return np.maximum(low[columns], np.minimum(high[columns], value))

    vector = evaluator.mapped(vector, clamped)
    present = vector.cells.present & ~(low > high)
    return evaluator.unnamed(vector.with_cells(Cells(vector.cells.value, present)).filled_rows())


def _clamp(evaluator: Evaluator, node: Call) -> Value:
    return _clamped(evaluator, node, evaluator.scalar(node.arguments[1]), evaluator.scalar(node.arguments[2]))


def _clamp_min(evaluator: Evaluator, node: Call) -> Value:
    return _clamped(evaluator, node, evaluator.scalar(node.arguments[1]), np.full(1, np.inf))


def _clamp_max(evaluator: Evaluator, node: Call) -> Value:
    return _clamped(evaluator, node, np.full(1, -np.inf), evaluator.scalar(node.arguments[1]))


MAPS: dict[str, Map] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "ln": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "sgn": _sign,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "rad": np.radians,
    "deg": np.degrees,
}

FUNCTIONS: dict[str, Function] = {
    **{name: _mapped(function) for name, function in MAPS.items()},
    "round": _round,
    "clamp": _clamp,
    "clamp_min": _clamp_min,
    "clamp_max": _clamp_max,
}

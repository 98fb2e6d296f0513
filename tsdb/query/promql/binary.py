"""Operators between scalars and vectors; between two vectors the rows come from `matching`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tsdb.errors import NotSupported
from tsdb.query.kernel.steps import Bools, Cells
from tsdb.query.promql.labels import without_metric_name
from tsdb.query.promql.matching import combine_sets, combine_vectors
from tsdb.query.promql.nodes import COMPARISONS, SET_OPERATORS, Binary
from tsdb.query.promql.values import Scalar, Value, Vector
from tsdb.sample import Float64s

ARITHMETIC: dict[str, Callable[[Float64s, Float64s], Float64s]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,  # The sign of the dividend, as in Go.
    "^": np.power,
    "atan2": np.arctan2,
}
COMPARE: dict[str, Callable[[Float64s, Float64s], Bools]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    ">": np.greater,
    "<=": np.less_equal,
    ">=": np.greater_equal,
}


def combine(node: Binary, left: Value, right: Value, *, late: bool) -> Value:
    """Apply one binary operator at all steps. Raises: QueryFailed, when the vectors do not match uniquely."""
    if node.operator not in ARITHMETIC and node.operator not in COMPARISONS and node.operator not in SET_OPERATORS:
        raise NotSupported(f"the operator {node.operator}")
    if isinstance(left, Scalar) and isinstance(right, Scalar):
        return Scalar(_numbers(node.operator, left.value, right.value))
    if isinstance(left, Vector) and isinstance(right, Vector):
        if node.operator in SET_OPERATORS:
            return combine_sets(node.operator, node.matching, left, right)
        return _vectors(node, left, right, late=late)
    if isinstance(left, Vector) and isinstance(right, Scalar):
        return _vector_scalar(node, left, right, swapped=False, late=late)
    assert isinstance(left, Scalar), node
    assert isinstance(right, Vector), node
    return _vector_scalar(node, right, left, swapped=True, late=late)


def _numbers(operator: str, left: Float64s, right: Float64s) -> Float64s:
    if operator in COMPARE:
        return COMPARE[operator](left, right).astype(np.float64)
    return ARITHMETIC[operator](left, right)


def _vector_scalar(node: Binary, vector: Vector, scalar: Scalar, *, swapped: bool, late: bool) -> Vector:
    value, present = vector.cells.value, vector.cells.present
    left, right = (scalar.value, value) if swapped else (value, scalar.value)
    if node.operator in COMPARE and not node.is_bool:
        kept = present & COMPARE[node.operator](left, right)
        return vector.with_cells(Cells(value, kept)).filled_rows()
    result = vector.with_cells(Cells(_numbers(node.operator, left, right), present))
    return without_metric_name(result, late=late)


def _vectors(node: Binary, left: Vector, right: Vector, *, late: bool) -> Vector:
    compare = COMPARE.get(node.operator)
    if compare is None:
        arithmetic = ARITHMETIC[node.operator]
        return combine_vectors(node.matching, left, right, lambda a, b: (arithmetic(a, b), None), drops_name=True)
    if node.is_bool:
        return combine_vectors(
            node.matching,
            left,
            right,
            lambda a, b: (compare(a, b).astype(np.float64), None),
            drops_name=not late,
            marks_name=late,
        )
    return combine_vectors(node.matching, left, right, lambda a, b: (a, compare(a, b)), drops_name=False)

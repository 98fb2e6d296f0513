"""Operators between scalars and vectors; between two vectors the rows come from `matching`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tsdb.errors import NotSupported
from tsdb.query.kernel.blocks import bools_by_tiles, by_tiles, temporary_bytes
from tsdb.query.kernel.steps import Bools, Cells
from tsdb.query.promql.labels import without_metric_name
from tsdb.query.promql.ledger import CELL_BYTES, Ledger
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


def combine(node: Binary, left: Value, right: Value, *, late: bool, ledger: Ledger) -> Value:
    """Apply one binary operator at all steps. Raises: QueryFailed, when the vectors do not match uniquely."""
    if node.operator not in ARITHMETIC and node.operator not in COMPARISONS and node.operator not in SET_OPERATORS:
        raise NotSupported(f"the operator {node.operator}")
    if isinstance(left, Scalar) and isinstance(right, Scalar):
        return Scalar(_numbers(node.operator, left.value, right.value))
    if isinstance(left, Vector) and isinstance(right, Vector):
        if node.operator in SET_OPERATORS:
            return combine_sets(node.operator, node.matching, left, right, ledger)
        return _vectors(node, left, right, ledger, late=late)
    if isinstance(left, Vector) and isinstance(right, Scalar):
        return _vector_scalar(node, left, right, ledger, swapped=False, late=late)
    assert isinstance(left, Scalar), node
    assert isinstance(right, Vector), node
    return _vector_scalar(node, right, left, ledger, swapped=True, late=late)


def _numbers(operator: str, left: Float64s, right: Float64s) -> Float64s:
    if operator in COMPARE:
        return COMPARE[operator](left, right).astype(np.float64)
    return ARITHMETIC[operator](left, right)


def _vector_scalar(
    node: Binary, vector: Vector, scalar: Scalar, ledger: Ledger, *, swapped: bool, late: bool
) -> Vector:
    value, present = vector.cells.value, vector.cells.present
    shape = value.shape

    def sides(rows: slice, columns: slice) -> tuple[Float64s, Float64s]:
        of_vector, of_scalar = value[rows, columns], scalar.value[columns]
        return (of_scalar, of_vector) if swapped else (of_vector, of_scalar)

    if node.operator in COMPARE and not node.is_bool:
        compare = COMPARE[node.operator]
        with ledger.room(2 * CELL_BYTES * value.size):
            holds = bools_by_tiles(shape, lambda rows, columns: compare(*sides(rows, columns)), ledger.check)
            return vector.with_cells(Cells(value, present & holds)).filled_rows()
    with ledger.room(CELL_BYTES * value.size + temporary_bytes(value.size)):
        numbers = by_tiles(shape, lambda rows, columns: _numbers(node.operator, *sides(rows, columns)), ledger.check)
        return without_metric_name(vector.with_cells(Cells(numbers, present)), late=late)


def _vectors(node: Binary, left: Vector, right: Vector, ledger: Ledger, *, late: bool) -> Vector:
    compare = COMPARE.get(node.operator)
    if compare is None:
        arithmetic = ARITHMETIC[node.operator]
        return combine_vectors(
            node.matching, left, right, lambda a, b: (arithmetic(a, b), None), ledger, drops_name=True
        )
    if node.is_bool:
        return combine_vectors(
            node.matching,
            left,
            right,
            lambda a, b: (compare(a, b).astype(np.float64), None),
            ledger,
            drops_name=not late,
            marks_name=late,
        )
    return combine_vectors(node.matching, left, right, lambda a, b: (a, compare(a, b)), ledger, drops_name=False)

"""Quantiles and shares of classic histograms: series that count up to a bound, given in the label `le`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tsdb.query.kernel.blocks import BLOCK_CELLS, CELL_TEMPORARY_BYTES, step_blocks
from tsdb.query.kernel.buckets import Buckets, bucket_fractions, bucket_quantiles
from tsdb.query.kernel.steps import Cells
from tsdb.query.promql.functions.family import Function
from tsdb.query.promql.labels import dropping, grouping_of, united, value_of
from tsdb.query.promql.ledger import CELL_BYTES
from tsdb.query.promql.nodes import Call
from tsdb.query.promql.values import Value, Vector

if TYPE_CHECKING:
    from tsdb.query.promql.evaluator import Evaluator

BOUND_LABEL = "le"
BOUND = re.compile(r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|(?i:inf|infinity))")


def _over_buckets(evaluator: Evaluator, vector: Vector, function: Callable[[Buckets, slice], Cells]) -> Value:
    """One row for each histogram, from the rows whose `le` is a number; other rows are left out."""
    bounds = [value_of(labels, BOUND_LABEL) for labels in vector.labels]
    usable = [i for i, bound in enumerate(bounds) if BOUND.fullmatch(bound)]
    if not usable:
        return Vector.empty(evaluator.steps.count)
    rows = vector.rows(np.array(usable, np.int64))
    labels = dropping(rows.labels, (BOUND_LABEL,))
    grouping, first_index = grouping_of(labels)
    bound = np.array([float(bounds[i]) for i in usable])
    shape = (grouping.group_count, evaluator.steps.count)
    # Histograms are padded to the buckets of the largest.
    padded_count = grouping.group_count * int(np.bincount(grouping.group_of_row).max())
    ledger = evaluator.ledger
    ledger.limits.check_samples(padded_count, "needs")
    width = min(shape[1], max(1, BLOCK_CELLS // padded_count))
    with ledger.room(2 * CELL_BYTES * shape[0] * shape[1] + CELL_TEMPORARY_BYTES * padded_count * width):
        value, present = np.empty(shape), np.empty(shape, np.bool_)
        for columns in step_blocks(shape[1], width):
            ledger.check()
            cells = Cells(rows.cells.value[:, columns], rows.cells.present[:, columns])
            buckets = Buckets.of(cells, grouping.group_of_row, bound, grouping.group_count)
            found = function(buckets, columns)
            value[:, columns], present[:, columns] = found.value, found.present
        return united(Vector.named([labels[i] for i in first_index], Cells(value, present)).filled_rows())


def _quantile(evaluator: Evaluator, node: Call) -> Value:
    phi = evaluator.scalar(node.arguments[0])
    vector = evaluator.vector(node.arguments[1])
    return _over_buckets(evaluator, vector, lambda buckets, columns: bucket_quantiles(buckets, phi[columns]))


def _fraction(evaluator: Evaluator, node: Call) -> Value:
    lower, upper = evaluator.scalar(node.arguments[0]), evaluator.scalar(node.arguments[1])
    vector = evaluator.vector(node.arguments[2])
    return _over_buckets(
        evaluator, vector, lambda buckets, columns: bucket_fractions(buckets, lower[columns], upper[columns])
    )


FUNCTIONS: dict[str, Function] = {
    "histogram_quantile": _quantile,
    "histogram_fraction": _fraction,
}

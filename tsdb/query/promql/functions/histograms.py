"""Quantiles and shares of classic histograms: series that count up to a bound, given in the label `le`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from tsdb.query.kernel.buckets import Buckets, bucket_fractions, bucket_quantiles
from tsdb.query.promql.functions.family import Function
from tsdb.query.promql.labels import dropping, grouping_of, united, value_of
from tsdb.query.promql.nodes import Call
from tsdb.query.promql.values import Value, Vector
from tsdb.sample import Labels

if TYPE_CHECKING:
    from tsdb.query.promql.evaluator import Evaluator

BOUND_LABEL = "le"
BOUND = re.compile(r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|(?i:inf|infinity))")


def _histograms(vector: Vector) -> tuple[list[Labels], Buckets] | None:
    """The rows whose `le` is a number, by histogram; None if there are none. Other rows are left out."""
    bounds = [value_of(labels, BOUND_LABEL) for labels in vector.labels]
    usable = [i for i, bound in enumerate(bounds) if BOUND.fullmatch(bound)]
    if not usable:
        return None
    rows = vector.rows(np.array(usable, np.int64))
    labels = dropping(rows.labels, (BOUND_LABEL,))
    grouping, first_index = grouping_of(labels)
    bound = np.array([float(bounds[i]) for i in usable])
    buckets = Buckets.of(rows.cells, grouping.group_of_row, bound, grouping.group_count)
    return [labels[i] for i in first_index], buckets


def _quantile(evaluator: Evaluator, node: Call) -> Value:
    phi = evaluator.scalar(node.arguments[0])
    found = _histograms(evaluator.vector(node.arguments[1]))
    if found is None:
        return Vector.empty(evaluator.steps.count)
    labels, buckets = found
    return united(Vector.named(labels, bucket_quantiles(buckets, phi)).filled_rows())


def _fraction(evaluator: Evaluator, node: Call) -> Value:
    lower, upper = evaluator.scalar(node.arguments[0]), evaluator.scalar(node.arguments[1])
    found = _histograms(evaluator.vector(node.arguments[2]))
    if found is None:
        return Vector.empty(evaluator.steps.count)
    labels, buckets = found
    return united(Vector.named(labels, bucket_fractions(buckets, lower, upper)).filled_rows())


FUNCTIONS: dict[str, Function] = {
    "histogram_quantile": _quantile,
    "histogram_fraction": _fraction,
}

"""sum, topk, quantile and their kin: rows grouped by their labels."""

from __future__ import annotations

import numpy as np

from tsdb.errors import NotSupported, QueryFailed, RefusedQuery
from tsdb.query.kernel.groups import REDUCTIONS, Grouping, any_present, reduce_groups
from tsdb.query.kernel.order import extreme_rows, first_rows, quantiles
from tsdb.query.kernel.steps import Bools, Cells
from tsdb.query.promql.labels import dropping, grouping_of, keeping, united, with_label
from tsdb.query.promql.nodes import Aggregation
from tsdb.query.promql.numbers import text_of_number
from tsdb.query.promql.values import Scalar, Value, Vector
from tsdb.sample import Float64s, Int64s, Labels

# Prometheus refuses a count that its int64 cannot hold.
COUNT_MAX = float(2**63)
CHOICES = ("topk", "bottomk", "limitk")


def aggregate(node: Aggregation, vector: Vector, parameter: Value | None) -> Vector:
    """Evaluate one aggregation over the rows of a vector.

    Raises: NotSupported, for an operator that is not built here.
    """
    labels = dropping(vector.labels, node.labels) if node.is_without else keeping(vector.labels, node.labels)
    if node.name in CHOICES:
        k = _counts(_number(parameter))
    if not vector.row_count and node.name in (*REDUCTIONS, *CHOICES, "quantile", "count_values"):
        return Vector.empty(vector.cells.value.shape[1])
    grouping, first_index = grouping_of(labels)
    group_labels = [labels[i] for i in first_index]
    if node.name in REDUCTIONS:
        cells = reduce_groups(node.name, vector.cells, grouping)
    elif node.name == "quantile":
        phi = _number(parameter)
        cells = Cells(quantiles(vector.cells, grouping, phi), any_present(vector.cells.present, grouping))
    elif node.name in CHOICES:
        return _chosen(node.name, vector, grouping, k)
    elif node.name == "count_values":
        return _value_counts(vector, grouping, group_labels, parameter)
    else:
        raise NotSupported(f"the aggregation {node.name}()")
    unnamed = np.zeros(grouping.group_count, np.bool_)
    unnamed[grouping.group_of_row[vector.unnamed]] = True
    return Vector(group_labels, cells, unnamed)


def _number(parameter: Value | None) -> Float64s:
    assert isinstance(parameter, Scalar), parameter
    return parameter.value


def _chosen(name: str, vector: Vector, grouping: Grouping, k: Int64s) -> Vector:
    """The rows themselves, with only the chosen cells present."""
    if name == "limitk":
        chosen: Bools = first_rows(vector.cells, grouping, k)
    else:
        chosen = extreme_rows(vector.cells, grouping, k, largest=name == "topk")
    kept = vector.with_cells(Cells(vector.cells.value, chosen)).filled_rows()
    if name == "limitk" or kept.cells.value.shape[1] > 1 or not kept.row_count:
        return kept
    return _ordered(kept, largest=name == "topk")


def _ordered(vector: Vector, *, largest: bool) -> Vector:
    """An instant answer comes best first."""
    value = vector.cells.value[:, 0]
    return vector.rows(np.argsort(-value if largest else value, kind="stable"))


def _counts(parameter: Float64s) -> Int64s:
    if np.isnan(parameter).any():
        raise QueryFailed("Parameter value is NaN")
    if (np.abs(parameter) >= COUNT_MAX).any():
        raise QueryFailed(f"Scalar value {text_of_number(float(np.abs(parameter).max()))} overflows int64")
    return parameter.astype(np.int64)


def _value_counts(vector: Vector, grouping: Grouping, group_labels: list[Labels], parameter: Value | None) -> Vector:
    """count_values: for every group and distinct value a row that counts it, with the value as a label."""
    if not isinstance(parameter, str) or not parameter:
        raise RefusedQuery(f"invalid label name {parameter!r} in count_values()")
    row, step = np.nonzero(vector.cells.present)
    value = vector.cells.value[row, step]
    distinct, number = np.unique(value, return_inverse=True)
    pair = grouping.group_of_row[row] * distinct.size + number
    pairs, out_row = np.unique(pair, return_inverse=True)
    count = np.zeros((pairs.size, vector.cells.value.shape[1]))
    np.add.at(count, (out_row, step), 1.0)
    labels = [
        with_label(group_labels[at // distinct.size], parameter, text_of_number(float(distinct[at % distinct.size])))
        for at in pairs.tolist()
    ]
    return united(Vector.named(labels, Cells(count, count > 0)))

"""sum, topk, quantile and their kin: rows grouped by their labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tsdb.errors import NotSupported, RefusedQuery
from tsdb.query.kernel.blocks import BLOCK_CELLS, temporary_bytes
from tsdb.query.kernel.groups import REDUCTIONS, Grouping, any_present, reduce_groups
from tsdb.query.kernel.order import quantiles
from tsdb.query.kernel.steps import Cells
from tsdb.query.promql.annotations import Annotations
from tsdb.query.promql.choose import choice_of, chosen, step_runs
from tsdb.query.promql.labels import grouping_by, united, with_label
from tsdb.query.promql.ledger import CELL_BYTES, Ledger
from tsdb.query.promql.nodes import Aggregation
from tsdb.query.promql.numbers import text_of_number
from tsdb.query.promql.values import Scalar, Value, Vector
from tsdb.sample import Float64s, Int64s, Labels


def aggregate(
    node: Aggregation, vector: Vector, parameter: Value | None, ledger: Ledger, annotations: Annotations
) -> Vector:
    """Evaluate one aggregation over the rows of a vector.

    Raises: NotSupported, for an operator that is not built here; what asking the ledger for room raises.
    """
    choice = choice_of(node, parameter, annotations)
    if node.name == "quantile":
        annotations.check_quantiles(_number(parameter), node.parameter_place)
    if not vector.row_count:
        return Vector.empty(vector.cells.value.shape[1])
    grouping, group_labels = grouping_by(vector.labels, node.labels, is_without=node.is_without)
    if choice is not None:
        return chosen(choice, vector, grouping, ledger)
    if node.name == "count_values":
        return _value_counts(vector, grouping, group_labels, parameter, ledger)
    unnamed = np.zeros(grouping.group_count, np.bool_)
    unnamed[grouping.group_of_row[vector.unnamed]] = True
    return Vector(group_labels, _reduced(node, vector.cells, grouping, parameter, ledger), unnamed)


def _reduced(node: Aggregation, cells: Cells, grouping: Grouping, parameter: Value | None, ledger: Ledger) -> Cells:
    """One row for each group."""
    if node.name in REDUCTIONS:
        return _by_steps(lambda part, _: reduce_groups(node.name, part, grouping), cells, grouping, ledger)
    if node.name != "quantile":
        raise NotSupported(f"the aggregation {node.name}()")
    phi = _number(parameter)

    def quantile(part: Cells, columns: slice) -> Cells:
        return Cells(quantiles(part, grouping, phi[columns]), any_present(part.present, grouping))

    return _by_steps(quantile, cells, grouping, ledger)


def _by_steps(reduce: Callable[[Cells, slice], Cells], cells: Cells, grouping: Grouping, ledger: Ledger) -> Cells:
    """One row for each group, some steps at a time."""
    shape = (grouping.group_count, cells.value.shape[1])
    with ledger.room(CELL_BYTES * shape[0] * shape[1] + temporary_bytes(cells.value.size)):
        if cells.value.size <= BLOCK_CELLS:
            return reduce(cells, slice(0, shape[1]))
        value, present = np.empty(shape), np.empty(shape, np.bool_)
        for columns in step_runs(cells.value.shape):
            ledger.check()
            part = reduce(Cells(cells.value[:, columns], cells.present[:, columns]), columns)
            value[:, columns], present[:, columns] = part.value, part.present
        ledger.hold(value, present)
    return Cells(value, present)


def _number(parameter: Value | None) -> Float64s:
    assert isinstance(parameter, Scalar), parameter
    return parameter.value


def _value_counts(
    vector: Vector, grouping: Grouping, group_labels: list[Labels], parameter: Value | None, ledger: Ledger
) -> Vector:
    """count_values: for every group and distinct value a row that counts it, with the value as a label."""
    if not isinstance(parameter, str) or not parameter:
        raise RefusedQuery(f"invalid label name {parameter!r} in count_values()")
    cells, step_count = vector.cells, vector.cells.value.shape[1]
    found = []
    for columns in step_runs(cells.value.shape):
        ledger.check()
        row, step = np.nonzero(cells.present[:, columns])
        found.append((grouping.group_of_row[row], step + columns.start, cells.value[row, step + columns.start]))
    distinct = np.unique(np.concatenate([np.unique(value) for _, _, value in found]))
    seen = []
    for group, _, value in found:
        ledger.check()
        seen.append(np.unique(_pairs(distinct, group, value)))
    pairs = np.unique(np.concatenate(seen))
    # A row for each distinct value: of 1,000 series that never repeat one there are as many rows as cells.
    ledger.limits.check_series(pairs.size)
    ledger.limits.check_samples(pairs.size * step_count, "needs")
    with ledger.room(2 * CELL_BYTES * pairs.size * step_count):
        count = np.zeros((pairs.size, step_count))
        for group, step, value in found:
            ledger.check()
            np.add.at(count, (np.searchsorted(pairs, _pairs(distinct, group, value)), step), 1.0)
        labels = [
            with_label(
                group_labels[at // distinct.size], parameter, text_of_number(float(distinct[at % distinct.size]))
            )
            for at in pairs.tolist()
        ]
        counted = united(Vector.named(labels, Cells(count, count > 0)))
        ledger.hold(counted.cells.value, counted.cells.present)
    return counted


def _pairs(distinct: Float64s, group: Int64s, value: Float64s) -> Int64s:
    """One number for each (group, value). NaN is the last of the distinct values, and is found there."""
    pairs: Int64s = group * distinct.size + np.searchsorted(distinct, value)
    return pairs

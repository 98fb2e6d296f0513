"""sum, topk, quantile and their kin: rows grouped by their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tsdb.errors import NotSupported, QueryFailed, RefusedQuery
from tsdb.query.kernel.blocks import BLOCK_CELLS, step_blocks, temporary_bytes
from tsdb.query.kernel.groups import REDUCTIONS, Grouping, any_present, reduce_groups
from tsdb.query.kernel.order import extreme_rows, first_rows, quantiles
from tsdb.query.kernel.steps import Cells
from tsdb.query.promql.labels import dropping, grouping_of, keeping, united, with_label
from tsdb.query.promql.ledger import CELL_BYTES, Ledger
from tsdb.query.promql.nodes import Aggregation
from tsdb.query.promql.numbers import text_of_number
from tsdb.query.promql.values import Scalar, Value, Vector
from tsdb.sample import Float64s, Int64s, Labels

# Prometheus refuses a count that its int64 cannot hold.
COUNT_MAX = float(2**63)
CHOICES = ("topk", "bottomk", "limitk")


def aggregate(node: Aggregation, vector: Vector, parameter: Value | None, ledger: Ledger) -> Vector:
    """Evaluate one aggregation over the rows of a vector.

    Raises: NotSupported, for an operator that is not built here; what asking the ledger for room raises.
    """
    labels = dropping(vector.labels, node.labels) if node.is_without else keeping(vector.labels, node.labels)
    if node.name in CHOICES:
        k = _counts(_number(parameter))
    if not vector.row_count and node.name in (*REDUCTIONS, *CHOICES, "quantile", "count_values"):
        return Vector.empty(vector.cells.value.shape[1])
    grouping, first_index = grouping_of(labels)
    group_labels = [labels[i] for i in first_index]
    if node.name in REDUCTIONS:
        cells = _by_steps(lambda cells, _: reduce_groups(node.name, cells, grouping), vector.cells, grouping, ledger)
    elif node.name == "quantile":
        phi = _number(parameter)
        cells = _by_steps(
            lambda cells, columns: Cells(
                quantiles(cells, grouping, phi[columns]), any_present(cells.present, grouping)
            ),
            vector.cells,
            grouping,
            ledger,
        )
    elif node.name in CHOICES:
        return _chosen(node.name, vector, grouping, k, ledger)
    elif node.name == "count_values":
        return _value_counts(vector, grouping, group_labels, parameter, ledger)
    else:
        raise NotSupported(f"the aggregation {node.name}()")
    unnamed = np.zeros(grouping.group_count, np.bool_)
    unnamed[grouping.group_of_row[vector.unnamed]] = True
    return Vector(group_labels, cells, unnamed)


def _columns(shape: tuple[int, ...]) -> Iterator[slice]:
    """Steps in runs of at most BLOCK_CELLS cells: no aggregation looks from one step to another."""
    return step_blocks(shape[1], BLOCK_CELLS // max(shape[0], 1))


def _by_steps(reduce: Callable[[Cells, slice], Cells], cells: Cells, grouping: Grouping, ledger: Ledger) -> Cells:
    """One row for each group, some steps at a time."""
    shape = (grouping.group_count, cells.value.shape[1])
    with ledger.room(CELL_BYTES * shape[0] * shape[1] + temporary_bytes(cells.value.size)):
        if cells.value.size <= BLOCK_CELLS:
            return reduce(cells, slice(0, shape[1]))
        value, present = np.empty(shape), np.empty(shape, np.bool_)
        for columns in _columns(cells.value.shape):
            ledger.check()
            part = reduce(Cells(cells.value[:, columns], cells.present[:, columns]), columns)
            value[:, columns], present[:, columns] = part.value, part.present
        ledger.hold(value, present)
    return Cells(value, present)


def _number(parameter: Value | None) -> Float64s:
    assert isinstance(parameter, Scalar), parameter
    return parameter.value


def _chosen(name: str, vector: Vector, grouping: Grouping, k: Int64s, ledger: Ledger) -> Vector:
    """The rows themselves, with only the chosen cells present."""
    shape = vector.cells.value.shape
    # The mask, a copy of the rows that have something chosen, and orders and ranks of one block.
    with ledger.room(10 * vector.cells.value.size + temporary_bytes(vector.cells.value.size)):
        chosen = np.empty(shape, np.bool_)
        for columns in _columns(shape):
            ledger.check()
            cells = Cells(vector.cells.value[:, columns], vector.cells.present[:, columns])
            if name == "limitk":
                chosen[:, columns] = first_rows(cells, grouping, k[columns])
            else:
                chosen[:, columns] = extreme_rows(cells, grouping, k[columns], largest=name == "topk")
        kept = vector.with_cells(Cells(vector.cells.value, chosen)).filled_rows()
        ledger.hold(kept.cells.value, kept.cells.present)
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


def _value_counts(
    vector: Vector, grouping: Grouping, group_labels: list[Labels], parameter: Value | None, ledger: Ledger
) -> Vector:
    """count_values: for every group and distinct value a row that counts it, with the value as a label."""
    if not isinstance(parameter, str) or not parameter:
        raise RefusedQuery(f"invalid label name {parameter!r} in count_values()")
    cells, step_count = vector.cells, vector.cells.value.shape[1]
    found = []
    for columns in _columns(cells.value.shape):
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

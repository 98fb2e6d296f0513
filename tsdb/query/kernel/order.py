"""Rows ranked by value within their group, at every step: topk, bottomk, limitk and quantile."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tsdb.query.kernel.groups import Grouping, counts
from tsdb.query.kernel.steps import Bools, Cells
from tsdb.sample import Float64s, Int64s

ValueAt = Callable[[Int64s], Float64s]
"""The value at a rank, from 0, within each group or window."""


def _ranked(cells: Cells, grouping: Grouping, keys: Float64s) -> Int64s:
    """The row numbers of every column, by group, absent ones last in each, then by key; equal keys in row order."""
    order = np.argsort(np.where(cells.present, keys, np.nan), axis=0, kind="stable")
    absent = np.take_along_axis(~cells.present, order, axis=0)
    order = np.take_along_axis(order, np.argsort(absent, axis=0, kind="stable"), axis=0)
    if grouping.group_count > 1:
        group = grouping.group_of_row[order]
        order = np.take_along_axis(order, np.argsort(group, axis=0, kind="stable"), axis=0)
    return order


def _starts(grouping: Grouping) -> Int64s:
    rows_of_group = np.bincount(grouping.group_of_row, minlength=grouping.group_count)
    return np.cumsum(rows_of_group) - rows_of_group


def extreme_rows(cells: Cells, grouping: Grouping, k: Int64s, *, largest: bool) -> Bools:
    """Which cells are among the k[step] largest (or smallest) of their group at their step; NaN is the last choice.

    Of equal values the earlier row is taken. Shape as the cells.
    """
    order = _ranked(cells, grouping, -cells.value if largest else cells.value)
    rank = np.arange(order.shape[0])[:, None] - _starts(grouping)[grouping.group_of_row[order]]
    chosen = np.zeros(order.shape, np.bool_)
    np.put_along_axis(chosen, order, rank < k, axis=0)
    return chosen & cells.present


def first_rows(cells: Cells, grouping: Grouping, k: Int64s) -> Bools:
    """Which cells are among the first k[step] of their group at their step, in row order."""
    order = _ranked(cells, grouping, np.zeros(cells.value.shape))
    rank = np.arange(order.shape[0])[:, None] - _starts(grouping)[grouping.group_of_row[order]]
    chosen = np.zeros(order.shape, np.bool_)
    np.put_along_axis(chosen, order, rank < k, axis=0)
    return chosen & cells.present


def quantiles(cells: Cells, grouping: Grouping, phi: Float64s) -> Float64s:
    """The phi[step]-quantile of each group, interpolated; NaN sorts before every number. Shape (groups, steps)."""
    # -inf stands in for NaN as a key; the two differ only if both occur, where the interpolation is NaN or -inf.
    keys = np.where(np.isnan(cells.value), -np.inf, cells.value)
    order = _ranked(cells, grouping, keys)
    ordered = np.take_along_axis(cells.value, order, axis=0)
    count = counts(cells, grouping)
    start = _starts(grouping)[:, None]
    last = np.maximum(count - 1, 0).astype(np.int64)

    def value_at(rank: Int64s) -> Float64s:
        return np.take_along_axis(ordered, start + np.clip(rank, 0, last), axis=0)

    return interpolated(value_at, count, np.broadcast_to(phi, count.shape))


def interpolated(value_at: ValueAt, count: Float64s, phi: Float64s) -> Float64s:
    """Between the two ordered values around rank phi × (count - 1). Source: Prometheus promql/quantile.go, quantile."""
    rank = np.where((phi >= 0) & (phi <= 1), phi, 0.0) * (count - 1)
    lower = np.maximum(0.0, np.floor(rank))
    upper = np.minimum(count - 1, lower + 1)
    weight = rank - np.floor(rank)
    between = value_at(lower.astype(np.int64)) * (1 - weight) + value_at(upper.astype(np.int64)) * weight
    outside = np.select([phi < 0, phi > 1], [-np.inf, np.inf], np.nan)
    return np.where((phi >= 0) & (phi <= 1), between, outside)

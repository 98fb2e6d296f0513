"""Rows reduced by group: one value for every (group, step) from all rows of the group that have a value there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from tsdb.query.kernel.steps import Bools, Cells
from tsdb.query.kernel.sums import add_pairs, may_cancel, scale_for
from tsdb.sample import Float64s, Int64s


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which group each row belongs to.

    Invariant: every number in 0 … group_count - 1 occurs in group_of_row.
    """

    group_of_row: Int64s
    group_count: int

    def gathered(self, column: Float64s) -> tuple[Float64s, Int64s]:
        """The rows with each group's together, and where each group starts."""
        order = np.argsort(self.group_of_row, kind="stable")
        starts = np.searchsorted(self.group_of_row[order], np.arange(self.group_count))
        in_order = bool((order[1:] > order[:-1]).all())
        return (column if in_order else column[order]), starts


def reduce_rows(function: np.ufunc, column: Float64s, grouping: Grouping) -> Float64s:
    """function over the rows of each group; shape (groups, steps)."""
    if grouping.group_count == 1:
        whole: Float64s = function.reduce(column, axis=0)[None, :]
        return whole
    if grouping.group_count == column.shape[0]:
        gathered, _ = grouping.gathered(column)
        return gathered
    gathered, starts = grouping.gathered(column)
    reduced: Float64s = function.reduceat(gathered, starts, axis=0)
    return reduced


def counts(cells: Cells, grouping: Grouping) -> Float64s:
    return reduce_rows(np.add, cells.present.astype(np.float64), grouping)


def sums(cells: Cells, grouping: Grouping) -> Float64s:
    column = cells.value if cells.present.all() else np.where(cells.present, cells.value, 0.0)
    if not may_cancel(column):
        return reduce_rows(np.add, column, grouping)
    return _paired_sums(column, grouping)


def _paired_sums(column: Float64s, grouping: Grouping) -> Float64s:
    """Neighbouring rows of one group are added with their rounding errors, until each group has one row left."""
    total, starts = grouping.gathered(column)
    error = np.zeros_like(total)
    lengths = np.diff(np.append(starts, total.shape[0]))
    while int(lengths.max()) > 1:
        starts = np.cumsum(lengths) - lengths
        owner = np.repeat(np.arange(lengths.size), lengths)
        within = np.arange(total.shape[0]) - starts[owner]
        left = np.flatnonzero(within % 2 == 0)
        paired = within[left] + 1 < lengths[owner[left]]
        new_total, new_error = total[left], error[left]
        both = left[paired]
        new_total[paired], new_error[paired] = add_pairs((total[both], error[both]), (total[both + 1], error[both + 1]))
        total, error, lengths = new_total, new_error, (lengths + 1) // 2
    return total + error


def means(cells: Cells, grouping: Grouping) -> Float64s:
    scale = scale_for(np.where(cells.present, cells.value, 0.0))
    scaled = Cells(cells.value * scale, cells.present) if scale != 1.0 else cells
    return sums(scaled, grouping) / counts(cells, grouping) / scale


def extremes(function: np.ufunc, cells: Cells, grouping: Grouping) -> Float64s:
    """np.fmin or np.fmax: NaN only where all values are."""
    return reduce_rows(function, np.where(cells.present, cells.value, np.nan), grouping)


def variances(cells: Cells, grouping: Grouping) -> Float64s:
    """The population variance, in two passes: first the mean, then the squares around it."""
    distance = cells.value - means(cells, grouping)[grouping.group_of_row]
    return sums(Cells(distance * distance, cells.present), grouping) / counts(cells, grouping)


def any_present(present: Bools, grouping: Grouping) -> Bools:
    if grouping.group_count == 1:
        return np.logical_or.reduce(present, axis=0, keepdims=True)
    return reduce_rows(np.add, present.astype(np.float64), grouping) > 0


REDUCTIONS: dict[str, Callable[[Cells, Grouping], Float64s]] = {
    "sum": sums,
    "avg": means,
    "min": partial(extremes, np.fmin),
    "max": partial(extremes, np.fmax),
    "count": counts,
    "group": lambda cells, grouping: np.ones((grouping.group_count, cells.value.shape[1])),
    "stdvar": variances,
    "stddev": lambda cells, grouping: np.sqrt(variances(cells, grouping)),
}


def reduce_groups(name: str, cells: Cells, grouping: Grouping) -> Cells:
    """The named reduction of each group; present where any of its rows is."""
    return Cells(REDUCTIONS[name](cells, grouping), any_present(cells.present, grouping))

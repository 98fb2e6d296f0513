"""Reductions of groups that are told their rows piece by piece: what groups.py does, without all rows at once."""

from __future__ import annotations

import numpy as np

from tsdb.query.kernel.groups import Grouping, reduce_rows, sums
from tsdb.query.kernel.steps import Cells
from tsdb.query.kernel.sums import add_pairs
from tsdb.sample import Float64s, Int64s


class Accumulator:
    """Counts values by (group, step); its kin keep more."""

    def __init__(self, group_count: int, step_count: int) -> None:
        self._group_count = group_count
        self._count = np.zeros((group_count, step_count))

    def add(self, cells: Cells, group_of_row: Int64s, columns: slice) -> None:
        """Some rows, at some steps."""
        rows_by_group = np.bincount(group_of_row, minlength=self._group_count)
        groups = np.flatnonzero(rows_by_group)
        number = np.empty(self._group_count, np.int64)
        number[groups] = np.arange(groups.size)
        grouping = Grouping(number[group_of_row], groups.size)
        if cells.present.all():
            self._count[groups, columns] += rows_by_group[groups, None]
        else:
            self._count[groups, columns] += reduce_rows(np.add, cells.present.astype(np.float64), grouping)
        self._take(cells, grouping, groups, columns)

    def finished(self) -> Cells | None:
        """The result; None, if only all rows at once give it."""
        value = self._value()
        return None if value is None else Cells(value, self._count > 0)

    def _take(self, cells: Cells, grouping: Grouping, groups: Int64s, columns: slice) -> None:
        """What is kept beside the counts. groups: those of the grouping."""

    def _value(self) -> Float64s | None:
        return self._count


class Presence(Accumulator):
    def _value(self) -> Float64s | None:
        return np.ones_like(self._count)


class Sum(Accumulator):
    """Sums and their rounding errors."""

    def __init__(self, group_count: int, step_count: int) -> None:
        super().__init__(group_count, step_count)
        self._total = np.zeros_like(self._count)
        self._error = np.zeros_like(self._count)

    def _take(self, cells: Cells, grouping: Grouping, groups: Int64s, columns: slice) -> None:
        part = sums(cells, grouping)
        before = self._total[groups, columns], self._error[groups, columns]
        self._total[groups, columns], self._error[groups, columns] = add_pairs(before, (part, np.zeros_like(part)))

    def _value(self) -> Float64s | None:
        return self._total + self._error


class Mean(Sum):
    def _value(self) -> Float64s | None:
        total = self._total + self._error
        # A sum beyond the range of a float need not be a mean beyond it.
        return total / self._count if np.isfinite(total).all() else None


class Extreme(Accumulator):
    function: np.ufunc

    def __init__(self, group_count: int, step_count: int) -> None:
        super().__init__(group_count, step_count)
        self._extreme = np.full(self._count.shape, np.nan)

    def _take(self, cells: Cells, grouping: Grouping, groups: Int64s, columns: slice) -> None:
        part = reduce_rows(self.function, np.where(cells.present, cells.value, np.nan), grouping)
        self._extreme[groups, columns] = self.function(self._extreme[groups, columns], part)

    def _value(self) -> Float64s | None:
        return self._extreme


class Least(Extreme):
    function = np.fmin


class Greatest(Extreme):
    function = np.fmax


ACCUMULATORS: dict[str, type[Accumulator]] = {
    "count": Accumulator,
    "group": Presence,
    "sum": Sum,
    "avg": Mean,
    "min": Least,
    "max": Greatest,
}
MATRIX_COUNT = 6
"""Of (groups, steps): what an accumulator holds, and what it needs to finish."""

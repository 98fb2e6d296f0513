"""What evaluating a node gives: a vector over all steps, a scalar over all steps, a string."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tsdb.query.kernel.steps import Bools, Cells
from tsdb.query.promql.label_rows import taken
from tsdb.sample import Float64s, Int64s, Labels


@dataclass(frozen=True, slots=True)
class Vector:
    """One instant vector for every step, as a matrix with a row for every label set.

    Invariant: len(labels) rows; at no step are two rows with equal labels present. `unnamed` marks the rows whose
    metric name is to be dropped from the answer (only with late name removal).
    """

    labels: Sequence[Labels]
    cells: Cells
    unnamed: Bools

    def __post_init__(self) -> None:
        assert self.cells.value.shape[0] == len(self.labels) == self.unnamed.size, self.cells.value.shape

    @staticmethod
    def named(labels: Sequence[Labels], cells: Cells) -> Vector:
        return Vector(labels, cells, np.zeros(len(labels), np.bool_))

    @staticmethod
    def empty(step_count: int) -> Vector:
        return Vector.named([], Cells(np.empty((0, step_count)), np.empty((0, step_count), np.bool_)))

    @property
    def row_count(self) -> int:
        return len(self.labels)

    def rows(self, index: Int64s) -> Vector:
        if index.size == self.row_count and (index == np.arange(index.size)).all():
            return self  # Nothing to copy.
        return Vector(taken(self.labels, index), self.cells.rows(index), self.unnamed[index])

    def with_cells(self, cells: Cells) -> Vector:
        return Vector(self.labels, cells, self.unnamed)

    def filled_rows(self) -> Vector:
        """Without the rows that have no value at any step."""
        filled = self.cells.present.any(axis=1)
        return self if filled.all() else self.rows(np.flatnonzero(filled))


@dataclass(frozen=True, slots=True)
class Scalar:
    """One number for every step."""

    value: Float64s


Value: TypeAlias = Vector | Scalar | str

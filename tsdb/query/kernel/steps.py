"""Evaluation times, and values on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb.sample import Float64s, Int64s

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Steps:
    """The times first_ms, first_ms + step_ms, …; `count` of them. An instant is one step.

    Invariant: step_ms >= 1 and count >= 1.
    """

    first_ms: int
    step_ms: int
    count: int

    def __post_init__(self) -> None:
        assert self.step_ms >= 1, self
        assert self.count >= 1, self

    @staticmethod
    def over(start_ms: int, end_ms: int, step_ms: int) -> Steps:
        """All steps from start_ms to end_ms, both inclusive. start_ms <= end_ms."""
        return Steps(start_ms, step_ms, (end_ms - start_ms) // step_ms + 1)

    @property
    def last_ms(self) -> int:
        return self.first_ms + (self.count - 1) * self.step_ms

    def times_ms(self) -> Int64s:
        """int64[count]."""
        return self.first_ms + self.step_ms * np.arange(self.count, dtype=np.int64)

    def shifted(self, by_ms: int) -> Steps:
        return Steps(self.first_ms + by_ms, self.step_ms, self.count)


@dataclass(frozen=True, slots=True)
class Cells:
    """A value for every (series, step) and whether there is one; NaN is a value like any other.

    Values of absent cells are arbitrary. Both arrays have the shape (series, steps), and may be read-only views.
    """

    value: Float64s
    present: Bools

    def __post_init__(self) -> None:
        assert self.value.shape == self.present.shape, (self.value.shape, self.present.shape)

    def rows(self, index: npt.NDArray[np.intp] | Bools) -> Cells:
        return Cells(self.value[index], self.present[index])

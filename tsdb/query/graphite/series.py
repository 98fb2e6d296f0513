"""The rows on which functions work: named values at equal steps.

Values of many series often lie in one matrix (series, steps), of which each series holds its row; matrix() gives such
rows back without a copy, so that a function over thousands of series is a few numpy calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tsdb.query.graphite.consolidation import consolidated
from tsdb.sample import Float64s


@dataclass(slots=True)
class Series:
    """One line of an answer.

    values: one for each step from start_s on, NaN where there is none. end_s is exclusive; a few functions give values
    that do not reach it, as graphite-web does. path: the target from which it came.
    """

    name: str
    start_s: int
    end_s: int
    step_s: int
    values: Float64s
    tags: dict[str, str] = field(default_factory=dict)
    path: str = ""
    consolidate_by: str = "average"
    x_files_factor: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)  # How it is drawn: color, lineWidth, stacked and so on.

    def __post_init__(self) -> None:
        assert self.values.ndim == 1, self.values.shape
        assert self.values.dtype == np.float64, self.values.dtype
        self.path = self.path or self.name

    def but(self, **changes: Any) -> Series:
        """A copy with some fields changed; its tags and options are its own."""
        made = object.__new__(Series)  # A tenth of what replace() takes, for thousands of series.
        made.name, made.start_s, made.end_s, made.step_s = self.name, self.start_s, self.end_s, self.step_s
        made.values, made.tags, made.path = self.values, dict(self.tags), self.path
        made.consolidate_by, made.x_files_factor = self.consolidate_by, self.x_files_factor
        made.options = dict(self.options)
        for field_name, value in changes.items():
            setattr(made, field_name, value)
        if changes:
            made.__post_init__()
        return made


def matrix(group: Sequence[Series]) -> Float64s:
    """The values as (series, steps); not to be written to. Shorter rows are filled with NaN at their end.

    Rows that follow each other in one matrix are given back as they lie.
    """
    if not group:
        return np.empty((0, 0))
    if (table := _as_they_lie([one.values for one in group])) is not None:
        return table
    width = max(one.values.size for one in group)
    if all(one.values.size == width for one in group):
        return np.stack([one.values for one in group])
    rows = np.full((len(group), width), np.nan)
    for row_values, one in zip(rows, group, strict=True):
        row_values[: one.values.size] = one.values
    return rows


def _as_they_lie(rows: Sequence[Float64s]) -> Float64s | None:
    """Rows of one array that lie equally far apart, as a view of it; None if they do not."""
    first, count = rows[0], len(rows)
    base, size = first.base, first.size
    if not isinstance(base, np.ndarray) or not size or first.strides != (first.itemsize,):
        return None
    if any(row.base is not base or row.size != size or row.strides != first.strides for row in rows):
        return None
    step = _address(rows[1]) - _address(first) if count > 1 else first.nbytes
    if step < first.nbytes or _address(rows[-1]) - _address(first) != step * (count - 1):
        return None
    places = np.fromiter(map(_address, rows), np.int64, count)
    if (np.diff(places) != step).any():
        return None
    table: Float64s = np.lib.stride_tricks.as_strided(first, (count, size), (step, first.itemsize), writeable=False)
    return table


def _address(array: Float64s) -> int:
    return int(array.__array_interface__["data"][0])


def normalized(group: Sequence[Series]) -> tuple[Float64s, int, int, int]:
    """Series of different steps and ends brought together: (matrix, start, end, step).

    The step is the least common multiple; each series is consolidated by its own function from its own first value on,
    not by time, as graphite-web does it. Raises: ValueError, without any series.
    """
    if not group:
        raise ValueError("no series to bring together")
    step_s = math.lcm(*(one.step_s for one in group))
    start_s, end_s = min(one.start_s for one in group), max(one.end_s for one in group)
    end_s -= (end_s - start_s) % step_s
    if all(one.step_s == step_s for one in group):
        return matrix(group), start_s, end_s, step_s
    rows = [
        one
        if one.step_s == step_s
        else one.but(values=consolidated(one.values, step_s // one.step_s, one.consolidate_by, one.x_files_factor))
        for one in group
    ]
    return matrix(rows), start_s, end_s, step_s


def joined_paths(group: Sequence[Series]) -> str:
    """The targets of some series, each once: what stands in the brackets of a name."""
    return ",".join(dict.fromkeys(one.path for one in group))


def by_row(group: Sequence[Series], change: Callable[[Float64s], Float64s]) -> list[Float64s]:
    """The values after a change of (series, steps) that treats every row alike; in one go where the rows are alike."""
    if len({one.values.size for one in group}) <= 1:
        return list(change(matrix(group)))
    return [change(one.values[None])[0] for one in group]

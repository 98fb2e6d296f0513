"""A column of whole numbers as few bytes, at the speed of memory: ids and times of the write-ahead log.

Most batches name their series in the order in which these got their ids, and many samples share a time: both are a few
stretches of equal steps. What is not is narrowed to the width of its range. Layout: docs/format/wal.md, Columns.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tsdb.store.disk import Bytes, Part

WIDE = 0  # As they are: int32 or int64.
CONSTANT = 1  # No bytes: all are the base.
UINT32 = 2  # To be added to the base, as the two below.
UINT16 = 3
UINT8 = 4
STEPS = 5  # Stretches in which each number is the one before it and the step.

_WIDTHS: dict[int, np.dtype[Any]] = {UINT32: np.dtype("<u4"), UINT16: np.dtype("<u2"), UINT8: np.dtype("u1")}
_STEPS_HEAD = struct.Struct("<iI")  # step · stretches
# A stretch takes 8 to 12 B and the work of finding it; with fewer than so many samples in each, narrow numbers are as
# small and quicker to read.
_STRETCH_COUNT_MIN = 16
_PROBE_COUNT = 5  # Pairs of neighbours that are asked for the step; an odd number, for the middle one is taken.
_SLICES_COUNT_MAX = 256  # A slice costs as much as 200 places.
_STEP_MAX = (1 << 31) - 1

_Number = TypeVar("_Number", np.int32, np.int64)
Numbers = npt.NDArray[np.int32] | npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stretches:
    """Numbers as firsts[i], firsts[i] + step, … lengths[i] times, stretch after stretch."""

    step: int
    firsts: Numbers
    lengths: npt.NDArray[np.uint32]

    def slices(self) -> list[slice] | None:
        """The numbers as slices of what they are places in; None, if there are many stretches, or they fall."""
        if self.step < 0 or self.lengths.size > _SLICES_COUNT_MAX:
            return None
        step = max(1, self.step)
        return [
            slice(first, first + self.step * (length - 1) + 1, step)
            for first, length in zip(self.firsts.tolist(), self.lengths.tolist(), strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Coded:
    """A column in one of the codecs; stretches: what was found of it, if the codec is STEPS."""

    codec: int
    base: int
    parts: list[Part]
    stretches: Stretches | None = None


def coded(column: npt.NDArray[_Number], low: int, high: int) -> Coded:
    """The smallest form of a column that costs a pass or two; low, high: its range, or a wider one."""
    if low == high:
        return Coded(CONSTANT, low, [])
    found = stretches_of(column)
    if found is not None:
        head = _STEPS_HEAD.pack(found.step, found.lengths.size)
        return Coded(STEPS, 0, [head, found.firsts, found.lengths], found)
    for codec, bits in ((UINT8, 8), (UINT16, 16), (UINT32, 32)):
        if high - low < 1 << bits and bits < 8 * column.itemsize:
            return Coded(codec, low, [(column - column.dtype.type(low)).astype(_WIDTHS[codec])])
    return Coded(WIDE, 0, [column])


def stretches_of(column: npt.NDArray[_Number]) -> Stretches | None:
    """The column as stretches of one step, if they are long enough to be worth it."""
    if column.size < _STRETCH_COUNT_MIN:
        return None
    step = _likely_step(column)
    if abs(step) > _STEP_MAX:
        return None
    breaks = np.flatnonzero(column[1:] - column[:-1] != step)
    if _STRETCH_COUNT_MIN * (breaks.size + 1) > column.size:
        return None
    starts = np.concatenate((np.zeros(1, np.int64), breaks + 1))
    return Stretches(step, column[starts], np.diff(starts, append=column.size).astype(np.uint32))


def _likely_step(column: npt.NDArray[_Number]) -> int:
    """The step between most neighbours, if there is one: the middle one of a few pairs."""
    at = np.linspace(0, column.size - 2, _PROBE_COUNT).astype(np.int64)
    steps: list[int] = (column[at + 1].astype(np.int64) - column[at]).tolist()
    return sorted(steps)[_PROBE_COUNT // 2]


def decoded(
    data: Bytes, codec: int, base: int, count: int, dtype: np.dtype[_Number]
) -> tuple[npt.NDArray[_Number], int]:
    """The column, and how many bytes of the data it takes.

    Raises: ValueError, if the data holds no such column; before memory for more than count numbers is asked for.
    """
    if codec == CONSTANT:
        return np.full(count, base, dtype), 0
    if codec == STEPS:
        return _of_steps(data, count, dtype)
    width: np.dtype[Any] | None = dtype if codec == WIDE else _WIDTHS.get(codec)
    if width is None:
        raise ValueError(f"codec {codec}")
    size_bytes = count * width.itemsize
    if data.size < size_bytes:
        raise ValueError(f"{data.size:,} bytes where {count:,} numbers of {width} are announced")
    found = data[:size_bytes]
    return (found.view(dtype) if codec == WIDE else found.view(width).astype(dtype) + dtype.type(base)), size_bytes


def _of_steps(data: Bytes, count: int, dtype: np.dtype[_Number]) -> tuple[npt.NDArray[_Number], int]:
    if data.size < _STEPS_HEAD.size:
        raise ValueError(f"{data.size} bytes, stretches begin with {_STEPS_HEAD.size}")
    step, stretch_count = _STEPS_HEAD.unpack_from(data[: _STEPS_HEAD.size].tobytes())
    lengths_at = _STEPS_HEAD.size + stretch_count * dtype.itemsize
    end = lengths_at + 4 * stretch_count
    if end > data.size:
        raise ValueError(f"{data.size:,} bytes where {stretch_count:,} stretches are announced")
    firsts = data[_STEPS_HEAD.size : lengths_at].view(dtype)
    lengths = data[lengths_at:end].view("<u4")
    if int(lengths.sum(dtype=np.uint64)) != count:
        raise ValueError(f"stretches of {int(lengths.sum(dtype=np.uint64)):,} numbers in all, not {count:,}")
    if not step:
        return np.repeat(firsts, lengths), end
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    numbers: npt.NDArray[_Number] = np.arange(count, dtype=dtype)
    if step != 1:
        numbers *= dtype.type(step)
    numbers += np.repeat((firsts - step * starts).astype(dtype), lengths)
    return numbers, end

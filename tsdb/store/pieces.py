"""Gathering many ranges of columns into rows: sorted runs of the head, tiles of blocks, each sample moved once.

A range is copied as one item of its own width, so that the cost is by range and by byte; an index for each sample,
as a gather by numpy's integers needs it, would cost three times as much and eight bytes more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from tsdb.sample import Float64s, Int32s, Int64s
from tsdb.store.columns import Columns, Rows, ordered, places_of, spread, stable_order

_ITEM_BYTES = 8
# So few ranges are copied one by one, each for the price of two slices.
_SINGLE_RANGES_MAX = 16
# What is gathered before it is scattered stays in the caches.
_STAGE_BYTES = 1 << 19
# A length that one range in eight has is copied at that length; the others in powers of two, a pass for each.
_COMMON_PART = 8
_COUNTED_LENGTH_MAX = 1 << 16
TIME_MAX = int(np.iinfo(np.int64).max)

_Item = TypeVar("_Item", bound=np.generic)


class Part(Protocol):
    """Samples of some rows: piece i gives row[i] the samples starts[i] … starts[i] + lengths[i] - 1 of the columns.

    Pieces of one row follow one another, and their times rise; no piece is empty.
    """

    @property
    def row(self) -> Int64s: ...

    @property
    def starts(self) -> Int64s: ...

    @property
    def lengths(self) -> Int64s: ...

    @property
    def timestamp_ms(self) -> Int64s: ...

    def put_values(self, target: Float64s, places: Int64s) -> None:
        """Write the values of piece i to target[places[i] : places[i] + lengths[i]]."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """A Part whose values lie in an array: beside the times, or where value_starts says."""

    row: Int64s
    starts: Int64s
    lengths: Int64s
    timestamp_ms: Int64s
    value: Float64s
    value_starts: Int64s | None = None  # By piece; None: as `starts`.

    @staticmethod
    def of(rows: Rows) -> Pieces:
        return Pieces(rows.row, rows.offsets[:-1], rows.lengths, rows.timestamp_ms, rows.value)

    @staticmethod
    def empty() -> Pieces:
        return Pieces.of(Rows.empty())

    def put_values(self, target: Float64s, places: Int64s) -> None:
        starts = self.starts if self.value_starts is None else self.value_starts
        copy_ranges(self.value, starts, self.lengths, target, places)

    def clipped(self, start_ms: int, end_ms: int) -> Pieces:
        """Only the samples in a range of time, both ends included."""
        kept, starts, lengths = clipped(self.timestamp_ms, self.starts, self.lengths, start_ms, end_ms)
        moved = None
        if self.value_starts is not None:
            moved = self.value_starts[kept] + (starts - self.starts[kept])
        return Pieces(self.row[kept], starts, lengths, self.timestamp_ms, self.value, moved)

    def of_rows(self, wanted: Int32s) -> Pieces:
        """Of some rows alone, a row's number being its place in `wanted`. The rows must be distinct, and rise."""
        place, at = places_of(wanted, self.row)
        moved = None if self.value_starts is None else self.value_starts[at]
        return Pieces(place, self.starts[at], self.lengths[at], self.timestamp_ms, self.value, moved)

    def gathered(self) -> Rows:
        """The samples alone, without what lies between the pieces. The rows must be distinct."""
        offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(self.lengths)))
        timestamp_ms, value = np.empty(int(offsets[-1]), np.int64), np.empty(int(offsets[-1]), np.float64)
        copy_ranges(self.timestamp_ms, self.starts, self.lengths, timestamp_ms, offsets[:-1])
        self.put_values(value, offsets[:-1])
        return Rows(self.row, offsets, timestamp_ms, value)


def copy_ranges(
    source: npt.NDArray[_Item], starts: Int64s, lengths: Int64s, target: npt.NDArray[_Item], places: Int64s
) -> None:
    """target[places[i] : places[i] + lengths[i]] = source[starts[i] : starts[i] + lengths[i]], for every i.

    Both columns are contiguous and of eight bytes an item; the places do not overlap.
    """
    assert source.itemsize == target.itemsize == _ITEM_BYTES, (source.dtype, target.dtype)
    if starts.size <= _SINGLE_RANGES_MAX:
        for start, length, place in zip(starts.tolist(), lengths.tolist(), places.tolist(), strict=True):
            target[place : place + length] = source[start : start + length]
        return
    longest = int(lengths.max())
    if longest == int(lengths.min()):
        _copy_equal(source, starts, longest, target, places)
        return
    if longest < _COUNTED_LENGTH_MAX:
        is_common = np.bincount(lengths) * _COMMON_PART >= lengths.size
        for length in np.flatnonzero(is_common).tolist():
            at = np.flatnonzero(lengths == length)
            _copy_equal(source, starts[at], length, target, places[at])
        rest = np.flatnonzero(~is_common[lengths])
        starts, lengths, places = starts[rest], lengths[rest], places[rest]
    else:
        starts, places = starts.copy(), places.copy()
    for bit in range(int(lengths.max(initial=0)).bit_length()):
        length = 1 << bit
        at = np.flatnonzero(lengths & length)
        _copy_equal(source, starts[at], length, target, places[at])
        starts[at] += length
        places[at] += length


def _copy_equal(
    source: npt.NDArray[_Item], starts: Int64s, length: int, target: npt.NDArray[_Item], places: Int64s
) -> None:
    if not length or not starts.size:
        return
    if length == 1:
        target[places] = source[starts]
        return
    into = _windows(target, length)
    start_step, place_step = _even_step(starts), _even_step(places)
    if start_step is None:
        windows = _windows(source, length)
        count = max(1, _STAGE_BYTES // (_ITEM_BYTES * length))
        for at in range(0, starts.size, count):
            into[places[at : at + count]] = windows[starts[at : at + count]]
    elif place_step is None:
        into[places] = _evenly(source, starts, start_step, into.dtype)
    else:
        _evenly(target, places, place_step, into.dtype)[:] = _evenly(source, starts, start_step, into.dtype)


def _even_step(places: Int64s) -> int | None:
    """By how much each place is behind the one before it; None, if not all by the same, or if they do not rise."""
    if places.size < 2:
        return None
    step = int(places[1] - places[0])
    return step if step >= 0 and (np.diff(places) == step).all() else None


def _evenly(column: npt.NDArray[_Item], places: Int64s, step: int, wide: np.dtype[np.void]) -> npt.NDArray[np.void]:
    """The stretches that begin at places, which are evenly apart, as items of their own width; nothing is copied."""
    assert int(places[0]) >= 0, places
    assert int(places[-1]) * _ITEM_BYTES + wide.itemsize <= column.nbytes, (places, wide)
    return np.ndarray((places.size,), wide, column, int(places[0]) * _ITEM_BYTES, (step * _ITEM_BYTES,))


def _windows(column: npt.NDArray[_Item], length: int) -> npt.NDArray[np.void]:
    """Every stretch of `length` items as one item; they overlap in memory."""
    assert column.flags.c_contiguous, column.strides
    wide = np.dtype((np.void, _ITEM_BYTES * length))
    return np.ndarray((max(0, column.size - length + 1),), wide, column, 0, (_ITEM_BYTES,))


def clipped(
    timestamp_ms: Int64s, starts: Int64s, lengths: Int64s, start_ms: int, end_ms: int
) -> tuple[Int64s | slice, Int64s, Int64s]:
    """Which pieces have samples in a range of time, both ends included, and where these begin and how many they are."""
    if not starts.size:
        return slice(None), starts, lengths
    ends = starts + lengths
    lows, highs = starts, ends
    start_ms, end_ms = min(start_ms, TIME_MAX), max(end_ms, -TIME_MAX)
    if int(timestamp_ms[starts].min()) < start_ms:
        lows = _first_at_least(timestamp_ms, starts, ends, start_ms)
    if int(timestamp_ms[ends - 1].max()) > end_ms:
        highs = _first_at_least(timestamp_ms, starts, ends, end_ms + 1)
    if lows is starts and highs is ends:
        return slice(None), starts, lengths
    counts = highs - lows
    kept = np.flatnonzero(counts > 0)
    return kept, lows[kept], counts[kept]


def _first_at_least(timestamp_ms: Int64s, starts: Int64s, ends: Int64s, time_ms: int) -> Int64s:
    """In each stretch of rising times the first place whose time is not below time_ms; its end, if there is none.

    Rows of one block mostly have their samples at the same times: the place in the first row is tried for all.
    """
    first, end = int(starts[0]), int(ends[0])
    found = np.minimum(starts + int(np.searchsorted(timestamp_ms[first:end], time_ms)), ends)
    if starts.size == 1:
        return found
    is_below = timestamp_ms[np.maximum(found - 1, starts)] < time_ms
    is_at_least = timestamp_ms[np.minimum(found, ends - 1)] >= time_ms
    wrong = np.flatnonzero(~((is_below | (found == starts)) & (is_at_least | (found == ends))))
    if wrong.size:
        found[wrong] = bisected(timestamp_ms, starts[wrong], ends[wrong], time_ms)
    return found


def bisected(timestamp_ms: Int64s, starts: Int64s, ends: Int64s, time_ms: int | Int64s) -> Int64s:
    """In each stretch of rising times the first place whose time is not below time_ms, one for all or its own."""
    low, high = starts, ends
    last = timestamp_ms.size - 1
    for _ in range(int((ends - starts).max()).bit_length()):
        middle = (low + high) // 2
        is_below = (timestamp_ms[np.minimum(middle, last)] < time_ms) & (middle < high)
        low, high = np.where(is_below, middle + 1, low), np.where(is_below, high, middle)
    return low


def joined(parts: Sequence[Part], row_count: int, check: Callable[[], None]) -> Rows:
    """Join parts into the rows 0 … row_count - 1 in this order, duplicates decided; rows without samples are left out.

    Every sample is moved once, to its place; only rows whose pieces overlap in time are sorted. Parts in which one row
    is ahead of another, as batches of two senders are, have their pieces put in order, which is far less than sorting.
    check: called between parts, and may raise.
    """
    parts = sorted((part for part in parts if part.row.size), key=lambda part: int(part.timestamp_ms[part.starts[0]]))
    if not parts:
        return Rows.empty()
    row, lengths = np.concatenate([part.row for part in parts]), np.concatenate([part.lengths for part in parts])
    assert int(row.max()) < row_count, row
    first_ms = np.concatenate([part.timestamp_ms[part.starts] for part in parts])
    last_ms = np.concatenate([part.timestamp_ms[part.starts + part.lengths - 1] for part in parts])
    order = stable_order(row) if (row[1:] < row[:-1]).any() else np.arange(row.size)
    is_same = np.diff(row[order]) == 0  # A piece of the row of the one before it.
    if (is_same & (np.diff(first_ms[order]) <= 0)).any():
        order = np.lexsort((first_ms, row))
    ends = np.cumsum(lengths[order])
    places = np.empty(row.size, np.int64)
    places[order] = ends - lengths[order]
    timestamp_ms, value = np.empty(int(ends[-1]), np.int64), np.empty(int(ends[-1]), np.float64)
    done = 0
    for part in parts:
        check()
        its_places = places[done : done + part.row.size]
        copy_ranges(part.timestamp_ms, part.starts, part.lengths, timestamp_ms, its_places)
        part.put_values(value, its_places)
        done += part.row.size
    firsts = np.flatnonzero(np.append(True, ~is_same))
    offsets = np.append(places[order[firsts]], ends[-1])
    rows = Rows(row[order[firsts]], offsets, timestamp_ms, value)
    is_early = is_same & (first_ms[order[1:]] <= last_ms[order[:-1]])
    wrong = np.unique(np.searchsorted(firsts, np.flatnonzero(is_early) + 1, side="right") - 1)
    return _with_times_rising(rows, wrong) if wrong.size else rows


def _with_times_rising(rows: Rows, wrong: Int64s) -> Rows:
    """Sort the given rows, whose times do not rise, and decide their duplicates."""
    lengths = rows.lengths
    at = spread(rows.offsets[wrong], lengths[wrong])
    number = np.repeat(wrong, lengths[wrong]).astype(np.int32)
    fixed = ordered(Columns(number, rows.timestamp_ms[at], rows.value[at]))
    counts = lengths.copy()
    counts[wrong] = np.bincount(fixed.series, minlength=lengths.size)[wrong]
    # The sorted samples go to the front of their old places; what duplicates leave over is dropped.
    target = spread(rows.offsets[wrong], counts[wrong])
    rows.timestamp_ms[target], rows.value[target] = fixed.timestamp_ms, fixed.value
    if fixed.series.size == at.size:
        return rows
    is_kept = np.ones(rows.timestamp_ms.size, np.bool_)
    is_kept[at] = False
    is_kept[target] = True
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts)))
    return Rows(rows.row, offsets, rows.timestamp_ms[is_kept], rows.value[is_kept])

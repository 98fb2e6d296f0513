"""Frames whose rows are all of one form → columns, with no loop over the rows.

A *straight* frame is a list of `text, memo, number, number, pair, memo, pair, memo` and nothing else, which is what
picklers of protocols 2 to 5 make of paths with their points. Where a row would end is worked out for every byte that
may begin one; a frame is straight if its first row begins where it must, each further one where the one before ends,
and the last ends where the frame does. That proves it: what merely looks like a row inside a path breaks the chain,
and its frame is read opcode by opcode like any other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tsdb.sample import Float64s, Int64s

Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

_HEAD = re.compile(rb"\x80[\x02-\x05](?:\x95.{8})?\](?:q.|\x94)\(", re.DOTALL)
_TAIL = b"e."
_TEXT_32, _TEXT_8, _TEXT_8_OLD = ord("X"), 0x8C, ord("U")
_PAIR = 0x86
# Bytes of an opcode with what follows it; 0: not of a straight row.
_NUMBER_BYTES = np.zeros(256, np.int64)
_NUMBER_BYTES[[ord("J"), ord("K"), ord("M"), ord("G")]] = (5, 2, 3, 9)
_MEMO_BYTES = np.zeros(256, np.int64)
_MEMO_BYTES[[ord("q"), ord("r"), 0x94]] = (2, 5, 1)
_KINDS = ((ord("J"), "<i4"), (ord("K"), "<u1"), (ord("M"), "<u2"), (ord("G"), ">f8"))
# Behind the last byte, so that a row that would end beyond it is looked at safely: nothing of it fits a row.
_SPARE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Straight:
    """The rows of straight frames, in their order. frame: the number of each row's frame."""

    names: pl.Series
    seconds: Float64s
    value: Float64s
    frame: Int64s


@dataclass(frozen=True, slots=True)
class _Rows:
    """Where rows, or what looks like one, begin and end, and where their parts are."""

    start: Int64s
    name: Int64s
    name_end: Int64s
    time: Int64s
    value: Int64s
    end: Int64s

    def only(self, wanted: Bools | npt.NDArray[np.intp]) -> _Rows:
        parts = (self.start, self.name, self.name_end, self.time, self.value, self.end)
        return _Rows(*(part[wanted] for part in parts))


def read_straight(data: bytes, frames: Sequence[tuple[int, int]]) -> Straight | None:
    """frames: where each pickle begins and ends in data. None where no frame is straight."""
    heads = [_HEAD.match(data, start, end) for start, end in frames]
    numbers = [i for i, (_, end) in enumerate(frames) if heads[i] is not None and data[end - 2 : end] == _TAIL]
    if not numbers:
        return None
    first = np.array([head.end() for i in numbers if (head := heads[i]) is not None], np.int64)
    last = np.array([frames[i][1] - len(_TAIL) for i in numbers], np.int64)
    view = np.frombuffer(data + bytes(_SPARE_BYTES), np.uint8)
    rows = _chained(_rows(view, len(data)), first, len(data))
    begin, end = np.searchsorted(rows.start, first), np.searchsorted(rows.start, last)
    good = begin < end
    good[good] &= (rows.start[begin[good]] == first[good]) & (rows.end[end[good] - 1] == last[good])
    follows = np.concatenate((rows.end[:-1] == rows.start[1:], np.ones(1, np.bool_)))
    breaks = np.concatenate((np.zeros(1, np.int64), np.cumsum(~follows)))  # Of the links before each row.
    good[good] &= breaks[end[good] - 1] == breaks[begin[good]]
    if not good.any():
        return None
    counts = (end - begin)[good]
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = rows.only(np.repeat(begin[good], counts) + within)
    names = _names(view, rows)
    if names is None:
        return None
    frame = np.repeat(np.array(numbers, np.int64)[good], counts)
    return Straight(names, _numbers(view, rows.time), _numbers(view, rows.value), frame)


def _rows(view: Bytes, length: int) -> _Rows:
    """All that look like a row."""
    is_long = view[:length] == _TEXT_32
    start = np.flatnonzero(is_long | (view[:length] == _TEXT_8) | (view[:length] == _TEXT_8_OLD)).astype(np.int64)
    is_long = is_long[start]
    count = np.where(is_long, _unsigned(view, start + 1, "<u4"), view[start + 1])
    name = start + np.where(is_long, 5, 2)
    name_end = np.minimum(name + count, length)
    is_row = name + count < length
    time = name_end + _MEMO_BYTES[view[name_end]]
    value = time + _NUMBER_BYTES[view[time]]
    pair = value + _NUMBER_BYTES[view[value]]
    memo = pair + 1
    outer = memo + _MEMO_BYTES[view[memo]]
    end = outer + 1 + _MEMO_BYTES[view[outer + 1]]
    is_row &= (time > name_end) & (value > time) & (pair > value) & (view[pair] == _PAIR) & (outer > memo)
    is_row &= (view[outer] == _PAIR) & (end > outer + 1) & (end < length)
    return _Rows(start, name, name_end, time, value, end).only(is_row)


def _chained(rows: _Rows, first: Int64s, length: int) -> _Rows:
    """Those that begin where another ends, or where the rows of a frame do: what lies inside a row seldom does both."""
    is_place = np.zeros(length, np.bool_)
    is_place[rows.end] = True
    is_place[first] = True
    return rows.only(is_place[rows.start])


def _unsigned(view: Bytes, at: Int64s, kind: str) -> npt.NDArray[np.number]:
    """The numbers of this kind that begin at these places."""
    size = np.dtype(kind).itemsize
    found: npt.NDArray[np.number] = view[at[:, None] + np.arange(size)].view(kind).ravel()
    return found.astype(np.float64 if kind.endswith("f8") else np.int64)


def _numbers(view: Bytes, at: Int64s) -> Float64s:
    """What the opcodes at these places give; their kinds are _KINDS alone."""
    found = np.empty(at.size)
    codes = view[at]
    for code, kind in _KINDS:
        is_kind = codes == code
        if is_kind.any():
            found[is_kind] = _unsigned(view, at[is_kind] + 1, kind)
    return found


def _names(view: Bytes, rows: _Rows) -> pl.Series | None:
    """The paths as one text that is cut at line feeds; None where one holds such, or is no UTF-8."""
    lengths = rows.name_end - rows.name
    ends = np.cumsum(lengths + 1)
    within = np.arange(ends[-1]) - np.repeat(ends - lengths - 1, lengths + 1)
    text = view[np.repeat(rows.name, lengths + 1) + within]
    text[ends - 1] = 0
    if np.count_nonzero(text == 0x0A) or np.count_nonzero(text == 0) != ends.size:
        return None
    text[ends - 1] = 0x0A
    try:
        joined = text[:-1].tobytes().decode()
    except UnicodeDecodeError:
        return None
    return pl.Series("name", [joined], pl.String).str.split("\n").explode()

"""Some thousand series fields end to end as they came, their values and times zeroed: what a body is compared with.

A sample whose value is 0 is written without it, so a series lies in a body in one of two forms, and goes from one to
the other whenever its value goes to or from 0. A block holds each series in the form that came last, for comparing
takes the bytes end to end. Where a body differs, the samples' heads tell in which form each series lies there; the
bytes that the block would then have are put together from what it has, about 1 µs for each series that changed, and
compared as before. If they are the body's, they are what the block holds from then on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tsdb.ingest.remote_write.straight import (
    BARE_BYTES,
    FULL_BYTES,
    Bools,
    UInt8s,
    UInt64s,
    are_samples,
    are_times,
    times_of,
)
from tsdb.sample import Float64s, Int64s

# Compared at once: the 2,000 series of a usual body, or as many as stay in a second-level cache with their copy.
SERIES_COUNT_MAX, TEXT_BYTES_MAX = 4_096, 512 * 1024
GROWTH_BYTES_MAX = FULL_BYTES - BARE_BYTES + 1  # Of a bare series that becomes full; its size may need one byte more.
_VALUE_AT, _TAIL_AT = 15, 8  # Before the end of a series: its sample's value, and the eight bytes that hold its time.
_BARE_SIZE = np.uint64(BARE_BYTES - 2)
_FULL_ZEROED, _BARE_ZEROED = b"\x12\x10\x09" + bytes(FULL_BYTES - 3), b"\x12" + bytes(BARE_BYTES - 1)


class Piece(NamedTuple):
    """Series of a body that are those from `number` on. Places are counted from the begin of the piece."""

    number: int
    ends: Int64s
    name_starts: Int64s
    name_ends: Int64s
    timestamp_ms: Int64s
    value: Float64s


class Scratch:
    """Room for a copy of what is compared. Of one thread at a time."""

    def __init__(self) -> None:
        # A block whose bare series have all become full is longer than one can be when it is filled.
        bytes_max = TEXT_BYTES_MAX + GROWTH_BYTES_MAX * SERIES_COUNT_MAX
        self.text = np.empty(bytes_max + 8, np.uint8)
        self.words: UInt64s = np.ndarray((bytes_max,), "<u8", self.text.data, strides=(1,))


class Fields(NamedTuple):
    """Series fields end to end, zeroed. starts: one more than series; head_bytes: tag and size, before the name."""

    text: UInt8s
    starts: Int64s
    head_bytes: UInt8s
    is_bare: Bools

    @staticmethod
    def none() -> Fields:
        return Fields(np.empty(0, np.uint8), np.zeros(1, np.int64), np.empty(0, np.uint8), np.empty(0, np.bool_))

    def part(self, first: int, last: int) -> Fields:
        starts = self.starts[first : last + 1]
        text = self.text[int(starts[0]) : int(starts[-1])]
        return Fields(text, starts - starts[0], self.head_bytes[first:last], self.is_bare[first:last])

    def joined(self, other: Fields) -> Fields:
        return Fields(
            np.concatenate((self.text, other.text)),
            np.concatenate((self.starts, other.starts[1:] + self.starts[-1])),
            np.concatenate((self.head_bytes, other.head_bytes)),
            np.concatenate((self.is_bare, other.is_bare)),
        )


def zeroed(text: UInt8s, starts: Int64s, head_bytes: UInt8s, is_bare: Bools) -> Fields:
    """Fields of one sample each, as they came; the text is changed in place."""
    words: UInt64s = np.ndarray((text.size - 7,), "<u8", text.data, strides=(1,))
    ends = starts[1:]
    words[ends - _TAIL_AT] = 0
    words[(ends - _VALUE_AT)[~is_bare]] = 0
    return Fields(text, starts, head_bytes, is_bare)


class Block:
    """Not safe for several threads."""

    def __init__(self) -> None:
        self._fields = Fields.none()

    def __len__(self) -> int:
        return self._fields.is_bare.size

    def room(self, starts: Int64s) -> int:
        """How many of the series that start there, one after the other, the block would take."""
        sizes = starts[1:] - starts[0]
        fitting = int(np.searchsorted(sizes, TEXT_BYTES_MAX - int(self._fields.starts[-1]), side="right"))
        return min(fitting, SERIES_COUNT_MAX - len(self))

    def append(self, fields: Fields) -> None:
        self._fields = self._fields.joined(fields)

    def read(self, data: bytes, at: int, end: int, number: int, scratch: Scratch) -> Piece | None:
        """As many series of data[at:end] as are those from the number on; padding has to follow. None: not even one."""
        same = self._in_last_form(data, at, end, number, scratch)
        if same is not None:
            at, number = at + int(same.ends[-1]), number + same.ends.size
        if at >= end or number >= len(self) or not self._is_in_other_form(data, at, end, number):
            return same
        changed = self._in_either_form(data, at, end, number, scratch)
        return _joined(same, changed) if same is not None and changed is not None else same or changed

    def _in_last_form(self, data: bytes, at: int, end: int, number: int, scratch: Scratch) -> Piece | None:
        begin = int(self._fields.starts[number])
        ends = self._fields.starts[number + 1 :] - begin
        count = int(np.searchsorted(ends, end - at, side="right"))
        return _compared(data, at, self._fields.part(number, number + count), number, scratch)

    def _is_in_other_form(self, data: bytes, at: int, end: int, number: int) -> bool:
        """Whether the series that starts there may well be that of the number; for little work."""
        field = self._fields.part(number, number + 1)
        name = field.text[int(field.head_bytes[0]) : int(field.starts[1]) - _tail_bytes(bool(field.is_bare[0]))]
        head = _head(name.size + _tail_bytes(not field.is_bare[0]))
        return data.startswith(head, at, end) and data.startswith(name.tobytes(), at + len(head), end)

    def _in_either_form(self, data: bytes, at: int, end: int, number: int, scratch: Scratch) -> Piece | None:
        rest = self._fields.part(number, len(self))
        longest = min(end - at, rest.text.size + GROWTH_BYTES_MAX * rest.is_bare.size)
        view = np.frombuffer(data, np.uint8, longest + 2, at)
        sample_at = np.flatnonzero(are_samples(view))[: rest.is_bare.size]
        is_bare = view[sample_at + 1] == BARE_BYTES - 2
        ends = sample_at + np.where(is_bare, BARE_BYTES, FULL_BYTES)
        was_bare = rest.is_bare[: ends.size]
        old_sizes = np.diff(rest.starts[: ends.size + 1])
        name_bytes = old_sizes - np.where(was_bare, BARE_BYTES, FULL_BYTES) - rest.head_bytes[: ends.size]
        size = name_bytes + np.where(is_bare, BARE_BYTES, FULL_BYTES)
        head_bytes = np.where(is_bare == was_bare, rest.head_bytes[: ends.size], 2 + (size >= 0x80))
        are_right = (np.diff(ends, prepend=0) == head_bytes + size) & (ends <= longest)
        count = ends.size if are_right.all() else int(are_right.argmin())
        if not count:
            return None
        starts = np.concatenate((np.zeros(1, np.int64), ends[:count]))
        text = _in_forms(rest, name_bytes, is_bare[:count])
        fields = Fields(text, starts, head_bytes[:count].astype(np.uint8), is_bare[:count])
        piece = _compared(data, at, fields, number, scratch)
        if piece is not None:
            self._replace(number, fields.part(0, piece.ends.size))
        return piece

    def _replace(self, number: int, fields: Fields) -> None:
        rest = self._fields.part(number + fields.is_bare.size, len(self))
        self._fields = self._fields.part(0, number).joined(fields).joined(rest)


def _compared(data: bytes, at: int, fields: Fields, number: int, scratch: Scratch) -> Piece | None:
    """As many of the fields as the body has at this place."""
    if not fields.is_bare.size:
        return None
    ends, is_bare, size = fields.starts[1:], fields.is_bare, fields.text.size
    has_bare = bool(is_bare.any())
    copy, words = scratch.text[:size], scratch.words
    copy[:] = np.frombuffer(data, np.uint8, size, at)
    tails_at, values_at = ends - _TAIL_AT, ends - _VALUE_AT
    if has_bare:
        values_at = np.where(is_bare, tails_at, values_at)
    tails, values = words[tails_at], words[values_at]
    words[values_at] = 0
    words[tails_at] = 0
    times = tails >> np.uint64(8)
    is_good = are_times(times)
    if has_bare:
        is_good &= ~is_bare | ((tails & np.uint64(0xFF)) == _BARE_SIZE)
        values[is_bare] = 0
    are_same = copy == fields.text
    count = ends.size if are_same.all() else int(np.searchsorted(ends, int(are_same.argmin()), side="right"))
    if not is_good[:count].all():
        count = int(is_good.argmin())
    if not count:
        return None
    name_starts = fields.starts[:count] + fields.head_bytes[:count]
    name_ends = ends[:count] - (np.where(is_bare[:count], BARE_BYTES, FULL_BYTES) if has_bare else FULL_BYTES)
    return Piece(number, ends[:count], name_starts, name_ends, times_of(times[:count]), values[:count].view(np.float64))


def _in_forms(fields: Fields, name_bytes: npt.NDArray[np.integer], is_bare: Bools) -> UInt8s:
    """The text of the first of the fields, each in the form that is wanted."""
    text = fields.text.data
    parts: list[bytes | memoryview] = []
    done = 0
    changed = np.flatnonzero(is_bare != fields.is_bare[: is_bare.size])
    starts, ends = fields.starts[changed].tolist(), fields.starts[changed + 1].tolist()
    names_at = (fields.starts[changed] + fields.head_bytes[changed]).tolist()
    sizes, becomes_bare = name_bytes[changed].tolist(), is_bare[changed].tolist()
    for start, end, name_at, size, bare in zip(starts, ends, names_at, sizes, becomes_bare, strict=True):
        parts += (
            text[done:start],
            _head(size + _tail_bytes(bare)),
            text[name_at : name_at + size],
            _BARE_ZEROED if bare else _FULL_ZEROED,
        )
        done = end
    parts.append(text[done : int(fields.starts[is_bare.size])])
    return np.frombuffer(b"".join(parts), np.uint8)


def _tail_bytes(is_bare: bool) -> int:
    return BARE_BYTES if is_bare else FULL_BYTES


def _head(size: int) -> bytes:
    """Tag and size of a series' field; of what two bytes cannot say, bytes that no body has there."""
    return bytes((0x0A, size)) if size < 0x80 else bytes((0x0A, size & 0x7F | 0x80, size >> 7))


def _joined(first: Piece, second: Piece) -> Piece:
    at = int(first.ends[-1])
    return Piece(
        first.number,
        np.concatenate((first.ends, second.ends + at)),
        np.concatenate((first.name_starts, second.name_starts + at)),
        np.concatenate((first.name_ends, second.name_ends + at)),
        np.concatenate((first.timestamp_ms, second.timestamp_ms)),
        np.concatenate((first.value, second.value)),
    )

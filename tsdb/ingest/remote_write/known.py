"""The series that bodies brought before, end to end as they came: who sends them again is known by comparing bytes.

A sender writes the same series in the same order every few seconds, with other values and times. So where in a body
the series lie, where their labels end and that all of it is well-formed was found out before; what is left is to see
that the bytes between values and times are the same, all at once. A body that is not made of long stretches of known
series is read as any other is.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np

from tsdb.errors import BodyTooLarge
from tsdb.ingest.raw_names import PADDING, Hashed, RawNames
from tsdb.ingest.remote_write.straight import BARE_BYTES, FULL_BYTES, are_times, times_of
from tsdb.lookup import HashLookup
from tsdb.sample import Float64s, Int64s

KNOWN_BYTES_MAX = 64 * 2**20  # About half a million series of 90 B.
_ENTRY_BYTES = 8 + 1 + 1 + 24  # Beside its text: where it ends, its head, its kind, and its place in the look-up.
# Compared at once: the 2,000 series of a usual body, or as many as stay in a second-level cache with their copy.
_PIECE_SERIES_COUNT, _PIECE_BYTES_MAX = 4_096, 512 * 1024
# A stretch costs as much as reading 300 series: bodies of shorter ones are not worth it.
_STRETCH_BYTES_MIN, _STRETCHES_COUNT_SPARE = 32 * 1024, 4
_BEGINS_COUNT_MAX = 10_000  # Names with which stretches began, of some 100 B.
# When this many times more series came that were of no use than there are, their order is out of date, or they are
# gone: what is known is forgotten, and learnt anew from what comes then, for an eighth of the work.
_STRANGE_TIMES_MAX, _STRANGE_COUNT_MIN = 8, 100_000
_VALUE_AT, _TAIL_AT = 15, 8  # Before the end of a series: its sample's value, and the eight bytes that hold its time.
_BARE_SIZE = np.uint64(BARE_BYTES - 2)


class Known(NamedTuple):
    """A body of one sample a series."""

    names: RawNames
    timestamp_ms: Int64s
    value: Float64s


class _Piece(NamedTuple):
    """ends: of the series, from the begin of the piece."""

    entry: int
    ends: Int64s
    timestamp_ms: Int64s
    value: Float64s


class KnownSeries:
    """Entry i is a series field as it came, its value and time zeroed; it may be of either form. Thread-safe.

    seeds: those by which the names will be hashed, so that a known one need not be hashed again.
    """

    def __init__(self, seeds: tuple[int, int], *, bytes_max: int = KNOWN_BYTES_MAX) -> None:
        self._seeds = seeds
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._scratch = np.empty(_PIECE_BYTES_MAX + 8, np.uint8)
        self._scratch_words = np.ndarray((_PIECE_BYTES_MAX,), "<u8", self._scratch.data, strides=(1,))
        self._forget()

    def __len__(self) -> int:
        return self._count

    def _forget(self) -> None:
        self._count = self._strange_count = 0
        self._lookup = HashLookup(has_ids=False)  # Of names, to the numbers of entries.
        self._begins: dict[bytes, int] = {}
        self._text = np.empty(2**16, np.uint8)
        self._starts = np.zeros(1_025, np.int64)  # One more than entries: where the next one will start.
        self._head_bytes = np.empty(1_024, np.uint8)  # Tag and size, before the name.
        self._is_bare = np.empty(1_024, np.bool_)

    def read(self, data: bytes, series_count_max: int) -> Known | None:
        """A body with PADDING behind it, if all of it is known. Raises: BodyTooLarge."""
        with self._lock:
            pieces = self._pieces(data, len(data) - len(PADDING))
            if not pieces:
                return None
            entries = np.concatenate([np.arange(one.entry, one.entry + one.ends.size) for one in pieces])
            if entries.size > series_count_max:
                raise BodyTooLarge(f"the body has more than {series_count_max:,} series; split it")
            head_bytes, is_bare = self._head_bytes[entries], self._is_bare[entries]
            hashes = self._lookup.keys(entries)
        at, ends = 0, []
        for one in pieces:
            ends.append(one.ends + at)
            at += int(one.ends[-1])
        end_of = np.concatenate(ends)
        name_at = np.concatenate((np.zeros(1, np.int64), end_of[:-1])) + head_bytes
        name_end = end_of - np.where(is_bare, BARE_BYTES, FULL_BYTES)
        return Known(
            RawNames(data, name_at, name_end, Hashed(self._seeds, *hashes)),
            np.concatenate([one.timestamp_ms for one in pieces]),
            np.concatenate([one.value for one in pieces]),
        )

    def learn(self, data: bytes, names: RawNames, ends: Int64s) -> RawNames:
        """Keep the series of a body: all straight, each of one sample, and nothing else in it.

        Returns: the names, with their hashes.
        """
        hashes = names.hashes(self._seeds)
        with self._lock:
            self._learn(np.frombuffer(data, np.uint8), names, ends, hashes)
        return RawNames(names.data, names.starts, names.ends, Hashed(self._seeds, *hashes))

    def _pieces(self, data: bytes, end: int) -> list[_Piece]:
        """The stretches of known series that are the body; none, if it is not known from its begin to its end."""
        pieces: list[_Piece] = []
        view = np.frombuffer(data, np.uint8)
        at, entry, stretches_left = 0, -1, _STRETCHES_COUNT_SPARE + end // _STRETCH_BYTES_MIN
        while at < end:
            piece = self._piece(view, at, end, entry) if 0 <= entry < self._count else None
            if piece is None:
                stretches_left -= 1
                entry = self._entry_at(data, at, end)
                piece = self._piece(view, at, end, entry) if entry >= 0 and stretches_left >= 0 else None
                if piece is None:
                    return []
            pieces.append(piece)
            at += int(piece.ends[-1])
            entry += piece.ends.size
        return pieces

    def _piece(self, view: np.ndarray, at: int, end: int, entry: int) -> _Piece | None:
        """As many series of the body from `at` on as are those from the entry on; at most a piece."""
        begin = int(self._starts[entry])
        till = min(self._count, entry + _PIECE_SERIES_COUNT)
        ends = self._starts[entry + 1 : till + 1] - begin
        count = int(np.searchsorted(ends, min(end - at, _PIECE_BYTES_MAX), side="right"))
        if not count:
            return None
        ends, is_bare = ends[:count], self._is_bare[entry : entry + count]
        size, has_bare = int(ends[-1]), bool(is_bare.any())
        self._scratch[:size] = view[at : at + size]
        words = self._scratch_words
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
        are_same = self._scratch[:size] == self._text[begin : begin + size]
        if not are_same.all():
            count = int(np.searchsorted(ends, int(are_same.argmin()), side="right"))
        if not is_good[:count].all():
            count = int(is_good.argmin())
        if not count:
            return None
        return _Piece(entry, ends[:count], times_of(times[:count]), values[:count].view(np.float64))

    def _entry_at(self, data: bytes, at: int, end: int) -> int:
        """The entry with the name of the series that starts here; -1, if none is to be found."""
        name = _name_at(data, at, end)
        if name is None:
            return -1
        entry = self._begins.get(name, -1)
        if entry < 0:
            entry = int(self._lookup.find(*RawNames.of([name]).hashes(self._seeds))[0])
            if entry >= 0:
                if len(self._begins) >= _BEGINS_COUNT_MAX:
                    self._begins.clear()
                self._begins[name] = entry
        return entry

    def _learn(self, view: np.ndarray, names: RawNames, ends: Int64s, hashes: tuple[np.ndarray, np.ndarray]) -> None:
        is_fresh = self._lookup.find(*hashes) < 0
        starts = np.concatenate((np.zeros(1, np.int64), ends[:-1]))
        sizes = ends - starts
        fresh = np.flatnonzero(is_fresh)
        bytes_count = int(sizes[fresh].sum())
        needed = int(self._starts[self._count]) + bytes_count + _ENTRY_BYTES * (self._count + fresh.size)
        # A name twice in one body is no usual sender's.
        if not fresh.size or needed > self._bytes_max or np.unique(hashes[0][fresh]).size < fresh.size:
            self._strange_count += ends.size
            if self._strange_count > _STRANGE_TIMES_MAX * self._count + _STRANGE_COUNT_MIN:
                self._forget()
            return
        self._strange_count += ends.size - fresh.size
        self._reserve(fresh.size, bytes_count)
        self._lookup.insert(hashes[0][fresh], hashes[1][fresh])
        first, last = self._count, self._count + fresh.size
        begin = int(self._starts[first])
        self._starts[first + 1 : last + 1] = begin + np.cumsum(sizes[fresh])
        self._head_bytes[first:last] = (names.starts - starts)[fresh]
        self._is_bare[first:last] = (ends - names.ends)[fresh] == BARE_BYTES
        self._text[begin : begin + bytes_count] = view[: int(ends[-1])][np.repeat(is_fresh, sizes)]
        words = np.ndarray((self._text.size - 7,), "<u8", self._text.data, strides=(1,))
        end_of = self._starts[first + 1 : last + 1]
        words[end_of - _TAIL_AT] = 0
        words[(end_of - _VALUE_AT)[~self._is_bare[first:last]]] = 0
        self._count = last

    def _reserve(self, count: int, bytes_count: int) -> None:
        """Make room for so many entries more, of so many bytes of text."""
        self._text = _with_room(self._text, int(self._starts[self._count]), bytes_count)
        self._starts = _with_room(self._starts, self._count + 1, count)
        self._head_bytes = _with_room(self._head_bytes, self._count, count)
        self._is_bare = _with_room(self._is_bare, self._count, count)


def _with_room(array: np.ndarray, used: int, more: int) -> np.ndarray:
    """The array, or one of twice its size or more that begins as it does."""
    if used + more <= array.size:
        return array
    grown = np.empty(max(2 * array.size, used + more), array.dtype)
    grown[:used] = array[:used]
    return grown


def _name_at(data: bytes, at: int, end: int) -> bytes | None:
    """The label bytes of the series whose field starts here, if it looks like one of one sample."""
    if data[at] != 0x0A:
        return None
    size, start = data[at + 1], at + 2
    if size >= 0x80:
        size, start = size + (data[at + 2] << 7) - 0x80, at + 3
    last = start + size
    if last > end:
        return None
    if size >= FULL_BYTES and data[last - FULL_BYTES : last - FULL_BYTES + 3] == b"\x12\x10\x09":
        return data[start : last - FULL_BYTES]
    return data[start : last - BARE_BYTES] if size >= BARE_BYTES else None

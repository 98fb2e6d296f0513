"""The series that bodies brought before, end to end as they came: who sends them again is known by comparing bytes.

A sender writes the same series in the same order every few seconds, with other values and times. So where in a body
the series lie, where their labels end and that all of it is well-formed was found out before; what is left is to see
that the bytes between values and times are the same, thousands of series at once (`block`). A body that is not made of
long stretches of known series is read as any other is.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from typing import NamedTuple

import numpy as np

from tsdb.errors import BodyTooLarge
from tsdb.ingest.raw_names import PADDING, Hashed, RawNames
from tsdb.ingest.remote_write.block import GROWTH_BYTES_MAX, Block, Fields, Piece, Scratch, zeroed
from tsdb.ingest.remote_write.straight import BARE_BYTES, FULL_BYTES
from tsdb.lookup import HashLookup
from tsdb.sample import Float64s, Int64s

KNOWN_BYTES_MAX = 64 * 2**20  # About half a million series of 90 B.
# Beside its text: where it ends, its head, its kind, its place in the look-up, and what it may grow by.
_ENTRY_BYTES = 8 + 1 + 1 + 24 + GROWTH_BYTES_MAX
# A try costs as much as reading 150 series, and a new stretch takes two: bodies of shorter ones are not worth it.
_TRY_BYTES_MIN, _TRIES_COUNT_SPARE = 16 * 1024, 8
_BEGINS_COUNT_MAX = 10_000  # Names with which stretches began, of some 100 B.
# When this many times more series came that were of no use than there are, their order is out of date, or they are
# gone: what is known is forgotten, and learnt anew from what comes then, for an eighth of the work.
_STRANGE_TIMES_MAX, _STRANGE_COUNT_MIN = 8, 100_000


class Known(NamedTuple):
    """A body of one sample a series."""

    names: RawNames
    timestamp_ms: Int64s
    value: Float64s


class KnownSeries:
    """Series fields of one sample, in blocks; entry i is the i-th of all. Thread-safe.

    seeds: those by which the names will be hashed, so that a known one need not be hashed again.
    """

    def __init__(self, seeds: tuple[int, int], *, bytes_max: int = KNOWN_BYTES_MAX) -> None:
        self._seeds = seeds
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._scratch = Scratch()
        self._forget()

    def __len__(self) -> int:
        return len(self._lookup)

    def _forget(self) -> None:
        self._bytes_count = self._strange_count = 0
        self._lookup = HashLookup(has_ids=False)  # Of names, to the numbers of entries.
        self._begins: dict[bytes, int] = {}
        self._blocks = [Block()]
        self._firsts = [0]  # The entry with which each block begins.

    def read(self, data: bytes, series_count_max: int) -> Known | None:
        """A body with PADDING behind it, if all of it is known. Raises: BodyTooLarge."""
        with self._lock:
            pieces = self._pieces(data, len(data) - len(PADDING))
            if not pieces:
                return None
            entries = np.concatenate([np.arange(one.number, one.number + one.ends.size) for one in pieces])
            if entries.size > series_count_max:
                raise BodyTooLarge(f"the body has more than {series_count_max:,} series; split it")
            hashes = self._lookup.keys(entries)
        at, starts, ends = 0, [], []
        for one in pieces:
            starts.append(one.name_starts + at)
            ends.append(one.name_ends + at)
            at += int(one.ends[-1])
        return Known(
            RawNames(data, np.concatenate(starts), np.concatenate(ends), Hashed(self._seeds, *hashes)),
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

    def _pieces(self, data: bytes, end: int) -> list[Piece]:
        """The stretches of known series that are the body; none, if it is not known from its begin to its end.

        The number of a piece is that of its first entry.
        """
        pieces: list[Piece] = []
        at, entry, tries_left = 0, -1, _TRIES_COUNT_SPARE + end // _TRY_BYTES_MIN
        while at < end:
            piece = self._piece(data, at, end, entry)
            if piece is None:
                tries_left -= 1
                entry = self._entry_at(data, at, end)
                piece = self._piece(data, at, end, entry)
            if piece is None or tries_left < 0:
                return []
            pieces.append(piece)
            at += int(piece.ends[-1])
            entry += piece.ends.size
            tries_left -= not self._is_first(entry)
        return pieces

    def _piece(self, data: bytes, at: int, end: int, entry: int) -> Piece | None:
        if not 0 <= entry < len(self):
            return None
        block = bisect_right(self._firsts, entry) - 1
        first = self._firsts[block]
        piece = self._blocks[block].read(data, at, end, entry - first, self._scratch)
        return None if piece is None else piece._replace(number=entry)

    def _is_first(self, entry: int) -> bool:
        """Whether a block begins with the entry."""
        return entry >= len(self) or self._firsts[bisect_right(self._firsts, entry) - 1] == entry

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
        bytes_count = self._bytes_count + int(sizes[fresh].sum()) + _ENTRY_BYTES * fresh.size
        # A name twice in one body is no usual sender's.
        if not fresh.size or bytes_count > self._bytes_max or np.unique(hashes[0][fresh]).size < fresh.size:
            self._strange_count += ends.size
            if self._strange_count > _STRANGE_TIMES_MAX * len(self) + _STRANGE_COUNT_MIN:
                self._forget()
            return
        self._strange_count += ends.size - fresh.size
        self._bytes_count = bytes_count
        fields = zeroed(
            view[: int(ends[-1])][np.repeat(is_fresh, sizes)],
            np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes[fresh]))),
            (names.starts - starts)[fresh].astype(np.uint8),
            (ends - names.ends)[fresh] == BARE_BYTES,
        )
        self._append(fields)
        self._lookup.insert(hashes[0][fresh], hashes[1][fresh])

    def _append(self, fields: Fields) -> None:
        """To the last block as a whole, if it has room, so that a body as a rule is of one block."""
        done, last = 0, fields.is_bare.size
        while done < last:
            count = self._blocks[-1].room(fields.starts[done:])
            if count < last - done and len(self._blocks[-1]):
                self._firsts.append(self._firsts[-1] + len(self._blocks[-1]))
                self._blocks.append(Block())
                continue
            self._blocks[-1].append(fields.part(done, done + count))
            done += count


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

"""From 64-bit hashes to int32 ids, a whole column at a time: an open-addressing hash table made of numpy arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tsdb.sample import Int32s

UInt64s = npt.NDArray[np.uint64]

ABSENT = -1
# 2^64 divided by the golden ratio: multiplying by it spreads any pattern of the hash over the top bits.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
# One piece of a batch: 16 Ki × (8 + 8 + 4 + 8 + …) B of temporaries stay in a 1 MiB second-level cache.
_PIECE_COUNT = 16_384
_SLOT_COUNT_MIN = 1_024
# Keys in the order in which they were inserted are compared in a row; a shorter stretch is not worth its first look-up.
_STRETCH_COUNT_MIN = 256


class HashLookup:
    """A table from (hash, check) to a non-negative int32 id. Not safe for threads that write.

    A hit needs both 64-bit values to agree; they must come from independent hash functions (or be the two halves of a
    BLAKE2b key), so that a crafted collision of one of them does not merge two series.

    Layout: a slot holds the number of an entry or -1; entries lie in the order of their insertion, so that a sender
    who keeps his order reads them nearly in sequence. At most half of the slots are taken. 28 B an entry when full,
    24 B without ids.

    has_ids: False, if the id of a key is the number of its entry, 0, 1, 2 … in the order of insertion.
    """

    def __init__(self, *, has_ids: bool = True) -> None:
        self._has_ids = has_ids
        self._slots: Int32s = np.full(_SLOT_COUNT_MIN, ABSENT, np.int32)
        self._count = 0
        self._hashes: UInt64s = np.zeros(_SLOT_COUNT_MIN // 2, np.uint64)
        self._checks: UInt64s = np.zeros(_SLOT_COUNT_MIN // 2, np.uint64)
        self._ids: Int32s = np.zeros(_SLOT_COUNT_MIN // 2 if has_ids else 0, np.int32)

    def __len__(self) -> int:
        return self._count

    @property
    def size_bytes(self) -> int:
        """The memory of the arrays."""
        return self._slots.nbytes + self._hashes.nbytes + self._checks.nbytes + self._ids.nbytes

    def find(self, hashes: UInt64s, checks: UInt64s) -> Int32s:
        """The ids of a batch of keys, -1 for each that is absent. Shapes (n,), (n,) → int32 (n,)."""
        assert hashes.shape == checks.shape, (hashes.shape, checks.shape)
        found = np.empty(hashes.size, np.int32)
        for start in range(0, hashes.size, _PIECE_COUNT):
            piece = slice(start, start + _PIECE_COUNT)
            done = start + self._find_in_order(hashes[piece], checks[piece], found[piece])
            if done < piece.stop:
                rest = slice(done, piece.stop)
                found[rest] = self._find_piece(hashes[rest], checks[rest])
        return found

    def insert(self, hashes: UInt64s, checks: UInt64s, ids: Int32s | None = None) -> None:
        """Add a batch of keys, which must be absent and distinct; ids must not be negative.

        Raises: ValueError, if a key is there already or comes twice in the batch; nothing is added then.
        """
        assert hashes.shape == checks.shape, (hashes.shape, checks.shape)
        assert (ids is not None) == self._has_ids, self._has_ids
        assert ids is None or ids.shape == hashes.shape, (hashes.shape, ids.shape)
        if not hashes.size:
            return
        if ids is not None and int(ids.min()) < 0:
            raise ValueError(f"id {int(ids.min())} is negative; negative ids mean absent")
        self.check_new(hashes, checks)
        self.insert_new(hashes, checks, ids)

    def check_new(self, hashes: UInt64s, checks: UInt64s) -> None:
        """Raises: ValueError, if a key is there already or comes twice in the batch."""
        if hashes.size and (known := self.find(hashes, checks)).max() >= 0:
            raise ValueError(f"a key is there already, with id {int(known.max())}")
        if distinct(hashes, checks) is not None:
            raise ValueError("a key comes twice in one batch")

    def insert_new(self, hashes: UInt64s, checks: UInt64s, ids: Int32s | None = None) -> None:
        """As insert(), for a caller who has just made sure that the keys are absent and distinct."""
        self._reserve(self._count + hashes.size)
        entries = np.arange(self._count, self._count + hashes.size, dtype=np.int32)
        self._hashes[entries] = hashes
        self._checks[entries] = checks
        if ids is not None:
            self._ids[entries] = ids
        self._place(entries)
        self._count += hashes.size

    def clear(self) -> None:
        """Forget every key and give the memory back."""
        self.__init__(has_ids=self._has_ids)  # type: ignore[misc]

    def keys(self, entries: npt.NDArray[np.integer]) -> tuple[UInt64s, UInt64s]:
        """The hash and the check of entries, by their numbers."""
        return self._hashes[entries], self._checks[entries]

    def _first_slots(self, hashes: UInt64s) -> npt.NDArray[np.int64]:
        shift = np.uint64(64 - (self._slots.size.bit_length() - 1))
        return ((hashes * _SPREAD) >> shift).view(np.int64)

    def _find_in_order(self, hashes: UInt64s, checks: UInt64s, found: Int32s) -> int:
        """Find as many of the first keys as come in long stretches of the order of insertion; returns how many.

        A sender who keeps his order is known by comparing two columns: 5 ns a key instead of 60.
        """
        at = 0
        while hashes.size - at >= _STRETCH_COUNT_MIN:
            entry = self._entry_of(int(hashes[at]), int(checks[at]))
            begin = at
            width = _STRETCH_COUNT_MIN
            while entry >= 0 and at < hashes.size and entry < self._count:
                width = min(width, hashes.size - at, self._count - entry)
                theirs, ours = slice(at, at + width), slice(entry, entry + width)
                agree = (self._hashes[ours] == hashes[theirs]) & (self._checks[ours] == checks[theirs])
                count = width if agree.all() else int(agree.argmin())
                found[at : at + count] = (
                    self._ids[entry : entry + count] if self._has_ids else np.arange(entry, entry + count)
                )
                at, entry = at + count, entry + count
                if count < width:
                    break
                width *= 4
            if at - begin < _STRETCH_COUNT_MIN:
                break
        return at

    def _entry_of(self, key_hash: int, check: int) -> int:
        """The number of one key's entry, -1 if it is absent."""
        mask = self._slots.size - 1
        slot = ((key_hash * int(_SPREAD)) & (2**64 - 1)) >> (64 - mask.bit_length())
        while (entry := int(self._slots[slot])) >= 0:
            if int(self._hashes[entry]) == key_hash and int(self._checks[entry]) == check:
                break
            slot = (slot + 1) & mask
        return entry

    def _find_piece(self, hashes: UInt64s, checks: UInt64s) -> Int32s:
        slots = self._first_slots(hashes)
        entries = self._slots.take(slots, mode="clip")
        hit = self._agree(entries, hashes, checks)
        found = np.where(hit, self._ids_of(entries), np.int32(ABSENT))
        pending = np.flatnonzero(~hit & (entries >= 0))
        slots = slots[pending]
        while pending.size:  # A slot taken by another key: look one further, for these few only.
            slots = (slots + 1) & (self._slots.size - 1)
            entries = self._slots.take(slots, mode="clip")
            hit = self._agree(entries, hashes[pending], checks[pending])
            found[pending[hit]] = self._ids_of(entries[hit])
            on = ~hit & (entries >= 0)
            pending, slots = pending[on], slots[on]
        return found

    def _ids_of(self, entries: Int32s) -> Int32s:
        return self._ids.take(entries, mode="clip") if self._has_ids else entries

    def _agree(self, entries: Int32s, hashes: UInt64s, checks: UInt64s) -> npt.NDArray[np.bool_]:
        # An empty slot's -1 is clipped to entry 0, hence the last condition.
        agree: npt.NDArray[np.bool_] = self._hashes.take(entries, mode="clip") == hashes
        agree &= self._checks.take(entries, mode="clip") == checks
        agree &= entries >= 0
        return agree

    def _place(self, entries: Int32s) -> None:
        slots = self._first_slots(self._hashes[entries])
        while entries.size:
            empty = self._slots[slots] < 0
            # Several entries may claim one empty slot: the last one written has it, the others move on.
            self._slots[slots[empty]] = entries[empty]
            left = self._slots[slots] != entries
            entries, slots = entries[left], (slots[left] + 1) & (self._slots.size - 1)

    def _reserve(self, count: int) -> None:
        slot_count = self._slots.size
        while slot_count < 2 * count:
            slot_count *= 2
        if slot_count == self._slots.size:
            return
        for name in ("_hashes", "_checks", "_ids") if self._has_ids else ("_hashes", "_checks"):
            old = getattr(self, name)
            new = np.zeros(slot_count // 2, old.dtype)
            new[: self._count] = old[: self._count]
            setattr(self, name, new)
        self._slots = np.full(slot_count, ABSENT, np.int32)
        self._place(np.arange(self._count, dtype=np.int32))


class Distinct(NamedTuple):
    """Which pairs of a batch are the first of their kind, rising, and for each pair the number of its kind."""

    first: npt.NDArray[np.intp]
    inverse: npt.NDArray[np.intp]


def distinct(hashes: UInt64s, checks: UInt64s) -> Distinct | None:
    """The distinct pairs in the order in which they first come; None, for little work, if no pair comes twice."""
    ordered = np.sort(hashes)
    if not (ordered[1:] == ordered[:-1]).any():
        return None
    order = np.lexsort((checks, hashes))
    is_first = np.ones(order.size, np.bool_)
    ordered, ordered_checks = hashes[order], checks[order]
    is_first[1:] = (ordered[1:] != ordered[:-1]) | (ordered_checks[1:] != ordered_checks[:-1])
    if is_first.all():
        return None
    first = order[is_first]
    by_appearance = np.argsort(first)
    place = np.empty(first.size, np.intp)
    place[by_appearance] = np.arange(first.size)
    inverse = np.empty(order.size, np.intp)
    inverse[order] = place[np.cumsum(is_first) - 1]
    return Distinct(first[by_appearance], inverse)

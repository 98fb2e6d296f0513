"""Names as stretches of the body that brought them: hashed a column at a time, cut out only for those asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tsdb.sample import Int64s

UInt64s = npt.NDArray[np.uint64]
Part = slice | npt.NDArray[np.integer]

_WORD_BYTES = 8
# Longer names are hashed one by one: one long name must not make a wide table of all.
_WORD_COUNT_MAX = 64
_SHORT_BYTES_MAX = _WORD_BYTES * _WORD_COUNT_MAX
# Names hashed at once: 1,024 × 2 × 64 words of 8 B are 1 MiB at most, and as a rule a fifth.
_PIECE_COUNT = 1_024
PADDING = bytes(_SHORT_BYTES_MAX + 16)
"""What has to follow the last name: a name is read as if it were as long as the longest of its neighbours."""


class Hashed(NamedTuple):
    """What RawNames.hashes() gives for these seeds."""

    seeds: tuple[int, int]
    first: UInt64s
    second: UInt64s


@dataclass(frozen=True, slots=True)
class RawNames:
    """Name i is data[starts[i]:ends[i]], and PADDING follows the last. hashed: the hashes, where they are known."""

    data: bytes
    starts: Int64s
    ends: Int64s
    hashed: Hashed | None = None

    @staticmethod
    def of(names: list[bytes]) -> RawNames:
        ends = np.cumsum(np.fromiter(map(len, names), np.int64, len(names)))
        starts = np.concatenate((np.zeros(min(1, ends.size), np.int64), ends[:-1]))
        return RawNames(b"".join((*names, PADDING)), starts, ends)

    def __len__(self) -> int:
        return self.starts.size

    def __getitem__(self, index: int) -> bytes:
        return self.data[int(self.starts[index]) : int(self.ends[index])]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.to_list())

    def to_list(self) -> list[bytes]:
        return [self.data[start:end] for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True)]

    def gather(self, index: npt.NDArray[np.integer]) -> RawNames:
        return self._part(index)

    def slice(self, start: int, count: int) -> RawNames:
        return self._part(slice(start, start + count))

    def _part(self, part: Part) -> RawNames:
        known = self.hashed
        hashed = None if known is None else Hashed(known.seeds, known.first[part], known.second[part])
        return RawNames(self.data, self.starts[part], self.ends[part], hashed)

    def hashes(self, seeds: tuple[int, int]) -> tuple[UInt64s, UInt64s]:
        """Two independent hashes of each name, equal for equal names in any body.

        Each is Σ key[i] · word[i] + key · (length + 1) over words of 32 bits modulo 2^64, with secret keys: two names
        that were chosen without knowing these agree in both with a probability of at most 2^-66 (multilinear hashing;
        Lemire and Kaser, "Strongly universal string hashing is fast", 2014: of words below 2^32, one hash gives 2^-33).
        """
        if self.hashed is not None and self.hashed.seeds == seeds:
            return self.hashed.first, self.hashed.second
        keys = _keys(seeds)
        found = np.empty((len(self), 2), np.uint64)
        for at in range(0, len(self), _PIECE_COUNT):
            piece = slice(at, at + _PIECE_COUNT)
            self._hash_piece(self.starts[piece], self.ends[piece] - self.starts[piece], keys, seeds, found[piece])
        return np.ascontiguousarray(found[:, 0]), np.ascontiguousarray(found[:, 1])

    def _hash_piece(self, starts: Int64s, sizes: Int64s, keys: UInt64s, seeds: tuple[int, int], found: UInt64s) -> None:
        longest_bytes = int(sizes.max())
        if longest_bytes > _SHORT_BYTES_MAX:
            is_short = sizes <= _SHORT_BYTES_MAX
            for index in np.flatnonzero(~is_short).tolist():
                start = int(starts[index])
                found[index] = _long_hashes(self.data[start : start + int(sizes[index])], seeds)
            if is_short.any():
                short = np.empty((int(is_short.sum()), 2), np.uint64)
                self._hash_piece(starts[is_short], sizes[is_short], keys, seeds, short)
                found[is_short] = short
            return
        word_count = max(1, -(-longest_bytes // _WORD_BYTES))
        width = word_count * _WORD_BYTES
        # One item a place of the data, as wide as the longest name: numpy copies the wanted ones by memcpy.
        at_any_place = np.ndarray((len(self.data) - width,), f"V{width}", self.data, strides=(1,))
        words = at_any_place[starts].view(np.uint64)
        words &= _masks(word_count)[sizes].view(np.uint64)
        halves = words.view(np.uint32).reshape(-1, 2 * word_count).astype(np.uint64)
        np.matmul(halves, keys[1 : 1 + 2 * word_count], out=found)
        found += (sizes + 1).astype(np.uint64)[:, None] * keys[0]


@lru_cache(maxsize=4)
def _keys(seeds: tuple[int, int]) -> UInt64s:
    """The keys of both hashes, side by side: of the length, and of each word of 32 bits."""
    columns = [np.random.Generator(np.random.PCG64(seed)) for seed in seeds]
    return np.stack([one.integers(0, 2**64, 1 + 2 * _WORD_COUNT_MAX, np.uint64) for one in columns], axis=1)


@lru_cache(maxsize=_WORD_COUNT_MAX)
def _masks(word_count: int) -> npt.NDArray[np.void]:
    """By the size of a name: the words of its bytes, all bits set. At most 512 × 512 B."""
    sizes = np.arange(_WORD_BYTES * word_count + 1)
    masks = np.arange(_WORD_BYTES * word_count) < sizes[:, None]
    return (masks * np.uint8(0xFF)).view(f"V{_WORD_BYTES * word_count}").ravel()


def _long_hashes(name: bytes, seeds: tuple[int, int]) -> tuple[int, int]:
    key = seeds[0].to_bytes(8, "little") + seeds[1].to_bytes(8, "little")
    found = blake2b(name, digest_size=16, key=key).digest()
    return int.from_bytes(found[:8], "little"), int.from_bytes(found[8:], "little")

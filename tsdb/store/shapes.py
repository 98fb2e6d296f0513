"""The shapes of series, by which a block lays alike series side by side.

A shape is the canonical bytes without the dotted parts that hold digits: what is left of `servers.host0001.cpu.user` is
the same for all hosts, and their samples compress well side by side.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsdb.sample import SEPARATOR, Int32s, Int64s
from tsdb.store.disk import Bytes

UInt64s = npt.NDArray[np.uint64]

# Shapes told apart: about 150 B each. Names that differ in letters alone could make one each; what comes later shares
# a shape, and compresses a little worse.
_SHAPES_COUNT_MAX = 65_536
# Bytes worked on at once: the columns beside them take 25 times as much.
_PIECE_BYTES = 1 << 18
_ENDS_PART, _IS_DIGIT = 1, 2
_KIND = np.zeros(256, np.uint8)
_KIND[[ord("."), SEPARATOR[0]]] = _ENDS_PART
_KIND[ord("0") : ord("9") + 1] = _IS_DIGIT
# The hash of a shape is Σ word[byte] · base^place modulo 2^64. The base is odd, so that it has an inverse, by which the
# hash is the same wherever the shape lies. Two shapes of one hash share a rank; nothing worse comes of it.
_BASE = 0x9E3779B97F4A7C15
_WORD_OF_BYTE = np.random.Generator(np.random.PCG64(1)).integers(1, 2**63, 256, np.uint64)


class Shapes:
    """By id, for the first series of an index: the number of its shape. 4 B a series. For one thread at a time."""

    def __init__(self) -> None:
        self.count = 0  # Of the series whose shapes are known.
        self._number_of: Int32s = np.empty(0, np.int32)  # By id.
        self._text_of: list[bytes] = []  # By number.
        self._number_by_hash: dict[int, int] = {}

    @property
    def size_bytes(self) -> int:
        return self._number_of.nbytes

    def extend(self, text: Bytes, ends: Int64s, up_to: int) -> None:
        """Know the shapes of the series below up_to; series i lies at ends[i] … ends[i + 1] of text."""
        if self._number_of.size < up_to:
            grown = np.empty(max(up_to, 2 * self._number_of.size), np.int32)
            grown[: self.count] = self._number_of[: self.count]
            self._number_of = grown
        while self.count < up_to:
            first = self.count
            stop = int(np.searchsorted(ends[: up_to + 1], int(ends[first]) + _PIECE_BYTES, side="right")) - 1
            stop = max(first + 1, min(stop, up_to))
            self._number_of[first:stop] = self._numbers(
                text[int(ends[first]) : int(ends[stop])], ends[first : stop + 1] - ends[first]
            )
            self.count = stop

    def rank(self, ids: npt.NDArray[np.integer]) -> Int32s:
        """By id: the place of its shape among all shapes in byte order."""
        rank = np.empty(len(self._text_of), np.int32)
        by_text = sorted(range(len(self._text_of)), key=self._text_of.__getitem__)
        rank[by_text] = np.arange(len(by_text), dtype=np.int32)
        found: Int32s = rank[self._number_of[ids]]
        return found

    def _numbers(self, text: Bytes, edges: Int64s) -> Int32s:
        kind = _KIND[text]
        ends_part = kind == _ENDS_PART
        part = np.cumsum(ends_part, dtype=np.int32)  # Of a byte that ends no part: the number of its part.
        changes = np.zeros(int(part[-1]) + 1, np.bool_)
        changes[part[kind == _IS_DIGIT]] = True
        is_kept = ends_part | ~changes[part]
        shape = text[is_kept]
        shape_edges = np.concatenate((np.zeros(1, np.int64), np.cumsum(is_kept)))[edges]
        hashes = _hashes(shape, shape_edges)
        distinct, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        numbers = np.empty(distinct.size, np.int32)
        for at in np.argsort(first).tolist():  # In the order of coming, so that the first shapes are told apart.
            start, end = shape_edges[first[at] : first[at] + 2].tolist()
            numbers[at] = self._number(int(distinct[at]), shape[start:end])
        found: Int32s = numbers[inverse]
        return found

    def _number(self, key: int, shape: Bytes) -> int:
        number = self._number_by_hash.get(key)
        if number is not None:
            return number
        if len(self._text_of) == _SHAPES_COUNT_MAX:
            return _SHAPES_COUNT_MAX - 1
        self._number_by_hash[key] = len(self._text_of)
        self._text_of.append(shape.tobytes())
        return len(self._text_of) - 1


def _hashes(shape: Bytes, edges: Int64s) -> UInt64s:
    """The hash of each stretch between two edges."""
    base = np.full(shape.size, _BASE, np.uint64)
    base[:1] = 1
    powers = np.cumprod(base)
    inverses = np.full(shape.size + 1, pow(_BASE, -1, 2**64), np.uint64)
    inverses[0] = 1
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(_WORD_OF_BYTE[shape] * powers)))
    found: UInt64s = (sums[edges[1:]] - sums[edges[:-1]]) * np.cumprod(inverses)[edges[:-1]]
    return found

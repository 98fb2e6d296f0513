"""The order of series by their labels, kept from one selection to the next."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tsdb.sample import SEPARATOR, Int32s
from tsdb.store.index import SeriesIndex

# Fewer series than this are sorted for themselves: a thousand take half a millisecond.
_SORTED_ALONE_MAX = 512
# So many new series find their places by bisection, at 2 µs each when they lie together, as those of a new metric do,
# and 15 µs otherwise; more are sorted together with all others.
_BISECTED_COUNT_MAX = 1_000
# Sorted at once, so that no other thread waits long for the interpreter.
_CHUNK_COUNT = 20_000
# Bytes of UTF-8 end at 0xF4, so each can be one higher, and the separator the lowest: the order of the bytes is then
# that of the (name, value) pairs.
_SORTABLE = bytes(0 if byte == SEPARATOR[0] else min(255, byte + 1) for byte in range(256))


class LabelOrder:
    """Ranks of the series of an index by labels. Safe for threads. 8 B a series, once a large selection needs them."""

    def __init__(self, index: SeriesIndex) -> None:
        self._index = index
        # The rank by id and the id by rank; always replaced together.
        self._ranks: tuple[Int32s, Int32s] = (np.empty(0, np.int32), np.empty(0, np.int32))
        self._lock = threading.Lock()

    def ordered(self, ids: Int32s) -> Int32s:
        """Distinct ids in the order of their labels."""
        if ids.size < 2:
            return ids
        rank, by_rank = self._ranks
        last = int(ids.max())
        if last >= rank.size:
            if ids.size <= _SORTED_ALONE_MAX:
                return self._sorted(ids)
            rank, by_rank = self._extended(last + 1)
        if ids.size * 16 < rank.size:
            return ids[np.argsort(rank[ids])]
        is_wanted = np.zeros(rank.size, np.bool_)
        is_wanted[rank[ids]] = True
        return by_rank[is_wanted]

    def _extended(self, count: int) -> tuple[Int32s, Int32s]:
        with self._lock:
            held, by_rank = self._ranks
            if held.size >= count:
                return self._ranks
            count = max(count, len(self._index))
            new = np.arange(held.size, count, dtype=np.int32)
            if held.size and new.size <= _BISECTED_COUNT_MAX:
                new = self._sorted(new)
                by_rank = np.insert(by_rank, self._places(by_rank, new), new)
            else:
                by_rank = self._sorted(np.concatenate((by_rank, new)))
            rank = np.empty(count, np.int32)
            rank[by_rank] = np.arange(count, dtype=np.int32)
            self._ranks = rank, by_rank
            return self._ranks

    def _sorted(self, ids: Int32s) -> Int32s:
        """Ids in order; quick where they are in order already, stretch by stretch."""
        texts: dict[bytes, int] = {}
        for start in range(0, ids.size, _CHUNK_COUNT):
            some = ids[start : start + _CHUNK_COUNT]
            texts.update(sorted(zip(self._texts(some), some.tolist(), strict=True)))
        return np.fromiter(map(texts.__getitem__, sorted(texts)), np.int32, ids.size)

    def _places(self, by_rank: Int32s, new: Int32s) -> npt.NDArray[np.intp]:
        """Where each of some new ids comes among the old ones; bisected all at once, a step for all texts together."""
        texts = self._texts(new)
        low, high = np.zeros(new.size, np.intp), np.full(new.size, by_rank.size)
        while (left := np.flatnonzero(low < high)).size:
            probes, which = np.unique((low[left] + high[left]) // 2, return_inverse=True)
            probed = self._texts(by_rank[probes])
            is_behind = np.fromiter(
                (texts[at] > probed[its] for at, its in zip(left.tolist(), which.tolist(), strict=True)),
                np.bool_,
                left.size,
            )
            middle = probes[which]
            low[left] = np.where(is_behind, middle + 1, low[left])
            high[left] = np.where(is_behind, high[left], middle)
        return low

    def _texts(self, ids: Int32s) -> Sequence[bytes]:
        return [one.translate(_SORTABLE) for one in self._index.canonical_of(ids)]

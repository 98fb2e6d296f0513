"""What a block holds, in a number for each (partition, window): equal samples, equal hash, whatever the cuts.

The hash is the sum modulo 2^128 of a mix of key, time and value bits of every sample, so neither order nor batches nor
joins change it. It finds differences between replicas and damage that no checksum saw; it is no proof against somebody
who chooses samples in order to deceive. Definition and test vectors: docs/format/content-hash.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tsdb.lookup import UInt64s
from tsdb.sample import Float64s, Int64s
from tsdb.store.block.layout import CONTENT_DTYPE, PARTITION_BITS, PARTITION_COUNT, WINDOW_MS
from tsdb.store.index import Keys

# Samples mixed at once: six columns of 128 KiB stay in the second cache; 8.5 ns a sample, twice that beyond it.
_CHUNK_SAMPLE_COUNT = 1 << 14
_HALF = np.uint64(32)
_LOW_HALF = np.uint64((1 << 32) - 1)
# Odd numbers without structure: the fraction of the golden ratio, and multipliers of known mixers (docs page).
_MULTIPLIERS = tuple(
    np.uint64(one)
    for one in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F)
)

Place: TypeAlias = tuple[int, int]
"""(start of a 2 h window in ms, partition)."""


class Content(NamedTuple):
    """How many samples, and their hash, below 2^128."""

    sample_count: int
    hash: int


def mix(high: UInt64s, low: UInt64s, timestamp_ms: Int64s, value: Float64s) -> tuple[UInt64s, UInt64s]:
    """The hash of each sample by itself: its upper and its lower 64 bits.

    high, low: the two halves of the key of each sample's series. Five rounds, after which every bit that goes in flips
    every bit that comes out with a probability of a half; for one series no two samples have the same hash.
    """
    a, b = timestamp_ms.view(np.uint64) ^ high, value.view(np.uint64) ^ low
    room = np.empty_like(a)
    first, second, third, fourth, fifth = _MULTIPLIERS
    _fold(a, first, room)
    b += a
    _fold(b, second, room)
    a += b
    a += low  # Again, so that two keys that differ as two times and two values do part here.
    _fold(a, third, room)
    b += a
    _fold(b, fourth, room)
    a += b
    _fold(a, fifth, room)
    a ^= np.right_shift(a, _HALF, out=room)
    b += a
    b ^= np.right_shift(b, _HALF, out=room)
    return a, b


def _fold(column: UInt64s, multiplier: np.uint64, room: UInt64s) -> None:
    column ^= np.right_shift(column, _HALF, out=room)
    column *= multiplier


class ContentSum:
    """Counts and hashes of the 2 h windows of one block, gathered row by row; no sample may be added twice."""

    def __init__(self, start_ms: int, window_ms: int) -> None:
        assert start_ms % WINDOW_MS == window_ms % WINDOW_MS == 0, (start_ms, window_ms)
        self._first_window = start_ms // WINDOW_MS
        self._window_count = window_ms // WINDOW_MS
        size = PARTITION_COUNT * self._window_count
        self._sample_count = np.zeros(size, np.uint64)
        # Sums of the upper 64 bits modulo 2^64, and of each half of the lower ones: 2^32 samples cannot overflow these.
        self._high, self._middle, self._low = (np.zeros(size, np.uint64) for _ in range(3))

    def add(self, keys: Keys, offsets: Int64s, timestamp_ms: Int64s, value: Float64s) -> None:
        """Rows of samples: the series with keys[i] has the samples offsets[i]:offsets[i + 1] of both columns."""
        partition = (keys.high >> np.uint64(64 - PARTITION_BITS)).astype(np.int64)
        for start in range(int(offsets[0]), int(offsets[-1]), _CHUNK_SAMPLE_COUNT):
            end = min(start + _CHUNK_SAMPLE_COUNT, int(offsets[-1]))
            rows = slice(
                int(np.searchsorted(offsets, start, side="right")) - 1, int(np.searchsorted(offsets, end, side="left"))
            )
            edges = offsets[rows.start : rows.stop + 1].clip(start, end) - start
            self._add_chunk(
                Keys(keys.high[rows], keys.low[rows]), partition[rows], edges, timestamp_ms[start:end], value[start:end]
            )

    def _add_chunk(self, keys: Keys, partition: Int64s, edges: Int64s, timestamp_ms: Int64s, value: Float64s) -> None:
        lengths = np.diff(edges)
        high, low = mix(np.repeat(keys.high, lengths), np.repeat(keys.low, lengths), timestamp_ms, value)
        if self._window_count == 1:
            starts, place = edges[:-1], partition
        else:
            window = timestamp_ms // WINDOW_MS - self._first_window
            is_start = np.zeros(timestamp_ms.size, np.bool_)
            is_start[edges[:-1]] = True
            is_start[1:] |= window[1:] != window[:-1]
            starts = np.flatnonzero(is_start)
            row = np.searchsorted(edges, starts, side="right") - 1
            place = window[starts] * PARTITION_COUNT + partition[row]
        counts = np.diff(starts, append=timestamp_ms.size)
        np.add.at(self._sample_count, place, counts.astype(np.uint64))
        np.add.at(self._high, place, np.add.reduceat(high, starts))
        np.add.at(self._middle, place, np.add.reduceat(low >> _HALF, starts))
        np.add.at(self._low, place, np.add.reduceat(low & _LOW_HALF, starts))

    def table(self) -> npt.NDArray[np.void]:
        """CONTENT_DTYPE, an entry for each (window, partition) with samples, in this order."""
        place = np.flatnonzero(self._sample_count)
        middle, low = self._middle[place], self._low[place]
        table = np.zeros(place.size, CONTENT_DTYPE)
        table["window"] = self._first_window + place // PARTITION_COUNT
        table["partition"] = place % PARTITION_COUNT
        table["sample_count"] = self._sample_count[place]
        table["hash_low"] = (middle << _HALF) + low
        table["hash_high"] = self._high[place] + ((middle + (low >> _HALF)) >> _HALF)
        return table


def by_place(table: npt.NDArray[np.void]) -> dict[Place, Content]:
    """The entries of a table by window and partition."""
    columns = (table[name].tolist() for name in ("window", "partition", "sample_count", "hash_high", "hash_low"))
    return {
        (window * WINDOW_MS, partition): Content(count, high << 64 | low)
        for window, partition, count, high, low in zip(*columns, strict=True)
    }


def added(tables: Iterable[npt.NDArray[np.void]]) -> dict[Place, Content]:
    """The sums of several tables. They speak of all the samples only if no two of them have one of the same series and
    time: see known()."""
    total: dict[Place, Content] = {}
    for table in tables:
        for place, one in by_place(table).items():
            before = total.get(place, Content(0, 0))
            total[place] = Content(before.sample_count + one.sample_count, (before.hash + one.hash) % (1 << 128))
    return total


class BlockContent(NamedTuple):
    """What is known of a block's samples without reading them. table: None for a block without a content hash."""

    start_ms: int  # of its window
    end_ms: int
    min_ms: int  # of its samples, both included
    max_ms: int
    table: npt.NDArray[np.void] | None


def known(blocks: Sequence[BlockContent]) -> tuple[dict[Place, Content], set[Place]]:
    """What several blocks hold together, and the places of which that cannot be said: join the blocks there first.

    A sum is right for a place that lies in one block, or in several whose samples lie apart in time: then no two of
    them can have one of the same series and time.
    """
    holders: dict[Place, list[BlockContent]] = {}
    unsure: set[Place] = set()
    for block in blocks:
        if block.table is None:
            windows = range(block.start_ms, block.end_ms, WINDOW_MS)
            unsure.update((start_ms, partition) for start_ms in windows for partition in range(PARTITION_COUNT))
        else:
            for place in by_place(block.table):
                holders.setdefault(place, []).append(block)
    for place, held_by in holders.items():
        ranges = sorted((block.min_ms, block.max_ms) for block in held_by)
        if any(after[0] <= before[1] for before, after in itertools.pairwise(ranges)):
            unsure.add(place)
    total = added(block.table for block in blocks if block.table is not None)
    return {place: content for place, content in total.items() if place not in unsure}, unsure

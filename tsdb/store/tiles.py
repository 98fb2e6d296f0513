"""What a selection takes from one block: first the times of the tiles, which say what is wanted, then the values.

The values are decoded a few tiles at a time and go straight to their place in the answer, so that a selection of
millions of samples needs little room beside it.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from tsdb.errors import CorruptData
from tsdb.sample import Float64s, Int64s
from tsdb.store.block.file import BlockFile
from tsdb.store.block.tile_bytes import PackedTile, decode_neighbours, packed_tile
from tsdb.store.columns import spread
from tsdb.store.pieces import TIME_MAX, clipped, copy_ranges

TileColumns = tuple[Int64s, Float64s]
Found = Float64s | PackedTile | None

# Decoded at once: 2 MiB of values, which stay in the processor's cache until they are moved.
_SCRATCH_SAMPLE_COUNT = 1 << 18
# Times of which less than this part is wanted are copied, so that the others can go.
_SPARSE_PART = 2
# Values that take no more than this are kept as they lie in the file until they are decoded, so that they are not read
# and checked once more: an eighth of what they will take in the answer.
_KEPT_BYTES_PER_SAMPLE_MAX = 2


class TileCache:
    """Decoded tiles, the least recently used leave first. Safe for threads.

    Tiles of series that are sampled together share one column of times, which is counted once: they take half the room.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._tiles: OrderedDict[tuple[int, int], TileColumns] = OrderedDict()
        self._uses = Counter[int]()  # By the identity of a column that is held: by how many tiles.
        self._lock = threading.Lock()

    def get(self, key: tuple[int, int]) -> TileColumns | None:
        with self._lock:
            found = self._tiles.get(key)
            if found is not None:
                self._tiles.move_to_end(key)
            return found

    def put(self, key: tuple[int, int], columns: TileColumns) -> None:
        with self._lock:
            if key in self._tiles:
                return
            self._tiles[key] = columns
            for column in columns:
                self._bytes += column.nbytes if not self._uses[id(column)] else 0
                self._uses[id(column)] += 1
            while self._bytes > self._bytes_max:
                for column in self._tiles.popitem(last=False)[1]:
                    self._uses[id(column)] -= 1
                    if not self._uses[id(column)]:
                        del self._uses[id(column)]
                        self._bytes -= column.nbytes

    def clear(self) -> None:
        with self._lock:
            self._tiles.clear()
            self._uses.clear()
            self._bytes = 0


class DamagedTiles(Exception):
    """Tiles turned out to be damaged when their values were wanted; they are noted, so another try leaves them out."""


_table_numbers = itertools.count()


class TileTable:
    """Where the tiles of a block lie, in the order of its samples, and which of them are damaged."""

    def __init__(self, file: BlockFile) -> None:
        self.file = file
        self.number = next(_table_numbers)  # Names of blocks come again after a restart of the store; this does not.
        self.entries = file.tiles()
        self.first_sample = self.entries["first_sample"].astype(np.int64)
        self.end_sample = self.first_sample + self.entries["sample_count"]
        self.min_ms = np.ascontiguousarray(self.entries["min_ms"])
        self.max_ms = np.ascontiguousarray(self.entries["max_ms"])
        self.shortest_ms = int((self.max_ms - self.min_ms).min(initial=TIME_MAX))  # From first to last time.
        self.is_damaged = np.zeros(self.entries.size, np.bool_)

    def pieces_of(self, starts: Int64s, ends: Int64s) -> tuple[Int64s, Int64s, Int64s]:
        """Rows cut where a tile ends: by piece the place of its row, its tile, its first sample in the block."""
        first = np.searchsorted(self.first_sample, starts, side="right") - 1
        last = np.searchsorted(self.first_sample, ends - 1, side="right") - 1
        counts = last - first + 1
        if int(counts.max(initial=1)) == 1:
            return np.arange(starts.size), first, starts
        row, number = np.repeat(np.arange(starts.size), counts), spread(first, counts)
        return row, number, np.maximum(starts[row], self.first_sample[number])


@dataclass(frozen=True, slots=True)
class BlockPart:
    """The samples of some rows of a block, as pieces of its tiles (see pieces.Part)."""

    row: Int64s
    starts: Int64s
    lengths: Int64s
    timestamp_ms: Int64s  # The times of all tiles, equal columns once.
    value_starts: Int64s  # by piece: its first sample in its tile
    tile: Int64s  # by piece: the place of its tile in `numbers`, never falling
    numbers: Int64s  # of the tiles
    found: Sequence[Found]  # by tile: the values, if the cache had them, or their bytes, if these are few
    table: TileTable
    note_damage: Callable[[CorruptData], None]

    @property
    def block_name(self) -> str:
        return self.table.file.name

    def without(self, is_meant: npt.NDArray[np.bool_], start_ms: int, end_ms: int) -> BlockPart:
        """Without the samples of some pieces in a range of time; what is left of such a piece may be two."""
        kept, meant = np.flatnonzero(~is_meant), np.flatnonzero(is_meant)
        of, starts, lengths = [kept], [self.starts[kept]], [self.lengths[kept]]
        for first_ms, last_ms in ((-TIME_MAX, start_ms - 1), (end_ms + 1, TIME_MAX)):
            left, its_starts, its_lengths = clipped(
                self.timestamp_ms, self.starts[meant], self.lengths[meant], first_ms, last_ms
            )
            of.append(meant[left])
            starts.append(its_starts)
            lengths.append(its_lengths)
        piece, joined_starts = np.concatenate(of), np.concatenate(starts)
        order = np.argsort(piece, kind="stable")  # What lies before the range comes before what lies behind it.
        piece, joined_starts = piece[order], joined_starts[order]
        return replace(
            self,
            row=self.row[piece],
            starts=joined_starts,
            lengths=np.concatenate(lengths)[order],
            value_starts=self.value_starts[piece] + joined_starts - self.starts[piece],
            tile=self.tile[piece],
        )

    def put_values(self, target: Float64s, places: Int64s) -> None:
        """See pieces.Part. Raises: DamagedTiles."""
        counts = (self.table.end_sample - self.table.first_sample)[self.numbers]
        if counts.size == 1 and isinstance(self.found[0], np.ndarray):
            copy_ranges(self.found[0], self.value_starts, self.lengths, target, places)
            return
        ends = np.cumsum(counts)
        scratch = np.empty(min(int(ends[-1]), _SCRATCH_SAMPLE_COUNT + int(counts.max())), np.float64)
        is_whole, done = True, 0
        while done < counts.size:
            begun = int(ends[done] - counts[done])
            end = max(done + 1, int(np.searchsorted(ends, begun + _SCRATCH_SAMPLE_COUNT, side="right")))
            into, found = scratch[: int(ends[end - 1]) - begun], self.found[done:end]
            if _are_columns(found):  # Of what is asked for again and again.
                np.concatenate(found, out=into)
            else:
                is_whole &= self._put_tiles(done, (ends[done:end] - begun).tolist(), into)
            some = slice(*np.searchsorted(self.tile, (done, end)).tolist())
            starts = (ends - counts)[self.tile[some]] - begun + self.value_starts[some]
            copy_ranges(scratch, starts, self.lengths[some], target, places[some])
            done = end
        if not is_whole:
            raise DamagedTiles

    def _put_tiles(self, first: int, ends: Sequence[int], into: Float64s) -> bool:
        """Fill a stretch with the values of some tiles; False if one is damaged, which is noted then.

        ends: where each ends in the stretch.
        """
        numbers = self.numbers[first : first + len(ends)]
        packed: list[PackedTile] = []  # Neighbours that wait for being decoded.
        is_whole, begun, at = True, 0, 0
        for found, number, end in zip(self.found[first : first + len(ends)], numbers.tolist(), ends, strict=True):
            assert not isinstance(found, np.ndarray), number  # A part has all of its tiles from the cache, or none.
            try:
                if found is None:
                    entry = self.table.entries[number].item()
                    found = packed_tile(self.table.file.file, self.table.file.name, number, entry)
            except CorruptData as error:
                self._note(number, error)
                is_whole = False
            if found is not None:
                packed.append(found)
            else:
                self._put_packed(packed, into[begun:at])
                packed, begun = [], end
            at = end
        return self._put_packed(packed, into[begun:]) and is_whole

    def _put_packed(self, packed: Sequence[PackedTile], into: Float64s) -> bool:
        damaged = decode_neighbours(packed, into)
        for at, error in damaged:
            self._note(packed[at].number, error)
        return not damaged

    def _note(self, number: int, error: CorruptData) -> None:
        self.table.is_damaged[number] = True
        self.note_damage(error)


def _are_columns(found: Sequence[Found]) -> TypeGuard[Sequence[Float64s]]:
    return all(isinstance(one, np.ndarray) for one in found)


def read_part(
    table: TileTable,
    place: Int64s,
    starts: Int64s,
    ends: Int64s,
    start_ms: int,
    end_ms: int,
    cache: TileCache | None,
    note_damage: Callable[[CorruptData], None],
) -> BlockPart | None:
    """The samples of some rows of a block in a range of time, both ends included; None if there are none.

    place: by row, its number in the answer. starts, ends: the rows' samples in the block; both rising.
    cache: where decoded tiles are looked for and kept; None for a selection that would push all others out.
    """
    row, number, sample = table.pieces_of(starts, ends)
    overlaps = (table.max_ms[number] >= start_ms) & (table.min_ms[number] <= end_ms) & ~table.is_damaged[number]
    if not overlaps.all():
        row, number, sample = row[overlaps], number[overlaps], sample[overlaps]
    if not row.size:
        return None
    # Numbers never fall, so each wanted tile stands where another begins.
    begins = np.flatnonzero(np.diff(number, prepend=-1))
    wanted = number[begins]
    times, bases, found = _times(table, wanted, cache, note_damage)
    if len(found) < wanted.size:  # Once more, without those that are damaged.
        return read_part(table, place, starts, ends, start_ms, end_ms, cache, note_damage)
    tile = np.repeat(np.arange(wanted.size), np.diff(begins, append=number.size))
    value_starts = sample - table.first_sample[number]
    lengths = np.minimum(ends[row], table.end_sample[number]) - sample
    kept, time_starts, lengths = clipped(times, bases[tile] + value_starts, lengths, start_ms, end_ms)
    row, tile = row[kept], tile[kept]
    value_starts = time_starts - bases[tile]
    if _SPARSE_PART * int(lengths.sum()) < times.size:  # An hour of a block of days: keep its times, not all of them.
        all_times, places = times, np.cumsum(lengths) - lengths
        times = np.empty(int(lengths.sum()), np.int64)
        copy_ranges(all_times, time_starts, lengths, times, places)
        time_starts = places
    return BlockPart(
        row=place[row],
        starts=time_starts,
        lengths=lengths,
        timestamp_ms=times,
        value_starts=value_starts,
        tile=tile,
        numbers=wanted,
        found=found,
        table=table,
        note_damage=note_damage,
    )


def _times(
    table: TileTable, wanted: Int64s, cache: TileCache | None, note_damage: Callable[[CorruptData], None]
) -> tuple[Int64s, Int64s, list[Found]]:
    """The times of some tiles, equal columns once, where those of each tile begin, and what is there of the values.

    Shorter lists, if some tile is damaged, which is noted then.
    """
    columns: list[Int64s] = []
    bases: list[int] = []
    found: list[Found] = []
    count, base_of = 0, dict[int, int]()
    for number, entry in zip(wanted.tolist(), table.entries[wanted].tolist(), strict=True):
        try:
            column, values = _tile(table, number, entry, cache)
        except CorruptData as error:
            table.is_damaged[number] = True
            note_damage(error)
            continue
        base = base_of.get(id(column))
        if base is None:
            base = base_of[id(column)] = count
            count += column.size
            columns.append(column)
        bases.append(base)
        found.append(values)
    joined = columns[0] if len(columns) == 1 else np.concatenate([np.empty(0, np.int64), *columns])
    return joined, np.array(bases, np.int64), found


def _tile(table: TileTable, number: int, entry: tuple[Any, ...], cache: TileCache | None) -> tuple[Int64s, Found]:
    """The times of a tile, and what is kept of its values. Raises: CorruptData."""
    file, key = table.file, (table.number, number)
    if cache is None:
        packed = packed_tile(file.file, file.name, number, entry)
        is_kept = len(packed.values) <= _KEPT_BYTES_PER_SAMPLE_MAX * packed.sample_count
        return packed.decoded_times(), packed if is_kept else None
    found = cache.get(key)
    if found is None:
        found = packed_tile(file.file, file.name, number, entry).decoded()
        cache.put(key, found)
    return found

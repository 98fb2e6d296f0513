"""Reading sealed blocks, in any process: mapped read-only, series known by key, decoded tiles kept for a while.

The engine's process says which blocks there are and what the head has (a snapshot); a BlockReader does the rest.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from tsdb.errors import CorruptData, NotReady
from tsdb.interface import Bounds, Grain
from tsdb.sample import Float64s, Int32s, Int64s, Labels, Matcher, Selection
from tsdb.store.block.file import BlockFile, read_rows
from tsdb.store.block.layout import BlockName
from tsdb.store.columns import Rows, merged, places_of
from tsdb.store.disk import Disk, OsDisk
from tsdb.store.index import SeriesIndex
from tsdb.store.tombstones import Mask, Tombstone

log = logging.getLogger(__name__)

TileColumns = tuple[Int64s, Float64s]

# Rows of all open blocks together: × 24 B of tables = 192 MiB. What is over it is opened again when it is needed.
_OPEN_ROWS_MAX = 8 << 20
# Series that are in no open block any more are kept, for their ids are in use; over so many, and over half of all, the
# reader begins anew.
_GONE_SERIES_MAX = 500_000
# A selection of more tiles than this would push everything else out of the cache, so it goes by.
_CACHED_TILES_PER_SELECTION_MAX = 256
# A block may hold billions of samples and a query want one hour of them: decoded and clipped in pieces of 4 Mi × 16 B.
_PIECE_SAMPLES = 1 << 22


@dataclass(frozen=True, slots=True)
class HeadPart:
    """What the head has of a selection, CSR-shaped, the series as canonical bytes."""

    canonical: Sequence[bytes]
    offsets: Int64s
    timestamp_ms: Int64s
    value: Float64s

    @staticmethod
    def empty() -> HeadPart:
        return HeadPart((), np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))


class BlockGone(NotReady):
    """A block of the snapshot is no longer there, because a larger one took its place: take a new snapshot."""

    code = "block_gone"


class OpenBlock:
    """A block with its tables: local ids of a SeriesIndex by row, rows by id."""

    def __init__(self, file: BlockFile, index: SeriesIndex) -> None:
        self.file = file
        self.row_offsets = file.row_offsets()
        self.tiles = file.tiles()
        keys = file.keys()
        ids = index.find(keys)
        new = np.flatnonzero(ids < 0)
        if new.size:
            canonical = file.canonical()
            index.add_known_new(keys.taken(new), [canonical[row] for row in new.tolist()])
            ids[new] = index.find(keys.taken(new))
        self.ids = ids  # by row
        self._rows_by_id = np.argsort(ids, kind="stable")
        self._sorted_ids = ids[self._rows_by_id]

    def rows_of(self, ids: Int32s) -> tuple[Int64s, Int64s]:
        """The places of those ids that are in the block, and their rows, rising."""
        place, at = places_of(ids, self._sorted_ids)
        rows = self._rows_by_id[at]
        order = np.argsort(rows)
        return place[order], rows[order]


class TileCache:
    """Decoded tiles, the least recently used leave first. Safe for threads."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._tiles: OrderedDict[tuple[str, int], TileColumns] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, int]) -> TileColumns | None:
        with self._lock:
            found = self._tiles.get(key)
            if found is not None:
                self._tiles.move_to_end(key)
            return found

    def clear(self) -> None:
        with self._lock:
            self._tiles.clear()
            self._bytes = 0

    def put(self, key: tuple[str, int], columns: TileColumns) -> None:
        with self._lock:
            if key in self._tiles:
                return
            self._tiles[key] = columns
            self._bytes += columns[0].nbytes + columns[1].nbytes
            while self._bytes > self._bytes_max:
                _, dropped = self._tiles.popitem(last=False)
                self._bytes -= dropped[0].nbytes + dropped[1].nbytes


class BlockReader:
    """Selections from named blocks of a folder, joined with the head's part. Safe for threads.

    folder: the data folder of the store (its blocks lie in `blocks/`).
    """

    def __init__(self, folder: Path, *, disk: Disk | None = None, cache_bytes_max: int = 64 << 20) -> None:
        self._folder = folder / "blocks"
        self._disk = OsDisk() if disk is None else disk
        self._index = SeriesIndex()  # Whoever selects takes it together with the blocks: another may take its place.
        self._head_count_max = 0  # The most series that a head had since the index was made.
        self._open: OrderedDict[str, OpenBlock | None] = OrderedDict()
        self._cache = TileCache(cache_bytes_max)
        self._lock = threading.Lock()
        self.damage_count = 0  # Damaged blocks and tiles met so far; what they held is missing from answers.

    def select(
        self,
        names: Iterable[str],
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        head: HeadPart | None = None,
        grain: Grain | None = None,
        tombstones: Sequence[Tombstone] = (),
        *,
        bounds: Bounds | None = None,
    ) -> Selection:
        """The samples of the named blocks and of the head's part; see tsdb.interface.SeriesSource.select.

        tombstones: those that were live when the blocks were named.
        Raises: BlockGone; RefusedQuery, if a regex is wrong; what the bounds raise.
        """
        head = HeadPart.empty() if head is None else head
        index, blocks, head_ids = self._opened(names, start_ms, end_ms, head.canonical)
        ids = index.match(matchers)
        mask = Mask(tombstones, index, matchers)
        parts = self._parts(blocks, ids, (start_ms, end_ms), mask, int(head.offsets[-1]), bounds)
        if head_ids.size:
            place = np.searchsorted(ids, head_ids).astype(np.int64)
            parts.append(Rows(place, head.offsets, head.timestamp_ms, head.value))
        return _selection(index, ids, parts)

    def series(
        self,
        names: Iterable[str],
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        head_canonical: Sequence[bytes] = (),
        tombstones: Sequence[Tombstone] = (),
    ) -> list[Labels]:
        """The label sets of blocks that overlap the range, and the head's, in order; no sample is read.

        A series may be among them of which a tombstone covers every sample, when it does not cover the whole block."""
        index, blocks, head_ids = self._opened(names, start_ms, end_ms, head_canonical)
        ids = index.match(matchers)
        mask = Mask(tombstones, index, matchers)
        found = [
            head_ids,
            *(mask.listed(block.file, ids[block.rows_of(ids)[0]], start_ms, end_ms) for block in blocks),
        ]
        return sorted(index.labels_of(np.unique(np.concatenate(found))))

    def label_names(
        self, names: Iterable[str], start_ms: int, end_ms: int, tombstones: Sequence[Tombstone] = ()
    ) -> list[str]:
        """The label names in blocks that overlap the range, in no order."""
        index, blocks, _ = self._opened(names, start_ms, end_ms)
        return index.label_names(_ids_in(blocks, Mask(tombstones, index), start_ms, end_ms))

    def label_values(
        self, name: str, names: Iterable[str], start_ms: int, end_ms: int, tombstones: Sequence[Tombstone] = ()
    ) -> list[str]:
        """The values of a label in blocks that overlap the range, in no order."""
        index, blocks, _ = self._opened(names, start_ms, end_ms)
        return index.label_values(name, _ids_in(blocks, Mask(tombstones, index), start_ms, end_ms))

    def _parts(
        self,
        blocks: Sequence[OpenBlock],
        ids: Int32s,
        range_ms: tuple[int, int],
        mask: Mask,
        head_count: int,
        bounds: Bounds | None,
    ) -> list[Rows]:
        """What each block has in the range and no tombstone covers, in pieces of a bounded size.

        Raises: what the bounds raise: told first what the blocks that lie wholly in the range will give, for the
        lengths of their rows are known, then what was found in the others.
        """
        start_ms, end_ms = range_ms
        wanted = [(block, *block.rows_of(ids)) for block in blocks]
        count = head_count
        for block, _, rows in wanted:
            if block.file.summary.min_ms >= start_ms and block.file.summary.max_ms <= end_ms:
                count += int((block.row_offsets[rows + 1] - block.row_offsets[rows]).sum())
        if bounds is not None:
            bounds.found(count)
        parts = []
        for block, place, rows in wanted:
            is_inside = block.file.summary.min_ms >= start_ms and block.file.summary.max_ms <= end_ms
            for piece in _pieces(block.row_offsets, rows):
                if bounds is not None:
                    bounds.check()
                part = self._read(block, place[piece], rows[piece]).clipped(start_ms, end_ms)
                if bounds is not None and not is_inside:
                    count += int(part.timestamp_ms.size)
                    bounds.found(count)
                parts.append(mask.left(block.file.name, ids, part))
        return parts

    def _read(self, block: OpenBlock, place: Int64s, rows: Int64s) -> Rows:
        if not rows.size:
            return Rows.empty()
        is_cached = rows.size <= _CACHED_TILES_PER_SELECTION_MAX
        found = read_rows(
            block.row_offsets, block.tiles, rows, lambda number: self._tile(block, number, is_cached=is_cached)
        )
        return found._replace(row=place[found.row])

    def _tile(self, block: OpenBlock, number: int, *, is_cached: bool) -> TileColumns | None:
        key = (block.file.name, number)
        if (found := self._cache.get(key)) is not None:
            return found
        try:
            columns = block.file.read_tile(number, block.tiles[number])
        except CorruptData as error:
            self._note_damage(error)
            return None
        if is_cached:
            self._cache.put(key, columns)
        return columns

    def _opened(
        self, names: Iterable[str], start_ms: int, end_ms: int, head_canonical: Sequence[bytes] = ()
    ) -> tuple[SeriesIndex, list[OpenBlock], Int32s]:
        """The index, the blocks whose samples overlap the range, and the ids of the head's series."""
        wanted = []
        for text in names:
            name = BlockName.parse(text)
            if name is not None and name.is_raw and name.start_ms <= end_ms and name.end_ms > start_ms:
                wanted.append(text)
        with self._lock:
            self._begin_anew_if_due()
            index = self._index
            opened = [self._open_block(name) for name in wanted]
            head_ids = index.add(head_canonical)
            self._head_count_max = max(self._head_count_max, len(head_canonical))
        blocks = [
            block
            for block in opened
            if block is not None and block.file.summary.min_ms <= end_ms and block.file.summary.max_ms >= start_ms
        ]
        return index, blocks, head_ids

    def _begin_anew_if_due(self) -> None:
        """Names come and go for as long as the process lives: give back the memory of those that are gone."""
        present_count_max = self._open_rows_count() + self._head_count_max
        if len(self._index) > 2 * present_count_max + _GONE_SERIES_MAX:
            self._index = SeriesIndex()
            self._open.clear()
            self._head_count_max = 0

    def _open_rows_count(self) -> int:
        return sum(block.ids.size for block in self._open.values() if block is not None)

    def _open_block(self, name: str) -> OpenBlock | None:
        if name in self._open:
            self._open.move_to_end(name)
            return self._open[name]
        try:
            data = self._disk.map(self._folder / name)
        except FileNotFoundError as error:
            raise BlockGone(f"block {name} is no longer there; take a new snapshot") from error
        try:
            block = OpenBlock(BlockFile(data, name), self._index)
        except CorruptData as error:
            self._note_damage(error)
            block = None
        self._open[name] = block
        self._forget_removed()
        return block

    def _forget_removed(self) -> None:
        """A new block often takes the place of others: give back the mappings of files that are gone."""
        there = set(self._disk.names(self._folder))
        for name in [name for name in self._open if name not in there]:
            del self._open[name]
        row_count = self._open_rows_count()
        while row_count > _OPEN_ROWS_MAX and len(self._open) > 1:
            _, dropped = self._open.popitem(last=False)
            row_count -= dropped.ids.size if dropped is not None else 0

    def _note_damage(self, error: CorruptData) -> None:
        self.damage_count += 1
        log.error("damaged, left out of the answer: %s", error)


def _pieces(row_offsets: Int64s, rows: Int64s) -> list[slice]:
    """Runs of rows with at most _PIECE_SAMPLES samples each, but one row at least."""
    ends = np.cumsum(row_offsets[rows + 1] - row_offsets[rows])
    if not rows.size or int(ends[-1]) <= _PIECE_SAMPLES:
        return [slice(0, rows.size)]
    cuts = np.flatnonzero(np.diff(ends // _PIECE_SAMPLES, prepend=0)).tolist()
    return [slice(start, end) for start, end in pairwise([0, *cuts, rows.size]) if end > start]


def _ids_in(blocks: Sequence[OpenBlock], mask: Mask, start_ms: int, end_ms: int) -> Int32s:
    if not blocks:
        return np.empty(0, np.int32)
    return np.unique(np.concatenate([mask.listed(block.file, block.ids, start_ms, end_ms) for block in blocks]))


def _selection(index: SeriesIndex, ids: Int32s, parts: list[Rows]) -> Selection:
    is_present = np.zeros(ids.size, np.bool_)
    for part in parts:
        is_present[part.row] = True
    present = np.flatnonzero(is_present)
    if not present.size:
        return Selection.empty()
    labels = index.labels_of(ids[present])
    order = sorted(range(len(labels)), key=labels.__getitem__)
    row_of = np.zeros(ids.size, np.int64)
    row_of[present[order]] = np.arange(len(order))
    rows = merged([part._replace(row=row_of[part.row]) for part in parts], len(order))
    return Selection(
        labels=[labels[at] for at in order], offsets=rows.offsets, timestamp_ms=rows.timestamp_ms, value=rows.value
    )

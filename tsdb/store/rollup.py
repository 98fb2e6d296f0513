"""Writing rollups: what stands for the samples of a window when they leave, and joining it into longer windows.

A set of rollups is written beside the samples that it stands for, and counts as soon as all of it is durable; whoever
finds a part of one, after a crash, removes it and keeps the samples. Layout and rules: docs/format/rollup.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb.errors import CorruptData
from tsdb.interface import Aggregate
from tsdb.sample import Float64s, Int32s, Int64s
from tsdb.store.block.file import BlockFile, read_rows
from tsdb.store.block.layout import HOUR_MS, BlockEntry, BlockName
from tsdb.store.block.writer import BlockWriter
from tsdb.store.buckets import Buckets, as_read, as_written, bucketed, coarser, combined, kept, last_numbers
from tsdb.store.columns import Rows, merged
from tsdb.store.flush import BlockFolder, block_order
from tsdb.store.index import SeriesIndex
from tsdb.store.open_block import OpenBlock
from tsdb.store.tiles import TileColumns
from tsdb.store.tombstones import Mask as Hidden
from tsdb.store.tombstones import Tombstone

log = logging.getLogger(__name__)

Mask = npt.NDArray[np.bool_]

# The first sample of a window is compared with the last one of the series in this time before it.
LOOK_BACK_MS = 128 * HOUR_MS
_NEVER_MS = np.int64(-(1 << 62))
# Samples of one piece of rows: as in a flush, about 100 MiB at the peak.
_PIECE_SAMPLE_COUNT = 1 << 21


@dataclass(frozen=True, slots=True)
class Rolling:
    """Samples that leave: the blocks of one window, and which of their series go.

    tiers: by resolution in ms, finest first, which of the series (by id) are rolled up to it.
    bytes_max: what all rollups together may take; the finest are left out until the others fit. None: what they take.
    """

    start_ms: int
    window_ms: int
    entries: tuple[BlockEntry, ...]
    is_leaving: Mask
    tiers: Mapping[int, Mask]
    bytes_max: int | None = None


class BlockSet:
    """Open blocks whose series share one index, without what tombstones hide of them.

    A damaged tile, or a block whose tables are damaged, is left out.
    """

    def __init__(
        self,
        folder: BlockFolder,
        index: SeriesIndex,
        entries: Sequence[BlockEntry],
        tombstones: Sequence[Tombstone] = (),
    ) -> None:
        self.index = index
        self._hidden = Hidden(tombstones, index)
        self.damage_count = 0
        self.blocks: list[tuple[BlockEntry, OpenBlock]] = []
        for entry in entries:
            try:
                file = BlockFile(folder.disk.open(folder.path / str(entry.name)), str(entry.name))
                self.blocks.append((entry, OpenBlock(file, index)))
            except (CorruptData, FileNotFoundError) as error:
                self._note(error)

    def rows(self, block: OpenBlock, ids: Int32s) -> Rows:
        """The samples of some series, a row's number being the place of its series in ids; buckets by their ends."""
        place, rows = block.rows_of(ids)
        if not rows.size:
            return Rows.empty()
        found = read_rows(block.row_offsets, block.tiles, rows, lambda number: self._tile(block, number))
        found = self._hidden.left(block.file.name, ids, found._replace(row=place[found.row]))
        name = BlockName.parse(block.file.name)
        return found if name is None or name.is_raw else as_read(found, name.tier_ms)

    def taken(self, ids: Int32s) -> list[Rows]:
        return [self.rows(block, ids) for _, block in self.blocks]

    def _tile(self, block: OpenBlock, number: int) -> TileColumns | None:
        try:
            return block.file.read_tile(number, block.tiles[number])
        except CorruptData as error:
            self._note(error)
            return None

    def _note(self, error: Exception) -> None:
        self.damage_count += 1
        log.error("damaged, left out of a rollup: %s", error)


class ColumnWriters:
    """The blocks of one set, written side by side; all of them or none."""

    def __init__(self, folder: BlockFolder, index: SeriesIndex, ids: Int32s, start_ms: int, window_ms: int) -> None:
        self._folder = folder
        self._index = index
        self._ids = ids
        self._start_ms, self._window_ms = start_ms, window_ms
        self._writers: list[BlockWriter] = []
        self._done: list[BlockEntry] = []

    def open(self, tier_ms: int = 0, aggregate: Aggregate | None = None) -> BlockWriter:
        name = BlockName(self._start_ms, self._window_ms, self._folder.next_number(), tier_ms, aggregate)
        index, ids = self._index, self._ids
        folder = self._folder
        writer = BlockWriter(folder.disk, folder.path, name, index.keys_of(ids), index.shape_rank(ids), folder.breathe)
        self._writers.append(writer)
        return writer

    def finish(self, sources: Sequence[str]) -> list[BlockEntry]:
        """Make the blocks durable in the order in which they were opened. A raw block replaces the sources."""
        names = [str(writer.name) for writer in self._writers if not writer.is_empty]
        for writer in self._writers:
            is_raw = writer.name.is_raw
            entry = writer.finish(
                self.canonical, sources if is_raw else (), () if is_raw else sources, () if is_raw else names
            )
            self._done += [entry] if entry is not None else []
        return self._done

    def leave_out_finest(self, bytes_max: int) -> None:
        """Give up the finest tiers until the others are expected to fit."""
        while sum(writer.expected_bytes for writer in self._writers if not writer.name.is_raw) > bytes_max:
            finest_ms = min(writer.name.tier_ms for writer in self._writers if not writer.name.is_raw)
            for writer in self.of_tier(finest_ms):
                self._writers.remove(writer)
                writer.abandon()

    def of_tier(self, tier_ms: int) -> list[BlockWriter]:
        """The writers of a tier that is not given up."""
        return [writer for writer in self._writers if writer.name.tier_ms == tier_ms]

    def abandon(self) -> None:
        for writer in self._writers:
            writer.abandon()

    def canonical(self, candidates: Int64s) -> list[bytes]:
        return self._index.canonical_of(self._ids[candidates])


def roll(folder: BlockFolder, rolling: Rolling, opened: BlockSet, lasts: BlockSet) -> list[BlockEntry] | None:
    """Write the rollups of the series that leave, and a block with the others; durable when it returns.

    None, and nothing written, if others stay and a tile is damaged: a repair is to find all of its bytes.

    opened: rolling.entries; ids go by its index. lasts: by the same index, the blocks with the last samples of the
    coarsest tiers from LOOK_BACK_MS before the window on.
    """
    index, count = opened.index, rolling.is_leaving.size
    sources = [str(entry.name) for entry in rolling.entries]
    sample_count = sum(entry.summary.sample_count for entry in rolling.entries)
    ids = block_order(index, np.arange(count, dtype=np.int32))
    history = _History(lasts, rolling.start_ms)
    writers = ColumnWriters(folder, index, ids, rolling.start_ms, rolling.window_ms)
    try:
        for tier_ms in rolling.tiers:
            for aggregate in Aggregate:
                writers.open(tier_ms, aggregate)
        rest = None if rolling.is_leaving.all() else writers.open()
        piece_count = max(1, _PIECE_SAMPLE_COUNT * ids.size // max(1, sample_count))
        for start in range(0, ids.size, piece_count):
            piece = ids[start : start + piece_count]
            rows = merged(opened.taken(piece), piece.size)
            is_leaving = rolling.is_leaving[piece[rows.row]]
            if rest is not None:
                staying = kept(rows, np.repeat(~is_leaving, rows.lengths))
                rest.add(staying._replace(row=staying.row + start))
            leaving = kept(rows, np.repeat(is_leaving, rows.lengths))
            before, counted_until_ms = history.before(piece[leaving.row])
            found = _tiers(leaving, piece, rolling.tiers, before, counted_until_ms)
            for tier_ms, buckets in found.items():
                for writer in writers.of_tier(tier_ms):
                    assert writer.name.aggregate is not None
                    part = as_written(buckets.rows(writer.name.aggregate), writer.name.end_ms)
                    writer.add(part._replace(row=part.row + start))
            if rolling.bytes_max is not None:
                writers.leave_out_finest(rolling.bytes_max)
        if rest is not None and opened.damage_count:
            writers.abandon()
            return None
        return writers.finish(sources)
    except BaseException:
        writers.abandon()
        raise


def _tiers(
    rows: Rows, piece: Int32s, tiers: Mapping[int, Mask], before: Float64s, counted_until_ms: Int64s
) -> dict[int, Buckets]:
    """The buckets of each tier; a tier whose series the finer one has is made from it.

    before, counted_until_ms: by place in rows.row; see _History.before.
    """
    by_row = np.full(piece.size, np.nan)
    by_row[rows.row] = before
    counted_by_row = np.full(piece.size, _NEVER_MS)
    counted_by_row[rows.row] = counted_until_ms
    found: dict[int, Buckets] = {}
    finer: tuple[int, Buckets] | None = None
    for tier_ms, has_tier in tiers.items():
        wanted = has_tier[piece]
        if finer is not None and tier_ms % finer[0] == 0 and not (wanted & ~tiers[finer[0]][piece]).any():
            buckets = coarser(finer[1].of_rows(wanted[finer[1].row]), tier_ms)
        else:
            some = kept(rows, np.repeat(wanted[rows.row], rows.lengths))
            buckets = bucketed(some, tier_ms, by_row, counted_by_row)
        found[tier_ms] = buckets
        finer = tier_ms, buckets
    return found


class _History:
    """What rollups tell of the series of a window that is rolled up: their last number before it.

    lasts: blocks of Aggregate.LAST.
    """

    def __init__(self, lasts: BlockSet, start_ms: int) -> None:
        self._opened = lasts
        self._newest_first = sorted(
            lasts.blocks, key=lambda pair: (pair[0].name.end_ms, pair[0].name.number), reverse=True
        )
        self._start_ms = start_ms

    def before(self, ids: Int32s) -> tuple[Float64s, Int64s]:
        """By series: the last number that was rolled up, before the window or in it, NaN if none is known; and up to
        when rollups in the window, or later ones, have counted the increase."""
        found = np.full(ids.size, np.nan)
        found_at_ms = np.full(ids.size, -np.inf)
        counted_until_ms = np.full(ids.size, _NEVER_MS)
        for entry, block in self._newest_first:
            is_before = entry.name.end_ms <= self._start_ms
            wanted = np.flatnonzero(np.isnan(found)) if is_before else np.arange(ids.size)
            if not wanted.size:
                continue
            rows = self._opened.rows(block, ids[wanted])
            if not is_before and rows.row.size:
                at = wanted[rows.row]
                newest_ms = np.minimum(rows.timestamp_ms[rows.offsets[1:] - 1], entry.name.end_ms)
                is_inside = newest_ms > self._start_ms  # Else the bucket that ends where the window begins.
                counted_until_ms[at[is_inside]] = np.maximum(counted_until_ms[at], newest_ms)[is_inside]
            rows = kept(rows, rows.timestamp_ms > self._start_ms - LOOK_BACK_MS)
            at = wanted[rows.row]
            last_ms = last_numbers(rows._replace(value=np.where(np.isnan(rows.value), np.nan, rows.timestamp_ms)))
            is_newer = last_ms > found_at_ms[at]
            found[at[is_newer]], found_at_ms[at[is_newer]] = last_numbers(rows)[is_newer], last_ms[is_newer]
        return found, counted_until_ms


def join_rollups(
    folder: BlockFolder,
    start_ms: int,
    window_ms: int,
    entries: Sequence[BlockEntry],
    tombstones: Sequence[Tombstone] = (),
    is_staying: Callable[[SeriesIndex], Mask] | None = None,
) -> list[BlockEntry] | None:
    """Write one block for some of one tier and aggregate, without what is deleted; none, if that is all of it.

    Of a bucket that several have a part of, the later window has the later samples; of equal windows, the later block.
    is_staying: of which series of an index, by id; None: of all. None is returned if one of the blocks is damaged.
    """
    tier_ms, aggregate = entries[0].name.tier_ms, entries[0].name.aggregate
    assert aggregate is not None
    index = SeriesIndex()
    in_order = sorted(entries, key=lambda entry: (entry.name.start_ms, entry.name.number))
    opened = BlockSet(folder, index, in_order, tombstones)
    if opened.damage_count:
        return None
    ids = np.arange(len(index), dtype=np.int32)
    ids = block_order(index, ids if is_staying is None else ids[is_staying(index)])
    writers = ColumnWriters(folder, index, ids, start_ms, window_ms)
    sample_count = sum(entry.summary.sample_count for entry in entries)
    try:
        writer = writers.open(tier_ms, aggregate)
        piece_count = max(1, _PIECE_SAMPLE_COUNT * ids.size // max(1, sample_count))
        for start in range(0, ids.size, piece_count):
            piece = ids[start : start + piece_count]
            rows = as_written(combined(opened.taken(piece), piece.size, aggregate), writer.name.end_ms)
            writer.add(rows._replace(row=rows.row + start))
        if opened.damage_count:  # What is whole in them stays readable where it is.
            writers.abandon()
            return None
        joined = writer.finish(writers.canonical, [str(entry.name) for entry in entries])
    except BaseException:
        writers.abandon()
        raise
    return [joined] if joined is not None else []

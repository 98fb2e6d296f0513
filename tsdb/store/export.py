"""Reading much of a store in bounded memory: pieces of so many samples, from blocks that are all opened at the start.

What is replaced or removed meanwhile stays readable to who has it open, so the export is of one moment.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from tsdb.errors import CorruptData
from tsdb.sample import METRIC_NAME, SEPARATOR, Int32s, Int64s, Matcher
from tsdb.store.block.file import BlockFile
from tsdb.store.block.layout import BlockName
from tsdb.store.columns import Rows
from tsdb.store.disk import Disk
from tsdb.store.flush import block_order
from tsdb.store.index import SeriesIndex
from tsdb.store.open_block import OpenBlock
from tsdb.store.pieces import joined
from tsdb.store.reader import BlockGone
from tsdb.store.tiles import DamagedTiles, read_part
from tsdb.store.tombstones import Mask, Tombstone
from tsdb.store.windows import WINDOWS_MS

log = logging.getLogger(__name__)

# Of a piece: × (8 + 8) B of columns, and as text some 100 B each while it is written: 64 MB.
PIECE_SAMPLES_MAX = 1 << 19
_METRIC = METRIC_NAME.encode()


class Export:
    """The samples of the series that match any selector, both ends included, without what tombstones hide.

    Raises: BlockGone, if a block is no longer there; RefusedQuery, if a regex is wrong.
    """

    def __init__(
        self,
        disk: Disk,
        folder: Path,
        names: Sequence[str],
        tombstones: Sequence[Tombstone],
        selectors: Sequence[Sequence[Matcher]],
        start_ms: int,
        end_ms: int,
    ) -> None:
        self._tombstones = tombstones
        self._selectors = selectors
        self._start_ms, self._end_ms = start_ms, end_ms
        self.damage_count = 0  # Damaged blocks and tiles: what they held is missing.
        self._files: list[tuple[BlockName, BlockFile]] = []
        for text in names:
            name = BlockName.parse(text)
            if name is None or not name.is_raw:
                continue
            try:
                self._files.append((name, BlockFile(disk.open(folder / "blocks" / text), text)))
            except FileNotFoundError as error:
                raise BlockGone(f"block {text} is no longer there; begin again") from error
            except CorruptData as error:
                self._note(error)

    def pieces(self, *, is_by_metric: bool) -> Iterator[tuple[list[bytes], Rows]]:
        """Canonical label bytes with their samples; row i of the samples is of series i.

        is_by_metric: all of one metric come together, series after series, as OpenMetrics wants it; then the tables
        of all blocks are held at once, some 60 B for each series of each. Else by stretches of time, as long as the
        longest block.
        """
        if is_by_metric:
            yield from self._of([file for _, file in self._files])
            return
        spans: defaultdict[int, list[BlockFile]] = defaultdict(list)
        for name, file in self._files:
            spans[name.start_ms // WINDOWS_MS[-1]].append(file)
        for _, files in sorted(spans.items()):
            yield from self._of(files)

    def _of(self, files: Sequence[BlockFile]) -> Iterator[tuple[list[bytes], Rows]]:
        index = SeriesIndex()
        blocks = []
        for file in files:
            if file.summary.min_ms <= self._end_ms and file.summary.max_ms >= self._start_ms:
                try:
                    blocks.append(OpenBlock(file, index))
                except CorruptData as error:
                    self._note(error)
        matched = [index.match(matchers) for matchers in self._selectors]
        ids = _metrics_together(index, block_order(index, np.unique(np.concatenate(matched)).astype(np.int32)))
        mask = Mask(self._tombstones, index)
        for some, start_ms, end_ms in self._cuts(blocks, ids):
            rows = self._read(blocks, mask, some, start_ms, end_ms)
            if rows.row.size:
                yield index.canonical_of(some[rows.row]), rows

    def _cuts(self, blocks: Sequence[OpenBlock], ids: Int32s) -> Iterator[tuple[Int32s, int, int]]:
        """Some series and a stretch of time each, with about PIECE_SAMPLES_MAX samples at most."""
        counts = np.zeros(ids.size, np.int64)
        for block in blocks:
            place, rows = block.rows_of(ids)
            counts[place] += block.row_offsets[rows + 1] - block.row_offsets[rows]
        before = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts)))
        at = 0
        while at < ids.size:
            end = max(at + 1, int(np.searchsorted(before, before[at] + PIECE_SAMPLES_MAX, side="right")) - 1)
            for start_ms, end_ms in self._stretches(blocks, int(before[end] - before[at])):
                yield ids[at:end], start_ms, end_ms
            at = end

    def _stretches(self, blocks: Sequence[OpenBlock], count: int) -> list[tuple[int, int]]:
        """The range of time; cut evenly, if one series alone has too many samples for a piece."""
        first_ms = max(self._start_ms, min((block.file.summary.min_ms for block in blocks), default=0))
        last_ms = min(self._end_ms, max((block.file.summary.max_ms for block in blocks), default=0))
        part_count = -(-count // PIECE_SAMPLES_MAX)
        edges = [first_ms + (last_ms + 1 - first_ms) * number // part_count for number in range(part_count)]
        return [(start, end - 1) for start, end in pairwise([*edges, last_ms + 1]) if end > start]

    def _read(self, blocks: Sequence[OpenBlock], mask: Mask, ids: Int32s, start_ms: int, end_ms: int) -> Rows:
        while True:
            parts = []
            for block in blocks:
                place, rows = block.rows_of(ids)
                starts, ends = block.row_offsets[rows], block.row_offsets[rows + 1]
                part = read_part(block.table, place, starts, ends, start_ms, end_ms, None, self._note)
                if part is not None:
                    parts.append(mask.cut(block.file.name, ids, part))
            try:
                return joined(parts, ids.size, _go_on)
            except DamagedTiles:  # They are known now, and left out.
                continue

    def _note(self, error: CorruptData) -> None:
        self.damage_count += 1
        log.error("damaged, left out of the export: %s", error)


def _metrics_together(index: SeriesIndex, ids: Int32s) -> Int32s:
    """Ids in their order, but each metric where its first series stands."""
    first: dict[bytes, int] = {}
    places: Int64s = np.empty(ids.size, np.int64)
    for place, canonical in enumerate(index.canonical_of(ids)):
        places[place] = first.setdefault(_metric_of(canonical), place)
    return ids[np.argsort(places, kind="stable")]


def _metric_of(canonical: bytes) -> bytes:
    parts = canonical.split(SEPARATOR)
    return dict(zip(parts[::2], parts[1::2], strict=False)).get(_METRIC, b"")


def _go_on() -> None:
    """Nobody takes an export back."""

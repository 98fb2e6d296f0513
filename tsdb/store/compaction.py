"""Joining the blocks of one window into one: the plan is pure, the run is repeatable and crash-safe.

The new block names those it replaces; until they are removed, a reader that sees both sees the same samples twice,
which the duplicate rule makes one.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from tsdb.errors import CorruptData
from tsdb.sample import Int32s
from tsdb.store.block.file import BlockFile, read_rows
from tsdb.store.block.layout import BlockEntry
from tsdb.store.columns import Rows
from tsdb.store.flush import BlockFolder, write_block
from tsdb.store.index import SeriesIndex
from tsdb.store.reader import OpenBlock, TileColumns

log = logging.getLogger(__name__)

# An open window may gather so many blocks before they are joined; a closed one is joined as soon as it has two.
_BLOCKS_PER_OPEN_WINDOW_MAX = 8


def plan(entries: Sequence[BlockEntry], *, closed_before_ms: int) -> list[list[BlockEntry]]:
    """The groups of blocks to join, oldest window first; each group covers one window.

    closed_before_ms: a window that ends at or before this time is thought to get few samples more.
    """
    by_window: defaultdict[tuple[int, int], list[BlockEntry]] = defaultdict(list)
    for entry in entries:
        by_window[entry.name.start_ms, entry.name.window_ms].append(entry)
    groups = []
    for (start_ms, window_ms), group in sorted(by_window.items()):
        is_closed = start_ms + window_ms <= closed_before_ms
        if len(group) > (1 if is_closed else _BLOCKS_PER_OPEN_WINDOW_MAX):
            groups.append(group)
    return groups


def join(folder: BlockFolder, group: Sequence[BlockEntry]) -> BlockEntry | None:
    """Write one block with the samples of a group; None, if one of its tables or tiles is damaged.

    A damaged block is left as it is: what is whole in it stays readable, and a repair finds all of its bytes.
    """
    index = SeriesIndex()
    try:
        blocks = [
            OpenBlock(BlockFile(folder.disk.map(folder.path / str(entry.name)), str(entry.name)), index)
            for entry in group
        ]
        return write_block(
            folder,
            group[0].name.start_ms,
            group[0].name.window_ms,
            index,
            np.arange(len(index), dtype=np.int32),
            sum(entry.summary.sample_count for entry in group),
            lambda ids: [_taken(block, ids) for block in blocks],
            replaces=[str(entry.name) for entry in group],
        )
    except CorruptData as error:
        log.error("%d blocks of one window are not joined: %s", len(group), error)
        return None


def _taken(block: OpenBlock, ids: Int32s) -> Rows:
    place, rows = block.rows_of(ids)
    if not rows.size:
        return Rows.empty()

    def read_tile(number: int) -> TileColumns:
        return block.file.read_tile(number, block.tiles[number])

    found = read_rows(block.row_offsets, block.tiles, rows, read_tile)
    return found._replace(row=place[found.row])

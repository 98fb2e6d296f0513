"""Joining the blocks of a window: the plan is pure, the run is repeatable and crash-safe.

The new block names those it replaces; until they are removed, a reader that sees both sees the same samples twice,
which the duplicate rule makes one.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tsdb.errors import CorruptData
from tsdb.sample import Int32s
from tsdb.store.block.file import BlockFile, read_rows
from tsdb.store.block.layout import BlockEntry
from tsdb.store.columns import Rows
from tsdb.store.flush import BlockFolder, write_block
from tsdb.store.index import SeriesIndex
from tsdb.store.open_block import OpenBlock
from tsdb.store.tiles import TileColumns
from tsdb.store.tombstones import Mask, Tombstone
from tsdb.store.windows import WINDOWS_MS

log = logging.getLogger(__name__)

# An open window may gather so many blocks before they are joined; a closed one is joined as soon as it has two.
_BLOCKS_PER_OPEN_WINDOW_MAX = 8
# The most samples joined into one block: at 20 M/s half a minute of work, at a byte a sample half a GiB.
_SAMPLES_PER_BLOCK_MAX = 1 << 29
# Late samples are joined into a long block when they are an eighth of it; until then they stay blocks of their own.
_LATE_PART = 8
# A head that fills again within this time: 25 M samples in 30 s are 0.9 M a second, a quarter of what two cores take.
FILLS_FAST_S = 30.0
# A query may open them all, and joining the 25 M samples of each takes seconds.
WAITING_BLOCKS_MAX = 64


@dataclass(frozen=True, slots=True)
class Group:
    """Blocks to be joined into one block of a window, in which they all lie."""

    start_ms: int
    window_ms: int
    entries: tuple[BlockEntry, ...]


class Pressure:
    """Whether samples come so fast that joins wait: the cores are then for the intake and for what a flush writes.

    What waits is bounded: with more than WAITING_BLOCKS_MAX blocks in the store joins go on, whatever comes in.
    """

    def __init__(self) -> None:
        self._filled_at_s = -math.inf
        self._is_high = False

    def filled(self, now_s: float) -> None:
        """The head is full."""
        self._is_high = now_s - self._filled_at_s < FILLS_FAST_S
        self._filled_at_s = now_s

    def allows_joins(self, now_s: float, block_count: int) -> bool:
        is_over = now_s - self._filled_at_s >= FILLS_FAST_S
        return not self._is_high or is_over or block_count > WAITING_BLOCKS_MAX


def plan(
    entries: Sequence[BlockEntry],
    *,
    closed_before_ms: int,
    longest_ms: int = WINDOWS_MS[-1],
    is_thorough: bool = False,
) -> list[Group]:
    """The groups of blocks to join: the longest closed windows first, among equals the oldest.

    closed_before_ms: a window that ends at or before this time is thought to get few samples more.
    longest_ms: the longest window to join, of WINDOWS_MS.
    is_thorough: also join the blocks of an open window, and late samples however few.
    """
    groups: list[Group] = []
    taken: set[BlockEntry] = set()
    for window_ms in reversed([window_ms for window_ms in WINDOWS_MS if window_ms <= longest_ms]):
        by_start: defaultdict[int, list[BlockEntry]] = defaultdict(list)
        for entry in entries:
            if entry.name.window_ms <= window_ms and entry not in taken:
                by_start[entry.name.start_ms // window_ms * window_ms].append(entry)
        for start_ms, members in sorted(by_start.items()):
            is_closed = start_ms + window_ms <= closed_before_ms
            if _is_due(members, window_ms, is_closed=is_closed, is_thorough=is_thorough):
                groups.append(Group(start_ms, window_ms, tuple(members)))
                taken.update(members)
    return groups


def _is_due(members: Sequence[BlockEntry], window_ms: int, *, is_closed: bool, is_thorough: bool) -> bool:
    if len(members) < 2:
        return False
    if not is_closed and window_ms == WINDOWS_MS[0]:
        return is_thorough or len(members) > _BLOCKS_PER_OPEN_WINDOW_MAX
    counts = [entry.summary.sample_count for entry in members]
    if not is_closed or (window_ms > WINDOWS_MS[0] and sum(counts) > _SAMPLES_PER_BLOCK_MAX):
        return False
    late_count = sum(counts) - max(counts)
    is_late = max(members, key=lambda entry: entry.summary.sample_count).name.window_ms == window_ms > WINDOWS_MS[0]
    return is_thorough or not is_late or late_count * _LATE_PART >= max(counts)


def join(folder: BlockFolder, group: Group, tombstones: Sequence[Tombstone] = ()) -> list[BlockEntry] | None:
    """Write one block with the samples of a group that are not deleted; no block, if that is none of them.

    None, if one of the tables or tiles is damaged, or a block is not there. A damaged block is left as it is: what is
    whole in it stays readable, and a repair finds all of its bytes.
    """
    index = SeriesIndex()
    try:
        blocks = [
            OpenBlock(BlockFile(folder.disk.open(folder.path / str(entry.name)), str(entry.name)), index)
            for entry in group.entries
        ]
        mask = Mask(tombstones, index)
        joined = write_block(
            folder,
            group.start_ms,
            group.window_ms,
            index,
            np.arange(len(index), dtype=np.int32),
            sum(entry.summary.sample_count for entry in group.entries),
            lambda ids: [mask.left(block.file.name, ids, _taken(block, ids)) for block in blocks],
            replaces=[str(entry.name) for entry in group.entries],
        )
        return [joined] if joined is not None else []
    except (CorruptData, FileNotFoundError) as error:
        log.error("%d blocks of one window are not joined: %s", len(group.entries), error)
        return None


def _taken(block: OpenBlock, ids: Int32s) -> Rows:
    place, rows = block.rows_of(ids)
    if not rows.size:
        return Rows.empty()

    def read_tile(number: int) -> TileColumns:
        return block.file.read_tile(number, block.tiles[number])

    found = read_rows(block.row_offsets, block.tiles, rows, read_tile)
    return found._replace(row=place[found.row])

"""Getting rid of what tombstones hide: which blocks to rewrite, when, and when a tombstone has done its work.

Rewriting is a join of one block (tsdb/store/compaction.py), so it is as repeatable and crash-safe as that.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tsdb.errors import CorruptData
from tsdb.store.block.file import BlockFile
from tsdb.store.block.layout import BlockEntry, BlockName
from tsdb.store.disk import Disk
from tsdb.store.index import SeriesIndex
from tsdb.store.open_block import OpenBlock
from tsdb.store.tombstones import Mask, Tombstone

log = logging.getLogger(__name__)

# So long after the last delete upkeep begins to rewrite: a row of deletes then costs one rewriting.
ERASE_AFTER_S = 600.0
# After a step upkeep waits so many times its length: rewriting takes a quarter of one thread at the most.
PAUSE_FACTOR = 3.0


class Erasure:
    """What is known of tombstones and blocks in this run of the store. The engine's upkeep lock is held for all of it.

    Nothing of it is written down: after a start the blocks are looked at again.
    """

    def __init__(self, disk: Disk, folder: Path, now_s: float) -> None:
        self._disk = disk
        self._blocks = folder / "blocks"
        self._quarantine = folder / "quarantine"
        self._is_clean: set[tuple[int, str]] = set()  # (tombstone, block): nothing of the block is meant
        self._damaged: set[str] = set()
        self._settled_at: tuple[Sequence[Tombstone], int, int] | None = None
        self._due_s = now_s + ERASE_AFTER_S

    def note_delete(self, now_s: float) -> None:
        self._due_s = now_s + ERASE_AFTER_S

    def note_step(self, start_s: float, now_s: float) -> None:
        """A step of rewriting took from start_s to now_s."""
        self._due_s = now_s + PAUSE_FACTOR * (now_s - start_s)

    def note_damage(self, names: Sequence[BlockName]) -> None:
        """These cannot be rewritten; what is deleted of them stays hidden."""
        self._damaged.update(map(str, names))

    def is_due(self, now_s: float) -> bool:
        return now_s >= self._due_s

    def next_touched(self, entries: Sequence[BlockEntry], tombstones: Sequence[Tombstone]) -> BlockEntry | None:
        """A block of which some sample may be deleted, None if there is no such block that is whole."""
        for entry in entries:
            name = str(entry.name)
            asking = [one for one in tombstones if one.may_speak_of(entry.name) and not self._is_known(one, name)]
            if name in self._damaged or not asking:
                continue
            try:
                touching = self._touching(entry, asking)
            except (CorruptData, FileNotFoundError) as error:
                log.error("deleted samples stay in a damaged block, hidden: %s", error)
                self.note_damage([entry.name])
                continue
            self._is_clean.update((one.number, name) for one in asking if one not in touching)
            if touching:
                return entry
        return None

    def settled(self, tombstones: Sequence[Tombstone], removals_count: int) -> tuple[list[Tombstone], list[Tombstone]]:
        """The tombstones that nothing on disk needs any more, and those that only blocks in the quarantine need.

        removals_count: of files of blocks so far; the folders are looked at when it, or what is known, has changed.
        """
        state = (tombstones, removals_count, len(self._is_clean))
        if not tombstones or state == self._settled_at:
            return [], []
        there, aside = self._disk.names(self._blocks), self._disk.names(self._quarantine)
        rest = [one for one in tombstones if not self._is_needed(one, there)]
        done = [one for one in rest if not self._is_needed(one, aside)]
        gone = {one.number for one in done}
        self._is_clean = {known for known in self._is_clean if known[0] not in gone}
        self._settled_at = (tombstones, removals_count, len(self._is_clean))
        return done, [one for one in rest if one.number not in gone]

    def stuck_count(self, tombstones: Sequence[Tombstone]) -> int:
        """How many wait for blocks that are damaged and so cannot be rewritten."""
        damaged = [name for name in map(BlockName.parse, self._damaged & {*self._disk.names(self._blocks)}) if name]
        return sum(any(one.may_speak_of(name) for name in damaged) for one in tombstones)

    def _is_needed(self, tombstone: Tombstone, files: Sequence[str]) -> bool:
        """Whether it may speak of one of these blocks."""
        return any(
            (name := BlockName.parse(file)) is not None
            and tombstone.may_speak_of(name)
            and not self._is_known(tombstone, file)
            for file in files
        )

    def _is_known(self, tombstone: Tombstone, file: str) -> bool:
        return (tombstone.number, file) in self._is_clean

    def _touching(self, entry: BlockEntry, tombstones: Sequence[Tombstone]) -> list[Tombstone]:
        """Those that mean a row of a block and the times of one of its tiles. Raises: CorruptData."""
        summary = entry.summary
        near = [
            one for one in tombstones if summary.min_ms <= one.end_in(entry.name) and summary.max_ms >= one.start_ms
        ]
        if not near:
            return []
        index = SeriesIndex()
        name = str(entry.name)
        block = OpenBlock(BlockFile(self._disk.open(self._blocks / name), name), index)
        mask = Mask(near, index)
        first_sample = block.tiles["first_sample"].astype(np.int64)
        touching = []
        for one in near:
            _, rows = block.rows_of(mask.ids_meant(one))
            first = np.searchsorted(first_sample, block.row_offsets[rows], side="right") - 1
            last = np.searchsorted(first_sample, block.row_offsets[rows + 1] - 1, side="right") - 1
            is_near = (block.tiles["min_ms"] <= one.end_in(entry.name)) & (block.tiles["max_ms"] >= one.start_ms)
            near_before = np.concatenate((np.zeros(1, np.int64), np.cumsum(is_near, dtype=np.int64)))
            if bool((near_before[last + 1] > near_before[first]).any()):
                touching.append(one)
        return touching

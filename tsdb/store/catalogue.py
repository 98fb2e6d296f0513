"""Which blocks there are. The folder itself is the truth: a block counts once it has its name.

A block that replaces others names them in its summary; whoever finds both, after a crash, removes the replaced ones.
Before that the one that stays is read to its last byte: while there are two copies, damage to one costs nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from tsdb.errors import CorruptData
from tsdb.store.block.audit import checksum_fault
from tsdb.store.block.file import BlockFile
from tsdb.store.block.layout import BlockEntry, BlockName
from tsdb.store.block.writer import TEMPORARY_SUFFIX
from tsdb.store.changes import ChangeLog
from tsdb.store.disk import Disk

log = logging.getLogger(__name__)

# A reader in another process has this long to open the blocks that a snapshot named.
REMOVAL_DELAY_S = 30.0
# Of a file in the quarantine that a repair leaves there.
ASIDE_SUFFIX = ".bad"


class Catalogue:
    """The blocks of a folder. The engine's lock is held for swap() and while `entries` or `rollups` is read.

    entries: the samples as they came; rollups: what stands for those that are gone (docs/format/rollup.md).
    """

    def __init__(self, disk: Disk, folder: Path, quarantine: Path) -> None:
        self._disk = disk
        self._folder = folder
        self._quarantine = quarantine
        self.quarantined_count = 0
        self.changes = ChangeLog()
        self.removals_count = 0  # Of files of blocks that have left their place, since the start.
        self._doomed: list[tuple[float, BlockName, int]] = []  # from when on it may go, its bytes
        self.entries: tuple[BlockEntry, ...] = ()
        self.rollups: tuple[BlockEntry, ...] = ()
        self._highest_number = 0
        self._load()

    def next_number(self) -> int:
        """A number that no block of this folder has had since the start."""
        self._highest_number += 1
        return self._highest_number

    @property
    def highest_number(self) -> int:
        """The highest number given out, or given up by start_above()."""
        return self._highest_number

    def start_above(self, number: int) -> None:
        """Give no block this number or one below, though no block may be left that had it."""
        self._highest_number = max(self._highest_number, number)

    def swap(self, old: Sequence[BlockName], new: Sequence[BlockEntry], now_s: float) -> None:
        """Put new blocks in the place of old ones, whose files stay readable for a while."""
        gone = set(old)
        sizes = {entry.name: entry.size_bytes for entry in (*self.entries, *self.rollups) if entry.name in gone}
        self._keep([*(entry for entry in (*self.entries, *self.rollups) if entry.name not in gone), *new])
        self._doomed += [(now_s + REMOVAL_DELAY_S, name, sizes.get(name, 0)) for name in old]

    def remove_doomed(self, now_s: float) -> None:
        """Remove the files whose time has come."""
        due = [doomed for doomed in self._doomed if doomed[0] <= now_s]
        # One time after another: samples must be gone before a rollup that stood for them may go, see _load().
        for at_s, together in groupby(due, key=itemgetter(0)):
            for _, name, _ in together:
                self._disk.remove(self._folder / str(name))
            self._disk.sync_folder(self._folder)
            self._doomed = [doomed for doomed in self._doomed if doomed[0] != at_s]
            self.removals_count += 1

    def has(self, name: BlockName) -> bool:
        return any(entry.name == name for entry in (self.entries if name.is_raw else self.rollups))

    def set_aside(self, name: BlockName, lock: threading.Lock) -> None:
        """Take a block out, now that it cannot be read, and move it to the quarantine.

        It is not known any more before its name goes, so that no snapshot names a block that is not there.
        """
        self.forget(name, lock)
        try:
            self._set_aside(str(name), str(name))
        except OSError as error:  # The disk takes nothing any more; the next start tries again.
            self.quarantined_count += 1
            log.warning("block %s could not be moved to %s: %s", name, self._quarantine, error)

    def forget(self, name: BlockName, lock: threading.Lock) -> None:
        """Know a block no more; its file stays as it is."""
        with lock:
            self._keep([entry for entry in (*self.entries, *self.rollups) if entry.name != name])
        self.changes.note(name.start_ms)

    @property
    def doomed_bytes(self) -> int:
        """Of the files that are still there for readers alone."""
        return sum(size_bytes for _, _, size_bytes in self._doomed)

    def _keep(self, entries: Iterable[BlockEntry]) -> None:
        in_order = sorted(entries, key=lambda entry: entry.name)
        self.entries = tuple(entry for entry in in_order if entry.name.is_raw)
        self.rollups = tuple(entry for entry in in_order if not entry.name.is_raw)

    def _load(self) -> None:
        found: dict[str, BlockEntry] = {}
        leftover = []
        # A block in the quarantine may come back after a repair, and what it names as replaced has gone.
        for name in map(BlockName.parse, self._disk.names(self._quarantine)):
            self._highest_number = max(self._highest_number, 0 if name is None else name.number)
        for file_name in self._disk.names(self._folder):
            name = BlockName.parse(file_name)
            if file_name.endswith(TEMPORARY_SUFFIX):
                leftover.append(file_name)
            elif name is not None:
                self._highest_number = max(self._highest_number, name.number)
                entry = self._read_entry(name)
                if entry is not None:
                    found[file_name] = entry
        leftover += self._distrust(found)
        rolled, broken_off = _rolled(found)
        replaced = {old for entry in found.values() for old in entry.summary.replaces if old in found}
        # What was rolled up goes first: a rollup that has gone would leave it without its mark.
        for together in (rolled, replaced | broken_off | set(leftover)):
            for file_name in together:
                self._disk.remove(self._folder / file_name)
            if together:
                self._disk.sync_folder(self._folder)
        gone = rolled | replaced | broken_off
        self._keep(entry for name, entry in found.items() if name not in gone)

    def _distrust(self, found: dict[str, BlockEntry]) -> list[str]:
        """Take out damaged blocks when all that they were made of is still there, and what was written with them.

        Returns: the blocks that were written with them, which may go; the damaged ones are set aside.
        """
        superseded: set[str] = set()
        with_them: list[str] = []
        for file_name in sorted(found, key=lambda name: found[name].name.number, reverse=True):
            if file_name not in found or file_name in superseded:
                continue
            sources = _sources(found[file_name])
            there = sources & found.keys()
            fault = checksum_fault(self._disk.open(self._folder / file_name), file_name) if there else None
            if fault is None or there != sources:
                superseded |= there
                continue
            group = [name for name, entry in found.items() if _sources(entry) & sources]
            with_them += [name for name in group if name != file_name]
            for name in group:
                del found[name]
            # Under this name no repair takes it back: nothing is in it that is not in its sources.
            self._set_aside(file_name, file_name + ASIDE_SUFFIX)
            log.error("block set aside in %s, what it was made of counts again: %s", self._quarantine, fault)
        return with_them

    def _set_aside(self, name: str, new_name: str) -> None:
        self.removals_count += 1
        self._disk.rename(self._folder / name, self._quarantine / new_name)
        self._disk.sync_folder(self._quarantine)
        self._disk.sync_folder(self._folder)
        self.quarantined_count += 1

    def _read_entry(self, name: BlockName) -> BlockEntry | None:
        path = self._folder / str(name)
        try:
            file = BlockFile(self._disk.open(path), str(name))
        except CorruptData as error:
            log.error("block set aside in %s: %s", self._quarantine, error)
            self._set_aside(str(name), str(name))
            return None
        return BlockEntry(name, file.summary, file.size_bytes)


def _sources(entry: BlockEntry) -> set[str]:
    return {*entry.summary.replaces, *entry.summary.rolled_from}


def _rolled(found: Mapping[str, BlockEntry]) -> tuple[set[str], set[str]]:
    """The blocks that complete sets of rollups stand for, and the rollups of sets that are not complete.

    A set whose sources are gone is not looked at: it was complete when they went.
    """
    sources: set[str] = set()
    broken_off: set[str] = set()
    for name, entry in found.items():
        there = [source for source in entry.summary.rolled_from if source in found]
        if there and all(one in found for one in entry.summary.rolled_with):
            sources.update(there)
        elif there:
            broken_off.add(name)
    return sources, broken_off

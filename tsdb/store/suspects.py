"""Blocks that somebody found damaged while the store runs: upkeep looks at them, and sets aside what cannot be opened.

A block of which a tile is damaged stays where it is, for the rest of it is readable. One whose tables cannot be read
gives no answer any more, here or after a restart: it goes to the quarantine, where a repair finds it.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tsdb.errors import CorruptData, NotReady
from tsdb.store.block.audit import checksum_fault
from tsdb.store.block.file import BlockFile
from tsdb.store.block.layout import BlockName
from tsdb.store.catalogue import Catalogue
from tsdb.store.disk import Disk

log = logging.getLogger(__name__)


class Suspects:
    """The suspects of one folder.

    lock: the engine's, under which the catalogue changes. Whoever calls check() or faulty() holds its upkeep lock.
    """

    def __init__(self, disk: Disk, folder: Path, catalogue: Catalogue, lock: threading.Lock) -> None:
        self._disk = disk
        self._folder = folder
        self._catalogue = catalogue
        self._lock = lock
        self._waiting: Counter[str] = Counter()
        self._waiting_lock = threading.Lock()
        self._damaged: set[str] = set()  # They can be opened, and a part of them cannot be read.
        self.not_joinable: set[str] = set()  # Those that faulty() has found: joins leave them where they are.
        self._reads_count = 0
        self._missing_count = 0

    def stats(self, damage: Mapping[str, int]) -> dict[str, int]:
        """Blocks that are in place and damaged in part, as far as anybody has met it; and since the start: blocks that
        are gone, and not by the store; reads that met damage, the last ones told now."""
        self.tell(damage)
        there = {str(entry.name) for entry in (*self._catalogue.entries, *self._catalogue.rollups)}
        return {
            "damaged_blocks": len(self._damaged & there),
            "missing_blocks": self._missing_count,
            "damaged_reads": self._reads_count,
        }

    def tell(self, damage: Mapping[str, int]) -> None:
        """Reads met damage in these blocks so many times; nought: a block is not there. From any thread."""
        with self._waiting_lock:
            self._waiting.update(damage)
            self._reads_count += sum(damage.values())

    def check(self, damage: Mapping[str, int]) -> None:
        """Look at those that were told of, the last ones now."""
        self.tell(damage)
        with self._waiting_lock:
            waiting, self._waiting = self._waiting, Counter()
        for text, count in waiting.items():
            name = BlockName.parse(text)
            if name is not None and self._catalogue.has(name):
                self._look_at(name, is_damaged=count > 0)

    def faulty(self, names: Sequence[BlockName]) -> list[BlockName]:
        """Which of some blocks that could not be joined are damaged; all, if none is now. Reads every byte of them."""
        found = []
        for name in names:
            try:
                fault = checksum_fault(self._disk.open(self._folder / str(name)), str(name))
            except (CorruptData, FileNotFoundError) as error:
                fault = CorruptData(str(error))
            if fault is not None:
                found.append(name)
                self._look_at(name, is_damaged=True)
        found = found or list(names)
        self.not_joinable.update(map(str, found))
        return found

    def _look_at(self, name: BlockName, *, is_damaged: bool) -> None:
        """Set it aside, or note that a part of it is damaged."""
        try:
            file = BlockFile(self._disk.open(self._folder / str(name)), str(name))
            for read_table in (file.keys, file.text, file.row_offsets, file.tiles):
                read_table()
        except CorruptData as error:
            self._catalogue.set_aside(name, self._lock)
            log.error("block set aside in quarantine/, `henge db repair` takes out what is whole: %s", error)
        except FileNotFoundError:
            self._catalogue.forget(name, self._lock)
            self._missing_count += 1
            log.error("block %s is gone from %s, and the store did not remove it", name, self._folder)
        except (NotReady, OSError) as error:  # No descriptor is left, or the like: the next read tells again.
            log.warning("block %s could not be looked at: %s", name, error)
        else:
            if is_damaged and str(name) not in self._damaged:
                self._damaged.add(str(name))
                log.error("block %s is damaged in part: the rest of it is read on; see `henge db verify`", name)

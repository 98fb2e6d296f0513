"""A disk in memory that forgets: what was not synced may be gone, half there or full of zeros after a crash."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np

from tsdb.errors import CorruptData, NotReady
from tsdb.store.disk import Bytes, Part

SECTOR_BYTES = 512


class DiskCrash(Exception):
    """The machine stopped. No operation works any more; see MemoryDisk.reboot()."""


class _Inode:
    def __init__(self, content: bytes = b"", *, is_folder: bool = False) -> None:
        self.is_folder = is_folder
        self.content = bytearray(content)
        self.durable = bytes(content)

    def after_crash(self, random: Random | None) -> bytes:
        """The synced bytes and, with a random source, some of what was written since."""
        if random is None or bytes(self.content) == self.durable:
            return self.durable
        if not self.content.startswith(self.durable):  # A truncation that was not synced.
            return random.choice([self.durable, bytes(self.content)])
        unsynced = bytearray(self.content[len(self.durable) :])
        match random.randrange(4):
            case 0:
                kept = b""
            case 1:  # Torn at a sector.
                kept = bytes(unsynced[: SECTOR_BYTES * random.randrange(len(unsynced) // SECTOR_BYTES + 1)])
            case 2:  # The size was written, some sectors were not.
                for start in range(0, len(unsynced), SECTOR_BYTES):
                    if random.random() < 0.5:
                        size_bytes = len(unsynced[start : start + SECTOR_BYTES])
                        unsynced[start : start + SECTOR_BYTES] = bytes(size_bytes)
                kept = bytes(unsynced)
            case _:
                kept = bytes(unsynced)
        return self.durable + kept


_Change = tuple[Path, "_Inode | Path | None"]
"""A file has this inode, or is gone; or a folder has another path."""


def _apply(change: _Change, names: dict[Path, _Inode]) -> None:
    path, new = change
    if isinstance(new, Path):
        for old in [name for name in names if name.is_relative_to(path)]:
            names[new / old.relative_to(path)] = names.pop(old)
        return
    names.pop(path, None)
    if new is not None:
        names[path] = new


class MemoryFile:
    def __init__(self, disk: MemoryDisk, inode: _Inode) -> None:
        self._disk = disk
        self._inode = inode

    def append(self, parts: Sequence[Part]) -> int:
        data = b"".join(bytes(memoryview(part).cast("B")) for part in parts if len(part))
        # The crash may come when the bytes are on their way: they count as written and not synced.
        self._inode.content += data if not self._disk.crashed else b""
        self._disk.count("append")
        return len(data)

    def sync(self) -> None:
        self._disk.count("sync")
        if self._disk.syncs_files:
            self._inode.durable = bytes(self._inode.content)

    def truncate(self, size_bytes: int) -> None:
        self._disk.count("truncate")
        del self._inode.content[size_bytes:]

    def close(self) -> None:
        pass


class MemoryReadFile:
    """A file as it is now, whatever becomes of its name; bytes that it has lost meanwhile are missed as on a disk."""

    def __init__(self, name: str, inode: _Inode) -> None:
        self._name = name
        self._inode = inode
        self.size_bytes = len(inode.content)

    def read(self, start: int, length: int) -> bytes:
        found = bytes(self._inode.content[start : start + length])
        if len(found) < length:
            raise CorruptData(f"{self._name}: bytes {start:,} to {start + length:,} are not there")
        return found


def held(data: bytes) -> MemoryReadFile:
    """Bytes as a file that is not on any disk."""
    return MemoryReadFile("held", _Inode(data))


class MemoryDisk:
    """See tsdb.store.disk.Disk. Every operation that changes something is counted; number crash_at raises DiskCrash.

    syncs_files, syncs_folders: False makes a disk whose syncs do nothing, to prove that tests notice.
    """

    def __init__(self, *, crash_at: int | None = None, syncs_files: bool = True, syncs_folders: bool = True) -> None:
        self.crash_at = crash_at
        self.syncs_files = syncs_files
        self.syncs_folders = syncs_folders
        self.crashed = False
        self.operations: list[str] = []
        self._files: dict[Path, _Inode] = {}
        self._durable_files: dict[Path, _Inode] = {}
        self._pending: dict[Path, list[_Change]] = {}  # by folder: names not yet durable, in order
        self._locked: set[Path] = set()

    def reboot(self, seed: int | None = None) -> MemoryDisk:
        """The disk after the power came back; without a seed nothing unsynced was kept, with one some of it."""
        random = None if seed is None else Random(seed)
        names = dict(self._durable_files)
        for changes in self._pending.values():
            kept_count = 0 if random is None else random.randint(0, len(changes))
            for change in changes[:kept_count]:
                _apply(change, names)
        after = MemoryDisk()
        after._files = {
            path: _Inode(inode.after_crash(random), is_folder=inode.is_folder) for path, inode in names.items()
        }
        after._durable_files = dict(after._files)
        return after

    def count(self, operation: str) -> None:
        if self.crashed:
            raise DiskCrash("the machine has stopped")
        if self.crash_at is not None and len(self.operations) == self.crash_at:
            self.crashed = True
            raise DiskCrash(f"at operation {self.crash_at}: {operation}")
        self.operations.append(operation)

    def make_folder(self, path: Path) -> None:
        if path not in self._files:
            self._files[path] = self._durable_files[path] = _Inode(is_folder=True)

    def names(self, folder: Path) -> list[str]:
        return self._inside(folder, are_folders=False)

    def folders(self, folder: Path) -> list[str]:
        return self._inside(folder, are_folders=True)

    def _inside(self, folder: Path, *, are_folders: bool) -> list[str]:
        # By their text: crash tests ask this some hundred thousand times, and comparing paths costs ten times as much.
        start = f"{folder}/"
        found = [
            str(path)[len(start) :]
            for path, inode in self._files.items()
            if inode.is_folder is are_folders and str(path).startswith(start)
        ]
        return sorted(name for name in found if "/" not in name)

    def create(self, path: Path) -> MemoryFile:
        self.count("create")
        inode = _Inode()
        self._name(path, inode)
        return MemoryFile(self, inode)

    def open(self, path: Path) -> MemoryReadFile:
        if path not in self._files:
            raise FileNotFoundError(path)
        return MemoryReadFile(path.name, self._files[path])

    def map(self, path: Path) -> Bytes:
        if path not in self._files:
            raise FileNotFoundError(path)
        return np.frombuffer(bytes(self._files[path].content), np.uint8)

    def size_bytes(self, path: Path) -> int:
        return len(self._files[path].content)

    def tree_bytes(self, folder: Path) -> int:
        return sum(len(inode.content) for path, inode in self._files.items() if path.is_relative_to(folder))

    def free_bytes(self, folder: Path) -> int:
        return 1 << 40

    def truncate(self, path: Path, size_bytes: int) -> None:
        self.count("truncate")
        inode = self._files[path]
        del inode.content[size_bytes:]
        inode.durable = bytes(inode.content)

    def rename(self, path: Path, new_path: Path) -> None:
        self.count("rename")
        if path in self._files and self._files[path].is_folder:
            _apply((path, new_path), self._files)
            for folder in [folder for folder in self._pending if folder.is_relative_to(path)]:
                assert not self._pending[folder], f"{folder} is renamed before it is synced"
            self._pending.setdefault(new_path.parent, []).append((path, new_path))
            return
        inode = self._files[path]
        self._name(path, None)
        self._name(new_path, inode)

    def link(self, path: Path, new_path: Path) -> None:
        self.count("link")
        self._name(new_path, self._files[path])

    def remove_folder(self, path: Path) -> None:
        for file in [file for file in self._files if file.is_relative_to(path)]:
            self.remove(file)
            self.sync_folder(file.parent)

    def remove(self, path: Path) -> None:
        self.count("remove")
        if path in self._files:
            self._name(path, None)

    def sync_folder(self, folder: Path) -> None:
        self.count("sync_folder")
        if not self.syncs_folders:
            return
        for change in self._pending.pop(folder, []):
            _apply(change, self._durable_files)

    def lock(self, path: Path) -> Callable[[], None]:
        if path in self._locked:
            raise NotReady(f"{path.parent} is in use")
        self._locked.add(path)
        return lambda: self._locked.discard(path)

    def damage(self, path: Path, at: int, change: Callable[[bytearray], None] | None = None) -> None:
        """Flip a bit of a file, or change its bytes at will."""
        inode = self._files[path]
        if change is None:
            inode.content[at] ^= 1 << (at % 8)
        else:
            change(inode.content)
        inode.durable = bytes(inode.content)

    def paths(self, folder: Path) -> list[Path]:
        return [folder / name for name in self.names(folder)]

    def _name(self, path: Path, inode: _Inode | None) -> None:
        self._files.pop(path, None)
        if inode is not None:
            self._files[path] = inode
        self._pending.setdefault(path.parent, []).append((path, inode))

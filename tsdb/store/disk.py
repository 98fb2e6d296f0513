"""The disk as the store uses it: a small set of operations, so that a test can hand in a disk that forgets.

A file's bytes are durable after `sync()` of the file, its name after `sync_folder()` of its folder. Paths are those of
the caller; nothing here knows what a file means.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from tsdb.errors import CorruptData, DiskFull, NotReady

Bytes = npt.NDArray[np.uint8]
Part: TypeAlias = Any  # bytes or a contiguous array: what os.writev and crc32c take; Python 3.11 has no name for it

_IOV_MAX = 1_024  # Linux: UIO_MAXIOV.
# What a disk, or the file system on it, says of bytes that it has lost: nothing that trying again would cure.
_UNREADABLE = (errno.EIO, errno.ENODATA, errno.EBADMSG, errno.EUCLEAN, errno.EREMOTEIO, errno.EILSEQ)


class AppendFile(Protocol):
    """A file that only grows, but for truncate()."""

    def append(self, parts: Sequence[Part]) -> int:
        """Write all parts at the end, in one call where the system allows; returns the bytes written."""

    def sync(self) -> None:
        """Return when every byte written so far is durable."""

    def truncate(self, size_bytes: int) -> None: ...

    def close(self) -> None: ...


class ReadFile(Protocol):
    """A file that is read in parts; it stays readable when its name is removed.

    Its bytes are copied out of it, never mapped: a mapped page that the disk cannot give, because the file was cut or
    the sector is bad, ends the process (SIGBUS). Here it is an error with a name.
    """

    @property
    def size_bytes(self) -> int:
        """How long it was when it was opened."""

    def read(self, start: int, length: int) -> bytes:
        """So many bytes, exactly. Raises: CorruptData, if the disk does not give them."""


class Disk(Protocol):
    def make_folder(self, path: Path) -> None:
        """Make a folder, durably, unless it is there; its parent must be there."""

    def names(self, folder: Path) -> list[str]:
        """The sorted names of the files of a folder; empty if there is no such folder."""

    def folders(self, folder: Path) -> list[str]:
        """The sorted names of the folders in a folder; empty if there is no such folder."""

    def create(self, path: Path) -> AppendFile:
        """A new, empty file; one of that name is emptied."""

    def open(self, path: Path) -> ReadFile:
        """A file to be read. Raises: FileNotFoundError; CorruptData, if the disk cannot even open it."""

    def map(self, path: Path) -> Bytes:
        """The bytes of a file, read-only; they stay readable when the name is removed.

        For small files, and the log at a start: see ReadFile for what a mapping costs when the disk breaks.
        """

    def size_bytes(self, path: Path) -> int: ...

    def tree_bytes(self, folder: Path) -> int:
        """The sizes of all files below a folder together, one with several names once."""

    def free_bytes(self, folder: Path) -> int:
        """What may still be written to the file system of a folder."""

    def truncate(self, path: Path, size_bytes: int) -> None:
        """Cut a file and make the cut durable."""

    def rename(self, path: Path, new_path: Path) -> None:
        """Give a file or a folder another name."""

    def link(self, path: Path, new_path: Path) -> None:
        """Give a file a second name."""

    def remove(self, path: Path) -> None:
        """Remove a name; it is no error when it is gone already."""

    def remove_folder(self, path: Path) -> None:
        """Remove a folder with all that is in it; it is no error when it is gone already."""

    def sync_folder(self, folder: Path) -> None:
        """Return when every name made, changed or removed in the folder so far is durable."""

    def lock(self, path: Path) -> Callable[[], None]:
        """Hold the only lock on a file; returns what gives it back. Raises: NotReady, if another holds it."""


@contextlib.contextmanager
def full_disk_named(what: str) -> Iterator[None]:
    """Turn "no space left" into DiskFull, which says what could not be written."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"{what} could not be written: {error.strerror}; writes are refused and reads go on until space is free"
            ) from error
        raise


class OsFile:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def append(self, parts: Sequence[Part]) -> int:
        views = [memoryview(part).cast("B") for part in parts if len(part)]
        written_count = 0
        while views:
            count = os.writev(self._descriptor, views[:_IOV_MAX])
            written_count += count
            while views and count >= len(views[0]):
                count -= len(views.pop(0))
            if count:  # The kernel took a part of one buffer only, as it may at 2 GiB or when the disk fills.
                views[0] = views[0][count:]
        return written_count

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def truncate(self, size_bytes: int) -> None:
        os.ftruncate(self._descriptor, size_bytes)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class OsReadFile:
    """Holds one file descriptor, as a mapping does."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._descriptor = -1  # For __del__, when open() raises.
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._size_bytes = os.fstat(self._descriptor).st_size
        except OSError as error:
            if error.errno in _UNREADABLE:
                raise CorruptData(f"{self._name}: the disk does not open it: {error.strerror}") from error
            raise

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def read(self, start: int, length: int) -> bytes:
        try:
            found = os.pread(self._descriptor, length, start)
            while len(found) < length and (more := os.pread(self._descriptor, length - len(found), start + len(found))):
                found += more  # The kernel gives 2 GiB at once at most.
        except OSError as error:
            if error.errno in _UNREADABLE:
                raise CorruptData(
                    f"{self._name}: the disk does not give bytes {start:,} to {start + length:,}: {error.strerror}"
                ) from error
            raise
        if len(found) < length:
            size_bytes = os.fstat(self._descriptor).st_size
            raise CorruptData(
                f"{self._name}: bytes {start:,} to {start + length:,} are not there, the file has {size_bytes:,}"
            )
        return found

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


class OsDisk:
    """The file system of this machine."""

    def make_folder(self, path: Path) -> None:
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            return
        self.sync_folder(path.parent)

    def names(self, folder: Path) -> list[str]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entry.name for entry in entries if entry.is_file())
        except FileNotFoundError:
            return []

    def folders(self, folder: Path) -> list[str]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return []

    def create(self, path: Path) -> OsFile:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        return OsFile(os.open(path, flags, 0o600))

    def open(self, path: Path) -> OsReadFile:
        return OsReadFile(path)

    def map(self, path: Path) -> Bytes:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return np.empty(0, np.uint8)
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)

    def size_bytes(self, path: Path) -> int:
        return path.stat().st_size

    def tree_bytes(self, folder: Path) -> int:
        found: dict[tuple[int, int], int] = {}
        for root, _, names in os.walk(folder):
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # Joined into another meanwhile.
                    status = os.lstat(os.path.join(root, name))  # noqa: PTH118 - twice as fast for ten thousand files.
                    found[status.st_dev, status.st_ino] = status.st_size
        return sum(found.values())

    def free_bytes(self, folder: Path) -> int:
        status = os.statvfs(folder)
        return status.f_bavail * status.f_frsize

    def truncate(self, path: Path, size_bytes: int) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(descriptor, size_bytes)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, path: Path, new_path: Path) -> None:
        path.rename(new_path)

    def link(self, path: Path, new_path: Path) -> None:
        new_path.hardlink_to(path)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def remove_folder(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)

    def sync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, path: Path) -> Callable[[], None]:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise NotReady(
                f"{path.parent} is in use by another store; stop that one, or give this one another data folder"
            ) from error
        return lambda: os.close(descriptor)

"""A folder of whisper files: which there are, in order, and which series each is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tsdb.importing.whisper import BadFile

SUFFIX = ".wsp"
# Read whole, and as much again for times and values: 1 GiB at the peak for a second a point over 1.4 years.
FILE_BYTES_MAX = 512 * 2**20
_TAGGED = "_tagged"
_TAGGED_FOLDERS_COUNT = 3  # _tagged, and two of three digits of the hash each.


@dataclass(frozen=True, slots=True)
class Found:
    """One file; path: below the tree."""

    path: str
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which files, and what stands before their names."""

    prefix: str = ""
    globs: Sequence[str] = ()

    def name(self, path: str) -> str | None:
        """The name of the series as carbon would be sent it, `a.b;tag=value`; None if it is not wanted.

        Raises: BadFile, when the path does not tell it.
        """
        name = series_name(path)
        if self.globs and not any(fnmatchcase(name, glob) for glob in self.globs):
            return None
        return f"{self.prefix}.{name}" if self.prefix else name


def series_name(path: str) -> str:
    """The name of the series of a file, by its path below the tree.

    Source: carbon 1.1.10, lib/carbon/util.py, TaggedSeries.encode; lib/carbon/database.py.
    Raises: BadFile.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        raise BadFile("the name is not valid UTF-8; rename the file") from None
    parts = path.removesuffix(SUFFIX).split("/")
    if parts[0] != _TAGGED:
        return ".".join(parts)
    name = "/".join(parts[_TAGGED_FOLDERS_COUNT:]).replace("_DOT_", ".")
    if ";" not in name:
        raise BadFile("named by a hash alone (TAG_HASH_FILENAMES of carbon), so that nothing tells its tags")
    return name


def files(root: Path) -> Iterator[Found | tuple[str, str]]:
    """Every whisper file, in the order of names; (path, why not) for what cannot be looked at.

    Links to files are followed, links to folders are not: they may lead round in circles.
    """
    faults: list[tuple[str, str]] = []

    def note(error: OSError) -> None:
        faults.append((str(error.filename), error.strerror or str(error)))

    for folder, folders, names in os.walk(root, onerror=note):
        yield from faults
        faults.clear()
        folders.sort()
        below = os.path.relpath(folder, root)
        prefix = "" if below == "." else below + "/"
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):  # noqa: PTH114, PTH118 - As os.walk gives it, and quick.
                yield prefix + name, "a link to a folder, which is not followed; import what it leads to by itself"
        for name in sorted(names):
            if name.endswith(SUFFIX):
                yield _looked_at(root, prefix + name)
    yield from faults


def _looked_at(root: Path, path: str) -> Found | tuple[str, str]:
    try:
        told = os.stat(f"{root}/{path}")  # noqa: PTH116 - A Path for each of a million files costs more than the call.
    except OSError as error:
        return path, error.strerror or str(error)
    if not stat.S_ISREG(told.st_mode):
        return path, "not a file but a pipe, a socket or a device"  # Opening a pipe would wait for who writes to it.
    return Found(path, told.st_size, told.st_mtime_ns)


def content(root: Path, found: Found) -> bytes:
    """Raises: BadFile."""
    if found.size_bytes > FILE_BYTES_MAX:
        raise BadFile(f"{found.size_bytes:,} bytes; files of at most {FILE_BYTES_MAX:,} are read")
    try:
        with open(f"{root}/{found.path}", "rb", buffering=0) as file:  # noqa: PTH123 - As above.
            return file.read()
    except OSError as error:
        raise BadFile(error.strerror or str(error)) from error

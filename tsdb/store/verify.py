"""Reading a data folder from the outside, to the last byte, whether or not its store runs. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tsdb.errors import CorruptData, TsdbError
from tsdb.store import budget, tombstones
from tsdb.store.block import layout
from tsdb.store.block.audit import faults_of
from tsdb.store.block.file import BlockFile
from tsdb.store.block.layout import BlockName
from tsdb.store.block.writer import TEMPORARY_SUFFIX
from tsdb.store.disk import Disk, OsDisk
from tsdb.store.frame import check_segment_header
from tsdb.store.readable import all_bytes
from tsdb.store.segment import stretches
from tsdb.store.wal import segment_name, segment_numbers

# Of one file so many faults are named, and the rest counted: a block of half a GiB has some 60,000 tiles.
_FAULTS_NAMED_MAX = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one file holds, and what is wrong with it. path: below the folder."""

    path: str
    content: str
    damage: tuple[str, ...] = ()


def verify(folder: Path, disk: Disk | None = None) -> Iterator[Verdict]:
    """Every file of the store, with checksums compared, tables held against the samples, and samples read.

    A running store may be in the middle of its last frame: an unreadable tail of the last segment is no damage. Nor
    is what was set aside before: it is listed.
    """
    disk = OsDisk() if disk is None else disk
    yield from _folder(disk, folder, "blocks", _block)
    last = next(reversed(segment_numbers(disk, folder / "wal")), None)
    last_name = None if last is None else segment_name(last)
    yield from _folder(
        disk,
        folder,
        "wal",
        lambda disk, folder, path: segment_verdict(disk, folder, path, is_last=path.name == last_name),
    )
    yield from _folder(disk, folder, "tombstones", tombstone_verdict)
    yield from _folder(disk, folder, "quarantine", _set_aside)
    yield from _folder(disk, folder, "", root_verdict)


def _folder(
    disk: Disk, folder: Path, below: str, verdict_of: Callable[[Disk, Path, Path], Verdict | None]
) -> Iterator[Verdict]:
    for name in disk.names(folder / below):
        try:
            verdict = verdict_of(disk, folder, folder / below / name)
        except FileNotFoundError:
            continue  # Joined into a larger block meanwhile, or its samples are in blocks by now.
        if verdict is not None:
            yield verdict


def without_name(error: Exception, name: str) -> str:
    """What an error says, where the file is named already."""
    return str(error).removeprefix(f"{name}: ")


def _path(folder: Path, path: Path) -> str:
    return str(path.relative_to(folder))


def _block(disk: Disk, folder: Path, path: Path) -> Verdict | None:
    if path.name.endswith(TEMPORARY_SUFFIX):
        return Verdict(_path(folder, path), "unfinished, removed at the next start")
    if BlockName.parse(path.name) is None:
        return Verdict(_path(folder, path), "no file of the store, left alone")
    return block_verdict(disk, folder, path)


def block_verdict(disk: Disk, folder: Path, path: Path) -> Verdict:
    """A block. Raises: FileNotFoundError."""
    try:
        block = BlockFile(disk.open(path), path.name)
    except TsdbError as error:
        return Verdict(_path(folder, path), "unreadable", (without_name(error, path.name),))
    content = f"{block.summary.sample_count:,} samples of {block.summary.series_count:,} series"
    if layout.CONTENT not in block.sections:
        content += ", written before content hashes"
    return Verdict(_path(folder, path), content, _bounded(faults_of(block)))


def segment_verdict(disk: Disk, folder: Path, path: Path, *, is_last: bool) -> Verdict | None:
    """A segment of the log; None for a file that is none. Raises: FileNotFoundError."""
    if segment_name_of(path.name) is None:
        return Verdict(_path(folder, path), "no file of the store, left alone")
    try:
        data, refused = all_bytes(disk, path)
    except CorruptData as error:
        return Verdict(_path(folder, path), "unreadable", (without_name(error, path.name),))
    faults = [without_name(one, path.name) for one in refused]
    try:
        if (wrong := check_segment_header(data)) and not (is_last and data.size == 0):
            faults.append(wrong)
    except TsdbError as error:
        return Verdict(_path(folder, path), "unreadable", (without_name(error, path.name),))
    sample_count, frame_count = 0, 0
    for stretch in stretches(data):
        if stretch.frame is not None:
            frame_count += 1
            sample_count += stretch.is_known.size - stretch.unknown_count
        if stretch.is_damaged and not (is_last and stretch.is_tail):
            faults.append(f"bytes {stretch.start:,} to {stretch.end:,}: {' and '.join(stretch.faults)}")
    return Verdict(_path(folder, path), f"{sample_count:,} samples in {frame_count:,} frames", _bounded(iter(faults)))


def segment_name_of(name: str) -> int | None:
    """The number of a segment by its name; None for another file."""
    number = name.removesuffix(".wal")
    return int(number) if number.isdecimal() and segment_name(int(number)) == name else None


def tombstone_verdict(disk: Disk, folder: Path, path: Path) -> Verdict:
    """A deletion. Raises: FileNotFoundError."""
    if path.name.endswith(TEMPORARY_SUFFIX):
        return Verdict(_path(folder, path), "unfinished, removed at the next start")
    if not path.name.endswith(tombstones.SUFFIX):
        return Verdict(_path(folder, path), "no file of the store, left alone")
    try:
        found = tombstones.decode(_small_file(disk, path), path.name)
    except TsdbError as error:
        return Verdict(_path(folder, path), "unreadable", (without_name(error, path.name),))
    return Verdict(_path(folder, path), f"a deletion in blocks up to number {found.block_number_max:,}")


def _set_aside(disk: Disk, folder: Path, path: Path) -> Verdict:
    size_bytes = disk.size_bytes(path)
    if BlockName.parse(path.name) is not None:
        what = "set aside by a start; `henge db repair` takes out what is whole"
    else:
        what = "damaged, kept for inspection"
    return Verdict(_path(folder, path), f"{size_bytes:,} bytes, {what}")


def root_verdict(disk: Disk, folder: Path, path: Path) -> Verdict:
    if path.name == "LOCK":
        return Verdict(_path(folder, path), "the lock, held while a store runs")
    if path.name == budget.FILE_NAME:
        try:
            found = budget.decode(_small_file(disk, path))
        except CorruptData as error:
            return Verdict(
                _path(folder, path), "unreadable, made anew at the next start", (without_name(error, path.name),)
            )
        return Verdict(_path(folder, path), f"the disk budget, {found.disk_bytes_max:,} bytes")
    return Verdict(_path(folder, path), "no file of the store, left alone")


def _small_file(disk: Disk, path: Path) -> bytes:
    """Raises: FileNotFoundError; CorruptData."""
    file = disk.open(path)
    return file.read(0, file.size_bytes)


def _bounded(faults: Iterator[str]) -> tuple[str, ...]:
    named: list[str] = []
    more_count = 0
    for fault in faults:
        if len(named) < _FAULTS_NAMED_MAX:
            named.append(fault)
        else:
            more_count += 1
    return (*named, *([f"{more_count:,} more"] if more_count else []))

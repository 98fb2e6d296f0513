"""Reading a data folder from the outside, to the last byte, whether or not its store runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tsdb.errors import CorruptData, TsdbError
from tsdb.store.block.file import BlockFile
from tsdb.store.block.layout import BlockName
from tsdb.store.disk import Disk, OsDisk
from tsdb.store.frame import Damage, check_segment_header, read_frames
from tsdb.store.wal import segment_name, segment_numbers


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one file holds, and everything that is wrong with it. path: below the folder."""

    path: str
    content: str
    damage: tuple[str, ...]


def verify(folder: Path, disk: Disk | None = None) -> Iterator[Verdict]:
    """Every block and every segment of the log, with checksums compared; what is quarantined counts as damage.

    A running store may be in the middle of its last frame: an unreadable tail of the last segment is no damage.
    """
    disk = OsDisk() if disk is None else disk
    for name in disk.names(folder / "blocks"):
        if BlockName.parse(name) is not None and (verdict := _block(disk, folder, name)) is not None:
            yield verdict
    numbers = segment_numbers(disk, folder / "wal")
    for number in numbers:
        if (verdict := _segment(disk, folder, segment_name(number), is_last=number == numbers[-1])) is not None:
            yield verdict
    for name in disk.names(folder / "quarantine"):
        yield Verdict(f"quarantine/{name}", "set aside", ("damaged bytes, kept for inspection",))


def _block(disk: Disk, folder: Path, name: str) -> Verdict | None:
    path = f"blocks/{name}"
    try:
        block = BlockFile(disk.map(folder / path), name)
        content = f"{block.summary.sample_count:,} samples of {block.summary.series_count:,} series"
        return Verdict(path, content, tuple(block.verify()))
    except FileNotFoundError:
        return None  # Joined into a larger one meanwhile.
    except CorruptData as error:
        return Verdict(path, "unreadable", (str(error),))


def _segment(disk: Disk, folder: Path, name: str, *, is_last: bool) -> Verdict | None:
    path = f"wal/{name}"
    try:
        data = disk.map(folder / path)
        wrong = check_segment_header(data)
    except FileNotFoundError:
        return None  # Its samples are in blocks by now.
    except TsdbError as error:
        wrong = str(error)
    if wrong:
        return Verdict(path, "unreadable", () if is_last and data.size == 0 else (wrong,))
    samples_count, damage = 0, []
    for found in read_frames(data):
        if not isinstance(found, Damage):
            samples_count += found.samples.series.size
        elif not (is_last and found.is_tail):
            damage.append(f"bytes {found.start:,} to {found.end:,}: {found.what}")
    return Verdict(path, f"{samples_count:,} samples", tuple(damage))

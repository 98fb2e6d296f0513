"""Files as earlier programs wrote them stay readable for ever: none of the texts in old/ may be made anew.

A new version of a format gets files of its own beside these.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import FOLDER, Row, everything, labels, open_engine
from tests.tsdb.store.test_content import twin
from tsdb.sample import labels_from
from tsdb.store.block.file import BlockFile
from tsdb.store.content import by_place
from tsdb.store.frame import segment_version

OLD = Path(__file__).parent / "old"
BLOCK_NAME = "1699999200-2h-00000001.block"


def bytes_of(name: str) -> bytes:
    return base64.b64decode((OLD / name).read_text())


def samples() -> list[Row]:
    """What the old files hold: gauges, a counter, a constant, noise, odd values, in seven tiles of four codecs."""
    rows = []
    for line in (OLD / "samples.txt").read_text().splitlines():
        text, timestamp_ms, bits = line.rsplit(" ", 2)
        rows.append((labels_from(json.loads(text)), int(timestamp_ms), int(bits, 16)))
    return rows


def disk_with(path: Path, data: bytes) -> MemoryDisk:
    disk = MemoryDisk()
    disk.create(path).append([data])
    return disk


@pytest.mark.parametrize("name", ["block-1-without-content.txt", "block-1.txt", "block-1-grid.txt"])
def test_an_old_block_is_read(name: str) -> None:
    disk = disk_with(FOLDER / "blocks" / BLOCK_NAME, bytes_of(name))
    engine = open_engine(disk)
    assert sorted(everything(engine)) == sorted(samples())
    assert engine.stats()["damaged_reads"] == 0
    table = BlockFile(disk.open(FOLDER / "blocks" / BLOCK_NAME), BLOCK_NAME).content()
    assert (table is None) == (name == "block-1-without-content.txt")
    assert table is None or by_place(table) == twin(samples())


@pytest.mark.parametrize("version", [1, 2])
def test_an_old_segment_is_replayed(version: int) -> None:
    """The second holds every codec of ids but one, two of times, and samples of one series side by side."""
    disk = disk_with(FOLDER / "wal" / "0000000001.wal", bytes_of(f"segment-{version}.txt"))
    assert segment_version(disk.map(FOLDER / "wal" / "0000000001.wal")) == version
    engine = open_engine(disk)
    assert sorted(everything(engine)) == sorted(samples())
    assert engine.stats()["quarantined_frames"] == engine.stats()["torn_tails"] == 0


def test_a_join_gives_an_old_block_its_content_hash() -> None:
    disk = disk_with(FOLDER / "blocks" / BLOCK_NAME, bytes_of("block-1-without-content.txt"))
    disk.create(FOLDER / "blocks" / BLOCK_NAME.replace("1.", "2.")).append([bytes_of("block-1.txt")])
    engine = open_engine(disk)
    engine.compact()
    (entry,) = engine._catalogue.entries
    table = BlockFile(disk.open(FOLDER / "blocks" / str(entry.name)), str(entry.name)).content()
    assert table is not None
    assert by_place(table) == twin(samples())
    assert {one for one, _, _ in samples()} >= {labels(name="odd"), labels(name="counter")}

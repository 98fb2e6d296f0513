"""Blocks that break while the store runs: cut, unreadable in part, or gone. Nobody dies, and the rest is answered."""

from __future__ import annotations

import errno
import math
import os
from pathlib import Path

import pytest

from tests.tsdb.store.stores import HOUR_MS, NOW_MS, Row, append, bits_of, everything, labels, later, open_engine
from tsdb.store.block.file import BlockFile
from tsdb.store.disk import OsDisk
from tsdb.store.engine import Engine
from tsdb.store.reader import BlockReader
from tsdb.store.repair import repair

WINDOW_MS = 2 * HOUR_MS
BASE_MS = NOW_MS // (128 * HOUR_MS) * 128 * HOUR_MS  # Here begins a window of every length.
PAGE_BYTES = 4_096


def window(number: int) -> list[Row]:
    """Samples of one window, whose values shrink badly: a block of more than a page."""
    at_ms = BASE_MS + number * WINDOW_MS
    return [(labels(name="a"), at_ms + 1_000 * step, bits_of(math.sin(step * 7.7))) for step in range(3_000)]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """Three blocks in three windows."""
    engine = open_engine(None, tmp_path)
    for number in range(3):
        append(engine, window(number))
        engine.flush()
    return engine


def block_paths(folder: Path) -> list[Path]:
    return sorted((folder / "blocks").iterdir())


def refuse_bytes(monkeypatch: pytest.MonkeyPatch, path: Path, start: int, end: int) -> None:
    """From now on the disk gives an error for these bytes of a file, as for a bad sector."""
    inode, read = path.stat().st_ino, os.pread

    def pread(descriptor: int, length: int, at: int) -> bytes:
        if os.fstat(descriptor).st_ino == inode and at < end and at + length > start:
            raise OSError(errno.EIO, "Input/output error")
        return read(descriptor, length, at)

    monkeypatch.setattr("os.pread", pread)


@pytest.mark.parametrize("is_open", [True, False], ids=["open already", "not yet open"])
@pytest.mark.parametrize("left", [0, 100, 5_000, -1], ids=lambda left: f"{left} bytes left")
def test_a_block_that_is_cut_while_it_is_read_costs_its_own_samples_alone(
    engine: Engine, tmp_path: Path, is_open: bool, left: int
) -> None:
    path = block_paths(tmp_path)[1]
    elsewhere = BlockReader(tmp_path, cache_bytes_max=0)
    found = engine.snapshot([], 0, 2**62)
    if is_open:
        elsewhere.select(found.blocks, [], 0, 2**62, found.heads)
    os.truncate(path, left if left >= 0 else path.stat().st_size + left)

    left_over = elsewhere.select(found.blocks, [], 0, 2**62, found.heads)
    whole = {row[1] for number in (0, 2) for row in window(number)}
    times = set(left_over.timestamp_ms.tolist())
    assert whole <= times <= whole | {row[1] for row in window(1)}
    if left >= 0:
        damage = elsewhere.take_damage()
        assert list(damage) == [path.name]
        assert not elsewhere.take_damage(), "told once"
        engine.suspects.tell(damage)
    else:
        engine.suspects.tell({path.name: 1})  # Only its last byte is gone: whoever has it open misses nothing.
    engine.tick(NOW_MS)
    assert engine.stats()["quarantined_blocks"] == 1
    assert engine.stats()["damaged_reads"] >= 1
    assert [kept.name for kept in (tmp_path / "quarantine").iterdir()] == [path.name]
    assert {row[1] for row in everything(engine)} == whole
    assert path.name not in engine.snapshot([], 0, 2**62).blocks
    later(engine, 200 * HOUR_MS)
    engine.compact()
    assert {row[1] for row in everything(engine)} == whole
    assert engine.stats()["block_count"] == 1, "the others are joined"
    engine.close()


def test_a_tile_that_the_disk_does_not_give_costs_its_samples_and_the_block_stays(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = block_paths(tmp_path)[1]
    refuse_bytes(monkeypatch, path, PAGE_BYTES, PAGE_BYTES + 512)
    whole = [*window(0), *window(2)]
    assert everything(engine) == whole, "of the one tile that the block has"
    engine.tick(NOW_MS)
    stats = engine.stats()
    assert (stats["quarantined_blocks"], stats["damaged_blocks"], stats["missing_blocks"]) == (0, 1, 0)
    assert path in block_paths(tmp_path)
    later(engine, 200 * HOUR_MS)
    engine.compact()
    assert everything(engine) == whole
    assert engine.stats()["damaged_blocks"] == 1
    assert path in block_paths(tmp_path), "it was not joined away"
    engine.close()


def test_a_block_whose_tables_the_disk_does_not_give_is_set_aside_and_found_again(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = block_paths(tmp_path)[1]
    with monkeypatch.context() as broken:
        refuse_bytes(broken, path, path.stat().st_size - 100, path.stat().st_size)
        assert everything(engine) == [*window(0), *window(2)]
        engine.tick(NOW_MS)
        assert engine.stats()["quarantined_blocks"] == 1
        assert everything(engine) == [*window(0), *window(2)]
        engine.close()
        again = open_engine(None, tmp_path)
        assert everything(again) == [*window(0), *window(2)]
        again.close()
    (done,) = repair(tmp_path)
    assert done.lost_samples == 0
    again = open_engine(None, tmp_path)
    assert everything(again) == [*window(0), *window(1), *window(2)], "the disk gave its bytes to the repair"
    again.close()


def test_a_damaged_block_keeps_none_of_its_window_from_being_joined(tmp_path: Path) -> None:
    engine = open_engine(None, tmp_path)
    for number in range(4):
        append(engine, [(labels(name=f"n{number}"), NOW_MS + number, bits_of(1.5))])
        engine.flush()
    path = block_paths(tmp_path)[2]
    file = BlockFile(OsDisk().open(path), path.name)
    data = bytearray(path.read_bytes())
    data[int(file.tiles()["data_offset"][0])] ^= 1
    path.write_bytes(data)
    later(engine, 200 * HOUR_MS)
    engine.compact()
    assert [row[1] - NOW_MS for row in everything(engine)] == [0, 1, 3]
    assert engine.stats()["block_count"] == 2, "the damaged one, and one with all that is in the others"
    assert engine.stats()["damaged_blocks"] == 1
    engine.close()


def test_a_block_that_somebody_removed_is_told_of_and_the_rest_answers(engine: Engine, tmp_path: Path) -> None:
    path = block_paths(tmp_path)[1]
    path.unlink()
    engine.suspects.tell({path.name: 0})
    engine.tick(NOW_MS)
    assert everything(engine) == [*window(0), *window(2)]
    stats = engine.stats()
    assert (stats["missing_blocks"], stats["quarantined_blocks"], stats["damaged_reads"]) == (1, 0, 0)
    engine.compact()
    assert everything(engine) == [*window(0), *window(2)]
    engine.close()


def test_a_join_meets_a_block_that_somebody_removed(engine: Engine, tmp_path: Path) -> None:
    block_paths(tmp_path)[1].unlink()
    later(engine, 200 * HOUR_MS)
    engine.compact()
    assert everything(engine) == [*window(0), *window(2)]
    assert engine.stats()["missing_blocks"] == 1
    engine.close()


def test_an_open_block_holds_its_bytes_when_its_name_goes(engine: Engine, tmp_path: Path) -> None:
    reader = BlockReader(tmp_path, cache_bytes_max=0)
    found = engine.snapshot([], 0, 2**62)
    reader.select(found.blocks, [], 0, 2**62, found.heads)
    for path in block_paths(tmp_path):
        path.unlink()
    assert reader.select(found.blocks, [], 0, 2**62, found.heads).timestamp_ms.size == 9_000
    engine.close()


def test_a_reader_lists_the_folder_once_for_all_blocks_that_are_new(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = []
    names = OsDisk.names
    monkeypatch.setattr(OsDisk, "names", lambda disk, folder: listed.append(folder) or names(disk, folder))
    reader = BlockReader(tmp_path)
    found = engine.snapshot([], 0, 2**62)
    for _ in range(3):
        reader.select(found.blocks, [], 0, 2**62, found.heads)
    assert len(listed) == 1
    engine.compact()
    engine.close()

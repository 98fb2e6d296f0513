"""A disk that is full or breaks: nothing acknowledged is lost, nothing is left behind, and the store goes on."""

from __future__ import annotations

import errno
import itertools
from pathlib import Path
from typing import NoReturn

import pytest

from tests.sim.disk import MemoryDisk, MemoryFile
from tests.tsdb.store.stores import (
    FOLDER,
    HOUR_MS,
    NOW_MS,
    DrivenClock,
    append,
    bits_of,
    everything,
    labels,
    open_engine,
)
from tsdb.errors import DiskFull, NotReady
from tsdb.store.disk import OsFile

A, B = (labels(name=name) for name in "ab")
ONE = bits_of(1.0)


def fail_full(*_: object) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


def fail_broken(*_: object) -> NoReturn:
    raise OSError(errno.EIO, "Input/output error")


def test_a_full_disk_refuses_writes_keeps_reads_and_recovers_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS, ONE)])
    write = MemoryFile.append

    def half_then_full(file: MemoryFile, parts: list) -> int:
        write(file, [b"".join(map(bytes, parts))[:20]])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(MemoryFile, "append", half_then_full)
        with pytest.raises(DiskFull, match="writes are refused and reads go on"):
            append(engine, [(B, NOW_MS, ONE)])
        with pytest.raises(DiskFull):
            engine.flush()
        assert everything(engine) == [(A, NOW_MS, ONE)]
    append(engine, [(B, NOW_MS, ONE)])
    wanted = [(A, NOW_MS, ONE), (B, NOW_MS, ONE)]
    assert everything(engine) == wanted
    again = open_engine(disk.reboot())
    assert everything(again) == wanted
    assert again.stats()["quarantined_frames"] == again.stats()["torn_tails"] == 0, "the half frame was cut"


@pytest.mark.parametrize("is_old", [False, True])
def test_a_flush_that_fails_half_way_leaves_no_block_behind(monkeypatch: pytest.MonkeyPatch, *, is_old: bool) -> None:
    """Also one of six windows of 128 h, which are written at once."""
    disk = MemoryDisk()
    engine = open_engine(disk)
    steps_ms = range(0, -2_000 * HOUR_MS, -100 * HOUR_MS) if is_old else (0, 2 * HOUR_MS)
    append(engine, [(A, NOW_MS + step_ms, ONE) for step_ms in steps_ms])
    create, block_numbers = MemoryDisk.create, itertools.count()

    def full_at_the_second_block(self: MemoryDisk, path: Path) -> MemoryFile:
        if path.parent.name == "blocks" and next(block_numbers) % 2:
            fail_full()
        return create(self, path)

    with monkeypatch.context() as full:
        full.setattr(MemoryDisk, "create", full_at_the_second_block)
        for _ in range(3):
            with pytest.raises(DiskFull):
                engine.flush()
            assert disk.names(FOLDER / "blocks") == []
    engine.flush()
    assert engine.stats()["block_count"] == len(disk.names(FOLDER / "blocks")) == (16 if is_old else 2)
    assert len(everything(engine)) == len(steps_ms)


def test_a_segment_that_cannot_be_begun_leaves_no_file_open_or_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(None, tmp_path)
    append(engine, [(A, NOW_MS, ONE)])

    open_count = len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as full:
        full.setattr(OsFile, "append", fail_full)
        for _ in range(3):
            with pytest.raises(DiskFull):
                engine.flush()
    assert len(list(Path("/proc/self/fd").iterdir())) == open_count
    assert len(list((tmp_path / "wal").iterdir())) == 1
    assert everything(engine) == [(A, NOW_MS, ONE)]
    engine.close()


def test_a_segment_that_cannot_be_begun_does_not_cost_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: what is cut off after a failed write is that write alone, also after a roll that failed late."""
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS, ONE)])

    for method, act in (("sync_folder", engine.flush), ("append", lambda: append(engine, [(B, NOW_MS, ONE)]))):
        with monkeypatch.context() as full:
            full.setattr(MemoryDisk if method == "sync_folder" else MemoryFile, method, fail_full)
            with pytest.raises(DiskFull):
                act()
    append(engine, [(B, NOW_MS, ONE)])
    assert everything(open_engine(disk.reboot())) == [(A, NOW_MS, ONE), (B, NOW_MS, ONE)]


def test_an_old_head_whose_flush_failed_is_flushed_as_soon_as_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = DrivenClock()
    engine = open_engine(MemoryDisk(), clock=clock)
    append(engine, [(A, NOW_MS, ONE)])
    clock.time_ms += 3 * HOUR_MS

    with monkeypatch.context() as broken:
        broken.setattr(MemoryDisk, "create", fail_broken)
        with pytest.raises(NotReady, match="new segment"):
            engine.tick(NOW_MS)
    clock.time_ms += 1_000
    engine.tick(NOW_MS)
    assert engine.stats()["block_count"] == 1


def test_a_failed_sync_refuses_the_batch_and_the_log_goes_on_in_a_new_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)

    with monkeypatch.context() as broken:
        broken.setattr(MemoryFile, "sync", fail_broken)
        with pytest.raises(NotReady, match="could not be synced"):
            append(engine, [(A, NOW_MS, ONE)])
    append(engine, [(A, NOW_MS, ONE), (B, NOW_MS, ONE)])
    assert len(disk.names(FOLDER / "wal")) == 2
    assert set(everything(open_engine(disk.reboot()))) == {(A, NOW_MS, ONE), (B, NOW_MS, ONE)}


@pytest.mark.parametrize("comes_more", [False, True])
def test_samples_whose_sync_failed_are_soon_made_durable_as_blocks(
    monkeypatch: pytest.MonkeyPatch, comes_more: bool
) -> None:
    disk, clock = MemoryDisk(), DrivenClock()
    engine = open_engine(disk, fsync="interval", clock=clock)
    append(engine, [(A, NOW_MS, ONE)])
    clock.time_ms += 1_000

    with monkeypatch.context() as broken:
        broken.setattr(MemoryFile, "sync", fail_broken)
        with pytest.raises(NotReady, match="could not be synced"):
            engine.tick(NOW_MS)
    if comes_more:  # It goes into a new segment, which hides that the old one is broken.
        append(engine, [(A, NOW_MS, ONE)])
    engine.tick(NOW_MS)
    assert engine.stats()["block_count"] == 1
    assert everything(open_engine(disk.reboot())) == [(A, NOW_MS, ONE)]


def test_a_batch_of_a_broken_segment_is_refused_however_often_the_log_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: who is slow to ask for his sync is not told that it was made. Method: break, fail to roll, roll, break."""
    disk = MemoryDisk()
    engine = open_engine(disk, fsync="never")

    def break_once() -> None:
        append(engine, [(A, NOW_MS, ONE)])
        with monkeypatch.context() as broken:
            broken.setattr(MemoryFile, "sync", fail_broken)
            with pytest.raises(NotReady, match="could not be synced"):
                engine._wal.sync()

    break_once()
    slow = engine._wal.written_count
    with monkeypatch.context() as broken:
        broken.setattr(MemoryDisk, "create", fail_broken)
        with pytest.raises(NotReady, match="new segment"):
            append(engine, [(A, NOW_MS, ONE)])
    break_once()
    append(engine, [(A, NOW_MS, ONE)])
    with pytest.raises(NotReady, match="could not be synced"):
        engine._wal.sync(slow)

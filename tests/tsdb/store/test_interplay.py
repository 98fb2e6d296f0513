"""What parts of the store do to each other: numbers given anew, full disks and upkeep, removals, extreme times."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

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
    rows_of,
)
from tests.tsdb.store.test_retention import live
from tests.tsdb.store.test_tiers import MINUTE_MS, ONE_TIER, rolled
from tsdb.errors import DiskFull, NotReady
from tsdb.interface import Aggregate, Grain
from tsdb.sample import Matcher, MatchOp
from tsdb.store.engine import Engine
from tsdb.store.reader import BlockReader

A, B = labels(name="a"), labels(name="b")
ONE, TWO = bits_of(1.0), bits_of(2.0)
ALWAYS = (0, 2**62)


def named(name: str) -> list[Matcher]:
    return [Matcher("__name__", MatchOp.EQUAL, name)]


def read_elsewhere(reader: BlockReader, engine: Engine) -> list[Any]:
    found = engine.snapshot([], *ALWAYS)
    return rows_of(reader.select(found.blocks, [], *ALWAYS, found.heads, None, found.tombstones))


def test_a_reader_that_outlives_the_store_does_not_take_a_new_block_for_one_of_its_name_that_is_gone(
    tmp_path: Path,
) -> None:
    clock = DrivenClock()
    engine = open_engine(None, tmp_path, clock=clock)
    reader = BlockReader(tmp_path)
    append(engine, [(A, NOW_MS, ONE)])
    engine.flush()
    assert read_elsewhere(reader, engine) == [(A, NOW_MS, ONE)]
    engine.delete(named("a"), *ALWAYS)
    engine.erase()
    clock.time_ms += 31_000
    engine.tick(clock.time_ms)
    assert engine.stats()["tombstone_count"] == 0
    engine.close()
    engine = open_engine(None, tmp_path, clock=clock)
    append(engine, [(B, NOW_MS + 1, TWO)])
    engine.flush()
    assert read_elsewhere(reader, engine) == [(B, NOW_MS + 1, TWO)]
    engine.close()


class SmallDisk(MemoryDisk):
    """Full while is_full, but for the log."""

    is_full = False

    def create(self, path: Path) -> MemoryFile:
        if self.is_full and path.parent.name == "blocks":
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().create(path)


def test_a_full_disk_keeps_upkeep_from_nothing_that_makes_room() -> None:
    disk, clock = SmallDisk(), DrivenClock()
    engine = open_engine(disk, clock=clock, retention_raw_ms=24 * HOUR_MS)
    for value in (ONE, TWO):
        append(engine, [(A, NOW_MS, value)], NOW_MS)
        engine.flush()
    engine.compact()
    assert len(disk.names(FOLDER / "blocks")) == 3, "two are there for readers alone"
    disk.is_full = True
    clock.time_ms += 48 * HOUR_MS
    append(engine, [(A, clock.time_ms, ONE)], clock.time_ms)
    for _ in range(3):
        clock.time_ms += 31_000
        with pytest.raises(DiskFull):
            engine.tick(clock.time_ms)
    assert disk.names(FOLDER / "blocks") == [], "what was joined is gone, and what is past its time"
    disk.is_full = False
    engine.tick(clock.time_ms)
    assert [row[1] for row in everything(engine)] == [NOW_MS + 48 * HOUR_MS]


def test_a_long_compaction_frees_replaced_files_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a folder does not double. Method: half a minute passes at each new file; how many files are there then."""
    disk, clock = MemoryDisk(), DrivenClock()
    engine = open_engine(disk, clock=clock)
    base_ms = NOW_MS // (128 * HOUR_MS) * 128 * HOUR_MS
    for number in range(24):  # Two blocks in each of twelve windows of 128 h.
        append(engine, [(A, base_ms - (number // 2) * 128 * HOUR_MS + number, ONE)])
        engine.flush()
    create, there = MemoryDisk.create, []

    def slow(self: MemoryDisk, path: Path) -> MemoryFile:
        there.append(len(disk.names(FOLDER / "blocks")))
        clock.time_ms += 31_000
        return create(self, path)

    with monkeypatch.context() as watched:
        watched.setattr(MemoryDisk, "create", slow)
        engine.compact()
    assert len(there) >= 12
    assert max(there) <= 24 + 3, "what one join has replaced goes while the next ones are written"
    assert there[-1] < 16
    assert len(everything(engine)) == 24


def test_a_flush_that_fails_again_and_again_begins_no_more_segments() -> None:
    disk, clock = SmallDisk(), DrivenClock()
    engine = open_engine(disk, clock=clock)
    disk.is_full = True
    for at in range(20):
        append(engine, [(A, NOW_MS + at, ONE)])
        with pytest.raises(DiskFull):
            engine.flush()
        clock.time_ms += 1_000
    assert len(disk.names(FOLDER / "wal")) <= 4
    wanted = [(A, NOW_MS + at, ONE) for at in range(20)]
    assert everything(engine) == everything(open_engine(disk.reboot())) == wanted
    disk.is_full = False
    engine.flush()
    assert everything(engine) == wanted
    assert len(disk.names(FOLDER / "wal")) <= 2
    assert engine.stats()["head_samples"] == 0
    assert everything(open_engine(disk.reboot())) == wanted


def test_a_log_that_is_broken_prepares_no_segment() -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS, ONE)])
    wal = engine._wal
    wal.is_broken = True
    before = disk.names(FOLDER / "wal")
    wal.prepare(lambda: None)
    assert disk.names(FOLDER / "wal") == before


@pytest.mark.parametrize(
    ("start_ms", "end_ms"),
    [(-(2**63), 2**63 - 1), (0, 2**63 - 1), (-(2**63), NOW_MS), (0, 2**64 - 1), (-(2**64), 2**80)],
)
def test_a_delete_from_ever_to_ever_hides_all_of_a_series(start_ms: int, end_ms: int) -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS, ONE), (B, NOW_MS, ONE)])
    engine.delete(named("a"), start_ms, end_ms)
    assert everything(engine) == [(B, NOW_MS, ONE)]
    assert rows_of(engine.select([], -(2**63), 2**63 - 1)) == [(B, NOW_MS, ONE)]
    again = open_engine(disk.reboot())
    assert everything(again) == [(B, NOW_MS, ONE)]
    again.compact()
    assert everything(again) == [(B, NOW_MS, ONE)]


def test_no_block_gets_the_number_of_one_in_the_quarantine() -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    for at in range(3):
        append(engine, [(A, NOW_MS + at, ONE)])
        engine.flush()
    (last,) = disk.names(FOLDER / "blocks")[-1:]
    disk = disk.reboot()
    disk.damage(FOLDER / "blocks" / last, -1)
    disk = _closed(disk)
    assert last in disk.names(FOLDER / "quarantine")
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS + 7, ONE)])
    engine.flush()
    assert last not in disk.names(FOLDER / "blocks")


def _closed(disk: MemoryDisk) -> MemoryDisk:
    open_engine(disk).close()
    return disk.reboot()


def test_a_removal_that_failed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    disk, clock = MemoryDisk(), DrivenClock()
    engine = open_engine(disk, clock=clock)
    for at in range(3):
        append(engine, [(A, NOW_MS + at, ONE)])
        engine.flush()
    engine.compact()
    clock.time_ms += 31_000
    remove = MemoryDisk.remove

    def broken(self: MemoryDisk, path: Path) -> None:
        if path.suffix == ".block":
            raise OSError(errno.EIO, "Input/output error")
        remove(self, path)

    with monkeypatch.context() as failing:
        failing.setattr(MemoryDisk, "remove", broken)
        with pytest.raises(OSError, match="Input"):
            engine.tick(clock.time_ms)
    engine.tick(clock.time_ms)
    assert len(disk.names(FOLDER / "blocks")) == 1


BUCKET_MS = 10 * MINUTE_MS
EVER = (-(2**63), 2**63 - 1)


@pytest.mark.parametrize("aggregate", Aggregate)
@pytest.mark.parametrize("meant", [EVER, (NOW_MS + 15 * MINUTE_MS, NOW_MS + 65 * MINUTE_MS)])
def test_a_delete_where_rollups_alone_are_left_hides_every_bucket_that_it_touches(
    aggregate: Aggregate, meant: tuple[int, int]
) -> None:
    grain = Grain(aggregate, BUCKET_MS)
    rows = [(one, NOW_MS + 5 * MINUTE_MS * at + 1, bits_of(float(at))) for one in (A, B) for at in range(8 * 12)]
    engine = rolled(ONE_TIER, rows, NOW_MS + 100 * HOUR_MS)

    def read(engine: Engine, start_ms: int, end_ms: int) -> list[Any]:
        found = rows_of(engine.select([], start_ms, end_ms, grain))
        # Of an increase what counts are the differences; it begins at another number when some of it is deleted.
        return [row[:2] if aggregate is Aggregate.INCREASE else row for row in found]

    before = read(engine, *EVER)
    left = [row for row in before if row[0] != A or row[1] < meant[0] or row[1] - BUCKET_MS >= meant[1]]
    assert len(left) < len(before)
    assert engine.delete(named("a"), *meant) == 1
    for after_ms in range(0, 130 * MINUTE_MS, 7 * MINUTE_MS):
        start_ms, end_ms = NOW_MS + after_ms, NOW_MS + after_ms + 20 * MINUTE_MS
        assert read(engine, start_ms, end_ms) == [row for row in left if start_ms <= row[1] <= end_ms]
    clock, disk = engine._clock, engine._disk
    assert isinstance(clock, DrivenClock)
    assert isinstance(disk, MemoryDisk)
    for _ in range(2):
        engine = open_engine(disk.reboot(), schemas=ONE_TIER, clock=clock, future_max_ms=10_000 * HOUR_MS)
        assert read(engine, *EVER) == left
        engine.compact()
        assert read(engine, *EVER) == left
        live(engine, clock, clock.time_ms + HOUR_MS)
        assert read(engine, *EVER) == left
        assert engine.stats()["tombstone_count"] == 0
        disk = engine._disk  # type: ignore[assignment]


def staged(disk: MemoryDisk) -> list[str]:
    return disk.folders(FOLDER.parent / "snapshots")


def test_a_snapshot_that_fails_or_is_cut_off_keeps_no_deleted_block_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS, ONE), (A, NOW_MS + 2 * HOUR_MS, ONE)])
    engine.flush()
    link = MemoryDisk.link

    def full_at_the_second(self: MemoryDisk, path: Path, new_path: Path) -> None:
        if self.names(new_path.parent):
            raise OSError(errno.ENOSPC, "No space left on device")
        link(self, path, new_path)

    with monkeypatch.context() as full:
        full.setattr(MemoryDisk, "link", full_at_the_second)
        with pytest.raises(NotReady):
            engine.backup()
    assert staged(disk) == []
    disk.make_folder(FOLDER.parent / "snapshots" / "x.tmp")
    disk.link(disk.paths(FOLDER / "blocks")[0], FOLDER.parent / "snapshots" / "x.tmp" / "y.block")
    engine.close()
    engine = open_engine(disk)
    assert staged(disk) == []


def test_the_log_is_synced_while_upkeep_is_busy() -> None:
    disk, clock = MemoryDisk(), DrivenClock()
    engine = open_engine(disk, clock=clock, fsync="interval", fsync_interval_ms=200)
    append(engine, [(A, NOW_MS, ONE)])
    clock.time_ms += 200
    with engine._upkeep_lock:  # As a long delete holds it.
        engine.sync_if_due()
    assert everything(open_engine(disk.reboot())) == [(A, NOW_MS, ONE)]


def test_a_segment_that_breaks_during_a_flush_is_not_dropped_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    breathe = Engine._breathe
    rows = [(B, NOW_MS, ONE), (B, NOW_MS + 1, TWO)]

    def append_and_break(engine: Engine) -> None:
        monkeypatch.setattr(Engine, "_breathe", breathe)
        append(engine, rows[:1])
        engine._wal.is_broken = True  # As after a sync that failed: the next append begins another segment.
        append(engine, rows[1:])

    disk = MemoryDisk()
    monkeypatch.setattr(Engine, "_breathe", append_and_break)
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS, ONE)])
    clock = engine._clock
    assert isinstance(clock, DrivenClock)
    clock.time_ms += 5_000  # Else a segment is prepared first, with a breath in it.
    engine.flush()
    wanted = [(A, NOW_MS, ONE), *rows]
    assert everything(engine) == everything(open_engine(disk.reboot())) == wanted

"""A real file system that is full to its last byte: what the store refuses, what it still answers, what it frees."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.retention import parse_retention
from tests.endtoend.smalldisk import SmallDisk, small_disk
from tests.tsdb.store.stores import (
    HOUR_MS,
    NOW_MS,
    DrivenClock,
    Row,
    append,
    bits_of,
    everything,
    labels,
    open_engine,
)
from tsdb.errors import DiskFull
from tsdb.sample import Matcher, MatchOp
from tsdb.store.engine import Engine
from tsdb.store.retention import FULL_PATIENCE_S
from tsdb.store.schemas import SchemaTable

DISK_BYTES = 4 << 20
WINDOW_MS = 2 * HOUR_MS
FIRST_MS = NOW_MS - 12 * WINDOW_MS
A = labels(name="a")
NAMED_A = [Matcher("__name__", MatchOp.EQUAL, "a")]
TIERS = SchemaTable.of(parse_retention("raw:6h,10m:10d,1h:forever"))


@pytest.fixture(autouse=True)
def _nothing_settles(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is past its time leaves at once, also by the clocks of these tests, which are set back after the start."""
    monkeypatch.setattr("tsdb.store.settling.SETTLING_S", -math.inf)
    monkeypatch.setattr("tsdb.store.settling.SETTLING_AFTER_START_S", -math.inf)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", DISK_BYTES) as mounted:
        yield mounted


def window(number: int) -> list[Row]:
    """A sample every four seconds of one window: about 15 KB in a block, 30 KB in the log."""
    at_ms = FIRST_MS + number * WINDOW_MS
    return [(A, at_ms + 4_000 * step, bits_of((number + 1) / (step + 3))) for step in range(1_800)]


def sent(engine: Engine, clock: DrivenClock, number: int) -> list[Row]:
    """A window's samples, when it ends."""
    clock.time_ms = FIRST_MS + (number + 1) * WINDOW_MS
    rows = window(number)
    assert append(engine, rows, now_ms=clock.time_ms).accepted_count == len(rows)
    return rows


def flushed(engine: Engine, clock: DrivenClock, numbers: range) -> list[Row]:
    rows: list[Row] = []
    for number in numbers:
        rows += sent(engine, clock, number)
        engine.flush()
    return rows


def upkeep(engine: Engine, clock: DrivenClock, seconds: float) -> None:
    """Tick every ten seconds, as full as the disk may be."""
    end_ms = clock.time_ms + round(1_000 * seconds)
    while clock.time_ms < end_ms:
        clock.time_ms += 10_000
        with contextlib.suppress(DiskFull):
            engine.tick(clock.time_ms)


WRITES: dict[str, Callable[[Engine], object]] = {
    "flush": Engine.flush,
    "compact": Engine.compact,
    "delete": lambda engine: engine.delete(NAMED_A, 0, 2**40),
    "snapshot": Engine.backup,
    "snapshot of the blocks alone": lambda engine: engine.backup(skips_head=True),
}


def test_writes_of_every_kind_are_refused_leave_nothing_behind_and_work_when_there_is_room(disk: SmallDisk) -> None:
    folder = disk.path / "samples"
    clock = DrivenClock()
    engine = open_engine(None, folder, clock=clock)
    held = flushed(engine, clock, range(3))
    held += sent(engine, clock, 3)
    disk.fill()
    files = sorted(path for path in folder.rglob("*") if path.parent.name != "wal")
    for name, write in WRITES.items():
        with pytest.raises(DiskFull, match="No space left on device; writes are refused and reads go on"):
            write(engine)
        assert everything(engine) == held, name
        assert sorted(path for path in folder.rglob("*") if path.parent.name != "wal") == files, name
    with pytest.raises(DiskFull):
        sent(engine, clock, 4)
    assert everything(engine) == held
    assert not [path for path in (disk.path / "snapshots").glob("*") if any(path.rglob("*"))]

    engine.close()
    engine = open_engine(None, folder, clock=clock)
    assert everything(engine) == held, "nothing acknowledged is lost by a restart on the full disk"
    disk.free()
    held += sent(engine, clock, 4)
    taken = engine.backup()
    assert (taken / "MANIFEST.json").exists()
    engine.compact()
    assert everything(engine) == held
    assert engine.delete(NAMED_A, FIRST_MS, FIRST_MS + WINDOW_MS - 1) == 1
    assert everything(engine) == held[1_800:]
    engine.close()


def test_samples_past_their_time_leave_a_full_disk_without_rollups_when_that_lasts(disk: SmallDisk) -> None:
    clock = DrivenClock()
    engine = open_engine(None, disk.path / "samples", clock=clock, schemas=TIERS)
    flushed(engine, clock, range(3))
    recent = sent(engine, clock, 7)
    disk.fill()
    upkeep(engine, clock, FULL_PATIENCE_S - 20)
    stats = engine.stats()
    assert (stats["dropped_without_rollup"], stats["rolled_windows"], stats["block_count"]) == (0, 0, 3)
    upkeep(engine, clock, 120)
    stats = engine.stats()
    assert stats["dropped_without_rollup"] >= 1
    rolled = stats["rolled_windows"]
    assert stats["dropped_without_rollup"] + rolled == 3, "what came later found room for its rollups, or did not"
    assert [row for row in everything(engine) if row[1] >= recent[0][1]] == recent
    engine.flush()  # The room that was made is enough for what the head holds.
    assert [row for row in everything(engine) if row[1] >= recent[0][1]] == recent
    engine.close()


def test_rollups_are_written_when_room_comes_back_in_time(disk: SmallDisk) -> None:
    clock = DrivenClock()
    engine = open_engine(None, disk.path / "samples", clock=clock, schemas=TIERS)
    flushed(engine, clock, range(3))
    sent(engine, clock, 7)
    disk.fill()
    upkeep(engine, clock, FULL_PATIENCE_S - 20)
    disk.free()
    upkeep(engine, clock, 60)
    stats = engine.stats()
    assert (stats["dropped_without_rollup"], stats["rolled_windows"]) == (0, 3)
    disk.fill()  # The patience begins anew each time.
    append_ms = clock.time_ms
    upkeep(engine, clock, FULL_PATIENCE_S - 20)
    assert engine.stats()["dropped_without_rollup"] == 0, append_ms
    engine.close()


def test_what_needs_no_rollup_leaves_a_full_disk_at_once(disk: SmallDisk) -> None:
    clock = DrivenClock()
    schemas = SchemaTable.of(parse_retention("raw:6h,10m:8h"))
    engine = open_engine(None, disk.path / "samples", clock=clock, schemas=schemas)
    flushed(engine, clock, range(2))
    recent = sent(engine, clock, 10)
    disk.fill()
    upkeep(engine, clock, 60)
    assert engine.stats()["dropped_without_rollup"] == 0, "their rollups are past their time too"
    assert everything(engine) == recent
    engine.close()


def test_a_budget_that_is_used_up_frees_a_full_disk(disk: SmallDisk) -> None:
    clock = DrivenClock()
    engine = open_engine(
        None, disk.path / "samples", clock=clock, schemas=SchemaTable.of(parse_retention("raw:90d,1m:1y"))
    )
    held = flushed(engine, clock, range(4))
    sent(engine, clock, 11)
    engine._budget.bytes_max = engine._budget.used_bytes - 20_000  # Two windows.
    disk.fill()
    upkeep(engine, clock, 120)
    assert engine.stats()["dropped_without_rollup"] >= 1
    engine.flush()
    left = everything(engine)
    assert set(left) < set(held + window(11))
    assert left[-1_800:] == window(11)
    engine.close()

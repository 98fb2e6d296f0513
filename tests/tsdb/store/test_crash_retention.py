"""Crashes of the machine at every disk operation of retention: what left is in its rollups once, or is still there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cache

import pytest

from appliance.retention import parse_retention, parse_schemas
from tests.profile import IS_FULL
from tests.sim.crashes import Seeds, first_wrong, seeds_at
from tests.sim.disk import DiskCrash, MemoryDisk
from tests.tsdb.store.stores import HOUR_MS, NOW_MS, DrivenClock, append, bits_of, labels, open_engine
from tests.tsdb.store.test_buckets import same
from tests.tsdb.store.test_retention import everything_raw, expected, live, rollups_of
from tsdb.interface import Aggregate
from tsdb.store.block.layout import BlockEntry
from tsdb.store.engine import Engine
from tsdb.store.rollup import ColumnWriters
from tsdb.store.schemas import SchemaTable

GOING, STAYING = labels(name="going"), labels(name="staying")
SCHEMAS = SchemaTable.of(
    parse_retention("raw:6h,1h:27h,2h:forever"),
    parse_schemas('[{"name": "all", "pattern": "staying", "retention": "raw:forever"}]'),
)
START_MS = NOW_MS + 2 * HOUR_MS  # Where a window of 8 h begins.
END_MS = START_MS + 30 * HOUR_MS
OLD = [
    (one, START_MS + minute * 60_000 + 7, bits_of(float(minute % 7)))
    for minute in (0, 10, 59, 61, 110, 120, 130, 500)
    for one in (GOING, STAYING)
]  # Of three windows; whole numbers, so that sums are exact in any order.
LATE = [(GOING, START_MS + HOUR_MS, bits_of(100.0))]  # Still in the head when its window leaves.
NEWEST = [(STAYING, END_MS, bits_of(1.0))]  # Without a sample as new as the clock nothing leaves.
ROWS = [*OLD, *LATE, *NEWEST]


def opened(disk: MemoryDisk, clock: DrivenClock) -> Engine:
    # No window is over yet for a join: so the windows leave one by one, and their rollups are joined.
    return open_engine(
        disk, clock=clock, schemas=SCHEMAS, future_max_ms=100 * HOUR_MS, out_of_order_window_ms=100 * HOUR_MS
    )


@cache
def written() -> MemoryDisk:
    """A disk on which three windows are in blocks and the rest in the log; to be rebooted, not used."""
    disk = MemoryDisk()
    engine = opened(disk, DrivenClock())
    append(engine, OLD, now_ms=START_MS)
    engine.flush()
    append(engine, [*LATE, *NEWEST], now_ms=END_MS)
    engine.close()
    return disk


def retained(disk: MemoryDisk) -> Engine:
    """An engine that has done all that is due: the samples leave, then some of the rollups of an hour."""
    clock = DrivenClock(END_MS - HOUR_MS)
    engine = opened(disk, clock)
    live(engine, clock, clock.time_ms)
    live(engine, clock, END_MS)
    clock.time_ms += 31_000
    engine.tick(clock.time_ms)  # Files of before go.
    return engine


def count_of(engine: Engine) -> int:
    """How many samples of the series that goes there are, as they came and in the rollups that stand for them."""
    rolled = sum(
        bucket.get(Aggregate.COUNT, 0)
        for buckets in rollups_of(engine, 2 * HOUR_MS).values()
        for bucket in buckets.values()
    )
    return int(rolled) + sum(one == GOING for one, _, _ in everything_raw(engine))


def what_goes_wrong(seeds: Seeds = (None, 1, 2), *, syncs_files: bool = True) -> str:
    def crash(crash_at: int) -> tuple[str, bool]:
        disk = written().reboot()
        disk.crash_at, disk.syncs_files = crash_at, syncs_files
        with contextlib.suppress(DiskCrash):
            retained(disk)
        for seed in seeds_at(crash_at, seeds):
            if wrong := wrong_after(disk.reboot(seed)):
                return f"{wrong}, {crash_at=}, {seed=}, {disk.operations[-3:]=}", disk.crashed
        return "", disk.crashed

    return first_wrong(crash, step=1 if IS_FULL else 3)  # A block is made durable in four operations.


def wrong_after(disk: MemoryDisk) -> str:
    going = [row for row in ROWS if row[0] == GOING]
    engine = opened(disk, DrivenClock(END_MS))
    if (count := count_of(engine)) != len(going):
        return f"{count - len(going):+d} samples as it starts"
    engine.close()
    engine = retained(disk)
    if not same(rollups_of(engine, 2 * HOUR_MS), expected(going, 2 * HOUR_MS)):
        return "other buckets in the end"
    if set(everything_raw(engine)) != {one for one in ROWS if one[0] == STAYING}:
        return "other samples in the end"
    engine.close()
    return ""


def test_the_life_has_everything() -> None:
    """Rollups of both tiers are written, joined and dropped, and a block with the rest; else the next test shows less
    than it says."""
    disk = written().reboot()
    engine = retained(disk)
    stats = engine.stats()
    assert stats["rolled_windows"] >= 2
    assert stats["dropped_rollups"] >= 1
    names = [one.name for one in engine._catalogue.rollups]
    assert {name.window_ms for name in names} > {2 * HOUR_MS}, "some were joined"
    assert {name.tier_ms for name in names} == {HOUR_MS, 2 * HOUR_MS}


def test_what_leaves_is_there_once_after_a_crash_at_every_disk_operation() -> None:
    """Goal: after any crash each sample that was to leave is either there as it came or in one bucket of a rollup, and
    the retention goes on to the same end. Method: as in test_crash.py."""
    assert what_goes_wrong() == ""


def test_the_crash_test_notices_samples_that_go_before_their_rollups_are_durable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finish = ColumnWriters.finish

    def too_early(self: ColumnWriters, sources: list[str]) -> list[BlockEntry]:
        for name in sources:
            self._folder.disk.remove(self._folder.path / name)
        self._folder.disk.sync_folder(self._folder.path)
        return finish(self, sources)

    monkeypatch.setattr(ColumnWriters, "finish", too_early)
    assert "samples" in what_goes_wrong()


def _any_part_counts(found: dict[str, BlockEntry]) -> tuple[set[str], set[str]]:
    return {name for entry in found.values() for name in entry.summary.rolled_from if name in found}, set()


def _no_part_counts(found: dict[str, BlockEntry]) -> tuple[set[str], set[str]]:
    return set(), set()


MUTANTS: dict[str, tuple[str, Callable[..., object]]] = {
    "a part of a set that counts": ("tsdb.store.catalogue._rolled", _any_part_counts),
    "samples that stay beside their rollups": ("tsdb.store.catalogue._rolled", _no_part_counts),
}


@pytest.mark.parametrize(("target", "mutant"), MUTANTS.values(), ids=MUTANTS.keys())
def test_the_crash_test_notices(monkeypatch: pytest.MonkeyPatch, target: str, mutant: Callable[..., object]) -> None:
    monkeypatch.setattr(target, mutant)
    assert what_goes_wrong() != ""


def test_the_crash_test_notices_a_disk_that_does_not_sync_files() -> None:
    assert what_goes_wrong(syncs_files=False) != ""

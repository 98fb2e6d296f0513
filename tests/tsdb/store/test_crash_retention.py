"""Crashes of the machine at every disk operation of retention: what left is in its rollups once, or is still there."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from functools import cache

import pytest

from appliance.retention import parse_retention, parse_schemas
from tests.sim.disk import DiskCrash, MemoryDisk
from tests.tsdb.store.stores import HOUR_MS, NOW_MS, DrivenClock, Row, append, bits_of, labels, open_engine
from tests.tsdb.store.test_buckets import same
from tests.tsdb.store.test_retention import everything_raw, expected, live, rollups_of
from tsdb.interface import Aggregate
from tsdb.store.block.layout import BlockEntry
from tsdb.store.engine import Engine
from tsdb.store.rollup import ColumnWriters
from tsdb.store.schemas import SchemaTable

GOING, STAYING = labels(name="going"), labels(name="staying")
SCHEMAS = SchemaTable.of(
    parse_retention("raw:6h,10m:12h,1h:forever"),
    parse_schemas('[{"name": "all", "pattern": "staying", "retention": "raw:forever"}]'),
)
END_MS = NOW_MS + 30 * HOUR_MS
OLD = [
    (one, NOW_MS + at * 1_500_000 + 7, bits_of(float(at % 7))) for at in range(12) for one in (GOING, STAYING)
]  # Of three windows; whole numbers, so that sums are exact in any order.
LATE = [(GOING, NOW_MS + HOUR_MS, bits_of(100.0))]  # Still in the head when its window leaves.
NEWEST = [(STAYING, END_MS, bits_of(1.0))]  # Without a sample as new as the clock nothing leaves.
ROWS = [*OLD, *LATE, *NEWEST]


def opened(disk: MemoryDisk, clock: DrivenClock) -> Engine:
    return open_engine(disk, clock=clock, schemas=SCHEMAS, future_max_ms=100 * HOUR_MS)


@cache
def written() -> MemoryDisk:
    """A disk on which three windows are in blocks and the rest in the log; to be rebooted, not used."""
    disk = MemoryDisk()
    engine = opened(disk, DrivenClock())
    append(engine, OLD, now_ms=NOW_MS)
    engine.flush()
    append(engine, [*LATE, *NEWEST], now_ms=END_MS)
    engine.close()
    return disk


def retained(disk: MemoryDisk) -> Engine:
    """An engine that has done all that is due: 5 h in which the last windows leave, and those 10 m rollups go."""
    clock = DrivenClock(END_MS - 5 * HOUR_MS)
    engine = opened(disk, clock)
    live(engine, clock, END_MS)
    clock.time_ms += 31_000
    engine.tick(clock.time_ms)  # Files of before go.
    return engine


def count_of(engine: Engine) -> int:
    """How many samples of the series that goes there are, as they came and in the rollups that stand for them."""
    hours = rollups_of(engine, HOUR_MS)
    rolled = sum(bucket[Aggregate.COUNT] for buckets in hours.values() for bucket in buckets.values())
    return int(rolled) + sum(one == GOING for one, _, _ in everything_raw(engine))


def what_goes_wrong(seeds: tuple[int | None, ...] = (None,), every: int = 1, **disk_settings: bool) -> str:
    going = [row for row in ROWS if row[0] == GOING]
    for crash_at in itertools.count(0, every):
        disk = written().reboot()
        disk.crash_at = crash_at
        disk.syncs_files, disk.syncs_folders = (
            disk_settings.get("syncs_files", True),
            disk_settings.get("syncs_folders", True),
        )
        with contextlib.suppress(DiskCrash):
            retained(disk)
        for seed in seeds:
            where = f"{crash_at=}, {seed=}, {disk.operations[-3:]=}"
            after = disk.reboot(seed)
            engine = opened(after, DrivenClock(END_MS))
            if (count := count_of(engine)) != len(going):
                return f"{count - len(going):+d} samples as it starts, {where}"
            engine.close()
            engine = retained(after)
            if not same(rollups_of(engine, HOUR_MS), expected(going, HOUR_MS)):
                return f"other buckets in the end, {where}"
            raw: set[Row] = set(everything_raw(engine))
            if raw != set(ROWS) - set(going):
                return f"{len(raw)} samples in the end, {where}"
            assert rollups_of(engine, 600_000) == {}, where
            engine.close()
        if not disk.crashed:
            return ""
    raise AssertionError


def test_what_leaves_is_there_once_after_a_crash_at_every_disk_operation() -> None:
    """Goal: after any crash each sample that was to leave is either there as it came or in one bucket of a rollup, and
    the retention goes on to the same end. Method: as in test_crash.py."""
    assert what_goes_wrong((None, 1)) == ""


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


@pytest.mark.parametrize("missing", ["syncs_files", "syncs_folders"])
def test_the_crash_test_notices_a_disk_that_does_not_sync(missing: str) -> None:
    assert what_goes_wrong(**{missing: False}) != ""

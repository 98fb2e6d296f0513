"""What leaves and what stands for it: over years of a driven clock, through crashes, by schema, for want of space."""

from __future__ import annotations

import errno
import math
from typing import NoReturn

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from appliance.retention import SchemaRule, parse_retention, parse_schemas
from tests.profile import IS_FULL
from tests.sim.disk import MemoryDisk, MemoryFile
from tests.tsdb.store.stores import (
    FOLDER,
    HOUR_MS,
    NOW_MS,
    DrivenClock,
    Row,
    append,
    bits_of,
    labels,
    open_engine,
    value_of,
)
from tests.tsdb.store.test_buckets import same, twin_of
from tsdb.interface import Aggregate, Grain
from tsdb.sample import STALE_NAN_BITS, Labels, labels_of
from tsdb.store.block.layout import WINDOW_MS, BlockEntry, BlockName, Summary
from tsdb.store.buckets import combined
from tsdb.store.budget import Forecast, forecast
from tsdb.store.departures import Drop, Join, Leave, plan_by_age, plan_for_space, plan_joins, windows_of
from tsdb.store.engine import Engine
from tsdb.store.flush import BlockFolder
from tsdb.store.index import SeriesIndex
from tsdb.store.rollup import BlockSet
from tsdb.store.schemas import SchemaTable

DAY_MS = 24 * HOUR_MS
A, B, C = (labels(name=name) for name in "abc")
ONE = bits_of(1.0)
MINUTES = SchemaTable.of(parse_retention("raw:6h,10m:10d,1h:forever"))


def rollups_of(engine: Engine, tier_ms: int) -> dict[int, dict[int, dict[Aggregate, float]]]:
    """Every bucket of a tier, as test_buckets has them; series by the order of their labels."""
    found: dict[Labels, dict[int, dict[Aggregate, float]]] = {}
    folder = BlockFolder(disk=engine._disk, path=engine.folder / "blocks", next_number=lambda: 0, breathe=lambda: None)
    for aggregate in Aggregate:
        entries = sorted(
            (
                one
                for one in engine._catalogue.rollups
                if (one.name.tier_ms, one.name.aggregate) == (tier_ms, aggregate)
            ),
            key=lambda one: one.name,
        )
        index = SeriesIndex()
        opened = BlockSet(folder, index, entries)
        ids = np.arange(len(index), dtype=np.int32)
        rows = combined(opened.taken(ids), ids.size, aggregate)
        for row, start, end in zip(rows.row.tolist(), rows.offsets[:-1], rows.offsets[1:], strict=True):
            (canonical,) = index.canonical_of(np.array([row]))
            for at in range(start, end):
                bucket = found.setdefault(labels_of(canonical), {}).setdefault(int(rows.timestamp_ms[at]), {})
                bucket[aggregate] = float(rows.value[at])
    return {at: buckets for at, (_, buckets) in enumerate(sorted(found.items()))}


def live(engine: Engine, clock: DrivenClock, until_ms: int, step_ms: int = HOUR_MS) -> None:
    """Let the upkeep go on while time passes, and do all that is due in the end."""
    while clock.time_ms < until_ms:
        clock.time_ms += step_ms
        engine.tick(clock.time_ms)
    while True:
        before = (engine._catalogue.entries, engine._catalogue.rollups)
        engine._retention._looked_at_ms = None
        engine.tick(clock.time_ms)
        if before == (engine._catalogue.entries, engine._catalogue.rollups):
            return


def expected(rows: list[Row], tier_ms: int) -> dict[int, dict[int, dict[Aggregate, float]]]:
    series = sorted({one for one, _, _ in rows})
    samples = sorted((series.index(one), time_ms, value_of(bits)) for one, time_ms, bits in rows)
    found = twin_of(samples, tier_ms, {})
    return {at: found[one] for at, one in enumerate(sorted(found))}


def without_last_nans(rows: list[Row], tier_ms: int) -> list[Row]:
    """Without a NaN that comes last in its bucket of the coarsest tier, or in what one window has of that bucket (a
    sample at the end of both is the next window's): it hides the number before it from the next window
    (docs/format/rollup.md); see the test of it."""
    found: set[Row] = set()
    buckets_seen: set[tuple[Labels, int, int]] = set()
    for series, time_ms, bits in sorted(rows, key=lambda row: row[1], reverse=True):
        bucket = series, -(-time_ms // tier_ms), time_ms // WINDOW_MS
        if bits == STALE_NAN_BITS or bucket in buckets_seen or not math.isnan(value_of(bits)):
            found.add((series, time_ms, bits))
            buckets_seen |= set() if bits == STALE_NAN_BITS else {bucket}
    return [row for row in rows if row in found]


VALUES = st.one_of(st.integers(0, 1_000).map(float), st.sampled_from([math.nan, value_of(0x7FF0000000000002)]))


@settings(max_examples=400 if IS_FULL else 20, phases=(Phase.explicit, Phase.generate))
@given(
    st.lists(
        st.tuples(
            st.sampled_from([A, B]),
            st.one_of(st.integers(0, 10 * 12), st.integers(0, 5).map(lambda at: 24 * at)),
            st.booleans(),
            VALUES,
        ),
        min_size=1,
        max_size=80,
        unique_by=lambda one: one[:3],
    )
)
def test_what_left_is_rolled_up_as_a_walk_over_all_samples_finds(
    samples: list[tuple[Labels, int, bool, float]],
) -> None:
    """Goal: windows, flushes, joins and their borders leave no trace in the buckets.

    Method: ten hours of samples, many of them at the very borders of buckets and windows, with resets, NaN and stale
    marks; a counter is compared with its last number in earlier windows, here by one walk."""
    rows = [(one, NOW_MS + at * 300_000 + 7 * is_between, bits_of(value)) for one, at, is_between, value in samples]
    rows = without_last_nans(rows, HOUR_MS)
    disk, clock = MemoryDisk(), DrivenClock()
    engine = open_engine(disk, clock=clock, schemas=MINUTES, future_max_ms=100 * HOUR_MS)
    for start in range(0, len(rows), 20):
        append(engine, rows[start : start + 20], now_ms=NOW_MS)
        engine.flush()
    append(engine, [(C, NOW_MS + 80 * HOUR_MS, ONE)], now_ms=NOW_MS + 80 * HOUR_MS)
    clock.time_ms = NOW_MS + 80 * HOUR_MS
    live(engine, clock, clock.time_ms)
    assert [one for one, _, _ in everything_raw(engine)] == [C]
    for tier_ms in (600_000, HOUR_MS):
        found, want = rollups_of(engine, tier_ms), expected(rows, tier_ms)
        assert same(found, want), (found, want)


@pytest.mark.parametrize(("between", "increase"), [([], 2.0), ([math.nan], 0.0), ([math.nan, 4.0], 1.0)])
def test_a_nan_that_ends_an_hour_hides_the_number_before_it_from_the_next_window(
    between: list[float], increase: float
) -> None:
    values = [(425, 3.0), *zip((470, 475), between, strict=False), (600, 5.0)]
    rows = [(A, NOW_MS + minute * 60_000 + 7, bits_of(value)) for minute, value in values]
    disk, clock = MemoryDisk(), DrivenClock()
    engine = open_engine(disk, clock=clock, schemas=MINUTES, future_max_ms=100 * HOUR_MS)
    append(engine, rows, now_ms=NOW_MS)
    engine.flush()
    append(engine, [(C, NOW_MS + 80 * HOUR_MS, ONE)], now_ms=NOW_MS + 80 * HOUR_MS)
    clock.time_ms = NOW_MS + 80 * HOUR_MS
    live(engine, clock, clock.time_ms)
    assert rollups_of(engine, HOUR_MS)[0][NOW_MS + 11 * HOUR_MS][Aggregate.INCREASE] == increase


def test_a_window_that_was_rolled_up_in_part_before_a_join_counts_every_increase_once() -> None:
    """The series that stay of a window that left are joined with later windows, which then leave with that longer one:
    what these have risen is new, and only a late sample among those that were rolled up is not."""
    table = SchemaTable.of(
        parse_retention("raw:3h,1h:forever"),
        parse_schemas('[{"name": "stays", "pattern": "c", "retention": "raw:forever"}]'),
    )
    start_ms = NOW_MS + 2 * HOUR_MS  # Of a window of 8 h.
    clock = DrivenClock(start_ms)
    engine = open_engine(MemoryDisk(), clock=clock, schemas=table, future_max_ms=100 * HOUR_MS)
    rows = [(one, start_ms + minute * 60_000, bits_of(minute)) for minute in range(10, 470, 20) for one in (A, C)]
    append(engine, rows, now_ms=start_ms)
    append(engine, [(C, start_ms + 5 * HOUR_MS, ONE)], now_ms=start_ms)
    engine.flush()
    live(engine, clock, start_ms + 6 * HOUR_MS)
    assert engine.stats()["rolled_windows"] == 1
    clock.time_ms = start_ms + 20 * HOUR_MS
    append(engine, [(C, clock.time_ms, ONE)], now_ms=clock.time_ms)
    live(engine, clock, clock.time_ms)
    assert [str(entry.name)[11:13] for entry in engine._catalogue.entries] == ["8h", "2h"]
    found, want = rollups_of(engine, HOUR_MS), expected([row for row in rows if row[0] == A], HOUR_MS)
    assert same(found, want), (found, want)


def everything_raw(engine: Engine) -> list[Row]:
    reader = engine._reader
    names = [str(entry.name) for entry in engine._catalogue.entries]
    found = reader.select(names, [], 0, 2**62, engine.snapshot([], 0, 2**62).heads)
    return [
        (one, int(found.timestamp_ms[at]), int(found.value.view(np.uint64)[at]))
        for one, start, end in zip(found.labels, found.offsets[:-1], found.offsets[1:], strict=True)
        for at in range(start, end)
    ]


def counted(engine: Engine, grain_ms: int = HOUR_MS) -> dict[Labels, float]:
    """How many samples of each series there are, or were."""
    found = engine.select([], 0, 2**62, Grain(Aggregate.COUNT, grain_ms))
    is_raw = found.timestamp_ms >= found.raw_from_ms
    counts = np.where(is_raw, 1.0, found.value)
    return {
        one: float(counts[start:end].sum())
        for one, start, end in zip(found.labels, found.offsets[:-1], found.offsets[1:], strict=True)
    }


def test_three_years_pass() -> None:
    """Goal: each step of the retention is reached and left, and what there was can still be told.

    Method: a sample each fifth day of a counter that resets every 100 days, looked after every ten days."""
    disk, clock = MemoryDisk(), DrivenClock()
    table = SchemaTable.of(parse_retention("raw:90d,10m:1y,1h:10y"))
    engine = open_engine(disk, clock=clock, schemas=table)
    days = 3 * 365
    for day in range(0, days, 10):
        clock.time_ms = NOW_MS + (day + 10) * DAY_MS
        rows = [(A, NOW_MS + at * DAY_MS, bits_of(float(at % 100))) for at in range(day, day + 10) if at % 5 == 0]
        append(engine, rows, now_ms=clock.time_ms)
        engine.flush()
        for _ in range(8):
            engine.tick(clock.time_ms)
    live(engine, clock, clock.time_ms)
    assert counted(engine) == {A: (days + 9) // 10 * 2}
    entries, rollups = engine._catalogue.entries, engine._catalogue.rollups
    age_ms = {
        tier_ms: clock.time_ms
        - min(entry.summary.min_ms for entry in [*entries, *rollups] if entry.name.tier_ms == tier_ms)
        for tier_ms in (0, 600_000, HOUR_MS)
    }
    assert 80 * DAY_MS <= age_ms[0] <= (90 + 6 + 10) * DAY_MS
    assert 355 * DAY_MS <= age_ms[600_000] <= (365 + 46 + 10) * DAY_MS
    assert age_ms[HOUR_MS] >= (days - 10) * DAY_MS
    assert len(entries) + len(rollups) < 500
    increase = engine.select([], 0, 2**62, Grain(Aggregate.INCREASE, DAY_MS))
    steps = np.diff(increase.value[increase.timestamp_ms < increase.raw_from_ms])
    assert set(steps.tolist()) == {0.0, 5.0}, "after a reset the counter counts from 0"
    assert engine.select([], 0, 2**62).resolution_ms == HOUR_MS


def test_late_samples_of_a_window_that_was_rolled_up_are_added_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.store.settling.SETTLING_S", 0.0)
    schemas = SchemaTable.of(
        parse_retention("raw:30d,10m:forever"), [SchemaRule("a", "^a$", (), parse_retention("raw:6h,10m:forever"))]
    )
    clock = DrivenClock()
    engine = open_engine(MemoryDisk(), clock=clock, schemas=schemas, future_max_ms=DAY_MS)
    append(engine, [(A, NOW_MS + at * 600_000, bits_of(at)) for at in (1, 2, 5)], now_ms=NOW_MS)
    append(engine, [(B, NOW_MS + 12 * HOUR_MS, ONE)], now_ms=NOW_MS)
    engine.flush()
    live(engine, clock, NOW_MS + 12 * HOUR_MS)
    late = [(A, NOW_MS + 1_800_001, bits_of(3.0)), (A, NOW_MS + 599_999, bits_of(0.5))]
    append(engine, late, now_ms=clock.time_ms)
    engine.flush()
    live(engine, clock, clock.time_ms + HOUR_MS)
    found = rollups_of(engine, 600_000)[0]
    assert {at - NOW_MS: bucket[Aggregate.COUNT] for at, bucket in found.items()} == {
        600_000: 2.0, 1_200_000: 1.0, 2_400_000: 1.0, 3_000_000: 1.0
    }  # fmt: skip
    assert found[NOW_MS + 600_000][Aggregate.MIN] == 0.5
    assert sum(bucket[Aggregate.INCREASE] for bucket in found.values()) == 4.0, "the way from 2 to 5 is counted once"


def schemas_of(engine: Engine) -> set[Labels]:
    return {one for one, _, _ in everything_raw(engine)}


def test_series_with_a_shorter_schema_leave_a_block_in_which_others_stay() -> None:
    schemas = SchemaTable.of(
        parse_retention("raw:30d,1h:1y"),
        [
            SchemaRule("one", "^a", (), parse_retention("raw:6h")),
            SchemaRule("two", "", (("__name__", "=~", "a|b"),), parse_retention("raw:12h,10m:1y")),
        ],
    )
    clock = DrivenClock()
    engine = open_engine(MemoryDisk(), clock=clock, schemas=schemas, future_max_ms=100 * DAY_MS)
    append(engine, [(one, NOW_MS, ONE) for one in (A, B, C)], now_ms=NOW_MS)
    append(engine, [(C, NOW_MS + hours * HOUR_MS, ONE) for hours in (7, 13, 31 * 24)], now_ms=NOW_MS)
    engine.flush()
    live(engine, clock, NOW_MS + 7 * HOUR_MS)
    assert schemas_of(engine) == {B, C}
    assert not engine._catalogue.rollups
    live(engine, clock, NOW_MS + 13 * HOUR_MS)
    assert schemas_of(engine) == {C}
    assert counted(engine)[B] == 1
    assert {entry.name.tier_ms for entry in engine._catalogue.rollups} == {600_000}
    clock.time_ms = NOW_MS + 31 * DAY_MS
    live(engine, clock, clock.time_ms)
    assert counted(engine) == {B: 1, C: 4}


def filled(disk: MemoryDisk, clock: DrivenClock, **settings: object) -> Engine:
    """Ten days of samples that do not compress."""
    engine = open_engine(disk, clock=clock, schemas=MINUTES_FOREVER, future_max_ms=100 * DAY_MS, **settings)
    random = np.random.default_rng(7)
    rows = [
        (A, NOW_MS + at * 60_000 + int(random.integers(1_000)), bits_of(float(random.random())))
        for at in range(10 * 1_440)
    ]
    append(engine, rows, now_ms=NOW_MS)
    engine.flush()
    clock.time_ms = NOW_MS + 10 * DAY_MS
    live(engine, clock, clock.time_ms)
    live(engine, clock, clock.time_ms + 60_000, 60_000)  # The files of before go.
    engine._budget._measured_at_s = -math.inf
    return engine


MINUTES_FOREVER = SchemaTable.of(parse_retention("raw:30d,1h:1y,1d:forever"))


def test_a_budget_that_is_used_up_takes_the_oldest_samples_and_then_the_finest_rollups() -> None:
    clock = DrivenClock()
    engine = filled(MemoryDisk(), clock)
    assert not engine._catalogue.rollups
    engine._budget.bytes_max = engine._budget.used_bytes - 1_000
    live(engine, clock, clock.time_ms + 120_000, 60_000)
    assert engine._catalogue.rollups
    assert engine._catalogue.entries
    first = min(entry.summary.min_ms for entry in engine._catalogue.entries)
    assert first > NOW_MS
    assert counted(engine, DAY_MS) == {A: 14_400}
    engine._budget.bytes_max = 1 << 10
    live(engine, clock, clock.time_ms + 120_000, 60_000)
    stats = engine.stats()
    assert stats["rolled_for_space"] >= 2
    assert stats["dropped_for_space"] >= 6
    assert not any(entry.name.tier_ms == HOUR_MS for entry in engine._catalogue.rollups)
    assert engine._catalogue.entries, "what is still being written stays, however small the budget is"
    assert stats["disk_bytes_max"] == 1 << 10


def test_without_room_for_rollups_the_oldest_samples_go_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = DrivenClock()
    engine = filled(MemoryDisk(), clock)
    count = len(everything_raw(engine))

    def fail(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    engine._budget.bytes_max = engine._budget.used_bytes - 1_000
    monkeypatch.setattr(MemoryFile, "append", fail)
    clock.time_ms += 60_000
    engine.tick(clock.time_ms)
    assert len(everything_raw(engine)) < count
    assert engine.stats()["dropped_without_rollup"] == 1


def test_the_budget_is_that_of_the_first_start() -> None:
    disk = MemoryDisk()
    engine = open_engine(disk, disk_bytes_max=None)
    first = engine.stats()["disk_bytes_max"]
    assert first == pytest.approx(0.8 * (1 << 40))
    engine.close()
    disk.free_bytes = lambda _: 1 << 30  # type: ignore[method-assign]
    engine = open_engine(disk, disk_bytes_max=None)
    assert engine.stats()["disk_bytes_max"] == first
    engine.close()
    disk.damage(FOLDER / "disk_bytes_max.json", 0)
    assert open_engine(disk, disk_bytes_max=None).stats()["disk_bytes_max"] < first


def block(start_h: int, hours: int, number: int, size_bytes: int = 1, **rollup: object) -> BlockEntry:
    start_ms = NOW_MS + start_h * HOUR_MS
    name = BlockName(start_ms, hours * HOUR_MS, number, **rollup)  # type: ignore[arg-type]
    summary = Summary(series_count=1, sample_count=10, min_ms=start_ms, max_ms=name.end_ms - 1)
    return BlockEntry(name, summary, size_bytes)


def test_the_forecast() -> None:
    entries = [block(24 * day, 24, day, 1_000) for day in range(10)]
    ahead = forecast(entries, 12_000, 30_000, 90 * DAY_MS)
    assert ahead.bytes_per_day == pytest.approx(1_000, rel=0.01)
    assert ahead.days_until_full == pytest.approx(18, rel=0.01)
    assert ahead.raw_days == pytest.approx(28, rel=0.01), "two thousand bytes are something else"
    assert forecast(entries, 12_000, 30_000, 20 * DAY_MS).days_until_full is None
    assert forecast([], 12_000, 30_000, None) == Forecast(0, None, None)


def test_the_plan_takes_the_oldest_window_with_all_that_lies_in_it() -> None:
    table = SchemaTable.of(parse_retention("raw:6h,10m:1d"))
    entries = [block(0, 8, 1), block(2, 2, 2), block(8, 2, 3)]
    windows = windows_of(entries)
    assert [(one.start_ms, len(one.entries)) for one in windows] == [(NOW_MS, 2), (NOW_MS + 8 * HOUR_MS, 1)]

    def present(_: BlockEntry) -> frozenset[int]:
        return frozenset((0,))

    assert plan_by_age(windows, (), table, present, NOW_MS + 13 * HOUR_MS) is None
    assert plan_by_age(windows, (), table, present, NOW_MS + 14 * HOUR_MS) == Leave(windows[0], frozenset((0,)))
    rollups = [block(0, 2, 9, tier_ms=600_000, aggregate=Aggregate.SUM)]
    found = plan_by_age((), rollups, table, present, NOW_MS + 27 * HOUR_MS)
    assert found == Drop((rollups[0],))
    assert plan_for_space(windows, rollups, present, NOW_MS + 7 * HOUR_MS) == Drop((rollups[0],), is_for_space=True)
    assert plan_for_space(windows, rollups, present, NOW_MS + 8 * HOUR_MS) == Leave(
        windows[0], frozenset((0,)), is_for_space=True
    )
    assert plan_for_space((), (), present, NOW_MS) is None
    first_h = -(NOW_MS // HOUR_MS) % 8
    parts = [block(first_h + at, 2, at, tier_ms=600_000, aggregate=Aggregate.SUM) for at in range(0, 10, 2)]
    found = plan_joins(parts, SchemaTable.of(parse_retention("raw:6h,10m:forever")))
    assert found == Join(NOW_MS + first_h * HOUR_MS, 8 * HOUR_MS, tuple(parts[:4])), "the last window may get more"

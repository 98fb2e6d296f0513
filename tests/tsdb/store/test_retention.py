"""What leaves and what stands for it: over years of a driven clock, through crashes, by schema, for want of space."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from appliance.retention import parse_retention, parse_schemas
from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import (
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
from tsdb.interface import Aggregate
from tsdb.sample import Labels, labels_of
from tsdb.store.buckets import combined
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


VALUES = st.one_of(st.integers(0, 1_000).map(float), st.sampled_from([math.nan, value_of(0x7FF0000000000002)]))


@settings(max_examples=20, phases=(Phase.explicit, Phase.generate))
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

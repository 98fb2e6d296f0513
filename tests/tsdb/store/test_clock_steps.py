"""A wall clock that steps back a day and forward a year: nothing leaves that a right clock would keep."""

from __future__ import annotations

import pytest

from appliance.retention import parse_retention
from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import HOUR_MS, NOW_MS, DrivenClock, append, bits_of, labels, open_engine
from tests.tsdb.store.test_retention import everything_raw, live, rollups_of
from tsdb.store.engine import Engine
from tsdb.store.schemas import SchemaTable

DAY_MS = 24 * HOUR_MS
YEAR_MS = 365 * DAY_MS
SCHEMAS = SchemaTable.of(parse_retention("raw:1d,1h:10d"))
A = labels(name="a")
ROWS = [(A, NOW_MS - at * HOUR_MS, bits_of(at)) for at in range(1, 12)]


def opened(disk: MemoryDisk, clock: DrivenClock) -> Engine:
    return open_engine(disk, clock=clock, schemas=SCHEMAS)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_year_forward_and_back_costs_nothing(is_restarted: bool) -> None:
    """The checks of the appliance go on meanwhile, so that samples of the wrong year come in before it is put right."""
    disk, clock = MemoryDisk(), DrivenClock()
    engine = opened(disk, clock)
    append(engine, ROWS, now_ms=clock.time_ms)
    engine.flush()
    clock.time_ms += YEAR_MS
    if is_restarted:
        engine.close()
        engine = opened(disk, clock)
    live(engine, clock, clock.time_ms + HOUR_MS, step_ms=60_000)
    assert set(everything_raw(engine)) == set(ROWS), "the clock alone lets nothing leave"
    clock.time_ms -= YEAR_MS
    live(engine, clock, clock.time_ms + HOUR_MS)
    assert set(everything_raw(engine)) == set(ROWS)


def test_a_day_back_refuses_what_seems_ahead_and_keeps_the_rest() -> None:
    disk, clock = MemoryDisk(), DrivenClock()
    engine = opened(disk, clock)
    append(engine, ROWS, now_ms=clock.time_ms)
    engine.flush()
    clock.time_ms -= DAY_MS
    late = [(A, NOW_MS - DAY_MS, bits_of(1.0))]
    assert append(engine, [*late, (A, NOW_MS, 1)], now_ms=clock.time_ms).refused == {"too_far_in_future": 1}
    live(engine, clock, clock.time_ms + HOUR_MS)
    assert set(everything_raw(engine)) == {*ROWS, *late}
    live(engine, clock, NOW_MS)  # The time comes again.
    assert set(everything_raw(engine)) == {*ROWS, *late}
    assert append(engine, [(A, NOW_MS, 1)], now_ms=NOW_MS).refused == {}


def test_samples_that_came_while_the_clock_was_a_year_ahead_roll_up_what_seems_old_and_lose_no_count() -> None:
    """When samples have come with the wrong time nobody can tell that it was wrong: what leaves is in its rollups."""
    disk, clock = MemoryDisk(), DrivenClock(NOW_MS + 2 * DAY_MS)
    engine = opened(disk, clock)
    append(engine, ROWS, now_ms=NOW_MS)
    append(engine, [(A, clock.time_ms, 1)], now_ms=clock.time_ms)
    live(engine, clock, clock.time_ms)
    (buckets,) = rollups_of(engine, HOUR_MS).values()
    assert len(buckets) == len(ROWS)

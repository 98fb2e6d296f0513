"""A wall clock that steps back a day and forward a year: nothing leaves that a right clock would keep."""

from __future__ import annotations

import pytest

from appliance.retention import parse_retention
from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import HOUR_MS, NOW_MS, DrivenClock, Row, append, bits_of, labels, open_engine
from tests.tsdb.store.test_retention import everything_raw, live
from tsdb.store.engine import Engine
from tsdb.store.schemas import SchemaTable

DAY_MS = 24 * HOUR_MS
YEAR_MS = 365 * DAY_MS
SCHEMAS = SchemaTable.of(parse_retention("raw:1d,1h:10d"))
A, OWN = labels(name="a"), labels(name="own")
ROWS = [(A, NOW_MS - at * HOUR_MS, bits_of(at)) for at in range(1, 12)]


def opened(disk: MemoryDisk, clock: DrivenClock) -> Engine:
    return open_engine(disk, clock=clock, schemas=SCHEMAS)


class SteppingClock(DrivenClock):
    """The wall clock steps, the monotonic one does not."""

    stepped_ms = 0

    def now_ms(self) -> int:
        return self.time_ms + self.stepped_ms


def pass_hours(engine: Engine, clock: SteppingClock, count: int) -> None:
    """Time goes on, and so do the checks of the appliance, with the time that the clock shows."""
    for _ in range(count):
        clock.time_ms += HOUR_MS
        append(engine, [(OWN, clock.now_ms(), bits_of(1.0))], now_ms=clock.now_ms())
        engine.flush()
        for _ in range(3):
            engine.tick(clock.now_ms())


def of_a(engine: Engine) -> set[Row]:
    return {row for row in everything_raw(engine) if row[0] == A}


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_year_forward_and_back_within_a_day_costs_nothing(is_restarted: bool) -> None:
    disk, clock = MemoryDisk(), SteppingClock()
    engine = opened(disk, clock)
    append(engine, ROWS, now_ms=clock.time_ms)
    pass_hours(engine, clock, 2)
    clock.stepped_ms = YEAR_MS
    if is_restarted:
        engine.close()
        engine = opened(disk, clock)
    pass_hours(engine, clock, 8)
    assert of_a(engine) == set(ROWS)
    clock.stepped_ms = 0
    pass_hours(engine, clock, 2)
    assert of_a(engine) == set(ROWS)
    pass_hours(engine, clock, 30)
    assert of_a(engine) == set(), "when their time has really come they leave"


def test_a_clock_that_stays_a_year_ahead_is_believed_after_a_day() -> None:
    clock = SteppingClock()
    engine = opened(MemoryDisk(), clock)
    append(engine, ROWS, now_ms=clock.time_ms)
    pass_hours(engine, clock, 2)
    clock.stepped_ms = YEAR_MS
    pass_hours(engine, clock, 6)
    assert of_a(engine) == set(ROWS)
    pass_hours(engine, clock, 22)
    assert of_a(engine) == set()


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

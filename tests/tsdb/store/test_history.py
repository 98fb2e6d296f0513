"""Samples that are past their time when they come: they become rollups, once, also when they are sent again."""

from __future__ import annotations

from typing import NoReturn

import pytest

from appliance.retention import parse_retention
from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import HOUR_MS, NOW_MS, DrivenClock, Row, append, bits_of, labels, open_engine
from tests.tsdb.store.test_retention import everything_raw, expected, live, rollups_of
from tsdb.errors import DiskFull
from tsdb.sample import Matcher, MatchOp
from tsdb.store.engine import Engine
from tsdb.store.schemas import SchemaTable
from tsdb.store.settling import SETTLING_AFTER_START_S, SETTLING_S

DAY_MS = 24 * HOUR_MS
SCHEMAS = SchemaTable.of(parse_retention("raw:6h,10m:30d,1h:5y"))
# Two series, a sample every quarter of an hour for two days, of half a year ago; and the newest, which tells the time.
OLD: list[Row] = [
    (labels(name=name), NOW_MS - 180 * DAY_MS + at * HOUR_MS // 4, bits_of(at % 7 + 1.0))
    for name in "ab"
    for at in range(192)
]
NEW: list[Row] = [(labels(name="c"), NOW_MS, bits_of(1.0))]


def start(disk: MemoryDisk, clock: DrivenClock) -> Engine:
    return open_engine(disk, clock=clock, schemas=SCHEMAS, future_max_ms=DAY_MS)


def send(engine: Engine, clock: DrivenClock, rows: list[Row]) -> None:
    ack = append(engine, rows, now_ms=clock.time_ms)
    assert (ack.accepted_count, ack.refused) == (len(rows), {})
    engine.flush()


@pytest.mark.parametrize("restarts", [False, True])
def test_history_that_is_sent_again_after_a_break_is_in_the_rollups_once(*, restarts: bool) -> None:
    disk, clock = MemoryDisk(), DrivenClock()
    engine = start(disk, clock)
    send(engine, clock, [*OLD[:250], *NEW])
    hours = {entry.name.window_ms // HOUR_MS for entry in engine._catalogue.entries}
    assert max(hours) > 2, "it leaves as a whole, so its window may be longer than what the short retention allows"
    wait_ms = round(1_000 * (SETTLING_AFTER_START_S if restarts else SETTLING_S)) - HOUR_MS // 2
    if restarts:
        engine.close()
        engine = start(disk, clock)
    live(engine, clock, clock.time_ms + wait_ms, step_ms=HOUR_MS // 4)
    assert set(everything_raw(engine)) >= set(OLD[:250]), "it stays until nobody sends it again"
    send(engine, clock, [*OLD[200:], (labels(name="c"), clock.time_ms, bits_of(2.0))])
    assert set(everything_raw(engine)) >= set(OLD)
    live(engine, clock, clock.time_ms + round(1_000 * SETTLING_S) + 2 * HOUR_MS)
    assert not set(everything_raw(engine)) & set(OLD)
    wanted = expected(OLD, HOUR_MS)
    found = rollups_of(engine, HOUR_MS)
    assert {at: list(buckets) for at, buckets in found.items() if at < 2} == {
        at: list(buckets) for at, buckets in wanted.items()
    }
    for at, buckets in wanted.items():
        for end_ms, bucket in buckets.items():
            assert found[at][end_ms] == pytest.approx(bucket), (at, end_ms)
    assert not {at: ends for at, ends in rollups_of(engine, 600_000).items() if min(ends) < NOW_MS - 100 * DAY_MS}


def test_what_no_rollup_keeps_is_refused() -> None:
    clock = DrivenClock()
    engine = start(MemoryDisk(), clock)
    keep_ms = SCHEMAS.keep_max_ms
    assert keep_ms is not None
    rows = [(labels(name="a"), NOW_MS - keep_ms + by_ms, bits_of(1.0)) for by_ms in (-1, 0)]
    ack = append(engine, rows, now_ms=clock.time_ms)
    assert (ack.accepted_count, ack.refused) == (1, {"too_old": 1})
    assert "nothing older is kept" in ack.words["too_old"]


def test_one_whose_clock_is_wrong_holds_up_nothing_but_the_time_that_he_sends() -> None:
    disk, clock = MemoryDisk(), DrivenClock()
    engine = start(disk, clock)
    live(engine, clock, clock.time_ms + round(1_000 * SETTLING_AFTER_START_S))
    send(engine, clock, OLD[:1])
    in_time = [(labels(name="c"), clock.time_ms - 5 * HOUR_MS, bits_of(1.0))]
    send(engine, clock, in_time)
    other = [(labels(name="b"), NOW_MS - 90 * DAY_MS, bits_of(1.0))]
    send(engine, clock, other)
    for hour in range(1, 40):
        again, fresh = (OLD[0][0], OLD[0][1] + hour, bits_of(1.0)), (labels(name="c"), clock.time_ms - 1, bits_of(1.0))
        send(engine, clock, [again, fresh])
        live(engine, clock, clock.time_ms + HOUR_MS)
    left = set(everything_raw(engine))
    assert OLD[0] in left, "more of its time goes on coming"
    assert not left & {*in_time, *other}
    assert min(at_ms for one, at_ms, _ in left if one == labels(name="c")) > clock.time_ms - 10 * HOUR_MS


def test_on_a_full_disk_history_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = DrivenClock()
    engine = start(MemoryDisk(), clock)
    send(engine, clock, [*OLD, *NEW])
    append(engine, [(labels(name="c"), clock.time_ms + 1, bits_of(1.0))], now_ms=clock.time_ms)
    clock.time_ms += 3 * HOUR_MS
    with monkeypatch.context() as full:
        full.setattr("tsdb.store.engine.flush_runs", _fail)
        with pytest.raises(DiskFull):
            engine.tick(clock.time_ms)
    live(engine, clock, clock.time_ms)
    assert not set(everything_raw(engine)) & set(OLD)
    assert rollups_of(engine, HOUR_MS)


def _fail(*_: object) -> NoReturn:
    raise DiskFull("full")


def test_where_the_time_of_a_finer_tier_begins_no_bucket_of_the_coarser_one_is_hidden() -> None:
    clock = DrivenClock()
    schemas = SchemaTable.of(parse_retention("raw:6h,10m:360d,1h:5y"))  # Joined into windows of up to 512 h.
    engine = open_engine(MemoryDisk(), clock=clock, schemas=schemas, future_max_ms=DAY_MS)
    times = [NOW_MS // HOUR_MS * HOUR_MS - hour * HOUR_MS for hour in range(330 * 24, 400 * 24)]
    send(engine, clock, [*((labels(name="a"), at_ms, bits_of(1.0)) for at_ms in times), *NEW])
    clock.time_ms += round(1_000 * SETTLING_S)
    send(engine, clock, [(labels(name="c"), clock.time_ms, bits_of(1.0))])
    live(engine, clock, clock.time_ms)
    assert not {at_ms for _, at_ms, _ in everything_raw(engine)} & set(times)
    assert rollups_of(engine, 600_000)
    found = engine.select([Matcher("__name__", MatchOp.EQUAL, "a")], 0, 2**62)
    assert sorted(found.timestamp_ms.tolist()) == sorted(times)

"""The change log never says that something is unchanged which is not, and stays small however much comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.retention import parse_retention
from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import HOUR_MS, NOW_MS, DrivenClock, append, bits_of, labels, later, open_engine
from tests.tsdb.store.test_retention import live
from tsdb.interface import ALL_CHANGED_MS, NONE_CHANGED_MS, ChangeToken
from tsdb.sample import Matcher, MatchOp
from tsdb.store import changes
from tsdb.store.changes import GRAIN_MS, MARKS_COUNT_MAX, ChangeLog
from tsdb.store.engine import Engine
from tsdb.store.schemas import SchemaTable

X = labels(name="x")
OF_X = [Matcher("__name__", MatchOp.EQUAL, "x")]


@given(st.lists(st.sampled_from([0, 0, 1, 1, 2, 3, -2, -40]), min_size=20, max_size=80), st.integers(4, 20))
def test_what_is_told_is_never_later_than_the_earliest_change(gaps_s: list[int], marks_count_max: int) -> None:
    log, known = ChangeLog(), changes.MARKS_COUNT_MAX
    seconds = [at + gap_s for at, gap_s in enumerate(gaps_s)]  # Mostly rising: those make marks.
    changes.MARKS_COUNT_MAX = marks_count_max
    try:
        tokens = [log.since().token]
        for second in seconds:
            log.note(1_000 * second + 7)
            tokens.append(log.since().token)
            assert len(log._marks) <= marks_count_max
    finally:
        changes.MARKS_COUNT_MAX = known
    for at, token in enumerate(tokens):
        told_ms = log.since(token.store, token.sequence).unchanged_before_ms
        want_ms = min((1_000 * second for second in seconds[at:]), default=NONE_CHANGED_MS)
        assert told_ms <= want_ms
        if len(tokens) <= marks_count_max or at == len(seconds):
            assert told_ms == want_ms


def test_live_samples_of_hours_leave_recent_tokens_sharp() -> None:
    """Beside a sender that is five minutes late, and one that was an hour late once."""
    log, tokens = ChangeLog(), {}
    for second in range(10_000, 20_000):
        log.note(1_000 * second)
        if second % 60 == 0:
            log.note(1_000 * second - 300_000)
        if second == 15_000:
            log.note(1_000 * second - HOUR_MS)
        tokens[second] = log.since().token
    assert log.since(*tokens[19_990][:2]).unchanged_before_ms == 19_991_000
    assert log.since(*tokens[19_900][:2]).unchanged_before_ms == 19_920_000 - 300_000
    assert log.since(*tokens[14_000][:2]).unchanged_before_ms <= 15_000_000 - HOUR_MS
    assert len(log._marks) <= MARKS_COUNT_MAX


def test_the_token_of_another_store_says_nothing() -> None:
    one, other = ChangeLog(), ChangeLog()
    other.note(5 * GRAIN_MS)
    token = one.since().token
    assert other.since(token.store, token.sequence).unchanged_before_ms == ALL_CHANGED_MS
    assert one.since(token.store, token.sequence + 1).unchanged_before_ms == ALL_CHANGED_MS


@pytest.mark.parametrize("min_ms", [-(2**63), 2**63 - 1, -1, 0])
def test_any_time_of_a_delete_stays_in_64_bits(min_ms: int) -> None:
    log = ChangeLog()
    token = log.since().token
    log.note(min_ms)
    assert -(2**63) <= log.since(token.store, token.sequence).unchanged_before_ms <= min_ms


def unchanged_before_ms(engine: Engine, token: ChangeToken) -> int:
    return engine.changes.since(token.store, token.sequence).unchanged_before_ms


def engine_with_x(**settings: object) -> Engine:
    engine = open_engine(MemoryDisk(), **settings)
    append(engine, [(X, NOW_MS + 60_000 * i, bits_of(i)) for i in range(60)], now_ms=NOW_MS + HOUR_MS)
    return engine


def test_a_flush_and_a_join_change_nothing() -> None:
    engine = engine_with_x()
    token = engine.changes.since().token
    engine.flush()
    append(engine, [(X, NOW_MS + HOUR_MS, bits_of(1.0))])
    assert unchanged_before_ms(engine, token) == NOW_MS + HOUR_MS
    token = engine.changes.since().token
    engine.compact()
    later(engine)
    engine.tick(NOW_MS + 5 * HOUR_MS)
    assert unchanged_before_ms(engine, token) == NONE_CHANGED_MS


def test_late_samples_and_deletes_change_all_from_their_time_on() -> None:
    engine = engine_with_x()
    token = engine.changes.since().token
    append(engine, [(X, NOW_MS + 90_000, bits_of(1.0)), (X, NOW_MS + HOUR_MS, bits_of(1.0))])
    assert unchanged_before_ms(engine, token) == NOW_MS + 90_000
    token = engine.changes.since().token
    engine.delete(OF_X, NOW_MS + 120_000, NOW_MS + 240_000)
    assert unchanged_before_ms(engine, token) == NOW_MS + 120_000
    token = engine.changes.since().token
    assert not engine.delete([Matcher("__name__", MatchOp.EQUAL, "nobody")], 0, NOW_MS + HOUR_MS)
    assert unchanged_before_ms(engine, token) == NONE_CHANGED_MS


def test_rollups_that_take_over_change_what_they_stand_for() -> None:
    clock = DrivenClock()
    engine = engine_with_x(schemas=SchemaTable.of(parse_retention("raw:6h,10m:10d")), clock=clock)
    engine.flush()
    token = engine.changes.since().token
    append(engine, [(X, NOW_MS + 80 * HOUR_MS, bits_of(1.0))], now_ms=NOW_MS + 80 * HOUR_MS)
    clock.time_ms = NOW_MS + 80 * HOUR_MS
    live(engine, clock, clock.time_ms)
    assert engine.stats()["rolled_windows"]
    assert unchanged_before_ms(engine, token) <= NOW_MS


def test_a_block_that_is_set_aside_changes_its_window() -> None:
    engine = engine_with_x()
    engine.flush()
    token = engine.changes.since().token
    (entry,) = engine._catalogue.entries
    engine._catalogue.forget(entry.name, engine._lock)
    assert unchanged_before_ms(engine, token) <= NOW_MS

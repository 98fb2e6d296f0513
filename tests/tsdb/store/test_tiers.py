"""Selections where samples are gone: which rollup answers, and that nothing is there twice or missing at a border."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from appliance.retention import parse_retention
from tests.profile import IS_FULL
from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import HOUR_MS, NOW_MS, DrivenClock, Row, append, bits_of, open_engine, value_of
from tests.tsdb.store.test_buckets import twin_of
from tests.tsdb.store.test_retention import ONE, VALUES, A, B, C, live, without_last_nans
from tsdb.interface import Aggregate, Grain
from tsdb.sample import RAW_ALONE_MS, STALE_NAN_BITS, Labels, Selection
from tsdb.store.engine import Engine
from tsdb.store.schemas import SchemaTable

MINUTE_MS = 60_000
ONE_TIER = SchemaTable.of(parse_retention("raw:6h,10m:forever"))
Answer = dict[Labels, dict[int, float]]

# Anywhere in twelve hours, at the borders of windows, and around the time before which samples have left.
TIMES = st.one_of(st.integers(0, 12 * 12), st.integers(0, 6).map(lambda at: 24 * at), st.integers(66, 78))
SAMPLES = st.lists(
    st.tuples(st.sampled_from([A, B]), TIMES, st.booleans(), VALUES),
    min_size=20,
    max_size=80,
    unique_by=lambda one: one[:3],
)


def rows_from(samples: list[tuple[Labels, int, bool, float]]) -> list[Row]:
    """Every five minutes, at the very ends of buckets and shortly behind them."""
    return [(one, NOW_MS + at * 5 * MINUTE_MS + 7 * is_late, bits_of(value)) for one, at, is_late, value in samples]


def rolled(schemas: SchemaTable, rows: list[Row], now_ms: int, late: list[Row] = []) -> Engine:  # noqa: B006
    clock = DrivenClock()
    engine = open_engine(MemoryDisk(), clock=clock, schemas=schemas, future_max_ms=10_000 * HOUR_MS)
    append(engine, rows, now_ms=NOW_MS)
    append(engine, [(C, now_ms, ONE)], now_ms=NOW_MS)
    engine.flush()
    clock.time_ms = now_ms
    live(engine, clock, now_ms)
    return engine


def answer_of(selection: Selection) -> Answer:
    found: Answer = {}
    for at, one in enumerate(selection.labels):
        inside = slice(int(selection.offsets[at]), int(selection.offsets[at + 1]))
        times = selection.timestamp_ms[inside].tolist()
        assert times == sorted(set(times))
        found[one] = dict(zip(times, selection.value[inside].tolist(), strict=True))
    return found


def same(found: Answer, want: Answer) -> bool:
    def plain(answer: Answer) -> object:
        """Without stale marks: one that is gone leaves no bucket, nor a sign that it was there."""
        return [
            (one, at, repr(value + 0.0))
            for one, values in sorted(answer.items())
            for at, value in sorted(values.items())
            if bits_of(value) != STALE_NAN_BITS
        ]

    return plain(found) == plain(want)


@settings(max_examples=400 if IS_FULL else 20, phases=(Phase.explicit, Phase.generate))
@given(SAMPLES, st.sampled_from(Aggregate), st.tuples(st.integers(0, 25), st.integers(0, 25)))
def test_a_selection_is_the_buckets_up_to_a_time_and_the_samples_behind_it(
    samples: list[tuple[Labels, int, bool, float]], aggregate: Aggregate, cuts: tuple[int, int]
) -> None:
    """Method: the twin makes buckets of all samples before raw_from_ms, whether they are gone or not."""
    rows = without_last_nans(rows_from(samples), 10 * MINUTE_MS)
    start_ms, end_ms = (NOW_MS + cut * 30 * MINUTE_MS for cut in sorted(cuts))
    check(rolled(ONE_TIER, rows, NOW_MS + 13 * HOUR_MS), rows, aggregate, start_ms, end_ms)


@pytest.mark.parametrize("aggregate", Aggregate)
def test_the_bucket_through_which_the_border_goes_is_whole(aggregate: Aggregate) -> None:
    """Method: a counter that resets, every five minutes, so that a sample stands at every border there is."""
    rows = rows_from([(one, at, False, float(at * at % 97)) for one in (A, B) for at in range(12 * 12)])
    engine = rolled(ONE_TIER, rows, NOW_MS + 13 * HOUR_MS)
    border_ms = check(engine, rows, aggregate, NOW_MS + HOUR_MS, NOW_MS + 11 * HOUR_MS)
    assert border_ms == NOW_MS + 6 * HOUR_MS + 1


def check(engine: Engine, rows: list[Row], aggregate: Aggregate, start_ms: int, end_ms: int) -> int:
    """Compare a selection with the twin; returns the time from which on samples are as they came."""
    selection = engine.select([], start_ms, end_ms, Grain(aggregate, HOUR_MS))
    found = answer_of(selection)
    found.pop(C, None)
    border_ms = selection.raw_from_ms
    assert (selection.resolution_ms == 0) == (border_ms == RAW_ALONE_MS)
    series = [A, B]
    want: Answer = {one: {} for one in series}
    early = sorted((series.index(one), at, value_of(bits)) for one, at, bits in rows if at < border_ms)
    for number, buckets in twin_of(early, 10 * MINUTE_MS, {}).items():
        want[series[number]] = {at: bucket[aggregate] for at, bucket in buckets.items() if start_ms <= at <= end_ms}
    if aggregate is Aggregate.INCREASE:
        for one in series:
            values = [found.get(one, {}).get(at, math.nan) for at in want[one]]
            assert [after - first for first, after in itertools.pairwise(values)] == list(want[one].values())[1:]
            found[one] = {at: value for at, value in found.get(one, {}).items() if at not in want[one]}
        want = {one: {} for one in series}
    if aggregate is Aggregate.LAST:  # A sample that is there stays, at its own time, though it ends no bucket.
        for one, at, bits in rows:
            if at < border_ms and bits == STALE_NAN_BITS:
                found.get(one, {}).pop(at, None)
                want[one].pop(at, None)
            elif at < border_ms and at not in want[one] and at in found.get(one, {}):
                assert bits_of(found[one].pop(at)) == bits
    for one, at, bits in rows:
        if start_ms <= at <= end_ms and at >= border_ms:
            want[one][at] = value_of(bits)
    assert same(found, want), (found, want)
    return border_ms

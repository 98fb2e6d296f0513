"""Selections where samples are gone: which rollup answers, and that nothing is there twice or missing at a border."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.retention import SchemaRule, parse_retention
from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import HOUR_MS, NOW_MS, DrivenClock, Row, append, bits_of, labels, open_engine, value_of
from tests.tsdb.store.test_buckets import twin_of
from tests.tsdb.store.test_retention import A, B, C, ONE, VALUES, live
from tsdb.interface import Aggregate, Grain
from tsdb.sample import RAW_ALONE_MS, STALE_NAN_BITS, Labels, Selection
from tsdb.store.engine import Engine
from tsdb.store.schemas import SchemaTable
from tsdb.store.tiers import preferred

MINUTE_MS = 60_000
ONE_TIER = SchemaTable.of(parse_retention("raw:1d,10m:forever"))
Answer = dict[Labels, dict[int, float]]

SAMPLES = st.lists(
    st.tuples(st.sampled_from([A, B]), st.integers(0, 60 * 12), st.booleans(), VALUES),
    min_size=1,
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
        return {
            one: {at: repr(value + 0.0) for at, value in values.items()} for one, values in answer.items() if values
        }

    return plain(found) == plain(want)


@settings(max_examples=25)
@given(SAMPLES, st.sampled_from(Aggregate), st.tuples(st.integers(0, 130), st.integers(0, 130)))
def test_a_selection_is_the_buckets_up_to_a_time_and_the_samples_behind_it(
    samples: list[tuple[Labels, int, bool, float]], aggregate: Aggregate, cuts: tuple[int, int]
) -> None:
    """Method: the twin makes buckets of all samples before raw_from_ms, whether they are gone or not."""
    rows = rows_from(samples)
    engine = rolled(ONE_TIER, rows, NOW_MS + 62 * HOUR_MS)
    start_ms, end_ms = (NOW_MS + cut * 30 * MINUTE_MS for cut in sorted(cuts))
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
            steps = [after - first for first, after in itertools.pairwise(values)]
            assert steps == list(want[one].values())[1:]
            found[one] = {at: value for at, value in found.get(one, {}).items() if at not in want[one]}
        want = {one: {} for one in series}
    if aggregate is Aggregate.LAST:  # Samples that are there stay as they came, whatever of their bucket is gone.
        there = {(one, at) for one, at, _ in rows if one in series and at < border_ms}
        found = {
            one: {at: value for at, value in values.items() if at in want[one] or (one, at) not in there}
            for one, values in found.items()
        }
        want = {
            one: {at: v for at, v in values.items() if bits_of(found[one].get(at, v)) != STALE_NAN_BITS}
            for one, values in want.items()
        }
        found = {
            one: {at: v for at, v in values.items() if bits_of(v) != STALE_NAN_BITS or at >= border_ms}
            for one, values in found.items()
        }
    for one, at, bits in rows:
        if start_ms <= at <= end_ms and at >= border_ms:
            want[one][at] = value_of(bits)
    assert same(found, want), (found, want)

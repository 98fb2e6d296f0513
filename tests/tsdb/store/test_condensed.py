"""What no window parts may come as one sample: queries answer as they do from every sample, and read less."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import HOUR_MS, NOW_MS, open_engine
from tests.tsdb.store.test_bounds import Counting
from tsdb.answer import QueryAnswer
from tsdb.interface import Aggregate, Bounds, Condense, Grain
from tsdb.query.promql import instant, range_
from tsdb.sample import STALE_NAN, Matcher, MatchOp, SampleBatch, Selection, canonical_bytes, labels_from
from tsdb.store import condensed
from tsdb.store.block import tile
from tsdb.store.engine import Engine

STEP_MS = 1_000
SPAN = 600  # Samples of a series, on both sides of the border between two windows.
START_MS = NOW_MS - 300 * STEP_MS
EVERYTHING = [Matcher("__name__", MatchOp.EQUAL, "m")]
FUNCTIONS = ("min", "max", "sum", "avg", "count", "present", "absent")
Values = Callable[[np.random.Generator, int], np.ndarray]
VALUES: dict[str, Values] = {
    "whole numbers": lambda rng, count: rng.integers(0, 1_000, count).astype(np.float64),
    "below zero": lambda rng, count: -rng.random(count),
    "both signs": lambda rng, count: rng.normal(0, 1, count) * 10.0 ** rng.integers(-9, 9, count),
    "mostly one sign": lambda rng, count: rng.random(count) - (rng.random(count) < 0.003),
    "NaN and stale": lambda rng, count: rng.choice([1.0, 2.5, np.nan, STALE_NAN], count, p=[0.5, 0.49, 0.005, 0.005]),
    "infinite": lambda rng, count: rng.choice([1.0, np.inf, -np.inf], count, p=[0.99, 0.006, 0.004]),
    "huge": lambda rng, count: rng.random(count) * 1.7e308,
    "zeros": lambda rng, count: rng.choice([0.0, -0.0], count),
}


@dataclass(frozen=True, slots=True)
class EverySample:
    """The store as it is without the leave to condense."""

    engine: Engine

    def select(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        grain: Grain | None = None,
        *,
        bounds: Bounds | None = None,
    ) -> Selection:
        plain = None if grain is None else replace(grain, condense=None)
        return self.engine.select(matchers, start_ms, end_ms, plain, bounds=bounds)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("MIN", 24), ("TARGET", 48), ("MAX", 72)):
        monkeypatch.setattr(tile, f"SAMPLE_COUNT_{name}", count)
    monkeypatch.setattr(condensed, "_STRETCH_SAMPLES_MIN", 4)


def put(engine: Engine, series: int, timestamp_ms: np.ndarray, value: np.ndarray) -> None:
    batch = SampleBatch(series=np.full(value.size, -1, np.int32), timestamp_ms=timestamp_ms, value=value)
    labels = labels_from({"__name__": "m", "i": str(series)})
    engine.append(batch, [canonical_bytes(labels)], epoch=engine.epoch, now_ms=10 * NOW_MS)


def filled(engine: Engine, rng: np.random.Generator, values: Values, lengths: Sequence[int]) -> None:
    for series, count in enumerate(lengths):
        times_ms = START_MS + STEP_MS * np.sort(rng.choice(SPAN, count, replace=False))
        jitter_ms = rng.integers(0, 200, count) if rng.random() < 0.5 else 0
        put(engine, series, times_ms + jitter_ms, values(rng, count))


def disturb(engine: Engine, rng: np.random.Generator, values: Values, deeds: Sequence[str]) -> None:
    """Late samples, some of them twice, in a block of their own or in the head; a deletion; a join."""
    for deed in deeds:
        times_ms = START_MS + STEP_MS * np.sort(rng.choice(SPAN, 5, replace=False))
        if deed in ("late block", "head"):
            put(engine, int(rng.integers(3)), times_ms, values(rng, 5))
        if deed == "late block":
            engine.flush()
        elif deed == "delete":
            engine.delete([Matcher("i", MatchOp.EQUAL, "0")], int(times_ms[1]), int(times_ms[3]))
        elif deed == "join":
            engine.tick(NOW_MS + 300 * HOUR_MS)


def assert_equal(wanted: QueryAnswer, got: QueryAnswer) -> None:
    assert got.labels == wanted.labels
    np.testing.assert_array_equal(got.timestamp_ms, wanted.timestamp_ms)
    np.testing.assert_allclose(got.value, wanted.value, rtol=1e-13, atol=0)


@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(sorted(VALUES)),
    names=st.permutations(FUNCTIONS),
    lengths=st.lists(st.integers(1, SPAN), min_size=1, max_size=3),
    deeds=st.lists(st.sampled_from(["late block", "head", "delete", "join"]), max_size=2),
    range_s=st.integers(1, 700),
    step_s=st.integers(1, 400),
    offset_s=st.integers(-50, 50),
)
def test_queries_answer_as_from_every_sample(
    seed: int,
    kind: str,
    names: list[str],
    lengths: list[int],
    deeds: list[str],
    range_s: int,
    step_s: int,
    offset_s: int,
) -> None:
    rng, engine = np.random.default_rng(seed), open_engine(MemoryDisk())
    filled(engine, rng, VALUES[kind], lengths)
    engine.flush()
    disturb(engine, rng, VALUES[kind], deeds)
    end_ms = START_MS + (SPAN + offset_s) * STEP_MS
    for name in names[:3]:
        expression = f"{name}_over_time(m[{range_s}s])"
        assert_equal(instant(expression, end_ms, EverySample(engine)), instant(expression, end_ms, engine))
        steps = (START_MS, end_ms, 1_000 * step_s)
        assert_equal(range_(expression, *steps, EverySample(engine)), range_(expression, *steps, engine))
    shared = f"max_over_time(m[{range_s}s]) - min_over_time(m[{range_s}s]) + sum(last_over_time(m[{range_s}s]))"
    assert_equal(instant(shared, end_ms, EverySample(engine)), instant(shared, end_ms, engine))
    engine.close()


def engine_of(values: Sequence[np.ndarray]) -> Engine:
    """Series of regular samples that end at the start of a window, in one block."""
    engine = open_engine(MemoryDisk())
    for series, value in enumerate(values):
        put(engine, series, NOW_MS - STEP_MS * np.arange(value.size, 0, -1), value)
    engine.flush()
    return engine


def condensing(aggregate: Aggregate, range_ms: int = HOUR_MS) -> Grain:
    return Grain(aggregate, 0, Condense(aggregate, NOW_MS, 1, 1, range_ms))


def count_read(engine: Engine, aggregate: Aggregate = Aggregate.SUM, range_ms: int = HOUR_MS) -> int:
    grain = condensing(aggregate, range_ms)
    return engine.select(EVERYTHING, NOW_MS - HOUR_MS, NOW_MS, grain).timestamp_ms.size


def test_tiles_of_one_series_are_not_read() -> None:
    engine = engine_of([np.ones(480)])
    engine._reader._cache.clear()
    assert count_read(engine) == 10
    assert not engine._reader._cache._tiles


def test_tiles_of_several_series_are_read_once() -> None:
    engine = engine_of([np.arange(1.0, 13.0)] * 8)
    assert count_read(engine) == 8
    kept = dict(engine._reader._cache._tiles)
    assert kept
    assert count_read(engine, Aggregate.MAX) == 8
    assert dict(engine._reader._cache._tiles) == kept


@pytest.mark.parametrize(
    ("what", "value", "aggregate", "count"),
    [
        ("one sign", np.arange(480.0), Aggregate.SUM, 10),
        ("both signs", np.arange(480.0) - 240, Aggregate.SUM, 480),
        ("both signs, but nothing is added", np.arange(480.0) - 240, Aggregate.MIN, 10),
        ("a tile with NaN", np.where(np.arange(480) == 100, np.nan, 1.0), Aggregate.MAX, 9 + 48),
        ("too large to be added", np.full(480, 1e300), Aggregate.SUM, 480),
        ("infinite", np.where(np.arange(480) == 100, np.inf, 1.0), Aggregate.SUM, 480),
    ],
)
def test_values_decide_what_is_condensed(what: str, value: np.ndarray, aggregate: Aggregate, count: int) -> None:
    assert count_read(engine_of([value]), aggregate) == count, what


def test_a_tile_that_a_window_parts_is_read() -> None:
    assert count_read(engine_of([np.ones(480)]), range_ms=100 * STEP_MS) == 48 + 9


@pytest.mark.parametrize("where", ["block", "head"])
def test_a_tile_in_whose_time_others_have_samples_is_read(where: str) -> None:
    engine = engine_of([np.ones(480)])
    put(engine, 0, np.array([NOW_MS - 100 * STEP_MS + 1]), np.array([5.0]))
    if where == "block":
        engine.flush()
    assert count_read(engine) == 9 + 48 + 1


def test_a_tile_with_deleted_samples_is_read() -> None:
    engine = engine_of([np.ones(480)])
    engine.delete(EVERYTHING, NOW_MS - 100 * STEP_MS, NOW_MS - 98 * STEP_MS)
    assert count_read(engine) == 9 + 45


def test_what_is_condensed_counts_as_one_sample_towards_the_limit() -> None:
    engine, bounds = engine_of([np.ones(480)] * 2), Counting(20)
    engine.select(EVERYTHING, NOW_MS - HOUR_MS, NOW_MS, condensing(Aggregate.SUM), bounds=bounds)
    assert bounds.counts == [20]


def test_the_weight_says_how_many_samples_one_stands_for() -> None:
    engine = engine_of([np.arange(480.0), np.arange(500.0)])
    selection = engine.select(EVERYTHING, NOW_MS - HOUR_MS, NOW_MS, condensing(Aggregate.SUM))
    assert selection.weight is not None
    assert np.add.reduceat(selection.weight, selection.offsets[:-1]).tolist() == [480, 500]
    assert np.add.reduceat(selection.value, selection.offsets[:-1]).tolist() == [
        np.arange(480.0).sum(),
        np.arange(500.0).sum(),
    ]


def test_sums_of_different_signs_in_two_blocks_are_not_added() -> None:
    engine = engine_of([np.full(480, 1e16)])
    put(engine, 0, NOW_MS + STEP_MS * np.arange(481), np.append(np.full(480, -1e16), 1.0))
    engine.flush()
    grain = Grain(Aggregate.SUM, 0, Condense(Aggregate.SUM, NOW_MS + HOUR_MS, 1, 1, 2 * HOUR_MS))
    assert engine.select(EVERYTHING, NOW_MS - HOUR_MS, NOW_MS + HOUR_MS, grain).weight is None
    assert instant("sum_over_time(m[2h])", NOW_MS + HOUR_MS, engine).value.tolist() == [1.0]


def test_selectors_of_one_query_share_no_samples_that_another_function_condensed() -> None:
    engine = engine_of([np.arange(480.0)])
    assert instant("max_over_time(m[1h]) - min_over_time(m[1h])", NOW_MS, engine).value.tolist() == [479.0]

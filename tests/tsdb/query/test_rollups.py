"""Old samples, of which only rollups are left, answer as the raw ones did: exactly where the pages promise it."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.running import CHECKOUT
from tests.tsdb.query import dumb
from tests.tsdb.query.rollup_source import RollupSource
from tests.tsdb.query.strategies import MODEST, Example, counters, samples
from tests.tsdb.query.test_windows import assert_same, by_series
from tsdb.answer import QueryAnswer
from tsdb.errors import NotReady
from tsdb.interface import Aggregate, Grain
from tsdb.query import promql
from tsdb.query.kernel.steps import Steps
from tsdb.query.promql import Options
from tsdb.query.promql.functions import FUNCTIONS, over_time, rates
from tsdb.query.promql.rollups import READINGS, Exactness, grain_of
from tsdb.query.rules.memory import MemorySeries
from tsdb.sample import Selection

RESOLUTIONS_MS = [2_000, 6_000, 30_000]
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
EXACT = sorted(name for name, reading in READINGS.items() if reading.exactness is Exactness.EXACT)


@st.composite
def tiled(draw: st.DrawFn, series: st.SearchStrategy[list[dumb.Sample]]) -> tuple[Example, int]:
    """Series, and steps and ranges that buckets of some resolution tile; and from when on there are raw samples."""
    edge_ms = draw(st.sampled_from([2_000, 6_000, 12_000, 30_000]))
    example = Example(
        series=draw(st.lists(series, min_size=1, max_size=3)),
        start_ms=draw(st.integers(-2, 5)) * edge_ms,
        step_ms=draw(st.integers(1, 3)) * edge_ms,
        step_count=draw(st.integers(1, 8)),
        range_ms=draw(st.integers(1, 4)) * edge_ms,
    )
    return example, draw(st.integers(-1, 3)) * 30_000 + 1


def old_and_raw(case: tuple[Example, int], expression: str, options: Options) -> tuple[QueryAnswer, QueryAnswer]:
    example, raw_from_ms = case
    source = RollupSource(example.source(), raw_from_ms, RESOLUTIONS_MS)
    args = (expression, example.start_ms, example.end_ms, example.step_ms)
    return promql.range_(*args, source, options=options), promql.range_(*args, example.source(), options=options)


@pytest.mark.parametrize("name", [name for name in EXACT if name != "absent_over_time"])
@given(case=tiled(samples(MODEST)))
def test_exact_functions_of_rollups_equal_those_of_raw_samples(name: str, case: tuple[Example, int]) -> None:
    old, raw = old_and_raw(case, f"{name}(m[{case[0].range_ms}ms])", Options())
    assert_same(by_series(raw), by_series(old), relative=1e-9)


@given(case=tiled(samples(MODEST)), lookback=st.integers(1, 3))
def test_a_selector_finds_the_same_latest_sample_where_buckets_tile_the_lookback(
    case: tuple[Example, int], lookback: int
) -> None:
    old, raw = old_and_raw(case, "m", Options(lookback_ms=lookback * 30_000))
    assert_same(by_series(raw), by_series(old))


@given(case=tiled(samples(MODEST)), lookback_ms=st.sampled_from([1, 1_999, 5_000, 7_000]))
def test_a_short_lookback_loses_nothing_and_invents_nothing(case: tuple[Example, int], lookback_ms: int) -> None:
    """What raw samples showed is shown; what is shown beyond it is the latest sample of one bucket at most."""
    old, raw = old_and_raw(case, "m", Options(lookback_ms=lookback_ms))
    shown, wanted = by_series(old), by_series(raw)
    assert {key: shown[key] for key in wanted} == wanted
    _, latest = old_and_raw(case, "m", Options(lookback_ms=lookback_ms + max(RESOLUTIONS_MS)))
    assert shown.items() <= by_series(latest).items()


@given(case=tiled(samples(MODEST)))
def test_absence_is_that_of_raw_samples(case: tuple[Example, int]) -> None:
    old, raw = old_and_raw(case, f"absent_over_time(m[{case[0].range_ms}ms])", Options())
    assert old.timestamp_ms.tolist() == raw.timestamp_ms.tolist()


@given(case=tiled(counters()))
def test_increases_are_those_between_bucket_ends(case: tuple[Example, int]) -> None:
    """Of windows among rollups alone whose buckets at both edges exist: the sum of all rises in the window."""
    example, _ = case
    raw_from_ms = 120_001 if case[1] > 0 else 300_001
    case = (example, raw_from_ms)
    old, _ = old_and_raw(case, f"increase(m[{example.range_ms}ms])", Options())
    grain = grain_of(Aggregate.INCREASE, Steps(example.start_ms, example.step_ms, example.step_count), example.range_ms)
    resolution_ms = max(ms for ms in RESOLUTIONS_MS if grain.resolution_max_ms % ms == 0)
    for (i, at_ms), got in by_series(old).items():
        series = [sample for sample in example.series[int(i)] if sample[0] < raw_from_ms]
        ends = {math.ceil(time / resolution_ms) * resolution_ms for time, _ in series}
        if at_ms < raw_from_ms and {at_ms - example.range_ms, at_ms} <= ends:
            assert got == pytest.approx(
                rise(series, at_ms) - rise(series, at_ms - example.range_ms), rel=1e-9, abs=1e-6
            )


def rise(series: list[dumb.Sample], until_ms: int) -> float:
    values = [value for time, value in series if time <= until_ms]
    return math.fsum(b if b < a else b - a for a, b in itertools.pairwise(values))


def counter_of_months() -> tuple[MemorySeries, int]:
    """One a second, a sample each 30 min for 40 days, of which the last day is raw."""
    source = MemorySeries()
    source.add({"__name__": "m", "i": "0"}, [(t * 1_800_000, t * 1_800.0) for t in range(48 * 40)])
    return source, 39 * DAY_MS + 1


@pytest.mark.parametrize("expression", ["rate(m[5m])", "irate(m[5m])", "deriv(m[1h])", "rate(m[1h])", "rate(m[1d])"])
@pytest.mark.parametrize("shift_ms", [0, 1, 12_345, MINUTE_MS, HOUR_MS])
def test_rates_of_old_samples_are_right_and_have_no_holes(expression: str, shift_ms: int) -> None:
    """Whatever the range, and where ever the steps lie: also where a range is shorter than a bucket."""
    raw, raw_from_ms = counter_of_months()
    source = RollupSource(raw, raw_from_ms, [HOUR_MS])
    answer = promql.range_(expression, 2 * DAY_MS + shift_ms, 38 * DAY_MS + shift_ms, DAY_MS, source)
    assert answer.timestamp_ms.size == 37
    assert answer.value == pytest.approx([1.0] * 37, rel=0.05)


@pytest.mark.parametrize("expression", ["m", "last_over_time(m[5m])", "max_over_time(m[1m])", "count_over_time(m[1m])"])
@pytest.mark.parametrize("shift_ms", [0, 1, 12_345, HOUR_MS - 1])
def test_graphs_of_old_samples_have_no_holes(expression: str, shift_ms: int) -> None:
    raw, raw_from_ms = counter_of_months()
    source = RollupSource(raw, raw_from_ms, [HOUR_MS])
    answer = promql.range_(expression, 2 * DAY_MS + shift_ms, 38 * DAY_MS + shift_ms, 6 * HOUR_MS, source)
    assert answer.timestamp_ms.size == 36 * 4 + 1


def test_windows_and_lookback_widen_among_rollups_only() -> None:
    """Raw samples each 30 min: a look-back of 5 min finds one at two of twelve steps, whatever lies before them."""
    raw, raw_from_ms = counter_of_months()
    source = RollupSource(raw, raw_from_ms, [HOUR_MS])
    start_ms = 39 * DAY_MS + 30 * MINUTE_MS
    for expression in ("m", "count_over_time(m[5m])"):
        args = (expression, start_ms, start_ms + 5 * HOUR_MS, 5 * MINUTE_MS)
        mixed = promql.range_(expression, start_ms - DAY_MS, start_ms + 5 * HOUR_MS, 5 * MINUTE_MS, source)
        old_count = (mixed.timestamp_ms < start_ms).sum()
        assert mixed.timestamp_ms[old_count:].tolist() == promql.range_(*args, raw).timestamp_ms.tolist()


def test_an_instant_asks_for_the_coarsest_buckets_that_end_where_it_looks() -> None:
    source = RollupSource(counter_of_months()[0], 39 * DAY_MS + 1, [MINUTE_MS, 10 * MINUTE_MS, HOUR_MS])
    promql.range_("m", DAY_MS, 2 * DAY_MS, 6 * HOUR_MS, source)
    promql.range_("avg_over_time(m[10m] offset 5m)", DAY_MS, 2 * DAY_MS, HOUR_MS, source)
    promql.instant("rate(m[5m] @ 3900)", 7, source)
    # Twice, for the look-back must reach one hour back to find a bucket of one hour.
    wanted = [*[(Aggregate.LAST, 6 * HOUR_MS)] * 2, (Aggregate.SUM, 5 * MINUTE_MS), (Aggregate.COUNT, 5 * MINUTE_MS)]
    asked = [(grain.aggregate, grain.resolution_max_ms) for grain in source.grains if grain is not None]
    assert asked == [*wanted, (Aggregate.INCREASE, 5 * MINUTE_MS)]


def test_rollups_that_change_between_two_looks_are_not_mixed() -> None:
    class Changing(RollupSource):
        def select(self, *args: object, **kwargs: object) -> Selection:
            found = super().select(*args, **kwargs)  # type: ignore[arg-type]
            grain = args[3]
            assert isinstance(grain, Grain)
            if grain.aggregate is Aggregate.COUNT:
                return replace(found, times_ms=found.timestamp_ms + 1)
            return found

    source = Changing(counter_of_months()[0], 39 * DAY_MS + 1, [HOUR_MS])
    with pytest.raises(NotReady, match="ask again"):
        promql.instant("avg_over_time(m[1d])", 3 * DAY_MS, source)


def test_every_function_of_a_range_says_how_it_reads_rollups() -> None:
    assert set(READINGS) == {*over_time.FUNCTIONS, *rates.FUNCTIONS, "absent_over_time"}
    assert set(READINGS) <= set(FUNCTIONS)


@pytest.mark.parametrize("name", READINGS)
def test_the_page_says_what_each_function_gives(name: str) -> None:
    page = (CHECKOUT / "docs" / "old-samples.md").read_text().splitlines()
    reading = READINGS[name]
    aggregate = "sum ÷ count" if name == "avg_over_time" else reading.aggregate.value
    row = f"| {reading.exactness.value} | {aggregate} |"
    assert any(f"`{name}`" in line and row in line for line in page), f"no row with `{name}` and {row!r}"

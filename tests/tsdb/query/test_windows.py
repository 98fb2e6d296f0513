"""Window functions against their dumb twins, over series with holes, restarts, stale markers and odd values."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tsdb.query import dumb
from tests.tsdb.query.strategies import GAUGES, NUMBERS, Example, counters, examples
from tsdb.answer import QueryAnswer
from tsdb.query import promql
from tsdb.query.kernel import positions as module
from tsdb.query.kernel.positions import positions
from tsdb.query.kernel.steps import Steps
from tsdb.query.kernel.sums import reduced_windows, window_sums

Wanted = Callable[[Sequence[dumb.Sample], int], float | None]


def by_series(answer: QueryAnswer) -> dict[tuple[str, int], float]:
    bounds = answer.offsets.tolist()
    return {
        (labels["i"], int(answer.timestamp_ms[at])): float(answer.value[at])
        for i, labels in enumerate(answer.labels)
        for at in range(bounds[i], bounds[i + 1])
    }


def assert_same(wanted: dict[object, float], got: dict[object, float], *, relative: float = 1e-9) -> None:
    assert wanted.keys() == got.keys()
    for key, value in wanted.items():
        assert got[key] == pytest.approx(value, rel=relative, abs=1e-12, nan_ok=True), key


def compare(example: Example, expression: str, wanted: Wanted) -> None:
    answer = promql.range_(expression, example.start_ms, example.end_ms, example.step_ms, example.source())
    expected = {
        (str(i), at_ms): value
        for i, series in enumerate(example.series)
        for at_ms in example.times_ms()
        if (value := wanted(series, at_ms)) is not None
    }
    assert_same(expected, by_series(answer))


@pytest.mark.parametrize("name", dumb.OVER_TIME)
@given(example=examples(NUMBERS))
def test_over_time_functions_agree_with_the_twin(name: str, example: Example) -> None:
    def wanted(series: Sequence[dumb.Sample], at_ms: int) -> float | None:
        values = [value for _, value in dumb.window(series, at_ms, example.range_ms)]
        return dumb.OVER_TIME[name](values) if values else None

    compare(example, f"{name}(m[{example.range_ms}ms])", wanted)


@pytest.mark.parametrize("name", ["min_over_time", "max_over_time", "count_over_time", "last_over_time", "changes"])
@given(example=examples(GAUGES))
def test_functions_that_do_not_add_agree_on_odd_values_too(name: str, example: Example) -> None:
    def wanted(series: Sequence[dumb.Sample], at_ms: int) -> float | None:
        values = [value for _, value in dumb.window(series, at_ms, example.range_ms)]
        return dumb.OVER_TIME[name](values) if values else None

    compare(example, f"{name}(m[{example.range_ms}ms])", wanted)


@given(example=examples(GAUGES), phi=st.sampled_from([-1.0, 0.0, 0.1, 0.5, 0.99, 1.0, 2.0]))
def test_quantile_over_time_agrees_with_the_twin(example: Example, phi: float) -> None:
    def wanted(series: Sequence[dumb.Sample], at_ms: int) -> float | None:
        values = [value for _, value in dumb.window(series, at_ms, example.range_ms)]
        return dumb.quantile(phi, values) if values else None

    compare(example, f"quantile_over_time({phi}, m[{example.range_ms}ms])", wanted)


@pytest.mark.parametrize(("name", "is_counter", "is_rate"), [("rate", 1, 1), ("increase", 1, 0), ("delta", 0, 0)])
@given(example=examples(counters() | NUMBERS))
def test_rates_agree_with_the_twin(name: str, is_counter: int, is_rate: int, example: Example) -> None:
    def wanted(series: Sequence[dumb.Sample], at_ms: int) -> float | None:
        inside = dumb.window(series, at_ms, example.range_ms)
        return dumb.extrapolated(inside, at_ms, example.range_ms, is_counter=bool(is_counter), is_rate=bool(is_rate))

    compare(example, f"{name}(m[{example.range_ms}ms])", wanted)


@given(example=examples(counters()))
def test_irate_agrees_with_the_twin(example: Example) -> None:
    compare(
        example,
        f"irate(m[{example.range_ms}ms])",
        lambda series, at_ms: dumb.irate(dumb.window(series, at_ms, example.range_ms)),
    )


@given(example=examples(GAUGES))
def test_a_selector_takes_the_latest_sample_within_the_lookback(example: Example) -> None:
    compare(example, "m", lambda series, at_ms: dumb.instant(series, at_ms, 300_000))


@given(example=examples(NUMBERS))
def test_an_instant_is_a_range_of_one_step(example: Example) -> None:
    source = example.source()
    expression = f"rate(m[{example.range_ms}ms])"
    got = by_series(promql.instant(expression, example.start_ms, source))
    assert_same(by_series(promql.range_(expression, example.start_ms, example.start_ms, 1, source)), got)


@given(example=examples(GAUGES))
def test_both_ways_to_find_positions_agree_with_bisection(example: Example) -> None:
    series = [samples for samples in example.series if samples]
    offsets = np.concatenate(([0], np.cumsum([len(samples) for samples in series]))).astype(np.int64)
    times = np.array([time for samples in series for time, _ in samples], np.int64)
    steps = Steps(example.start_ms, example.step_ms, example.step_count)
    wanted = [
        [offset + bisect.bisect_right([time for time, _ in samples], at) for at in example.times_ms()]
        for offset, samples in zip(offsets.tolist(), series, strict=False)
    ]
    if not series:
        return
    longest = max(len(samples) for samples in series)
    np.testing.assert_array_equal(positions(offsets, times, steps), wanted)
    np.testing.assert_array_equal(module._scattered(offsets, times, steps), wanted)
    np.testing.assert_array_equal(module._bisected(offsets, times, steps, longest), wanted)


SHARED = {
    "all the same": [[0, 10, 25]] * 3,
    "the one between differs": [[0, 10, 25], [0, 11, 25], [0, 10, 25]],
    "the last differs": [[0, 10, 25], [0, 10, 25], [0, 10, 26]],
    "as many samples in all, but not of each": [[0, 10], [0, 10, 25, 40], [0, 10, 25]],
    "one series": [[0, 10, 25]],
}


@pytest.mark.parametrize("times", SHARED.values(), ids=SHARED.keys())
def test_positions_where_series_have_the_same_times_or_nearly(times: list[list[int]]) -> None:
    offsets = np.cumsum([0, *map(len, times)])
    steps = Steps(-5, 5, 10)
    found = positions(offsets, np.concatenate([np.array(one, np.int64) for one in times]), steps)
    wanted = [
        [offset + bisect.bisect_right(one, at) for at in steps.times_ms().tolist()]
        for offset, one in zip(offsets.tolist(), times, strict=False)
    ]
    np.testing.assert_array_equal(found, wanted)


@given(st.lists(st.sampled_from([1.0, -1.0, 1e100, -1e100, 1e-3, 3.0, 1e10]), min_size=1, max_size=80), st.data())
def test_sums_of_windows_do_not_lose_small_values_beside_large_ones(values: list[float], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(values) - 1))
    end = data.draw(st.integers(first, len(values)))
    got = window_sums(np.array(values), np.array([[first]]), np.array([[end]]))[0, 0]
    # A pair of floats holds 106 bits: enough for two magnitudes, as Kahan's sum is, not for three.
    magnitudes = {round(math.log10(abs(value))) for value in values[first:end]}
    if len(magnitudes) <= 2:
        assert got == pytest.approx(math.fsum(values[first:end]), rel=1e-9)


@pytest.mark.parametrize("length", [1, 2, 7, 64, 200])
def test_long_overlapping_windows_take_the_table_and_agree(length: int) -> None:
    rng = np.random.default_rng(length)
    value = rng.random(200)
    end = np.arange(200)[None, :] + 1
    first = np.maximum(end - length, 0)
    wanted = [value[a:b].sum() for a, b in zip(first[0], end[0], strict=True)]
    np.testing.assert_allclose(window_sums(value, first, end)[0], wanted, rtol=1e-12)
    np.testing.assert_allclose(window_sums(value - 0.5, first, end)[0] + 0.5 * (end - first)[0], wanted, rtol=1e-12)


@pytest.mark.parametrize("gap", [0, 1, -2], ids=["adjoining", "apart", "overlapping"])
@pytest.mark.parametrize("function", [np.add, np.fmax])
def test_windows_beside_each_other_are_reduced_as_each_alone(gap: int, function: np.ufunc) -> None:
    """Two series with samples before and behind all windows; one window is empty, the last ends with the column."""
    value = np.random.default_rng(1).normal(size=80)
    lengths = np.array([1, 9, 0, 6, 17])
    in_series = 2 + np.concatenate(([0], np.cumsum(lengths + gap)[:-1]))
    first = np.stack((in_series, 80 - lengths.sum() - 4 * gap + in_series - 2))
    end = first + lengths
    got = reduced_windows(function, value, first, end, empty=7.0)
    for row, step in np.ndindex(*first.shape):
        window = value[first[row, step] : end[row, step]]
        wanted = function.reduceat(window, [0])[0] if window.size else 7.0
        assert got[row, step] == wanted, (row, step)

"""A query that would cost too much is refused, with the count that was met and the limit."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest

from tests.tsdb.query.fixed_source import FixedSource
from tsdb.errors import QueryTimeout, QueryTooLarge, RefusedQuery
from tsdb.query import promql
from tsdb.query.promql import Deadline, Limits
from tsdb.query.rules.memory import MemorySeries
from tsdb.sample import Selection, labels_from


def selection(series_count: int, samples_count: int) -> Selection:
    """Counters, one sample each 10 s."""
    rng = np.random.default_rng(1)
    return Selection(
        labels=[labels_from({"__name__": "m", "i": f"{i:06}", "g": str(i % 10)}) for i in range(series_count)],
        offsets=np.arange(series_count + 1, dtype=np.int64) * samples_count,
        times_ms=np.tile(np.arange(samples_count, dtype=np.int64) * 10_000, series_count),
        value=rng.random((series_count, samples_count)).cumsum(axis=1).reshape(-1),
    )


def test_too_many_series_are_refused_with_the_count() -> None:
    with pytest.raises(QueryTooLarge, match=r"selects 11 series of at most 10; .* query\.series_count_max"):
        promql.instant("m", 0, FixedSource(selection(11, 1)), Limits(series_count_max=10))


def test_too_many_samples_are_refused_with_the_count() -> None:
    with pytest.raises(QueryTooLarge, match=r"reads 1,000 samples of at most 999; .* query\.samples_count_max"):
        promql.instant("m", 0, FixedSource(selection(10, 100)), Limits(samples_count_max=999))


def test_too_many_cells_are_refused_before_they_are_made() -> None:
    source = FixedSource(selection(100, 1))
    with pytest.raises(QueryTooLarge, match="needs 1,000,000 samples"):
        promql.range_("m", 0, 9_999, 1, source, Limits(samples_count_max=50_000))
    with pytest.raises(QueryTooLarge, match=r"needs 31,536,000,000 samples"):
        promql.instant("sum_over_time(vector(1)[1y:1ms])", 10**12, source)


def test_too_many_steps_are_refused_as_prometheus_does() -> None:
    with pytest.raises(QueryTooLarge, match="exceeded maximum resolution of 11,000 points per timeseries"):
        promql.range_("1", 0, 11_001_000, 1_000, MemorySeries())


@pytest.mark.parametrize(("start_ms", "end_ms", "step_ms"), [(0, 10, 0), (0, 10, -1), (10, 0, 1)])
def test_ranges_that_are_none_are_refused(start_ms: int, end_ms: int, step_ms: int) -> None:
    with pytest.raises(RefusedQuery):
        promql.range_("1", start_ms, end_ms, step_ms, MemorySeries())


@pytest.mark.parametrize("time_ms", [10**19, -(10**19), 2**53 + 1])
def test_times_beyond_the_columns_are_refused(time_ms: int) -> None:
    with pytest.raises(RefusedQuery, match="is not in the range of"):
        promql.instant("m", time_ms, MemorySeries())
    with pytest.raises(RefusedQuery):
        promql.range_("m", min(0, time_ms), max(0, time_ms), 2**60, MemorySeries())


@pytest.mark.parametrize("expression", ["m @ 1e20", "m offset 9000000y", "m[100000000y]", "m @ 1e300", "m @ 3e11"])
def test_durations_beyond_the_columns_are_refused(expression: str) -> None:
    with pytest.raises(RefusedQuery, match="is too large"):
        promql.instant(expression, 0, MemorySeries())


@pytest.mark.parametrize("expression", ["m offset 200y", "m offset -200y", "count_over_time(m[290y])", "m @ 2e11"])
def test_durations_of_centuries_are_answered(expression: str) -> None:
    assert promql.instant(expression, 0, FixedSource(selection(1, 1))).value.size <= 1


def test_a_range_vector_has_no_range() -> None:
    with pytest.raises(RefusedQuery, match='invalid expression type "range vector" for range query'):
        promql.range_("m[5m]", 0, 10, 1, MemorySeries())


def test_a_query_past_its_deadline_gives_up_between_two_operations() -> None:
    times_s = iter([0.0, 1.0, 2.0, 31.0])
    with pytest.raises(QueryTimeout, match=r"query timed out in .*: it ran longer than 30 s"):
        promql.instant("a + b + c + d", 0, MemorySeries(), deadline=Deadline(30.0, lambda: next(times_s)))


EXPRESSIONS = [
    "m",
    "avg(m)",
    "sum by (g) (rate(m[1m]))",
    "avg without (i) (avg_over_time(m[1m]))",
    "sum without (i) (m)",
    "max_over_time(m[1m]) > 3",
    "quantile_over_time(0.9, m[1m])",
    "deriv(m[1m]) + predict_linear(m[1m], 60)",
    "m / m",
    "m * on (i, g) m",
    "sum by (g) (m) * on (g) group_right () m",
    "m and m > 5",
    "m or vector(1)",
    "topk(3, m)",
    "limit_ratio(0.5, m)",
    "quantile by (g) (0.9, m)",
    'count_values by (g) ("v", m > bool 2)',
    "stddev by (g) (m)",
    "absent(m)",
    "max_over_time(rate(m[1m])[1m:20s])",
    "histogram_quantile(0.9, m)",
    "info(m)",
]


def python_calls(function: Callable[[], object]) -> int:
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_number_of_python_calls_does_not_grow_with_the_series(expression: str) -> None:
    few, many = (FixedSource(selection(count, 12)) for count in (10, 10_000))
    calls_few, calls_many = (
        python_calls(lambda source=source: promql.range_(expression, 60_000, 100_000, 20_000, source))
        for source in (few, many)
    )
    assert calls_many <= 2 * calls_few, (calls_few, calls_many)


def nested(count: int, inner: str, pattern: str) -> str:
    for _ in range(count):
        inner = pattern.replace("…", inner)
    return inner


@pytest.mark.parametrize(
    "pattern",
    ['label_join(…, "x", "", "x", "x", "__name__")', 'label_replace(…, "x", "${1}${1}a", "x", "(.*)")'],
    ids=["label_join", "label_replace"],
)
def test_a_label_that_doubles_is_refused_before_it_fills_the_memory(pattern: str) -> None:
    with pytest.raises(QueryTooLarge, match=r"makes a value of label 'x' of [0-9,]+ characters, of at most 16,384"):
        promql.instant(nested(40, "m", pattern), 0, FixedSource(selection(2, 1)))


def test_long_labels_count_as_memory_of_the_query() -> None:
    expression = nested(13, "m", 'label_join(…, "x", "", "x", "x", "__name__")')
    assert promql.instant(expression, 0, FixedSource(selection(2, 1))).labels
    with pytest.raises(QueryTooLarge, match=r"MiB of memory at once, of at most 0\.1 MiB"):
        promql.instant(expression, 0, FixedSource(selection(20, 1)), Limits(bytes_max=100_000))


@pytest.mark.parametrize("expression", ["rate(m[1e400])", "m offset 1e400", "sum_over_time(m[1h:1e400])"])
def test_a_number_of_seconds_that_is_none_is_refused(expression: str) -> None:
    with pytest.raises(RefusedQuery, match="a duration or an @ time is too large"):
        promql.instant(expression, 0, MemorySeries())

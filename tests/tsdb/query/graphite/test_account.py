"""A render that would hold too many points is refused with their count, before they are made."""

from __future__ import annotations

import tracemalloc

import pytest

from tests.tsdb.query.graphite.test_fetch import AT_S, source_of
from tsdb.errors import QueryTooLarge
from tsdb.query.promql import Deadline, Limits
from tsdb.query.promql.ledger import Ledger
from tsdb.query.render import Render, rendered
from tsdb.query.rules.memory import MemorySeries

DAY_S = 86_400
SERIES_COUNT = 20


@pytest.fixture(scope="module")
def source() -> MemorySeries:
    """Series with a step of a second, and no more than a minute of samples."""
    minute = [(float(-at_s), 1.0) for at_s in range(60, 0, -1)]
    return source_of(**{f"a{number}": minute for number in range(SERIES_COUNT)})


def render(source: MemorySeries, targets: list[str], range_s: int, limits: Limits, points_max: int | None) -> int:
    """Returns how many values there are."""
    ledger = Ledger(limits, Deadline(60))
    ask = Render(
        targets=targets, from_text=str(AT_S - range_s), until_text=str(AT_S), now_s=AT_S, points_max=points_max
    )
    answer = rendered(ask, source, ledger, lambda labels, age_s: None)
    return int(answer.columns[1].size)


LARGE = {  # name: (targets, days)
    "a billion points": (["a*"], 600),
    "a window before the range": (["movingAverage(a*, '9y')"], 1),
    "a window of many points": (["movingMedian(a*, 100000000)"], 1),
    "shifts": (["timeStack(a*, '100d', 0, 300)"], 100),
    "shifts of shifts": (["timeStack(timeStack(a*, '1d', 0, 300), '400d', 0, 300)"], 1),
    "the weeks before a forecast": (["holtWintersForecast(a*, '2000d', '1d')"], 1),
    "many targets": ([f"timeShift(a*, '{day}d')" for day in range(1_000)], 1),
    "copies of what is read once": ([f"scale(a*, {number})" for number in range(1_000)], 1),
    "copies in one target": (["group(" + ",".join(f"scale(a*, {number})" for number in range(1_000)) + ")"], 1),
    "copies in arguments of arguments": (["group(scale(a*, 2), " * 20 + "a0" + ")" * 20], 2),
    "lines of nothing": ([f"time('a', {1 + number % 2})" for number in range(1_000)], 10),
    "seconds of events": (["events('*')"] * 1_000, 10),
    "buckets smaller than a step": (["smartSummarize(summarize(a*, '1h'), '1s')"] * 2_000, 1),
    "hits in buckets smaller than a step": (["hitcount(summarize(a*, '1min'), '1s')"] * 2_000, 1),
}


@pytest.mark.parametrize("points_max", [None, 1_000])
@pytest.mark.parametrize(("targets", "days"), LARGE.values(), ids=LARGE.keys())
def test_too_many_points_are_refused_before_they_are_made(
    source: MemorySeries, targets: list[str], days: int, points_max: int | None
) -> None:
    limits = Limits(samples_count_max=4_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(QueryTooLarge, match=r"lead to [\d,]{9,} points or more, of at most 4,000,000, .*query\."):
            render(source, targets, days * DAY_S, limits, points_max)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 5 * 8 * limits.samples_count_max


def test_the_count_is_of_the_whole_request_and_the_limit_is_allowed(source: MemorySeries) -> None:
    limits = Limits(samples_count_max=SERIES_COUNT * 600)
    assert render(source, ["a*"], 600, limits, None) == SERIES_COUNT * 600
    assert render(source, ["sumSeries(scale(a*, 2))"], 600, limits, None) == 600
    two = ["sumSeries(a*)", "maxSeries(scale(a*, 2))"]
    with pytest.raises(QueryTooLarge, match=r"lead to 12,600 points or more, of at most 12,000"):
        render(source, two, 600, limits, None)
    assert render(source, two, 600, Limits(samples_count_max=12_600), None) == 2 * 600
    with pytest.raises(QueryTooLarge, match=r"lead to 12,020 points or more, of at most 12,000"):
        render(source, ["a*"], 601, limits, 10)

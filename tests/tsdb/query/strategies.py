"""Series as devices send them: regular or not, with holes, restarts, stale markers and odd values."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.tsdb.query.dumb import Sample
from tsdb.query.rules.memory import MemorySeries
from tsdb.sample import STALE_NAN

MODEST = st.floats(-1e6, 1e6, width=32) | st.integers(-5, 50).map(float)
ODD = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1e100, -1e100])
GAPS_MS = st.sampled_from([1, 999, 1_000, 1_000, 1_000, 1_000, 1_500, 5_000, 60_000])


@dataclass(frozen=True)
class Example:
    """Some series and the steps to look at them."""

    series: list[list[Sample]]
    start_ms: int
    step_ms: int
    step_count: int
    range_ms: int

    @property
    def end_ms(self) -> int:
        return self.start_ms + (self.step_count - 1) * self.step_ms

    def times_ms(self) -> list[int]:
        return [self.start_ms + i * self.step_ms for i in range(self.step_count)]

    def source(self) -> MemorySeries:
        source = MemorySeries()
        for i, samples in enumerate(self.series):
            source.add({"__name__": "m", "i": str(i), "g": "ab"[i % 2]}, samples)
        return source


@st.composite
def samples(draw: st.DrawFn, values: st.SearchStrategy[float]) -> list[Sample]:
    length = draw(st.sampled_from([30, 29, 28, 12, 5, 1, 0]))
    gaps_ms = draw(st.lists(GAPS_MS, min_size=length, max_size=length))
    time_ms, found = draw(st.integers(-3_000, 3_000)), []
    for gap_ms in gaps_ms:
        found.append((time_ms, draw(values)))
        time_ms += gap_ms
    return found


@st.composite
def counters(draw: st.DrawFn) -> list[Sample]:
    rises = draw(samples(st.sampled_from([0.0, 1.0, 1.0, 2.5, 100.0, -1.0])))
    value, found = draw(st.sampled_from([0.0, 3.0, 1e9])), []
    for time_ms, rise in rises:
        value = 0.5 if rise < 0 else value + rise
        found.append((time_ms, value))
    return found


def at_the_same_times(series: list[list[Sample]]) -> list[list[Sample]]:
    """The values of each series at the times of the first one, as many as the shortest has."""
    return [
        [(time_ms, value) for (time_ms, _), (_, value) in zip(series[0], one, strict=False)]
        for one in [one[: min(map(len, series))] for one in series]
    ]


@st.composite
def examples(draw: st.DrawFn, series: st.SearchStrategy[list[Sample]]) -> Example:
    found = draw(st.lists(series, min_size=1, max_size=5))
    return Example(
        series=at_the_same_times(found) if draw(st.booleans()) else found,
        start_ms=draw(st.integers(0, 10_000) | st.integers(0, 20_000) | st.integers(-5_000, 40_000)),
        step_ms=draw(st.sampled_from([1_000, 999, 333, 2_000, 1, 10_000])),
        step_count=draw(st.sampled_from([20, 15, 10, 5, 2, 1])),
        range_ms=draw(st.sampled_from([5_000, 5_001, 20_000, 2_500, 1_000, 1, 3_600_000])),
    )


GAUGES = samples(MODEST | ODD | st.just(float(STALE_NAN)))
NUMBERS = samples(MODEST | st.just(float(STALE_NAN)))

"""Samples on equal steps, all rows at once, beside a twin that looks at one sample after another."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.query.graphite.grid import Samples, rounded
from tsdb.sample import STALE_NAN, Float64s, Selection, SharedTimes, is_stale

Row = list[tuple[int, float]]  # Milliseconds, which rise, and values.
ROUND_S = (
    1,
    2,
    5,
    10,
    15,
    20,
    30,
    60,
    120,
    300,
    600,
    900,
    1_800,
    3_600,
    7_200,
    10_800,
    21_600,
    43_200,
    86_400,
    604_800,
)


def selection(rows: list[Row]) -> Selection:
    """Times are shared where all rows have the same, as a source gives them."""
    times = [[time_ms for time_ms, _ in row] for row in rows]
    value = np.array([one for row in rows for _, one in row], np.float64)
    is_shared = len(rows) > 0 and all(one == times[0] for one in times)
    return Selection(
        labels=[(("__name__", str(number)),) for number in range(len(rows))],
        offsets=np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64),
        times_ms=SharedTimes(np.array(times[0], np.int64), len(rows))
        if is_shared
        else np.array([time_ms for row in times for time_ms in row], np.int64),
        value=value,
    )


def there(row: Row) -> Row:
    return [(time_ms, value) for time_ms, value in row if not is_stale(np.array([value]))[0]]


def twin_step_s(row: Row) -> int:
    times = [time_ms for time_ms, _ in there(row)]
    if len(times) < 2:
        return 60
    gap_s = statistics.median(after - before for before, after in pairwise(times)) / 1_000
    near = min(ROUND_S, key=lambda step_s: abs(step_s - gap_s))
    return near if abs(near - gap_s) <= near / 10 else max(1, round(gap_s))


def twin_grid(row: Row, first_s: int, last_s: int, step_s: int) -> list[float]:
    found = [math.nan] * ((last_s - first_s) // step_s)
    for time_ms, value in there(row):
        slot = (time_ms // 1_000 - first_s) // step_s
        if 0 <= slot < len(found):
            found[slot] = value
    return found


@st.composite
def rows_of(draw: st.DrawFn) -> list[Row]:
    """Of one agent, of several, with jitter, with holes, with ends."""
    made: list[Row] = []
    gaps = st.sampled_from([999, 1_000, 5_000, 7_000, 9_400, 10_000, 10_001, 60_000, 61_000])
    shared = draw(st.lists(gaps, max_size=8)) if draw(st.booleans()) else None
    for _ in range(draw(st.integers(1, 5))):
        times = np.cumsum([1_000_000, *(draw(st.lists(gaps, max_size=8)) if shared is None else shared)]).tolist()
        value = st.sampled_from([0.0, 1.5, -2.0, math.inf, math.nan, float(STALE_NAN)])
        made.append(
            [(time_ms, STALE_NAN if (one := draw(value)) != one and draw(st.booleans()) else one) for time_ms in times]
        )
    return made


@given(rows_of(), st.sampled_from([1, 7, 10, 60]), st.integers(990, 1_010), st.integers(1, 200))
def test_all_rows_are_as_each_alone(rows: list[Row], step_s: int, first_s: int, span_s: int) -> None:
    samples = Samples(selection(rows))
    assert samples.steps_s().tolist() == [twin_step_s(row) for row in rows]
    last_s = first_s + max(1, span_s // step_s) * step_s
    wanted = [*range(len(rows))]
    for order in (wanted, wanted[::-1], [-1, *wanted[1:]]):
        found = samples.on_grid(np.array(order, np.int64), first_s, last_s, step_s)
        want = [twin_grid(rows[row] if row >= 0 else [], first_s, last_s, step_s) for row in order]
        np.testing.assert_array_equal(found, np.array(want))


def test_more_rows_than_are_moved_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.query.graphite.grid._MOVED_COUNT", 4)
    rows = [[(1_000 * (10 * at + number), float(at)) for at in range(number % 4)] for number in range(9)]
    samples = Samples(selection(rows))
    want = np.array([twin_grid(row, 0, 40, 10) for row in rows])
    np.testing.assert_array_equal(samples.on_grid(np.arange(9), 0, 40, 10), want)
    assert samples.steps_s().tolist() == [twin_step_s(row) for row in rows]


def test_rows_that_lie_on_the_steps_are_not_moved() -> None:
    rows = [[(1_000 * at_s, float(at_s)) for at_s in range(0, 100, 10)] for _ in range(3)]
    found = selection(rows)
    grid: Float64s = Samples(found).on_grid(np.arange(3), 20, 60, 10)
    assert np.shares_memory(grid, found.value)
    assert grid.tolist() == [[20, 30, 40, 50]] * 3


@pytest.mark.parametrize(
    ("times_s", "step_s"),
    [
        ([], 60),
        ([5], 60),
        ([0, 10, 20, 30], 10),
        ([0.02, 9.98, 20.01, 30], 10),  # A sender that is not quite on time.
        ([0, 60, 120, 300, 360], 60),  # One with gaps.
        ([0, 7, 14, 21], 7),
        ([0, 0.1, 0.2], 1),  # Graphite knows no fraction of a second.
        ([0, 3_600, 7_200], 3_600),
    ],
)
@pytest.mark.parametrize("is_shared", [False, True])
def test_the_step_is_the_gap_that_most_samples_have(times_s: list[float], step_s: int, is_shared: bool) -> None:
    row = [(round(1_000 * at_s), 1.0) for at_s in times_s]
    rows = [row, row] if is_shared else [row, [(0, 1.0)]]
    assert Samples(selection(rows)).steps_s()[0] == step_s


def test_steps_are_rounded_as_one_by_one() -> None:
    gaps_s = np.concatenate((np.linspace(0.1, 130, 4_001), np.linspace(100, 700_000, 5_003)))

    def alone(gap_s: float) -> int:
        near = min(ROUND_S, key=lambda step_s: abs(step_s - gap_s))
        return near if abs(near - gap_s) <= near / 10 else max(1, round(gap_s))

    assert rounded(gaps_s).tolist() == [alone(gap_s) for gap_s in gaps_s.tolist()]
    assert (np.diff(rounded(np.sort(gaps_s))) >= 0).all(), "what the least and the largest gap have, the middle has"

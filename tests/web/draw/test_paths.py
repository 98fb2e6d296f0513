"""Paths hold the points that loops over the samples would."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.web.draw.series import points
from web.draw.graph import paths

VALUES = st.lists(st.one_of(st.just(math.nan), st.floats(-500, 500)), max_size=30)


def stretches_of(x: list[float], y: list[float]) -> list[list[tuple[float, float]]]:
    """A deliberately dumb twin."""
    found: list[list[tuple[float, float]]] = []
    is_open = False
    for one_x, one_y in zip(x, y, strict=True):
        if math.isnan(one_y):
            is_open = False
            continue
        if not is_open:
            found.append([])
            is_open = True
        found[-1].append((one_x, float(np.round(one_y, 1)) + 0.0))
    return found


@given(VALUES)
def test_a_line_breaks_at_gaps_and_nowhere_else(values: list[float]) -> None:
    x = [float(2 * index) for index in range(len(values))]
    assert points(paths.line(np.array(x), np.array(values))) == stretches_of(x, values)


def test_a_point_between_gaps_is_seen() -> None:
    assert paths.line(np.array([4.0]), np.array([7.0])) == "M4.0 7.0m-1.5 0h3.0"


def test_an_area_goes_forth_on_the_values_and_back_on_the_base() -> None:
    x, y, base = np.array([0.0, 1.0, 2.0]), np.array([5.0, 6.0, math.nan]), np.array([9.0, 8.0, 9.0])
    assert paths.area(x, y, base) == "M0.0,5.0,1.0,6.0,1.0,8.0,0.0,9.0z"


@given(VALUES, st.integers(0, 5))
def test_only_gaps_that_are_longer_than_the_limit_stay(values: list[float], limit: int) -> None:
    x, y = paths.bridged(np.arange(len(values), dtype=float), np.array(values, float), limit)
    there = [index for index, value in enumerate(values) if not math.isnan(value)]
    gaps = sum(1 for left, right in pairwise(there) if right - left - 1 > limit)
    assert len(paths.stretches(y)) == (gaps + 1 if there else 0)
    assert [value for value in y.tolist() if not math.isnan(value)] == [values[index] for index in there]
    assert x.size == y.size


def test_points_far_away_stay_within_what_can_be_drawn() -> None:
    path = paths.line(np.array([0.0, 1.0]), np.array([1e300, -1e300]))
    assert points(path) == [[(0.0, paths.FAR_PX), (1.0, -paths.FAR_PX)]]

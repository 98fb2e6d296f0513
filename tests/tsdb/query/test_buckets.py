"""Quantiles of histograms with the same bounds are looked up, and are what the search through any buckets gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.query.kernel.buckets import Buckets, bucket_quantiles
from tsdb.query.kernel.steps import Bools, Cells
from tsdb.sample import Float64s, Int64s

PHIS = np.array([0.5, 0.0, 1.0, 0.99, -0.1, 1.1, np.nan, 0.25])
BOUNDS = st.sampled_from([[0.1, 0.5, 1.0, np.inf], [-1.0, 0.0, 2.0, np.inf], [3.0, np.inf]])
RISES = st.sampled_from([0.0, 0.0, 1.0, 2.5, 1e6])


def rows_of(counts: Float64s, absent: list[int], bounds: list[float]) -> tuple[Cells, Float64s]:
    """One row for each bucket of each histogram; at the absent steps none has a value."""
    present = np.ones(counts.shape, np.bool_)
    present[:, :, absent] = False
    shape = (-1, counts.shape[2])
    value = np.where(present, counts, np.nan).reshape(shape)
    return Cells(value, present.reshape(shape)), np.tile(bounds, counts.shape[0])


def quantiles(cells: Cells, histogram: Int64s, bound: Float64s) -> tuple[Cells, Bools]:
    with np.errstate(all="ignore"):  # As queries are evaluated.
        return bucket_quantiles(Buckets.of(cells, histogram, bound, int(histogram.max()) + 1), PHIS)


@st.composite
def histograms(draw: st.DrawFn) -> tuple[Float64s, list[float]]:
    bounds = draw(BOUNDS)
    shape = (draw(st.integers(1, 3)), len(bounds), PHIS.size)
    size = int(np.prod(shape))
    return np.array(draw(st.lists(RISES, min_size=size, max_size=size))).reshape(shape).cumsum(axis=1), bounds


@given(histograms(), st.sampled_from([[], [0], [3, 7]]), st.sampled_from([0.0, 1e-14, 0.5, -0.5]))
def test_looked_up_quantiles_are_those_that_are_searched(
    found: tuple[Float64s, list[float]], absent: list[int], change: float
) -> None:
    """Goal: not one bit of difference. Method: the same beside a histogram with other bounds, as then nothing is
    looked up; a count may rise by next to nothing, or fall."""
    counts, bounds = found
    counts[0, -1, 2] *= 1 + change
    cells, bound = rows_of(counts, absent, bounds)
    histogram = np.repeat(np.arange(counts.shape[0]), len(bounds))
    alone = quantiles(cells, histogram, bound)
    odd = np.ones((2, PHIS.size))
    wider = Cells(np.concatenate((cells.value, odd)), np.concatenate((cells.present, odd > 0)))
    number = np.append(histogram, [counts.shape[0]] * 2)
    beside = quantiles(wider, number, np.append(bound, [7.0, np.inf]))
    np.testing.assert_array_equal(alone[0].present, beside[0].present[:-1])
    present = alone[0].present
    np.testing.assert_array_equal(alone[0].value[present], beside[0].value[:-1][present])
    np.testing.assert_array_equal(alone[1][present], beside[1][:-1][present])


def test_quantiles_are_looked_up_where_a_step_has_all_buckets_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.query.kernel.buckets._searched", None)
    counts = np.cumsum(np.ones((2, 4, PHIS.size)), axis=1)
    cells, bound = rows_of(counts, [0], [0.1, 0.5, 1.0, np.inf])
    order = np.array([3, 0, 2, 1, 7, 6, 5, 4])  # Rows come in the order of their labels.
    histogram = np.repeat(np.arange(2), 4)[order]
    found, forced = quantiles(cells.rows(order), histogram, bound[order])
    assert found.value[0, 1:4].tolist() == [0.0, 1.0, 1.0]
    assert found.present[:, 0].tolist() == [False, False]
    assert not forced.any()


def test_a_rise_by_an_error_of_rounding_is_none() -> None:
    counts = np.broadcast_to(np.array([10.0, 10.0, 10.0 * (1 + 1e-14)])[:, None], (1, 3, PHIS.size))
    cells, bound = rows_of(counts, [], [1.0, 2.0, np.inf])
    assert quantiles(cells, np.zeros(3, np.int64), bound)[0].value[0, 2] == 1.0

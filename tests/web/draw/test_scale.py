"""Axes have round ticks, whatever the values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.draw.graph.scale import Bounds, linear, logarithmic
from web.draw.graph.units import SYSTEMS, labels, short

AXES = {  # name: (low, high, height in pixels, unit system, labels wanted)
    "ones": (0, 9.3, 200, "si", "0 2 4 6 8 10"),
    "quarters": (0.1, 0.9, 120, "si", "0 0.25 0.50 0.75 1.00"),
    "below and above zero": (-27, 48, 150, "si", "-40|-20|0|20|40|60"),
    "thousands": (0, 4_200, 150, "si", "0|1 K|2 K|3 K|4 K|5 K"),
    "hundreds stay as they are": (0, 1_100, 200, "si", "0 200 400 600 800 1000 1200"),
    "half thousands": (0, 2_400, 150, "si", "0|0.5 K|1.0 K|1.5 K|2.0 K|2.5 K"),
    "no prefixes": (0, 4_200, 150, "none", "0 1000 2000 3000 4000 5000"),
    "bytes": (0, 3 * 2**30, 120, "binary", "0|1 Gi|2 Gi|3 Gi"),
    "millionths": (0, 3.1e-6, 120, "si", "0|1 µ|2 µ|3 µ|4 µ"),
    "minutes": (0, 1_000, 120, "sec", "0|5m|10m|15m|20m"),
    "hours": (0, 9_000, 160, "sec", "0|30m|1h|1h 30m|2h|2h 30m"),
    "milliseconds": (0, 80, 120, "msec", "0|20 ms|40 ms|60 ms|80 ms"),
    "seconds of milliseconds": (0, 8_000, 120, "msec", "0|2s|4s|6s|8s"),
    "all the same": (42, 42, 150, "si", "37.5 40.0 42.5 45.0 47.5"),
    "all zero": (0, 0, 80, "si", "0 0.5 1.0"),
    "nothing": (math.nan, math.nan, 80, "si", "0 0.5 1.0"),
    "last digits of a large number": (1e15, 1e15 + 4, 120, "si", "1.000000000000000e15"),
}


@pytest.mark.parametrize(("low", "high", "height", "system", "want"), AXES.values(), ids=AXES.keys())
def test_labels_of_an_axis(low: float, high: float, height: float, system: str, want: str) -> None:
    scale = linear(low, high, Bounds(), height_px=height, system=system)
    if "e15" in want:
        assert len(set(scale.labels)) == len(scale.labels) > 2
    else:
        assert scale.labels == want.split("|" if "|" in want else " ")


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(NUMBERS, NUMBERS, st.floats(1, 5_000), st.sampled_from(SYSTEMS))
def test_every_axis_holds_its_values_and_few_ticks(first: float, second: float, height: float, system: str) -> None:
    low, high = sorted((first, second))
    scale = linear(low, high, Bounds(), height_px=height, system=system)
    assert math.isfinite(scale.bottom)
    assert math.isfinite(scale.top)
    assert scale.bottom < scale.top
    slack = 1e-6 * (scale.top - scale.bottom)
    assert scale.bottom <= max(low, -1e300) + slack
    assert scale.top >= min(high, 1e300) - slack
    assert len(scale.ticks) <= 14
    assert scale.ticks == sorted(scale.ticks)
    assert len(scale.labels) == len(scale.ticks)
    assert all(len(label) <= 24 for label in scale.labels)


@given(NUMBERS, NUMBERS, st.floats(1.1, 1e6), st.floats(1, 5_000))
def test_every_logarithmic_axis_has_places(first: float, second: float, base: float, height: float) -> None:
    low, high = sorted((abs(first), abs(second)))
    scale = logarithmic(low, high, Bounds(), base, height_px=height)
    assert 0 < scale.bottom < scale.top
    assert len(scale.ticks) <= 14


def test_what_is_given_of_an_axis_holds() -> None:
    scale = linear(3, 7, Bounds(low=1, high=50), height_px=100)
    assert (scale.bottom, scale.top) == (1, 50)
    assert all(1 <= tick <= 50 for tick in scale.ticks)
    assert linear(0, 100, Bounds(limit=10), height_px=100).top == 10
    assert linear(0, 100, Bounds(step=50), height_px=300).ticks == [0, 50, 100]
    assert len(linear(0, 1e9, Bounds(step=1e-9), height_px=300).ticks) < 20  # Not a tick for each.


def test_a_logarithmic_axis_has_the_powers_of_its_base() -> None:
    scale = logarithmic(3, 4_000, Bounds(), 10, height_px=200)
    assert scale.labels == ["1", "10", "100", "1 K", "10 K"]


def test_single_numbers() -> None:
    assert [short(one) for one in (0, 7, 1_234, 2.5e9)] == ["0", "7", "1.23 K", "2.5 G"]
    assert labels([-90.0], 30.0, "sec") == ["-1m 30s"]

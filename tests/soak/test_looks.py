"""What a soak tells of its looks."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.bench.figure import Figure
from tests.profile import IS_FULL
from tests.running import CHECKOUT
from tests.shared import shared
from tests.soak.hour import missed
from tests.soak.looks import slope_percent_per_h

AT_S = np.arange(900.0, 3_600.0, 10.0)
SAWTOOTH_MIB = 400 * (AT_S % 163) / 163


@pytest.mark.parametrize(
    ("value", "percent"),
    [
        pytest.param(np.full(AT_S.size, 500.0), 0.0, id="level"),
        pytest.param(500.0 + AT_S / 360, 1.97, id="10 MiB an hour"),
        pytest.param(np.where(AT_S % 300 == 30, 900.0, 500.0), 0.0, id="two processes side by side for one look"),
        pytest.param(500.0 - AT_S / 360, -2.03, id="falling"),
    ],
)
def test_the_slope_is_that_of_an_hour(value: np.ndarray, percent: float) -> None:
    assert slope_percent_per_h(AT_S, value) == pytest.approx(percent, abs=0.01)


def test_heads_that_fill_and_empty_are_no_slope() -> None:
    assert abs(slope_percent_per_h(AT_S, 500.0 + SAWTOOTH_MIB)) < 0.7


def test_a_promise_is_missed_above_its_limit_alone() -> None:
    figures = [
        Figure(bench="soak", metric=metric, value=value, unit="", conditions={})
        for metric, value in [("memory: slope", 1.01), ("errors in the log", 0.0), ("slowest poll", 9_999.0)]
    ]
    assert missed(figures) == ["memory: slope: 1.01 , at most 1"]


@pytest.mark.skipif(not IS_FULL, reason="takes a minute: make fuzz")
def test_a_minute_of_it_keeps_its_promises() -> None:
    shared("bench")
    argv = [sys.executable, "-m", "tests.soak", "--quick", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=CHECKOUT, timeout=180)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {"memory: slope", "reloads", "looks"} <= {json.loads(line)["metric"] for line in done.stdout.splitlines()}

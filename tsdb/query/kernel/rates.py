"""rate, increase and delta: the change over a window, extrapolated to its ends as Prometheus does."""

from __future__ import annotations

import numpy as np

from tsdb.query.kernel.steps import Bools, Cells
from tsdb.query.kernel.sums import window_sums
from tsdb.query.kernel.windows import Windows
from tsdb.sample import Float64s

# A gap to the window's end of up to 1.1 mean sample distances is taken for the same distance, scraped late; a larger
# one means that the series starts or ends within the window.
EXTRAPOLATION_THRESHOLD = 1.1


def extrapolated(windows: Windows, *, is_counter: bool, is_rate: bool) -> Cells:
    """The change over each window; per second if is_rate. Present where a window holds at least two samples.

    Source: Prometheus promql/functions.go, extrapolatedRate.
    """
    gaps = windows.count - 1
    present = gaps >= 1
    last_index = windows.end - 1
    first_value = windows.at(windows.value, windows.first)
    change = windows.at(windows.value, last_index) - first_value
    if is_counter:
        change += reset_corrections(windows, present)
    first_ms, last_ms = windows.time_ms_at(windows.first), windows.time_ms_at(last_index)
    to_start_s = (first_ms - (windows.end_ms - windows.range_ms)) / 1000.0
    to_end_s = (windows.end_ms - last_ms) / 1000.0
    sampled_s = (last_ms - first_ms) / 1000.0
    mean_gap_s = sampled_s / gaps
    threshold_s = mean_gap_s * EXTRAPOLATION_THRESHOLD
    half_s = mean_gap_s / 2
    to_start_s = np.where(to_start_s >= threshold_s, half_s, to_start_s)
    if is_counter:
        # A counter does not start below zero: extrapolate no further than to where the line meets it.
        to_zero_s = sampled_s * (first_value / change)
        bounded = (change > 0) & (first_value >= 0) & (to_zero_s < to_start_s)
        to_start_s = np.where(bounded, to_zero_s, to_start_s)
    to_end_s = np.where(to_end_s >= threshold_s, half_s, to_end_s)
    factor = (sampled_s + to_start_s + to_end_s) / sampled_s
    if is_rate:
        factor /= windows.range_ms / 1000.0
    return Cells(change * factor, present)


def reset_corrections(windows: Windows, present: Bools) -> Float64s | float:
    """What counters lost by starting again from zero: the sum of the values before each fall within the window."""
    value = windows.value
    falls = np.flatnonzero(value[1:] < value[:-1]) + 1  # Falls between two series lie in no window.
    if not falls.size:
        return 0.0
    falls_until = np.zeros(value.size + 1, np.int64)
    falls_until[falls + 1] = 1
    np.cumsum(falls_until, out=falls_until)
    # A fall at index i is one from i - 1 to i, so the first sample of a window has none.
    inner = np.where(present, windows.first + 1, 0)
    outer = np.where(present, windows.end, 0)
    return window_sums(value[falls - 1], falls_until[inner], falls_until[outer])


def instantaneous(windows: Windows, *, is_rate: bool) -> Cells:
    """irate and idelta: from the last two samples alone; irate takes a fall for a restart from zero."""
    present = windows.count >= 2
    last, before = windows.end - 1, windows.end - 2
    change = windows.at(windows.value, last) - windows.at(windows.value, before)
    if not is_rate:
        return Cells(change, present)
    change = np.where(change < 0, windows.at(windows.value, last), change)
    gap_s = (windows.time_ms_at(last) - windows.time_ms_at(before)) / 1000.0
    return Cells(change / gap_s, present)

"""rate, increase and delta: the change over a window, extrapolated to its ends as Prometheus does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tsdb.query.kernel.steps import Bools, Cells
from tsdb.query.kernel.sums import window_sums
from tsdb.query.kernel.windows import Windows, row_blocks
from tsdb.sample import Float64s, Int64s

# A gap to the window's end of up to 1.1 mean sample distances is taken for the same distance, scraped late; a larger
# one means that the series starts or ends within the window.
EXTRAPOLATION_THRESHOLD = 1.1


def extrapolated(windows: Windows, *, is_counter: bool, is_rate: bool) -> Cells:
    """The change over each window; per second if is_rate. Present where a window holds at least two samples.

    Source: Prometheus promql/functions.go, extrapolatedRate.
    """
    present = windows.count >= 2
    value = np.full(present.shape, np.nan)
    if not windows.value.size:
        return Cells(value, present)
    falls = Falls.of(windows) if is_counter else None
    for rows in row_blocks(present.shape):
        value[rows] = _extrapolated(windows, rows, falls, present[rows])
    if is_rate:
        value /= windows.range_ms / 1000.0
    return Cells(value, present)


def _extrapolated(windows: Windows, rows: slice, falls: Falls | None, present: Bools) -> Float64s:
    """One block of rows; any value where a window holds less than two samples."""
    first, last = windows.first[rows], windows.end[rows] - 1
    first_value = windows.value.take(first, mode="clip")
    change = windows.value.take(last, mode="clip") - first_value
    if falls is not None and falls.lost.size:
        change += falls.corrections(first, windows.end[rows], present)
    first_ms, last_ms = windows.timestamp_ms.take(first, mode="clip"), windows.timestamp_ms.take(last, mode="clip")
    to_start_s = (first_ms - (windows.end_ms - windows.range_ms)) / 1000.0
    to_end_s = (windows.end_ms - last_ms) / 1000.0
    sampled_s = (last_ms - first_ms) / 1000.0
    mean_gap_s = sampled_s / (last - first)
    threshold_s = mean_gap_s * EXTRAPOLATION_THRESHOLD
    half_s = mean_gap_s / 2
    to_start_s = np.where(to_start_s >= threshold_s, half_s, to_start_s)
    if falls is not None:
        # A counter does not start below zero: extrapolate no further than to where the line meets it.
        to_zero_s = sampled_s * (first_value / change)
        bounded = (change > 0) & (first_value >= 0) & (to_zero_s < to_start_s)
        to_start_s = np.where(bounded, to_zero_s, to_start_s)
    to_end_s = np.where(to_end_s >= threshold_s, half_s, to_end_s)
    return change * ((sampled_s + to_start_s + to_end_s) / sampled_s)


@dataclass(frozen=True, slots=True)
class Falls:
    """Where counters start again from zero: the values before each fall, and how many falls there were until a sample.

    until[i] counts the falls at samples before i; empty when there is none at all.
    """

    lost: Float64s
    until: Int64s

    @staticmethod
    def of(windows: Windows) -> Falls:
        value = windows.value
        fell = value[1:] < value[:-1]
        inner = windows.offsets[(windows.offsets > 0) & (windows.offsets < value.size)]
        fell[inner - 1] = False  # From one series to the next there is no fall.
        places = np.flatnonzero(fell)
        if not places.size:
            return Falls(np.empty(0), np.empty(0, np.int64))
        until = np.zeros(value.size + 1, np.int64)
        np.cumsum(fell, out=until[2:])
        return Falls(value[places], until)

    def corrections(self, first: Int64s, end: Int64s, present: Bools) -> Float64s:
        """What each window lost to falls; a fall at its first sample is none of its own."""
        return window_sums(
            self.lost, self.until[np.where(present, first + 1, 0)], self.until[np.where(present, end, 0)]
        )


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

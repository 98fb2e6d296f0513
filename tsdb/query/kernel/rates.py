"""rate, increase and delta: the change over a window, extrapolated to its ends as Prometheus does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tsdb.query.kernel.steps import Bools, Cells
from tsdb.query.kernel.sums import window_sums
from tsdb.query.kernel.windows import EvenPlaces, Windows, row_blocks
from tsdb.sample import Float64s, Int64s

# A gap to the window's end of up to 1.1 mean sample distances is taken for the same distance, scraped late; a larger
# one means that the series starts or ends within the window.
EXTRAPOLATION_THRESHOLD = 1.1


def extrapolated(windows: Windows, *, is_counter: bool, is_rate: bool) -> Cells:
    """The change over each window; per second if is_rate. Present where a window holds at least two samples.

    Source: Prometheus promql/functions.go, extrapolatedRate.
    """
    present = windows.at_least(2)
    if not windows.value.size:
        return Cells(np.full(present.shape, np.nan), present)
    falls = Falls.of(windows) if is_counter else None
    value = np.empty(present.shape)
    even = windows.places if isinstance(windows.places, EvenPlaces) else None
    for rows in row_blocks(present.shape):
        if even is None:
            value[rows] = _extrapolated(windows, rows, falls, present[rows])
        else:
            _extrapolated_evenly(windows, even, rows, falls, value[rows])
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
    first_ms, last_ms = windows.time_ms_at(first), windows.time_ms_at(last)
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


def _extrapolated_evenly(
    windows: Windows, even: EvenPlaces, rows: slice, falls: Falls | None, change: Float64s
) -> None:
    """Fill one block of rows as _extrapolated() would, where all series have the same times: those are reckoned once.

    change: a view of the result.
    """
    table = windows.value.reshape(even.series_count, even.timestamp_ms.size)[rows]
    first, last = even.first_of_series, even.end_of_series - 1
    first_value = table.take(first, axis=1, mode="clip")
    np.subtract(table.take(last, axis=1, mode="clip"), first_value, out=change)
    first_ms, last_ms = even.timestamp_ms.take(first, mode="clip"), even.timestamp_ms.take(last, mode="clip")
    to_start_s = (first_ms - (windows.end_ms - windows.range_ms)) / 1000.0
    to_end_s = (windows.end_ms - last_ms) / 1000.0
    sampled_s = (last_ms - first_ms) / 1000.0
    mean_gap_s = sampled_s / (last - first)
    threshold_s = mean_gap_s * EXTRAPOLATION_THRESHOLD
    to_start_s = np.where(to_start_s >= threshold_s, mean_gap_s / 2, to_start_s)
    to_end_s = np.where(to_end_s >= threshold_s, mean_gap_s / 2, to_end_s)
    factor = (sampled_s + to_start_s + to_end_s) / sampled_s
    if falls is None:
        change *= factor
        return
    falls.correct(even, rows, change)
    to_zero_s = np.divide(first_value, change)
    to_zero_s *= sampled_s
    near = np.flatnonzero(to_zero_s < to_start_s)  # Few, if any: where a counter has just begun.
    row, step = np.divmod(near, first.size)
    kept = (change[row, step] > 0) & (first_value[row, step] >= 0)
    row, step = row[kept], step[kept]
    of_zero = (sampled_s[step] + to_zero_s[row, step] + to_end_s[step]) / sampled_s[step]
    of_zero *= change[row, step]
    change *= factor
    change[row, step] = of_zero


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
        if not fell.any():
            return Falls(np.empty(0), np.empty(0, np.int64))
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

    def correct(self, even: EvenPlaces, rows: slice, change: Float64s) -> None:
        """Add what each window of some rows lost to falls; most series have none, and cost nothing."""
        if not self.lost.size:
            return
        edges = np.append(even.starts(), even.series_count * even.timestamp_ms.size)
        fallen = np.flatnonzero(np.diff(self.until[edges])[rows])
        starts = edges[:-1][rows][fallen][:, None]
        first, end = starts + even.first_of_series, starts + even.end_of_series
        change[fallen] += self.corrections(first, end, end - first >= 2)


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

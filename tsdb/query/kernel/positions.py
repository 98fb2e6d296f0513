"""For every series and step: how many of its samples lie at or before the step."""

from __future__ import annotations

import numpy as np

from tsdb.query.kernel.steps import Steps
from tsdb.sample import Int64s, SharedTimes


def positions(offsets: Int64s, times_ms: Int64s | SharedTimes, steps: Steps) -> Int64s:
    """The global index one past the last sample at or before each step.

    Returns: int64, shape (series, steps); offsets[i] where series i has no sample yet.
    """
    series_count = offsets.size - 1
    shared_ms = shared_times(offsets, times_ms)
    if shared_ms is not None:
        return offsets[:-1, None] + np.searchsorted(shared_ms, steps.times_ms(), side="right")
    timestamp_ms = times_ms.written_out if isinstance(times_ms, SharedTimes) else times_ms
    longest = int(np.diff(offsets).max()) if series_count else 0
    # Bisection costs a gather for each cell and bit of the longest series, scattering one pass over all samples and
    # cells; a gather costs about four times as much as a step of the pass.
    if 4 * series_count * steps.count * longest.bit_length() < timestamp_ms.size:
        return _bisected(offsets, timestamp_ms, steps, longest)
    return _scattered(offsets, timestamp_ms, steps)


def shared_times(offsets: Int64s, timestamp_ms: Int64s | SharedTimes) -> Int64s | None:
    """The times of every series, if all have the same, as those have that one agent sends; else None."""
    if isinstance(timestamp_ms, SharedTimes):
        return timestamp_ms.of_each_ms if timestamp_ms.size else None
    series_count = offsets.size - 1
    if not timestamp_ms.size or timestamp_ms.size % series_count:
        return None
    length = timestamp_ms.size // series_count
    by_series = timestamp_ms.reshape(series_count, length)
    is_even = int(offsets[-1]) == timestamp_ms.size and bool((np.diff(offsets) == length).all())
    # The last series is looked at first, for mostly it tells.
    if is_even and (by_series[-1] == by_series[0]).all() and (by_series == by_series[0]).all():
        return timestamp_ms[:length]
    return None


def _scattered(offsets: Int64s, timestamp_ms: Int64s, steps: Steps) -> Int64s:
    """Each sample marks the first step that sees it; the last mark so far is the answer of a step."""
    series_count = offsets.size - 1
    # The first step at or after the sample: the ceiling of (time - first) / step. Beyond the last step is column count.
    column = -((steps.first_ms - timestamp_ms) // steps.step_ms)
    np.clip(column, 0, steps.count, out=column)
    column += np.repeat(np.arange(series_count, dtype=np.int64) * (steps.count + 1), np.diff(offsets))
    until = np.zeros((series_count, steps.count + 1), np.int64)
    until[:, 0] = offsets[:-1]
    # Of several samples in one column the last one counts: numpy assigns repeated indices in order.
    until.reshape(-1)[column] = np.arange(1, timestamp_ms.size + 1, dtype=np.int64)
    until = until[:, :-1]
    return np.maximum.accumulate(until, axis=1, out=until)


def _bisected(offsets: Int64s, timestamp_ms: Int64s, steps: Steps, longest: int) -> Int64s:
    """Binary search in all series at once; as many rounds as the longest series has bits."""
    shape = (offsets.size - 1, steps.count)
    low = np.broadcast_to(offsets[:-1, None], shape).copy()
    high = np.broadcast_to(offsets[1:, None], shape).copy()
    times_ms = steps.times_ms()
    for _ in range(longest.bit_length()):
        middle = (low + high) >> 1
        open_ = low < high
        # A closed cell may point one past the end; its comparison is not used.
        seen = open_ & (timestamp_ms[np.minimum(middle, timestamp_ms.size - 1)] <= times_ms)
        low = np.where(seen, middle + 1, low)
        high = np.where(open_ & ~seen, middle, high)
    return low

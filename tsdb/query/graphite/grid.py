"""Samples as they came put on equal steps: one row for each series, in matrices that all series of one step share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tsdb.sample import Float64s, Int64s, Selection, SharedTimes, is_stale

STEP_S_DEFAULT = 60  # As carbon's own default, for a series of one sample.
# Graphite's steps are whole and mostly round: a gap within a tenth of one of these is meant as it.
_ROUND_STEPS_S = np.array(
    [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 604_800]
)
# Samples of so many rows are moved at once: their slots and places stay in the caches of a core.
_MOVED_COUNT = 1 << 17


class Samples:
    """The samples of a selection without its stale markers.

    offsets: row i has the samples offsets[i] … offsets[i + 1] - 1 of the columns.
    times_ms: of all samples; where all rows have the same times, of one row.
    """

    def __init__(self, found: Selection) -> None:
        self.offsets, self.value = found.offsets, found.value
        is_there = ~is_stale(found.value)
        self.is_even = isinstance(found.times_ms, SharedTimes)
        self.times_ms = found.times_ms.of_each_ms if isinstance(found.times_ms, SharedTimes) else found.times_ms
        if not is_there.all():
            self.times_ms, self.value, self.is_even = found.timestamp_ms[is_there], found.value[is_there], False
            self.offsets = np.append(np.int64(0), np.cumsum(is_there, dtype=np.int64))[found.offsets]
        self.row_count = self.offsets.size - 1

    def steps_s(self) -> Int64s:
        """By row: the gap that most samples have, rounded to what people choose."""
        if self.is_even:
            return np.broadcast_to(_step_s(self.times_ms), self.row_count)
        starts, lengths = self.offsets[:-1], np.diff(self.offsets)
        found = np.full(self.row_count, STEP_S_DEFAULT, np.int64)
        rows = np.flatnonzero(lengths > 1)
        if not rows.size:
            return found
        gaps_ms = np.append(np.diff(self.times_ms), 0)
        edges = np.column_stack((starts[rows], starts[rows] + lengths[rows] - 1)).ravel()
        least, most = (rounded(each.reduceat(gaps_ms, edges)[::2] / 1_000) for each in (np.minimum, np.maximum))
        # The middle gap is between the least and the largest, and what is meant as one step has no hole in it.
        found[rows] = least
        rows = rows[least != most]
        for length in np.unique(lengths[rows]).tolist():
            alike = rows[lengths[rows] == length]
            height = max(1, _MOVED_COUNT // length)
            for at in range(0, alike.size, height):
                some = alike[at : at + height]
                gaps = gaps_ms[starts[some][:, None] + np.arange(length - 1)]
                found[some] = rounded(np.median(gaps, axis=1) / 1_000)
        return found

    def on_grid(self, rows: Int64s, first_s: int, last_s: int, step_s: int) -> Float64s:
        """(rows, steps): the last value of each step [t, t + step), NaN where there is none; not to be written to.

        rows: the numbers of the rows that are wanted; -1 for one that has no sample.
        """
        count = (last_s - first_s) // step_s
        if self.is_even and np.array_equal(rows, np.arange(self.row_count)):
            return self._evenly(first_s, step_s, count)
        values = np.full(rows.size * count, np.nan)
        for place, at in self._moved(rows):
            times_ms = self.times_ms[at % self.times_ms.size] if self.is_even else self.times_ms[at]
            slot = (times_ms // 1_000 - first_s) // step_s
            is_inside = (slot >= 0) & (slot < count)
            # Of several in one slot the last stays: numpy assigns them in their order.
            values[place[is_inside] * count + slot[is_inside]] = self.value[at[is_inside]]
        return values.reshape(rows.size, count)

    def _evenly(self, first_s: int, step_s: int, count: int) -> Float64s:
        slot = (self.times_ms // 1_000 - first_s) // step_s
        part = slice(*np.searchsorted(slot, (0, count)).tolist())
        slot, table = slot[part], self.value.reshape(self.row_count, self.times_ms.size)[:, part]
        if slot.size == count and (np.diff(slot) == 1).all():
            return table  # As they lie: nothing is moved.
        values = np.full((self.row_count, count), np.nan)
        is_last = np.append(slot[1:] != slot[:-1], np.ones(min(1, slot.size), np.bool_))
        values[:, slot[is_last]] = table[:, is_last]
        return values

    def _moved(self, rows: Int64s) -> Iterator[tuple[Int64s, Int64s]]:
        """The samples of some rows, some at a time: the place of each one's row in rows, and its own."""
        starts, lengths = self.offsets[rows], np.where(rows < 0, 0, self.offsets[rows + 1] - self.offsets[rows])
        ends = np.cumsum(lengths)
        done = 0
        while done < rows.size:
            begun = int(ends[done] - lengths[done])
            end = max(done + 1, int(np.searchsorted(ends, begun + _MOVED_COUNT, side="right")))
            some = slice(done, end)
            place = np.repeat(np.arange(done, end), lengths[some])
            yield (
                place,
                np.repeat(starts[some] - (ends[some] - lengths[some]), lengths[some])
                + np.arange(begun, int(ends[end - 1])),
            )
            done = end


def _step_s(times_ms: Int64s) -> int:
    if times_ms.size < 2:
        return STEP_S_DEFAULT
    return int(rounded(np.array([np.median(np.diff(times_ms)) / 1_000]))[0])


def rounded(gaps_s: Float64s) -> Int64s:
    """Gaps between samples as the steps that are meant by them."""
    middles = (_ROUND_STEPS_S[1:] + _ROUND_STEPS_S[:-1]) / 2
    near = _ROUND_STEPS_S[np.searchsorted(middles, gaps_s)]
    return np.where(np.abs(near - gaps_s) <= near / 10, near, np.maximum(1, np.rint(gaps_s).astype(np.int64)))

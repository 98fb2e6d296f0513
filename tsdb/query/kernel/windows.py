"""Ranges of samples: one window for every (series, step), open on the left as in Prometheus 3."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tsdb.query.kernel.blocks import Check, unchecked
from tsdb.query.kernel.positions import positions, shared_times
from tsdb.query.kernel.steps import Bools, Steps
from tsdb.sample import Float64s, Int64s, Selection, SharedTimes, is_stale

# Windows are spelled out sample by sample only in parts of this many: 64 Ki × (8 B index + 8 B value + as much again
# for what is computed from them) = 2 MiB, which stays in the cache, however large the query.
PART_COUNT_MAX = 2**16


def without_stale(selection: Selection) -> Selection:
    """The same series with their stale markers left out, as range functions see them."""
    stale = is_stale(selection.value)
    if not stale.any():
        return selection
    keep = ~stale
    kept_until = np.concatenate(([0], np.cumsum(keep)))
    return replace(
        selection,
        offsets=kept_until[selection.offsets],
        times_ms=selection.timestamp_ms[keep],
        value=selection.value[keep],
    )


# Long arithmetic runs over blocks of this many cells: 2^16 × 8 B = 512 KiB for each matrix, so that it stays in the
# cache, and what is held besides the result does not grow with the query.
BLOCK_CELLS = 2**16


def row_blocks(shape: tuple[int, ...], cells: int = BLOCK_CELLS) -> list[slice]:
    """Slices of whole rows of a (series, steps) matrix, of at most so many cells each, but of one row at least."""
    rows, steps = shape
    height = max(1, cells // max(steps, 1))
    return [slice(top, top + height) for top in range(0, rows, height)]


@dataclass(frozen=True, slots=True)
class Places:
    """Where windows begin and end among the samples of all series; both int64, shape (series, steps)."""

    first: Int64s
    end: Int64s


@dataclass(frozen=True)
class EvenPlaces:
    """The same where all series have the same times, as those have that one agent sends: it is said once for all.

    The matrices are made only for those who ask for them.
    """

    series_count: int
    timestamp_ms: Int64s  # Of one series.
    first_of_series: Int64s  # int64[steps]
    end_of_series: Int64s  # int64[steps]

    @cached_property
    def first(self) -> Int64s:
        return self.starts()[:, None] + self.first_of_series

    @cached_property
    def end(self) -> Int64s:
        return self.starts()[:, None] + self.end_of_series

    def starts(self) -> Int64s:
        """By series the index of its first sample."""
        return np.arange(self.series_count, dtype=np.int64) * self.timestamp_ms.size


@dataclass(frozen=True, slots=True)
class Windows:
    """The samples first[s, t]:end[s, t] of series s lie in (end_ms[t] - range_ms, end_ms[t]].

    weight: how many samples each one stands for; None: itself alone.
    Invariant: the samples hold no stale marker; offsets[s] <= first <= end <= offsets[s + 1].
    """

    offsets: Int64s
    times_ms: Int64s | SharedTimes
    value: Float64s
    places: Places | EvenPlaces
    end_ms: Int64s  # int64[steps]
    range_ms: int
    check: Check = unchecked  # Called between the parts of what takes long.
    weight: Float64s | None = None

    @staticmethod
    def over(
        selection: Selection,
        steps: Steps,
        range_ms: int,
        check: Check = unchecked,
        *,
        weight: Float64s | None = None,
        closed_until_ms: int | None = None,
    ) -> Windows:
        """closed_until_ms: a sample before it that lies exactly at the start of a window belongs to the window too."""
        samples = without_stale(selection)
        places = _places(samples.offsets, samples.times_ms, steps, range_ms)
        if weight is not None and samples is not selection:
            weight = weight[~is_stale(selection.value)]
        windows = Windows(
            samples.offsets, samples.times_ms, samples.value, places, steps.times_ms(), range_ms, check, weight
        )
        return windows if closed_until_ms is None else windows.closed(closed_until_ms)

    @property
    def first(self) -> Int64s:
        return self.places.first

    @property
    def end(self) -> Int64s:
        return self.places.end

    def closed(self, until_ms: int) -> Windows:
        """The same windows, with the samples before until_ms that lie exactly at their start."""
        start_ms = self.end_ms - self.range_ms
        at_start = (self.first > self.offsets[:-1, None]) & (start_ms < until_ms)
        at_start &= self.time_ms_at(self.first - 1) == start_ms
        return replace(self, places=Places(self.first - at_start, self.end))

    @property
    def count(self) -> Int64s:
        """The number of samples in each window; int64, shape (series, steps), maybe a read-only view."""
        places = self.places
        if isinstance(places, EvenPlaces):
            count = places.end_of_series - places.first_of_series
            return np.broadcast_to(count, (places.series_count, count.size))
        return places.end - places.first

    def at_least(self, count: int) -> Bools:
        """Which windows have so many samples; maybe a read-only view."""
        places = self.places
        if isinstance(places, EvenPlaces):
            of_series = places.end_of_series - places.first_of_series >= count
            return np.broadcast_to(of_series, (places.series_count, of_series.size))
        is_enough: Bools = places.end - places.first >= count
        return is_enough

    def at(self, column: Float64s, index: Int64s) -> Float64s:
        """column[index], with any value where index lies outside, so that empty windows need no special case."""
        return column.take(index, mode="clip") if column.size else np.full(index.shape, np.nan)

    def time_ms_at(self, index: Int64s) -> Int64s:
        """The time of a sample; any time where index lies outside."""
        if isinstance(self.times_ms, SharedTimes):
            return self.times_ms.take(index)
        return self.times_ms.take(index, mode="clip") if self.times_ms.size else np.zeros_like(index)

    def parts(self) -> Iterator[tuple[Int64s, Int64s]]:
        """All windows that hold a sample, those of equal length together, in parts of a bounded size.

        Yields: the flat (series × steps) index of each window, int64[windows]; the samples of each, (windows, length).
        There are as many parts as there are lengths, or more: a handful where samples are regular.
        """
        count = self.count.reshape(-1)
        order = np.argsort(count, kind="stable")
        lengths, starts = np.unique(count[order], return_index=True)
        first = self.first.reshape(-1)
        bounds = [*starts.tolist(), count.size]
        for length, start, end in zip(lengths.tolist(), bounds[:-1], bounds[1:], strict=True):
            height = max(1, PART_COUNT_MAX // max(length, 1))
            for top in range(start, end, height) if length else ():
                self.check()
                cell = order[top : min(top + height, end)]
                yield cell, first[cell][:, None] + np.arange(length)


def filled(windows: Windows) -> Bools:
    return windows.at_least(1)


def _places(offsets: Int64s, timestamp_ms: Int64s | SharedTimes, steps: Steps, range_ms: int) -> Places | EvenPlaces:
    times_ms = shared_times(offsets, timestamp_ms)
    if times_ms is not None:
        ends_ms = steps.times_ms()
        first, end = (np.searchsorted(times_ms, at_ms, side="right") for at_ms in (ends_ms - range_ms, ends_ms))
        return EvenPlaces(offsets.size - 1, times_ms, first, end)
    steps_back, rest_ms = divmod(range_ms, steps.step_ms)
    if rest_ms == 0 and steps_back <= 2 * steps.count:
        # Each window starts where an earlier step's window ends: one pass serves both sides.
        longer = Steps(steps.first_ms - range_ms, steps.step_ms, steps.count + steps_back)
        until = positions(offsets, timestamp_ms, longer)
        return Places(until[:, : steps.count], until[:, steps_back:])
    return Places(positions(offsets, timestamp_ms, steps.shifted(-range_ms)), positions(offsets, timestamp_ms, steps))

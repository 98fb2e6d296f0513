"""Ranges of samples: one window for every (series, step), open on the left as in Prometheus 3."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tsdb.query.kernel.positions import positions
from tsdb.query.kernel.steps import Bools, Steps
from tsdb.sample import Float64s, Int64s, Selection, is_stale

# Windows are laid out one after the other only in parts of this many samples: 4 Mi × (8 B value + 8 B index + 8 B of
# the sort that follows) = 96 MiB at most, however large the query.
EXPANDED_COUNT_MAX = 4 * 2**20


def without_stale(selection: Selection) -> Selection:
    """The same series with their stale markers left out, as range functions see them."""
    stale = is_stale(selection.value)
    if not stale.any():
        return selection
    keep = ~stale
    kept_until = np.concatenate(([0], np.cumsum(keep)))
    return Selection(
        labels=selection.labels,
        offsets=kept_until[selection.offsets],
        timestamp_ms=selection.timestamp_ms[keep],
        value=selection.value[keep],
    )


@dataclass(frozen=True, slots=True)
class Windows:
    """The samples first[s, t]:end[s, t] of series s lie in (end_ms[t] - range_ms, end_ms[t]].

    Invariant: the samples hold no stale marker; offsets[s] <= first <= end <= offsets[s + 1].
    """

    offsets: Int64s
    timestamp_ms: Int64s
    value: Float64s
    first: Int64s
    end: Int64s
    end_ms: Int64s  # int64[steps]
    range_ms: int

    @staticmethod
    def over(selection: Selection, steps: Steps, range_ms: int) -> Windows:
        samples = without_stale(selection)
        offsets, timestamp_ms = samples.offsets, samples.timestamp_ms
        steps_back, rest_ms = divmod(range_ms, steps.step_ms)
        if rest_ms == 0 and steps_back <= 2 * steps.count:
            # Each window starts where an earlier step's window ends: one pass serves both sides.
            longer = Steps(steps.first_ms - range_ms, steps.step_ms, steps.count + steps_back)
            until = positions(offsets, timestamp_ms, longer)
            first, end = until[:, : steps.count], until[:, steps_back:]
        else:
            first = positions(offsets, timestamp_ms, steps.shifted(-range_ms))
            end = positions(offsets, timestamp_ms, steps)
        return Windows(offsets, timestamp_ms, samples.value, first, end, steps.times_ms(), range_ms)

    @property
    def count(self) -> Int64s:
        """The number of samples in each window; int64, shape (series, steps)."""
        return self.end - self.first

    def at(self, column: Float64s, index: Int64s) -> Float64s:
        """column[index], with any value where index lies outside, so that empty windows need no special case."""
        if not column.size:
            return np.full(index.shape, np.nan)
        return column[np.clip(index, 0, column.size - 1)]

    def time_ms_at(self, index: Int64s) -> Int64s:
        """The time of a sample; any time where index lies outside."""
        if not self.timestamp_ms.size:
            return np.zeros(index.shape, np.int64)
        return self.timestamp_ms[np.clip(index, 0, self.timestamp_ms.size - 1)]

    def parts(self) -> Iterator[Expanded]:
        """All windows that hold a sample, laid out one after the other, in parts of a bounded size."""
        count = self.count.reshape(-1)
        filled = np.flatnonzero(count)
        first, count = self.first.reshape(-1)[filled], count[filled]
        until = np.cumsum(count)
        start = 0
        while start < filled.size:
            before = int(until[start - 1]) if start else 0
            stop = max(int(np.searchsorted(until, before + EXPANDED_COUNT_MAX, side="right")), start + 1)
            yield Expanded.of(filled[start:stop], first[start:stop], count[start:stop])
            start = stop


@dataclass(frozen=True, slots=True)
class Expanded:
    """Some windows with every sample spelled out: the i-th holds the samples index[starts[i] : starts[i] + count[i]].

    cell[i] is its flat (series × steps) index; no window is empty.
    """

    cell: Int64s
    count: Int64s
    starts: Int64s
    owner: Int64s  # For every entry of index: which of the windows it belongs to.
    index: Int64s

    @staticmethod
    def of(cell: Int64s, first: Int64s, count: Int64s) -> Expanded:
        starts = np.cumsum(count) - count
        owner = np.repeat(np.arange(count.size), count)
        index = np.arange(int(count.sum())) + (first - starts)[owner]
        return Expanded(cell, count, starts, owner, index)


def filled(windows: Windows) -> Bools:
    return windows.end > windows.first

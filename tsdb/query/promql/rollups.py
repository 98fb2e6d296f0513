"""How expressions read old times, of which only rollups are left: what each function asks for, and what it gets.

A rollup bucket of resolution r stands at its end t and covers (t - r, t]: left-open, as windows are, so that buckets
whose length divides the edges of the windows tile them exactly. For people: docs/old-samples.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from tsdb.interface import Aggregate, Condense, Grain
from tsdb.query.kernel.steps import Steps
from tsdb.sample import Float64s, Selection

# What divides every edge there is: asked for when all edges are at the epoch itself.
DAY_MS = 86_400_000


class Exactness(StrEnum):
    """How the answer from rollups compares with the one that raw samples gave."""

    EXACT = "exact"  # Equal, where buckets tile the windows.
    WHOLE = "whole"  # What happened between bucket ends, counted without extrapolating to the edges of the window.
    NEAR = "near"  # From the last sample of each bucket, as if they were all there are.


@dataclass(frozen=True, slots=True)
class Reading:
    """What one function asks for. is_change: it compares samples, so it needs two, and the one at the window's start.

    is_counted: it must know how many samples each bucket stands for. condensed: the aggregate from which its answer
    follows as well as from the samples, if each window has all or none of what is condensed.
    """

    aggregate: Aggregate
    exactness: Exactness
    is_change: bool = False
    is_counted: bool = False
    condensed: Aggregate | None = None


INSTANT = Reading(Aggregate.LAST, Exactness.EXACT)
LAST_NEAR = Reading(Aggregate.LAST, Exactness.NEAR)
LAST_CHANGE = Reading(Aggregate.LAST, Exactness.NEAR, is_change=True)

# Every function of a range vector, by name.
READINGS: dict[str, Reading] = {
    "min_over_time": Reading(Aggregate.MIN, Exactness.EXACT, condensed=Aggregate.MIN),
    "max_over_time": Reading(Aggregate.MAX, Exactness.EXACT, condensed=Aggregate.MAX),
    "sum_over_time": Reading(Aggregate.SUM, Exactness.EXACT, condensed=Aggregate.SUM),
    "count_over_time": Reading(Aggregate.COUNT, Exactness.EXACT, is_counted=True, condensed=Aggregate.COUNT),
    "avg_over_time": Reading(Aggregate.SUM, Exactness.EXACT, is_counted=True, condensed=Aggregate.SUM),
    "last_over_time": INSTANT,
    "present_over_time": Reading(Aggregate.LAST, Exactness.EXACT, condensed=Aggregate.COUNT),
    "absent_over_time": Reading(Aggregate.LAST, Exactness.EXACT, condensed=Aggregate.COUNT),
    "rate": Reading(Aggregate.INCREASE, Exactness.WHOLE, is_change=True),
    "increase": Reading(Aggregate.INCREASE, Exactness.WHOLE, is_change=True),
    "delta": Reading(Aggregate.LAST, Exactness.WHOLE, is_change=True),
    "irate": Reading(Aggregate.INCREASE, Exactness.NEAR, is_change=True),
    "idelta": LAST_CHANGE,
    "deriv": LAST_CHANGE,
    "predict_linear": LAST_CHANGE,
    "double_exponential_smoothing": LAST_CHANGE,
    "ts_of_min_over_time": Reading(Aggregate.MIN, Exactness.NEAR),
    "ts_of_max_over_time": Reading(Aggregate.MAX, Exactness.NEAR),
    "ts_of_first_over_time": LAST_NEAR,
    "ts_of_last_over_time": LAST_NEAR,
    "first_over_time": LAST_NEAR,
    "quantile_over_time": LAST_NEAR,
    "stddev_over_time": LAST_NEAR,
    "stdvar_over_time": LAST_NEAR,
    "mad_over_time": LAST_NEAR,
    "changes": LAST_NEAR,
    # The increase never falls, so the falls are counted that are left between the last samples of buckets.
    "resets": LAST_NEAR,
}


@dataclass(frozen=True, slots=True)
class Old:
    """The part of a selection that is rollups: everything before raw_from_ms.

    range_ms: how far windows look back that reach into it; never less than the expression says.
    weight: float64 by sample, how many samples it stands for; None where nobody asks.
    """

    raw_from_ms: int
    range_ms: int
    is_change: bool
    weight: Float64s | None = None

    def step_count(self, steps: Steps, range_ms: int) -> int:
        """How many of the first steps look back, over range_ms, into the rollups."""
        reach_ms = self.raw_from_ms + range_ms - 1 - steps.first_ms
        return min(max(-(-reach_ms // steps.step_ms), 0), steps.count)


def grain_of(aggregate: Aggregate, steps: Steps, range_ms: int = 0) -> Grain:
    """What to ask a source for: buckets that divide every edge of every window, as coarse as there are."""
    edges_ms = math.gcd(steps.first_ms, range_ms, steps.step_ms if steps.count > 1 else 0)
    return Grain(aggregate, edges_ms or DAY_MS)


def window_grain(reading: Reading, steps: Steps, range_ms: int) -> Grain:
    """What a function of windows asks for, with the leave to condense what no window parts, where that answers too."""
    grain = grain_of(reading.aggregate, steps, range_ms)
    if reading.condensed is None:
        return grain
    return replace(grain, condense=Condense(reading.condensed, steps.first_ms, steps.step_ms, steps.count, range_ms))


def lookback_ms(selection: Selection, lookback_ms: int) -> int:
    """How long a rolled up sample is the latest one: at least until the next bucket ends, so that no hole shows."""
    return max(lookback_ms, selection.resolution_ms)


def range_in_rollups_ms(reading: Reading, selection: Selection, grain: Grain, range_ms: int) -> int:
    """How far a window looks back among buckets of this resolution, so that it always holds what its function needs.

    One bucket; for a change two, of which the first may stand at the very start of the window, if buckets tile it.
    """
    resolution_ms = selection.resolution_ms
    if not reading.is_change:
        return max(range_ms, resolution_ms)
    is_tiled = resolution_ms and grain.resolution_max_ms % resolution_ms == 0 and range_ms >= resolution_ms
    return range_ms if is_tiled else max(range_ms, 2 * resolution_ms)


def joined(early: Selection, late: Selection) -> Selection:
    """Two selections of which one ends before the other begins, as one."""
    if not early.value.size:
        return late
    labels = sorted({*early.labels, *late.labels})
    row_by_labels = {row: i for i, row in enumerate(labels)}
    parts = [(part, np.array([row_by_labels[row] for row in part.labels], np.int64)) for part in (early, late)]
    lengths = np.zeros(len(labels), np.int64)
    for part, rows in parts:
        lengths[rows] += np.diff(part.offsets)
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
    timestamp_ms, value = np.empty(int(offsets[-1]), np.int64), np.empty(int(offsets[-1]))
    filled = offsets[:-1].copy()  # By row: where its next sample goes.
    for part, rows in parts:
        count = np.diff(part.offsets)
        where = np.repeat(filled[rows] - part.offsets[:-1], count)
        where += np.arange(where.size)
        timestamp_ms[where], value[where] = part.timestamp_ms, part.value
        filled[rows] += count
    return Selection(
        labels=labels,
        offsets=offsets,
        times_ms=timestamp_ms,
        value=value,
        resolution_ms=max(early.resolution_ms, late.resolution_ms),
        raw_from_ms=max(early.raw_from_ms, late.raw_from_ms),
    )

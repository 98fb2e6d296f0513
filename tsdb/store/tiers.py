"""Which rollup answers where samples are gone, and putting it together with the samples that are there.

Pure; what is promised to queries: docs/format/rollup.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tsdb.interface import Aggregate, Bounds, Grain
from tsdb.sample import RAW_ALONE_MS, Float64s, Int64s
from tsdb.store.block.layout import BlockName
from tsdb.store.buckets import bucket_ends, bucketed, combined, kept, last_numbers, running
from tsdb.store.columns import Rows, merged

# Tiers of several schemas need not divide one another; beyond this the coarsest alone says where one may take over.
_UNIT_MS_MAX = 31 * 86_400_000
# While it is looked up which tier answers for a sample: its place and its stretch, one of them twice, and the answer.
_RANK_BYTES = 25
# Rows of a Choice that are held beside it while it is made: copies of one, with the places of its gaps.
_SPARE_STRETCHES = 10


@dataclass(frozen=True, slots=True)
class RolledBlock:
    """One block of rollups, open: which series of the selection it has, and how to read them.

    min_ms: the end of its first bucket. Where rollups of long ago were joined, that may be long after the beginning of
    the window: what lies before was past the time of this tier when it was written, and is a coarser one's to answer.
    read: the buckets of the block by their ends, a row's number being the place of its series.
    """

    name: BlockName
    min_ms: int
    place: Int64s
    read: Callable[[], Rows]

    @property
    def from_ms(self) -> int:
        """The first millisecond for which it answers."""
        return max(self.name.start_ms, self.min_ms - self.name.tier_ms + 1)


class Answer(NamedTuple):
    """Parts to be merged, and what a Selection says of them."""

    parts: list[Rows]
    resolution_ms: int
    raw_from_ms: int


def aggregates_of(grain: Grain | None) -> tuple[Aggregate, ...]:
    """The columns that a selection reads; the increase is anchored at the last samples."""
    if grain is None:
        return (Aggregate.LAST,)
    return (grain.aggregate, Aggregate.LAST) if grain.aggregate is Aggregate.INCREASE else (grain.aggregate,)


def read_from_ms(names: Iterable[str], start_ms: int) -> int:
    """Samples from here on may belong to the first bucket that ends in a range; its start, if no rollup is named."""
    found = map(BlockName.parse, names)
    return start_ms - max((name.tier_ms - 1 for name in found if name is not None and not name.is_raw), default=0)


class Choice:
    """By stretch of time and series, the tier that answers.

    Where a tier ends, the bucket of the coarsest one through which the border goes belongs to the older side whole.
    """

    def __init__(
        self,
        parts: Sequence[RolledBlock],
        series_count: int,
        resolution_max_ms: int,
        bounds: Bounds | None = None,
    ) -> None:
        self._bounds = bounds
        tiers_ms = sorted({part.name.tier_ms for part in parts})
        self._order = preferred(tiers_ms, resolution_max_ms)
        unit_ms = math.lcm(*tiers_ms)
        self._unit_ms = unit_ms if unit_ms <= _UNIT_MS_MAX else tiers_ms[-1]
        edges = _edges(parts)
        self._edges = np.array(edges, np.int64)
        chosen = np.full((len(edges) - 1, series_count), len(self._order), np.int8)
        for part in parts:
            rank = self._order.index(part.name.tier_ms)
            first, end = np.searchsorted(self._edges, (part.from_ms, part.name.end_ms))
            for stretch in range(int(first), int(end)):
                chosen[stretch, part.place] = np.minimum(chosen[stretch, part.place], rank)
        for stretch in reversed(range(len(edges) - 2)):  # A gap goes to what comes after it.
            is_gap = chosen[stretch] == len(self._order)
            chosen[stretch, is_gap] = chosen[stretch + 1, is_gap]
        self._chosen = chosen

    def column(self, parts: Sequence[RolledBlock], start_ms: int, end_ms: int) -> Rows:
        """One aggregate from the tiers that answer."""
        found = []
        for part in sorted(parts, key=lambda part: (part.name.start_ms, part.name.number)):
            rank = self._order.index(part.name.tier_ms)
            first, last = self._stretches(np.array([part.name.start_ms, part.name.end_ms + part.name.tier_ms - 1]))
            if (self._chosen[first : last + 1, part.place] == rank).any():
                rows = part.read().clipped(start_ms, end_ms)
                found.append(kept(rows, self._rank_of(rows) == rank))
        return combined(found, self._chosen.shape[1], parts[0].name.aggregate or Aggregate.LAST)

    def tiers_of(self, rows: Rows) -> Int64s:
        """By sample, the tier that answers where it lies; the coarsest in use, for a series without rollups."""
        in_use = np.unique(self._chosen)
        coarsest_ms = max(self._order[rank] for rank in in_use.tolist() if rank < len(self._order))
        return np.array([*self._order, coarsest_ms], np.int64)[self._rank_of(rows)]

    def coarsest_ms(self, rows: Rows) -> int:
        return max(
            int(self._order[rank]) for rank in np.unique(self._rank_of(rows)).tolist() if rank < len(self._order)
        )

    def _rank_of(self, rows: Rows) -> npt.NDArray[np.int8]:
        with _room(self._bounds, _RANK_BYTES * rows.value.size):
            place = np.repeat(rows.row, rows.lengths)
            rank: npt.NDArray[np.int8] = self._chosen[self._stretches(rows.timestamp_ms), place]
        return rank

    def _stretches(self, timestamp_ms: Int64s) -> Int64s:
        """By time, the stretch in which the first millisecond of its longest bucket lies."""
        first_ms = bucket_ends(timestamp_ms, self._unit_ms) - self._unit_ms + 1
        stretch = np.searchsorted(self._edges, first_ms, side="right") - 1
        return np.clip(stretch, 0, self._edges.size - 2)


def _edges(parts: Sequence[RolledBlock]) -> list[int]:
    """The times between which no block begins or ends to answer."""
    return sorted({edge for part in parts for edge in (part.from_ms, part.name.end_ms)})


def choice_bytes(parts: Sequence[RolledBlock], series_count: int) -> int:
    """What a Choice takes: a byte for each series and stretch of time, and what is beside it while it is made."""
    return (len(_edges(parts)) - 1 + _SPARE_STRETCHES) * series_count


def _room(bounds: Bounds | None, count: int) -> AbstractContextManager[None]:
    return nullcontext() if bounds is None else bounds.room(count)


def preferred(tiers_ms: Sequence[int], resolution_max_ms: int) -> list[int]:
    """Tiers in the order in which they are to answer: the coarsest that divides the wanted resolution, else the finest.

    tiers_ms: rising.
    """
    exact = [tier_ms for tier_ms in tiers_ms if resolution_max_ms and resolution_max_ms % tier_ms == 0]
    return [*reversed(exact), *(tier_ms for tier_ms in tiers_ms if tier_ms not in exact)]


def assemble(
    rollups: Mapping[Aggregate, Sequence[RolledBlock]],
    raw: Sequence[Rows],
    series_count: int,
    grain: Grain,
    start_ms: int,
    end_ms: int,
    bounds: Bounds | None = None,
) -> Answer:
    """The answer of a selection whose series may have rollups.

    rollups: of the aggregates that the grain needs; raw: the samples that are there, from read_from_ms() on.
    Raises: what the bounds raise, if there is no room to tell which rollup answers.
    """
    parts = rollups.get(grain.aggregate, ())
    if not parts:
        return Answer([part.clipped(start_ms, end_ms) for part in raw], 0, RAW_ALONE_MS)
    with _room(bounds, choice_bytes(parts, series_count)):
        choice = Choice(parts, series_count, grain.resolution_max_ms, bounds)
        return _assembled(choice, rollups, raw, series_count, grain, start_ms, end_ms)


def _assembled(
    choice: Choice,
    rollups: Mapping[Aggregate, Sequence[RolledBlock]],
    raw: Sequence[Rows],
    series_count: int,
    grain: Grain,
    start_ms: int,
    end_ms: int,
) -> Answer:
    parts = rollups[grain.aggregate]
    # A bucket that ends behind the range still says that the samples in it are gone.
    rolled = choice.column(parts, start_ms, end_ms + max(part.name.tier_ms for part in parts) - 1)
    if not rolled.value.size:
        return Answer([part.clipped(start_ms, end_ms) for part in raw], 0, RAW_ALONE_MS)
    border_ms = int(rolled.timestamp_ms.max())
    early = merged([kept(part, part.timestamp_ms <= border_ms) for part in raw], series_count)
    later = [part.clipped(max(start_ms, border_ms + 1), end_ms) for part in raw]
    resolution_ms = choice.coarsest_ms(rolled)
    rolled = rolled.clipped(start_ms, end_ms)
    if grain.aggregate is Aggregate.LAST:
        rows = combined([rolled, early.clipped(start_ms, end_ms)], series_count, Aggregate.LAST)
    elif grain.aggregate is Aggregate.INCREASE:
        lasts = choice.column(rollups[Aggregate.LAST], start_ms, end_ms) if Aggregate.LAST in rollups else Rows.empty()
        rows = _increases(choice, rolled, lasts, early, series_count, (start_ms, end_ms))
    else:
        buckets = bucketed(early, choice.tiers_of(early), np.full(series_count, np.nan))
        fresh = buckets.rows(grain.aggregate).clipped(start_ms, end_ms)
        rows = combined([rolled, fresh], series_count, grain.aggregate)
    return Answer([rows, *later], resolution_ms, min(border_ms, end_ms) + 1)


def _increases(
    choice: Choice, rolled: Rows, lasts: Rows, early: Rows, series_count: int, range_ms: tuple[int, int]
) -> Rows:
    tiers_ms = choice.tiers_of(early)
    buckets = bucketed(early, tiers_ms, _numbers_before(lasts, early, tiers_ms, series_count))
    rows = combined([rolled, buckets.rows(Aggregate.INCREASE).clipped(*range_ms)], series_count, Aggregate.INCREASE)
    last = combined([lasts, buckets.rows(Aggregate.LAST).clipped(*range_ms)], series_count, Aggregate.LAST)
    anchor = np.full(series_count, np.nan)
    anchor[last.row] = last_numbers(last)
    return running(rows, anchor[rows.row])


def _numbers_before(lasts: Rows, early: Rows, tiers_ms: Int64s, series_count: int) -> Float64s:
    """By series: the last number that rollups know at the bucket of its first sample; NaN if there is none."""
    before = np.full(series_count, np.nan)
    if not early.row.size or not lasts.row.size:
        return before
    first = early.offsets[:-1]
    until_ms = np.full(series_count, np.iinfo(np.int64).min)
    until_ms[early.row] = bucket_ends(early.timestamp_ms[first], tiers_ms[first])
    earlier = kept(lasts, lasts.timestamp_ms <= np.repeat(until_ms[lasts.row], lasts.lengths))
    before[earlier.row] = last_numbers(earlier)
    return before

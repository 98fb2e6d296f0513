"""Joining parts whose rows all have the same times, as series have that one agent sends: these are kept once.

What is left to move are the values, half of the bytes, and nobody needs to compare the times of all rows again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tsdb.sample import Float64s, Int32s, Int64s, Selection, SharedTimes
from tsdb.store.index import SeriesIndex
from tsdb.store.labels import LabelColumn
from tsdb.store.pieces import Part

# Times are compared so many at once, so that they stay in the cache, and the first that differ end it.
_COMPARED_COUNT = 1 << 16


class EvenRows(NamedTuple):
    """Samples of several rows that have the same times; the numbers of the rows rise."""

    row: Int64s
    times_ms: Int64s  # of each row, rising
    value: Float64s  # row by row

    def selection(self, index: SeriesIndex, ids: Int32s) -> Selection:
        """ids: by row."""
        count = self.row.size
        return Selection(
            labels=LabelColumn(index, ids if count == ids.size else ids[self.row]),
            offsets=np.arange(count + 1, dtype=np.int64) * self.times_ms.size,
            times_ms=SharedTimes(self.times_ms, count),
            value=self.value,
        )


class _Stage(NamedTuple):
    """What the parts of one stretch of time have: each row once, with these times."""

    times_ms: Int64s
    parts: list[Part]

    def rows(self) -> Int64s:
        return np.concatenate([part.row for part in self.parts])


def joined_evenly(parts: Sequence[Part], check: Callable[[], None]) -> EvenRows | None:
    """Join parts as pieces.joined() does; None, if not all rows are known to have the same times.

    So it is where every part gives each of its rows as one piece, and parts that lie beside each other have rows of
    their own. Parts that are cut within a row, as long rows are at the end of a tile, are not looked into.
    check: called between parts, and may raise.
    """
    stages = _stages(parts, check)
    if not stages:
        return None
    row = np.sort(stages[0].rows())
    places = list(_places(row, stages))
    if len(places) < len(stages):
        return None
    times_ms = np.concatenate([stage.times_ms for stage in stages])
    value = np.empty(row.size * times_ms.size, np.float64)
    begun = 0
    for stage, place in zip(stages, places, strict=True):
        done = 0
        for part in stage.parts:
            check()
            part.put_values(value, place[done : done + part.row.size] * times_ms.size + begun)
            done += part.row.size
        begun += stage.times_ms.size
    return EvenRows(row, times_ms, value)


def _stages(parts: Sequence[Part], check: Callable[[], None]) -> list[_Stage] | None:
    """The parts by time; None, if the times of a part are not the same for all rows, or overlap those of another."""
    stages: list[_Stage] = []
    parts = [part for part in parts if part.row.size]
    if any((part.lengths != part.lengths[0]).any() for part in parts):
        return None
    for part in sorted(parts, key=lambda part: int(part.timestamp_ms[part.starts[0]])):
        check()
        times_ms = _common_times(part)
        if times_ms is None:
            return None
        if stages and np.array_equal(stages[-1].times_ms, times_ms):
            stages[-1].parts.append(part)
        elif stages and int(stages[-1].times_ms[-1]) >= int(times_ms[0]):
            return None
        else:
            stages.append(_Stage(times_ms, [part]))
    return stages


def _common_times(part: Part) -> Int64s | None:
    """The times of each piece of a part whose pieces are of one length, if all have the same."""
    starts = np.unique(part.starts)  # Of pieces that share a column: a few, whatever their number.
    length = int(part.lengths[0])
    times_ms = part.timestamp_ms[starts[0] : starts[0] + length]
    # The first and the last are looked at before the others, for mostly they tell.
    for place in (0, length - 1):
        if (part.timestamp_ms[starts + place] != times_ms[place]).any():
            return None
    windows = np.lib.stride_tricks.sliding_window_view(part.timestamp_ms, length)
    height = max(1, _COMPARED_COUNT // length)
    for at in range(1, starts.size, height):
        if (windows[starts[at : at + height]] != times_ms).any():
            return None
    return times_ms


def _places(row: Int64s, stages: Sequence[_Stage]) -> Iterator[Int64s]:
    """By stage, the place of each of its rows among all; fewer, if a stage does not have each row once."""
    before = (np.empty(0, np.int64), np.empty(0, np.int64))
    for stage in stages:
        rows = stage.rows()
        if not np.array_equal(rows, before[0]):  # Blocks of one store mostly have their rows in one order.
            order = np.argsort(rows)
            if not np.array_equal(rows[order], row) or (row[1:] == row[:-1]).any():
                return
            place = np.empty(row.size, np.int64)
            place[order] = np.arange(row.size)
            before = rows, place
        yield before[1]

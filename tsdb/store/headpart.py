"""What the head has of a selection, as it goes from the store to whoever reads the blocks: in one process or by bus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tsdb.sample import Int32s
from tsdb.store.index import SeriesIndex
from tsdb.store.pieces import Pieces, copy_ranges

Column = npt.NDArray[Any]


class HeadSeries(NamedTuple):
    """Some series of the head by the ids of an index of the store, which has a new one in each epoch."""

    index_token: int
    ids: Int32s
    canonical_of: Callable[[Int32s], Sequence[bytes]]

    @staticmethod
    def of(index: SeriesIndex, ids: Int32s) -> HeadSeries:
        return HeadSeries(index.token, ids, index.canonical_of)


class HeadPart(NamedTuple):
    """Samples of the head's series, still to be joined: the rows of the parts are places in series.ids."""

    series: HeadSeries
    parts: Sequence[Pieces]

    @staticmethod
    def of(series: HeadSeries, parts: Sequence[Pieces]) -> HeadPart:
        """With those of the series alone that have samples."""
        is_present = np.zeros(series.ids.size, np.bool_)
        for part in parts:
            is_present[part.row] = True
        if is_present.all():
            return HeadPart(series, parts)
        place = np.cumsum(is_present) - 1
        present = series._replace(ids=series.ids[is_present])
        return HeadPart(present, [replace(part, row=place[part.row]) for part in parts])

    def described(self) -> dict[str, Any]:
        """What a message says of the columns."""
        return {"index_token": self.series.index_token, "piece_counts": [part.row.size for part in self.parts]}

    def columns(self) -> tuple[Column, ...]:
        """What travels: ids, row and length of each piece, times, values."""
        lengths = np.concatenate([np.empty(0, np.int64), *(part.lengths for part in self.parts)])
        rows = np.concatenate([np.empty(0, np.int64), *(part.row for part in self.parts)])
        ends = np.cumsum(lengths)
        timestamp_ms, value = np.empty(int(lengths.sum()), np.int64), np.empty(int(lengths.sum()), np.float64)
        done = 0
        for part in self.parts:
            places = (ends - lengths)[done : done + part.row.size]
            copy_ranges(part.timestamp_ms, part.starts, part.lengths, timestamp_ms, places)
            part.put_values(value, places)
            done += part.row.size
        return self.series.ids, rows.astype(np.int32), lengths.astype(np.int32), timestamp_ms, value


_COLUMN_COUNT = 5


def heads_of(
    described: Sequence[dict[str, Any]], columns: Sequence[Column], canonical_of: Callable[[int, Int32s], list[bytes]]
) -> list[HeadPart]:
    """The parts that a message describes, with their columns one after another."""
    heads = []
    for number, one in enumerate(described):
        ids, rows, lengths, timestamp_ms, value = columns[_COLUMN_COUNT * number : _COLUMN_COUNT * (number + 1)]
        rows, lengths = rows.astype(np.int64), lengths.astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        parts, done = [], 0
        for count in one["piece_counts"]:
            at = slice(done, done + count)
            parts.append(Pieces(rows[at], starts[at], lengths[at], timestamp_ms, value))
            done += count
        token: int = one["index_token"]
        heads.append(HeadPart(HeadSeries(token, ids, partial(canonical_of, token)), parts))
    return heads

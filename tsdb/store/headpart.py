"""What the head has of a selection, as it goes from the store to whoever reads the blocks: in one process or by bus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from operator import attrgetter
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
        """What travels: ids; row, length and start of the times of each piece; times, values.

        Series that are scraped together have the same times: pieces beside each other that share theirs do so there.
        """
        rows, starts, lengths = (
            np.concatenate([np.empty(0, np.int64), *(column(part) for part in self.parts)]) for column in _BY_PIECE
        )
        bounds = np.cumsum([0, *(part.row.size for part in self.parts)])
        is_new = np.ones(rows.size, np.bool_)
        is_new[1:] = (starts[1:] != starts[:-1]) | (lengths[1:] != lengths[:-1])
        is_new[bounds[:-1][bounds[:-1] < rows.size]] = True  # Each part has times of its own.
        firsts = np.flatnonzero(is_new)
        time_ends, ends = np.cumsum(lengths[firsts]), np.cumsum(lengths)
        time_places, places = time_ends - lengths[firsts], ends - lengths
        timestamp_ms, value = np.empty(int(lengths[firsts].sum()), np.int64), np.empty(int(lengths.sum()), np.float64)
        of_part = [slice(low, high) for low, high in pairwise(bounds.tolist())]
        firsts_of_part = [slice(low, high) for low, high in pairwise(np.searchsorted(firsts, bounds).tolist())]
        for part, at, first_at in zip(self.parts, of_part, firsts_of_part, strict=True):
            new = firsts[first_at]
            copy_ranges(part.timestamp_ms, starts[new], lengths[new], timestamp_ms, time_places[first_at])
            part.put_values(value, places[at])
        time_starts = time_places[np.cumsum(is_new) - 1].astype(np.int32)
        return self.series.ids, rows.astype(np.int32), lengths.astype(np.int32), time_starts, timestamp_ms, value


_BY_PIECE = attrgetter("row"), attrgetter("starts"), attrgetter("lengths")
_COLUMN_COUNT = 6


def heads_of(
    described: Sequence[dict[str, Any]], columns: Sequence[Column], canonical_of: Callable[[int, Int32s], list[bytes]]
) -> list[HeadPart]:
    """The parts that a message describes, with their columns one after another."""
    heads = []
    for number, one in enumerate(described):
        ids, rows, lengths, time_starts, timestamp_ms, value = columns[
            _COLUMN_COUNT * number : _COLUMN_COUNT * (number + 1)
        ]
        rows, lengths, time_starts = rows.astype(np.int64), lengths.astype(np.int64), time_starts.astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        parts, done = [], 0
        for count in one["piece_counts"]:
            at = slice(done, done + count)
            parts.append(Pieces(rows[at], time_starts[at], lengths[at], timestamp_ms, value, starts[at]))
            done += count
        token: int = one["index_token"]
        heads.append(HeadPart(HeadSeries(token, ids, partial(canonical_of, token)), parts))
    return heads

"""What a reader knows of a block: its rows by series, the series that it has met, and where the wanted ones lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tsdb.sample import Int32s, Int64s
from tsdb.store.block.file import BlockFile
from tsdb.store.block.layout import BlockName
from tsdb.store.columns import places_of
from tsdb.store.index import SeriesIndex
from tsdb.store.order import LabelOrder
from tsdb.store.tiles import TileTable
from tsdb.store.tombstones import Mask, Meant, Tombstone

# The store's head has ids of one index, of two while an epoch ends: 4 B for each of their series.
_INDEXES_MAX = 2


class OpenBlock:
    """A block with its tables: local ids of a SeriesIndex by row, rows by id."""

    def __init__(self, file: BlockFile, index: SeriesIndex) -> None:
        self.file = file
        self.name = BlockName.parse(file.name) or BlockName(file.window_start_ms, file.window_ms, 0)
        self.row_offsets = file.row_offsets()
        self.table = TileTable(file)
        keys = file.keys()
        ids = index.find(keys)
        new = np.flatnonzero(ids < 0)
        if new.size:
            text, lengths = file.text()
            index.add_text(keys.taken(new), text, np.cumsum(lengths)[new] - lengths[new], lengths[new])
            ids[new] = index.find(keys.taken(new))
        self.ids = ids  # by row
        self._rows_by_id = np.argsort(ids, kind="stable")
        self._sorted_ids = ids[self._rows_by_id]

    @property
    def tiles(self) -> npt.NDArray[np.void]:
        return self.table.entries

    def lies_in(self, start_ms: int, end_ms: int) -> bool:
        return self.file.summary.min_ms >= start_ms and self.file.summary.max_ms <= end_ms

    def may_have(self, rows: Int64s, start_ms: int, end_ms: int) -> npt.NDArray[np.bool_]:
        """Which of some rows may have samples in a range of time, as stored, both ends included.

        By the times of the tiles in which a row begins and ends: no row that has one is left out, and no tile is read.
        """
        table = self.table
        if not rows.size or bool(((table.max_ms >= start_ms) & (table.min_ms <= end_ms)).all()):
            return np.ones(rows.size, np.bool_)
        first = np.searchsorted(table.first_sample, self.row_offsets[rows], side="right") - 1
        last = np.searchsorted(table.first_sample, self.row_offsets[rows + 1] - 1, side="right") - 1
        is_alive: npt.NDArray[np.bool_] = (table.max_ms[last] >= start_ms) & (table.min_ms[first] <= end_ms)
        return is_alive

    def ids_in(self, start_ms: int, end_ms: int) -> Int32s:
        """The series that may have samples in a range of time, both ends included; of rollups, buckets of it."""
        tier_ms = self.name.tier_ms  # A bucket stands up to so long behind its samples, or before its end.
        is_alive = self.may_have(np.arange(self.ids.size), start_ms - tier_ms, end_ms + tier_ms)
        return self.ids if is_alive.all() else self.ids[is_alive]

    def may_hold(self, ids: Int32s, start_ms: int, end_ms: int) -> npt.NDArray[np.bool_]:
        """Which of some series are among ids_in()."""
        place, at = places_of(ids, self._sorted_ids)
        tier_ms = self.name.tier_ms
        found = np.zeros(ids.size, np.bool_)
        found[place] = self.may_have(self._rows_by_id[at], start_ms - tier_ms, end_ms + tier_ms)
        return found

    def rows_of(self, ids: Int32s) -> tuple[Int64s, Int64s]:
        """The places of those ids that are in the block, and their rows, rising."""
        place, at = places_of(ids, self._sorted_ids)
        rows = self._rows_by_id[at]
        order = np.argsort(rows)
        return place[order], rows[order]


def are_in(blocks: Sequence[OpenBlock], mask: Mask, start_ms: int, end_ms: int, ids: Int32s) -> npt.NDArray[np.bool_]:
    """Which of some series may have samples in a range of time in some block, and not only deleted ones."""
    found = np.zeros(ids.size, np.bool_)
    left = np.arange(ids.size)
    for block in reversed(blocks):  # Mostly all are in the last.
        some = ids[left]
        is_held = block.may_hold(some, start_ms, end_ms)
        listed = mask.listed(block.file, some[is_held], start_ms, end_ms)
        found[left[np.flatnonzero(is_held)[np.isin(some[is_held], listed)]]] = True
        left = left[~found[left]]
        if not left.size:
            break
    return found


class Known:
    """The series that a reader has met: their index, their order, and what the ids of the store's indexes mean.

    The owner's lock is held for learn().
    """

    def __init__(self) -> None:
        self.index = SeriesIndex()
        self.order = LabelOrder(self.index)
        self._meant = Meant(self.index)
        self.head_count_max = 0  # The most series that a head had since the index was made.
        # By token of an index of the store, the latest last: by its id an id of ours, -1 if it is not known.
        self._of_store: dict[int, Int32s] = {}

    def mask(self, tombstones: Sequence[Tombstone]) -> Mask:
        """What tombstones hide of blocks with these series."""
        return Mask(tombstones, self.index, self._meant)

    def ids_of(self, index_token: int, store_ids: Int32s) -> Int32s:
        """Our ids of series of the head, -1 for each that is not known."""
        known = self._of_store.get(index_token)
        if known is None:
            return np.full(store_ids.size, -1, np.int32)
        found = known.take(store_ids, mode="clip")
        found[store_ids >= known.size] = -1
        return found

    def learn(self, index_token: int, store_ids: Int32s, canonical: Sequence[bytes]) -> Int32s:
        """Note what ids of the store mean; returns ours."""
        ids = self.index.add(canonical)
        held = self._of_store.get(index_token, np.empty(0, np.int32))
        count = int(store_ids.max(initial=0)) + 1
        known = np.full(max(count, held.size if held.size >= count else 2 * held.size), -1, np.int32)
        known[: held.size] = held
        known[store_ids] = ids
        latest = [*(token for token in self._of_store if token != index_token), index_token][-_INDEXES_MAX:]
        self._of_store = {token: known if token == index_token else self._of_store[token] for token in latest}
        return ids


class Wanted:
    """The matched series that may have samples in a range of time, in the order of their labels, which is that of the
    answer, and where they lie.

    A series that is in none of the blocks and heads of the range costs one place in an array, and nothing after that.
    matched: rising; head_ids: of the series of which the heads have samples in the range.
    """

    def __init__(
        self,
        known: Known,
        matched: Int32s,
        blocks: Sequence[OpenBlock],
        head_ids: Sequence[Int32s],
        start_ms: int,
        end_ms: int,
    ) -> None:
        self._matched = matched
        series_count = len(known.index)
        self._dense: Int32s | None = None
        if matched.size * 16 >= series_count:
            self._dense = np.full(series_count, -1, np.int32)
            self._dense[matched] = np.arange(matched.size, dtype=np.int32)
        is_there = np.zeros(matched.size, np.bool_)
        self._found: dict[str, tuple[Int64s, Int64s]] = {}
        for block in blocks:
            at, rows = self._looked_up(block)
            if block.name.is_raw:  # Of rollups every row counts: it says that the samples are gone.
                is_alive = block.may_have(rows, start_ms, end_ms)
                at, rows = (at, rows) if is_alive.all() else (at[is_alive], rows[is_alive])
            is_there[at] = True
            self._found[block.file.name] = at, rows
        for ids in head_ids:
            at = self._matched_at(ids)
            is_there[at[at >= 0]] = True
        self.ids = known.order.ordered(matched if is_there.all() else matched[is_there])
        self._place = np.full(matched.size, -1, np.int64)  # In the answer, by the place among the matched.
        self._place[self._matched_at(self.ids)] = np.arange(self.ids.size)

    def places_of(self, ids: Int32s) -> Int64s:
        """The places of ids in the answer, -1 for those that are not wanted."""
        at = self._matched_at(ids)
        if not self._place.size:
            return at
        places: Int64s = np.where(at >= 0, self._place[at], -1)
        return places

    def rows_of(self, block: OpenBlock) -> tuple[Int64s, Int64s]:
        """The places of those series that are in a block, and their rows, rising."""
        at, rows = self._found[block.file.name]
        return self._place[at], rows

    def _looked_up(self, block: OpenBlock) -> tuple[Int64s, Int64s]:
        if self._dense is None:
            return block.rows_of(self._matched)
        at = self._dense[block.ids].astype(np.int64)
        rows = np.flatnonzero(at >= 0)
        return at[rows], rows

    def _matched_at(self, ids: Int32s) -> Int64s:
        """The places of ids among the matched, -1 for those that are not there."""
        if self._dense is not None:
            return self._dense[ids].astype(np.int64)
        found = np.full(ids.size, -1, np.int64)
        if self._matched.size:
            at = np.searchsorted(self._matched, ids)
            at[at == self._matched.size] = 0
            is_wanted = self._matched[at] == ids
            found[is_wanted] = at[is_wanted]
        return found

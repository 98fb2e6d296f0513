"""What a block gives in place of samples that no window parts: one sample for the stretch of a row in a tile.

Its value is the lowest, the highest, the sum or the number of the stretch's samples, its weight how many they are, its
time that of the last one. Where a tile holds one row alone, as in long blocks, the table of tiles says all that, and
nothing is read. Where it holds several, its figures are found once, when it is first asked for so, and kept beside the
decoded tiles. Which stretches are fit for it: docs/decisions/0012-figures-of-tiles.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb.errors import CorruptData
from tsdb.interface import Aggregate, Condense
from tsdb.sample import Float64s, Int64s
from tsdb.store.block.tile_bytes import packed_tile
from tsdb.store.columns import Rows
from tsdb.store.pieces import Part, Pieces, bisected
from tsdb.store.tiles import BlockPart, TileCache, TileTable

Bools = npt.NDArray[np.bool_]
Span = tuple[int, int]

# Figures of a stretch are 40 B; of shorter ones they are not worth their room.
_STRETCH_SAMPLES_MIN = 32
# Sums of so large values are left to whoever scales them: 2^64 of them are still finite.
_SUMMED_MAX = 2.0**900
# Of a tile, by stretch: rows of the matrix that is kept. NaN stands in all of them, if a sample is NaN.
_LOW, _HIGH, _SUM = range(3)


@dataclass(frozen=True, slots=True)
class Stretches:
    """Samples that stand for several, by row and time: where each begins in its block, and what it is."""

    row: Int64s  # its place in the answer
    sample: Int64s
    timestamp_ms: Int64s
    value: Float64s
    weight: Float64s


@dataclass(frozen=True, slots=True)
class Asked:
    """What is read of one block: pieces of rows, sample by sample, and stretches that are one sample each."""

    place: Int64s  # by piece, rising: the number of its row in the answer
    starts: Int64s
    ends: Int64s
    stretches: Stretches | None = None

    @property
    def count(self) -> int:
        return int((self.ends - self.starts).sum()) + (0 if self.stretches is None else self.stretches.row.size)

    def with_stretches(self, read: Sequence[BlockPart]) -> list[Part]:
        """The stretches beside what was read, in few parts: rows of parts that follow one another are not sorted."""
        if self.stretches is None:
            return list(read)
        return [*read[:-1], mixed(read[-1] if read else None, self.stretches)]


@dataclass(frozen=True, slots=True)
class _Figures:
    """Of rows of some tiles: those of row r in tile number[i] lie at base[i] + r."""

    number: Int64s  # rising
    base: Int64s
    last_ms: Int64s
    figures: Float64s  # by _LOW, _HIGH, _SUM and place


@dataclass(frozen=True, slots=True)
class Condenser:
    """Condenses for one selection.

    range_ms: of the selection. check: called between tiles, and may raise.
    """

    wanted: Condense
    range_ms: Span
    cache: TileCache
    note_damage: Callable[[str, CorruptData], None]
    check: Callable[[], None]

    def asked(self, table: TileTable, row_offsets: Int64s, place: Int64s, rows: Int64s, taken: Sequence[Span]) -> Asked:
        """Some rows of a block, rising, with those stretches condensed that allow it.

        taken: spans of time in which others have samples of the same series, or in which some are deleted: what
        overlaps one is read sample by sample.
        """
        whole = Asked(place, row_offsets[rows], row_offsets[rows + 1])
        if not rows.size or table.shortest_ms > self.wanted.stretch_max_ms:
            return whole
        piece_row, number, sample = table.pieces_of(whole.starts, whole.ends)
        is_fit = self._are_fit(table, number, taken)
        if not is_fit.any():
            return whole
        lengths = np.minimum(whole.ends[piece_row], table.end_sample[number]) - sample
        last_ms, figures = self._figures(table, row_offsets, number, sample, is_fit)
        is_fit &= self._are_clean(figures, piece_row)
        at, rest = np.flatnonzero(is_fit), np.flatnonzero(~is_fit)
        if not at.size:
            return whole
        stretches = Stretches(
            row=place[piece_row[at]],
            sample=sample[at],
            timestamp_ms=last_ms[at],
            value=self._values(figures[:, at], lengths[at]),
            weight=lengths[at].astype(np.float64),
        )
        return Asked(place[piece_row[rest]], sample[rest], sample[rest] + lengths[rest], stretches)

    def _are_fit(self, table: TileTable, number: Int64s, taken: Sequence[Span]) -> Bools:
        """By piece, whether no window parts its tile, nothing else has samples in its time, and it is not too short."""
        low_ms, high_ms = table.min_ms[number], table.max_ms[number]
        is_fit: Bools = (low_ms >= self.range_ms[0]) & (high_ms <= self.range_ms[1]) & ~table.is_damaged[number]
        is_fit &= self.wanted.are_whole(low_ms, high_ms)
        for first_ms, last_ms in taken:
            is_fit &= (high_ms < first_ms) | (low_ms > last_ms)
        return is_fit

    def _figures(
        self, table: TileTable, row_offsets: Int64s, number: Int64s, sample: Int64s, is_fit: Bools
    ) -> tuple[Int64s, Float64s]:
        """By piece: the time of its last sample, and the lowest, highest and sum of its values.

        NaN where they are not to be had: a value is NaN, or the piece shares its tile and is not fit.
        """
        entries = table.entries[number]
        last_ms = table.max_ms[number]
        is_clean = entries["number_count"] == entries["sample_count"]
        figures = np.array([entries["min_value"], entries["max_value"], entries["sum"]])
        row = np.searchsorted(row_offsets, sample, side="right") - 1
        is_shared = (row_offsets[row] > table.first_sample[number]) | (row_offsets[row + 1] < table.end_sample[number])
        figures[:, ~is_clean | is_shared] = np.nan
        found = self._of_rows(table, row_offsets, np.unique(number[is_fit & is_shared]))
        if found.number.size:
            tile = np.minimum(np.searchsorted(found.number, number), found.number.size - 1)
            here = np.flatnonzero(found.number[tile] == number)
            at = row[here] + found.base[tile[here]]
            last_ms[here], figures[:, here] = found.last_ms[at], found.figures[:, at]
        return last_ms, figures

    def _of_rows(self, table: TileTable, row_offsets: Int64s, numbers: Int64s) -> _Figures:
        """The figures of each row in tiles of several; tiles with short rows, and damaged ones, are left out."""
        low = np.searchsorted(row_offsets, table.first_sample[numbers], side="right")
        high = np.searchsorted(row_offsets, table.end_sample[numbers])
        row_counts = high - low + 1
        is_long = row_counts * _STRETCH_SAMPLES_MIN <= table.end_sample[numbers] - table.first_sample[numbers]
        kept, last_ms, figures = [], [np.empty(0, np.int64)], [np.empty((3, 0))]
        for i in np.flatnonzero(is_long).tolist():
            number = int(numbers[i])
            key = (table.number, -1 - number)
            found = self.cache.get(key)
            if found is None:
                found = self._made(table, number, row_offsets[low[i] : high[i]])
                if found is None:
                    continue
                self.cache.put(key, found)
            kept.append(i)
            last_ms.append(found[0])
            figures.append(found[1])
        base = np.cumsum(row_counts[kept]) - row_counts[kept] - (low[kept] - 1)
        return _Figures(numbers[kept], base, np.concatenate(last_ms), np.concatenate(figures, axis=1))

    def _made(self, table: TileTable, number: int, inner: Int64s) -> tuple[Int64s, Float64s] | None:
        """The figures of one tile; None, if it is damaged. inner: where its rows but the first begin in the block."""
        self.check()
        columns = self._decoded(table, number)
        if columns is None:
            return None
        starts = np.concatenate((np.zeros(1, np.int64), inner - table.first_sample[number]))
        with np.errstate(over="ignore", invalid="ignore"):
            figures = np.array([function.reduceat(columns[1], starts) for function in (np.minimum, np.maximum, np.add)])
        figures[:, np.isnan(figures[_LOW])] = np.nan
        return columns[0][np.append(starts[1:], columns[0].size) - 1], figures

    def _decoded(self, table: TileTable, number: int) -> tuple[Int64s, Float64s] | None:
        columns = self.cache.get((table.number, number))
        if columns is not None:
            return columns
        try:
            entry = table.entries[number].tolist()
            return packed_tile(table.file.file, table.file.name, number, entry).decoded()
        except CorruptData as error:
            table.is_damaged[number] = True
            self.note_damage(table.file.name, error)
            return None

    def _are_clean(self, figures: Float64s, piece_row: Int64s) -> Bools:
        """By piece, whether its figures may stand for it: none of its values is NaN.

        Where values are added, all that a row has here must be of one sign and not too large, for then no digits are
        lost: Prometheus keeps them by Kahan's sum.
        """
        low, high = figures[_LOW], figures[_HIGH]
        is_clean: Bools = ~np.isnan(low)
        if self.wanted.aggregate is Aggregate.SUM:
            is_clean &= (low >= -_SUMMED_MAX) & (high <= _SUMMED_MAX)
            is_clean &= ~np.isin(piece_row, piece_row[(low < 0) & (high > 0)])
        return is_clean

    def _values(self, figures: Float64s, lengths: Int64s) -> Float64s:
        if self.wanted.aggregate is Aggregate.COUNT:
            return lengths.astype(np.float64)
        found: Float64s = figures[
            {Aggregate.MIN: _LOW, Aggregate.MAX: _HIGH, Aggregate.SUM: _SUM}[self.wanted.aggregate]
        ]
        return found

    def weights(self, rows: Rows, asked: Sequence[Asked]) -> Float64s | None:
        """By sample of the selection, how many it stands for; None, if the sums of some row could be wrong."""
        weight = np.ones(rows.value.size)
        for stretches in (one.stretches for one in asked if one.stretches is not None):
            row = np.searchsorted(rows.row, stretches.row)
            at = bisected(rows.timestamp_ms, rows.offsets[row], rows.offsets[row + 1], stretches.timestamp_ms)
            assert np.array_equal(rows.timestamp_ms[at], stretches.timestamp_ms), "a condensed sample is lost"
            weight[at] = stretches.weight
        if self.wanted.aggregate is Aggregate.SUM and rows.value.size:
            low, high = (function.reduceat(rows.value, rows.offsets[:-1]) for function in (np.fmin, np.fmax))
            is_wrong = ((low < 0) & (high > 0)) | (np.maximum(-low, high) > _SUMMED_MAX)
            if (is_wrong & (np.add.reduceat(weight, rows.offsets[:-1]) > rows.lengths)).any():
                return None
        return weight


def spans_of(part: Part) -> list[Span]:
    """The times in which a part has samples; none, if it is empty."""
    if not part.row.size:
        return []
    return [(int(part.timestamp_ms[part.starts].min()), int(part.timestamp_ms[part.starts + part.lengths - 1].max()))]


@dataclass(frozen=True, slots=True)
class MixedPart:
    """Pieces of a block and its stretches, in the order of its samples (see pieces.Part)."""

    row: Int64s
    starts: Int64s
    lengths: Int64s
    timestamp_ms: Int64s
    plain: BlockPart
    is_plain: Bools
    value: Float64s  # of the stretches

    def put_values(self, target: Float64s, places: Int64s) -> None:
        """See pieces.Part. Raises: DamagedTiles."""
        self.plain.put_values(target, places[self.is_plain])
        target[places[~self.is_plain]] = self.value


def mixed(plain: BlockPart | None, stretches: Stretches) -> Part:
    """The stretches of a block beside what was read of it."""
    count = stretches.row.size
    ones = np.ones(count, np.int64)
    if plain is None or not plain.row.size:
        return Pieces(stretches.row, np.arange(count), ones, stretches.timestamp_ms, stretches.value)
    sample = plain.table.first_sample[plain.numbers[plain.tile]] + plain.value_starts
    order = np.argsort(np.concatenate((sample, stretches.sample)), kind="stable")
    starts = np.concatenate((plain.starts, plain.timestamp_ms.size + np.arange(count)))
    return MixedPart(
        row=np.concatenate((plain.row, stretches.row))[order],
        starts=starts[order],
        lengths=np.concatenate((plain.lengths, ones))[order],
        timestamp_ms=np.concatenate((plain.timestamp_ms, stretches.timestamp_ms)),
        plain=plain,
        is_plain=order < sample.size,
        value=stretches.value,
    )

"""The columns of one tile as the file holds them: their checksum is compared when they are taken, decoding comes after.

A selection needs the times of a tile first, to know what of it is wanted, and the values when their place is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np

from tsdb.errors import CorruptData
from tsdb.sample import Float64s, Int64s
from tsdb.store.block import decimals, tile
from tsdb.store.disk import ReadFile

# Decoded together: the tables of 16 tiles, 1 MiB each way, stay in the caches.
_TOGETHER_SAMPLE_COUNT = 1 << 17


@dataclass(frozen=True, slots=True)
class PackedTile:
    """The bytes of one tile, found to be those that were written. Decoding raises CorruptData nevertheless."""

    where: str
    number: int
    sample_count: int
    time_codec: int
    times: bytes
    value_codec: int
    values: bytes

    def decoded_times(self) -> Int64s:
        """Not to be changed: other tiles may share them."""
        try:
            return tile.times(self.time_codec, self.times, self.sample_count)
        except CorruptData as error:
            raise CorruptData(f"{self.where}: tile {self.number}: {error}") from error

    def decode_values(self, into: Float64s) -> None:
        """Fill `into`, as long as the tile."""
        try:
            tile.decode_values(self.value_codec, self.values, into)
        except CorruptData as error:
            raise CorruptData(f"{self.where}: tile {self.number}: {error}") from error

    def decimal_parts(self) -> decimals.Parts | None:
        """What the values are made of, if they are decimals, and not damaged so that it shows."""
        try:
            return decimals.parts_of(self.values) if self.value_codec == tile.DECIMAL else None
        except CorruptData:
            return None

    def decoded(self) -> tuple[Int64s, Float64s]:
        value = np.empty(self.sample_count, np.float64)
        self.decode_values(value)
        return self.decoded_times(), value


def decode_neighbours(tiles: Sequence[PackedTile], into: Float64s) -> list[tuple[int, CorruptData]]:
    """Fill a stretch with the values of tiles, one behind the other, those together that are alike.

    Returns: which of the tiles are damaged, and how; what is theirs of the stretch means nothing.
    """
    damaged: list[tuple[int, CorruptData]] = []
    done, begun = 0, 0
    for run in _runs(tiles):
        end = begun + sum(tile.sample_count for tile, _ in run)
        if not _decoded_together([parts for _, parts in run if parts is not None], into[begun:end]):
            at = begun
            for i, (one, _) in enumerate(run):
                try:
                    one.decode_values(into[at : at + one.sample_count])
                except CorruptData as error:
                    damaged.append((done + i, error))
                at += one.sample_count
        done, begun = done + len(run), end
    return damaged


def _runs(tiles: Sequence[PackedTile]) -> Iterator[list[tuple[PackedTile, decimals.Parts | None]]]:
    """Neighbours that are alike, of a bounded size; one that is like no other, or damaged, alone."""
    run: list[tuple[PackedTile, decimals.Parts | None]] = []
    for one in tiles:
        parts = one.decimal_parts()
        if run:
            last, last_parts = run[-1]
            is_alike = parts is not None and last_parts is not None and parts.alike == last_parts.alike
            is_alike &= one.sample_count == last.sample_count
            if not is_alike or (len(run) + 1) * one.sample_count > _TOGETHER_SAMPLE_COUNT:
                yield run
                run = []
        run.append((one, parts))
    if run:
        yield run


def _decoded_together(columns: Sequence[decimals.Parts], into: Float64s) -> bool:
    """False, if there is nothing to decode together, or some column is damaged: it is found by trying each."""
    try:
        if columns:
            decimals.decode_alike(columns, into)
        return bool(columns)
    except CorruptData:
        return False


def packed_tile(file: ReadFile, name: str, number: int, entry: tuple[Any, ...]) -> PackedTile:
    """One tile by its entry of the table, as a Python tuple. Raises: CorruptData."""
    _, start, count, time_bytes, value_bytes, crc, *_, time_codec, value_codec, _ = entry
    stored = file.read(start, time_bytes + value_bytes)
    if google_crc32c.value(stored) != crc:
        raise CorruptData(f"{name}: the checksum of tile {number} at byte {start:,}")
    return PackedTile(name, number, count, time_codec, stored[:time_bytes], value_codec, stored[time_bytes:])

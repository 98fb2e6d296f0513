"""The columns of one tile as the file holds them: their checksum is compared when they are taken, decoding comes after.

A selection needs the times of a tile first, to know what of it is wanted, and the values when their place is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np

from tsdb.errors import CorruptData
from tsdb.sample import Float64s, Int64s
from tsdb.store.block import tile
from tsdb.store.disk import ReadFile


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

    def decoded(self) -> tuple[Int64s, Float64s]:
        value = np.empty(self.sample_count, np.float64)
        self.decode_values(value)
        return self.decoded_times(), value


def packed_tile(file: ReadFile, name: str, number: int, entry: tuple[Any, ...]) -> PackedTile:
    """One tile by its entry of the table, as a Python tuple. Raises: CorruptData."""
    _, start, count, time_bytes, value_bytes, crc, *_, time_codec, value_codec, _ = entry
    stored = file.read(start, time_bytes + value_bytes)
    if google_crc32c.value(stored) != crc:
        raise CorruptData(f"{name}: the checksum of tile {number} at byte {start:,}")
    return PackedTile(name, number, count, time_codec, stored[:time_bytes], value_codec, stored[time_bytes:])

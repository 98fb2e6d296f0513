"""Reading one block from its mapped bytes. Every checksum is compared before the bytes under it are used."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import google_crc32c
import msgspec
import numpy as np
import numpy.typing as npt
from pcodec import standalone

from tsdb.errors import CorruptData
from tsdb.sample import Float64s, Int64s
from tsdb.store.block import layout, tile
from tsdb.store.block.layout import Summary
from tsdb.store.columns import Rows, spread
from tsdb.store.disk import Bytes
from tsdb.store.index import Keys


class BlockFile:
    """One block, open. Raises: CorruptData, if a header or a table is not what was written; tables when first read."""

    def __init__(self, data: Bytes, name: str) -> None:
        self.name = name
        self._data = data
        self.window_start_ms, self.window_ms = self._read_header()
        sections = self._read_directory()
        self._sections = sections
        try:
            self.summary = msgspec.json.decode(self._section(layout.SUMMARY), type=Summary)
        except msgspec.DecodeError as error:
            raise CorruptData(f"{name}: the summary: {error}") from error

    @property
    def size_bytes(self) -> int:
        return int(self._data.size)

    def keys(self) -> Keys:
        return Keys.from_bytes(self._section(layout.KEYS))

    def canonical(self) -> list[bytes]:
        """The canonical label bytes of all rows."""
        text = self._section(layout.TEXT)
        ends = np.cumsum(self._counts(layout.TEXT_LENGTHS)).tolist()
        if ends and ends[-1] != len(text):
            raise CorruptData(f"{self.name}: {len(text):,} bytes of label text, {ends[-1]:,} by their lengths")
        return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def row_offsets(self) -> Int64s:
        """int64[rows + 1]: row i owns the samples [offsets[i], offsets[i + 1]) of the block."""
        return np.concatenate((np.zeros(1, np.int64), np.cumsum(self._counts(layout.ROW_LENGTHS))))

    def tiles(self) -> npt.NDArray[np.void]:
        return _table(self._section(layout.TILES), layout.TILE_DTYPE, f"{self.name}: the tiles")

    def content(self) -> npt.NDArray[np.void] | None:
        """layout.CONTENT_DTYPE: samples and their hash by window and partition; None for a block without them."""
        if layout.CONTENT not in self._sections:
            return None
        return _table(self._section(layout.CONTENT), layout.CONTENT_DTYPE, f"{self.name}: the content hashes")

    def verify(self) -> list[str]:
        """Everything that is wrong with the file, read to the last byte."""
        wrong = []
        for section in self._sections:
            try:
                self._section(section)
            except CorruptData as error:
                wrong.append(str(error))
        for number, entry in enumerate(self.tiles()):
            try:
                self.read_tile(number, entry)
            except CorruptData as error:
                wrong.append(str(error))
        return wrong

    def read_tile(self, number: int, entry: np.void) -> tuple[Int64s, Float64s]:
        """The columns of one tile. Raises: CorruptData."""
        count = int(entry["sample_count"])
        start = int(entry["data_offset"])
        middle = start + int(entry["time_bytes"])
        data = self._data[start : middle + int(entry["value_bytes"])].tobytes()
        if google_crc32c.value(data) != int(entry["crc"]):
            raise CorruptData(f"{self.name}: the checksum of tile {number} at byte {start:,}")
        timestamp_ms, value = np.empty(count, np.int64), np.empty(count, np.float64)
        try:
            tile.decode_times(int(entry["time_codec"]), data[: middle - start], timestamp_ms)
            tile.decode_values(int(entry["value_codec"]), data[middle - start :], value)
        except CorruptData as error:
            raise CorruptData(f"{self.name}: tile {number} at byte {start:,}: {error}") from error
        return timestamp_ms, value

    def _read_header(self) -> tuple[int, int]:
        raw = self._data[: layout.HEADER_BYTES].tobytes()
        if self._data.size < layout.HEADER_BYTES + layout.TRAILER.size:
            raise CorruptData(f"{self.name}: {self._data.size} bytes are too few for a block")
        magic, crc = layout.HEADER_FIXED.unpack_from(raw)
        if magic != layout.MAGIC:
            raise CorruptData(f"{self.name}: magic {magic!r}, not {layout.MAGIC!r}")
        if crc != google_crc32c.value(raw[layout.HEADER_FIXED.size :]):
            raise CorruptData(f"{self.name}: the checksum of the header")
        version, start_ms, window_ms = layout.HEADER_BODY.unpack_from(raw, layout.HEADER_FIXED.size)
        if version != layout.VERSION:
            raise CorruptData(f"{self.name}: version {version}; this program reads version {layout.VERSION}")
        return start_ms, window_ms

    def _read_directory(self) -> dict[int, tuple[int, ...]]:
        end = self._data.size - layout.TRAILER.size
        at, count, crc, magic = layout.TRAILER.unpack(self._data[end:].tobytes())
        if magic != layout.END_MAGIC:
            raise CorruptData(f"{self.name}: the file ends with {magic!r}, not {layout.END_MAGIC!r}")
        if at + count * layout.DIRECTORY_ENTRY.size != end:
            raise CorruptData(f"{self.name}: a directory of {count:,} entries at byte {at:,}")
        directory = self._data[at:end].tobytes()
        if google_crc32c.value(directory) != crc:
            raise CorruptData(f"{self.name}: the checksum of the directory")
        return {entry[0]: entry[1:] for entry in layout.DIRECTORY_ENTRY.iter_unpack(directory)}

    def _section(self, number: int) -> bytes:
        """The bytes of a section, unpacked unless they are counts."""
        if number not in self._sections:
            raise CorruptData(f"{self.name}: section {number} is missing")
        codec, crc, offset, length = self._sections[number]
        data = self._data[offset : offset + length].tobytes()
        if len(data) != length or google_crc32c.value(data) != crc:
            raise CorruptData(f"{self.name}: the checksum of section {number} at byte {offset:,}")
        if codec == layout.SECTION_ZLIB:
            return zlib.decompress(data)
        if codec not in (layout.SECTION_RAW, layout.SECTION_PCODEC_U32):
            raise CorruptData(f"{self.name}: codec {codec} of section {number} is not known to this program")
        return data

    def _counts(self, number: int) -> Int64s:
        counts = standalone.simple_decompress(self._section(number))
        return np.empty(0, np.int64) if counts is None else counts.astype(np.int64)


def _table(data: bytes, dtype: np.dtype[np.void], what: str) -> npt.NDArray[np.void]:
    if len(data) % dtype.itemsize:
        raise CorruptData(f"{what}: {len(data):,} bytes for entries of {dtype.itemsize}")
    return np.frombuffer(data, dtype)


def read_rows(
    row_offsets: Int64s,
    tiles: npt.NDArray[np.void],
    rows: Int64s,
    read_tile: Callable[[int], tuple[Int64s, Float64s] | None],
) -> Rows:
    """The samples of some rows, in their order; rising rows read every tile once.

    read_tile: gives the columns of a tile by its number, or None if it is damaged. A row's number in the answer is its
    place in `rows`.
    """
    starts, ends = row_offsets[rows], row_offsets[rows + 1]
    first_sample = tiles["first_sample"].astype(np.int64)
    first = np.searchsorted(first_sample, starts, side="right") - 1
    last = np.searchsorted(first_sample, ends - 1, side="right") - 1
    wanted = np.unique(spread(first, last - first + 1))
    found = [read_tile(int(number)) for number in wanted]
    if any(columns is None for columns in found):
        return _around_damage(row_offsets, tiles, rows, dict(zip(wanted.tolist(), found, strict=True)))
    counts = tiles["sample_count"][wanted].astype(np.int64)
    base = np.zeros(tiles.size, np.int64)  # by tile: where its first sample lies in the joined columns
    base[wanted] = np.cumsum(counts) - counts
    lengths = ends - starts
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
    whole = [columns for columns in found if columns is not None]
    timestamp_ms = np.concatenate([columns[0] for columns in whole])
    value = np.concatenate([columns[1] for columns in whole])
    if int(offsets[-1]) != value.size or not bool((rows[1:] > rows[:-1]).all()):
        # The tiles that a row touches follow one another, so the row is one range of the joined columns.
        where = spread(base[first] + starts - first_sample[first], lengths)
        timestamp_ms, value = timestamp_ms[where], value[where]
    return Rows(np.arange(rows.size), offsets, timestamp_ms, value)


def _around_damage(
    row_offsets: Int64s,
    tiles: npt.NDArray[np.void],
    rows: Int64s,
    found: dict[int, tuple[Int64s, Float64s] | None],
) -> Rows:
    """read_rows() when tiles are missing: sample by sample, whatever of the rows lies in whole tiles."""
    sample = spread(row_offsets[rows], row_offsets[rows + 1] - row_offsets[rows])
    row = np.repeat(np.arange(rows.size), row_offsets[rows + 1] - row_offsets[rows])
    first_sample = tiles["first_sample"].astype(np.int64)
    number = np.searchsorted(first_sample, sample, side="right") - 1
    is_whole = np.zeros(tiles.size, np.bool_)
    is_whole[[tile_number for tile_number, columns in found.items() if columns is not None]] = True
    kept = is_whole[number]
    sample, row, number = sample[kept], row[kept], number[kept]
    timestamp_ms, value = np.empty(sample.size, np.int64), np.empty(sample.size, np.float64)
    for tile_number, columns in found.items():
        if columns is not None:
            here = number == tile_number
            at = sample[here] - first_sample[tile_number]
            timestamp_ms[here], value[here] = columns[0][at], columns[1][at]
    counts = np.bincount(row, minlength=rows.size)
    present = np.flatnonzero(counts)
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts[present])))
    return Rows(present, offsets, timestamp_ms, value)

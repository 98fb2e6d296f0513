"""Reading one block from its file. Every checksum is compared before the bytes under it are used."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import google_crc32c
import msgspec
import numpy as np
import numpy.typing as npt
from pcodec import standalone

from tsdb.errors import CorruptData, NotReady
from tsdb.sample import KEY_BYTES, Float64s, Int64s
from tsdb.store.block import layout, tile
from tsdb.store.block.layout import Summary
from tsdb.store.columns import Rows, spread
from tsdb.store.disk import Bytes, ReadFile
from tsdb.store.index import Keys


@dataclass(frozen=True, slots=True)
class Section:
    """Where a section stands, as the directory says."""

    codec: int
    crc: int
    offset: int
    length: int


class BlockFile:
    """One block, open.

    Raises: CorruptData, if a header or a table is not what was written; tables when first read. NotReady, if the block
    is whole, but of a later version than this program reads.
    """

    def __init__(self, file: ReadFile, name: str) -> None:
        self.name = name
        self.file = file
        self.version, self.window_start_ms, self.window_ms = read_header(file, name)
        self.sections: Mapping[int, Section] = _DIRECTORY_OF_VERSION[self.version](file, name)
        try:
            self.summary = msgspec.json.decode(self.section(layout.SUMMARY), type=Summary)
        except msgspec.MsgspecError as error:
            raise CorruptData(f"{name}: the summary: {error}") from error

    @property
    def size_bytes(self) -> int:
        return self.file.size_bytes

    def section(self, number: int) -> bytes:
        """The bytes of a section, unpacked unless they are counts. Raises: CorruptData."""
        if number not in self.sections:
            raise CorruptData(f"{self.name}: section {number} is missing")
        return read_section(self.file, self.name, number, self.sections[number])

    def keys(self) -> Keys:
        data = self.section(layout.KEYS)
        if len(data) % KEY_BYTES:
            raise CorruptData(f"{self.name}: {len(data):,} bytes of keys of {KEY_BYTES}")
        return Keys.from_bytes(data)

    def canonical(self) -> list[bytes]:
        """The canonical label bytes of all rows."""
        lengths = counts_of(self.section(layout.TEXT_LENGTHS), f"{self.name}: the lengths of label text")
        return texts_of(self.section(layout.TEXT), lengths, self.name)

    def text(self) -> tuple[Bytes, Int64s]:
        """The same as one array, and how long each row's part of it is."""
        lengths = counts_of(self.section(layout.TEXT_LENGTHS), f"{self.name}: the lengths of label text").astype(
            np.int64
        )
        text = np.frombuffer(self.section(layout.TEXT), np.uint8)
        if int(lengths.sum()) != text.size:
            raise CorruptData(
                f"{self.name}: {text.size:,} bytes of label text, {int(lengths.sum()):,} by their lengths"
            )
        return text, lengths

    def row_offsets(self) -> Int64s:
        """int64[rows + 1]: row i owns the samples [offsets[i], offsets[i + 1]) of the block."""
        lengths = counts_of(self.section(layout.ROW_LENGTHS), f"{self.name}: the lengths of rows")
        return np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))

    def tiles(self) -> npt.NDArray[np.void]:
        return table_of(self.section(layout.TILES), layout.TILE_DTYPE, f"{self.name}: the tiles")

    def content(self) -> npt.NDArray[np.void] | None:
        """layout.CONTENT_DTYPE: samples and their hash by window and partition; None for a block without them."""
        if layout.CONTENT not in self.sections:
            return None
        return table_of(self.section(layout.CONTENT), layout.CONTENT_DTYPE, f"{self.name}: the content hashes")

    def read_tile(self, number: int, entry: np.void) -> tuple[Int64s, Float64s]:
        """The columns of one tile. Raises: CorruptData."""
        return read_tile(self.file, self.name, number, entry)


def read_tile(file: ReadFile, name: str, number: int, entry: np.void) -> tuple[Int64s, Float64s]:
    """The columns of a tile by its entry of the table. Raises: CorruptData."""
    count = int(entry["sample_count"])
    start, time_bytes = int(entry["data_offset"]), int(entry["time_bytes"])
    stored = file.read(start, time_bytes + int(entry["value_bytes"]))
    if google_crc32c.value(stored) != int(entry["crc"]):
        raise CorruptData(f"{name}: the checksum of tile {number} at byte {start:,}")
    timestamp_ms, value = np.empty(count, np.int64), np.empty(count, np.float64)
    try:
        tile.decode_times(int(entry["time_codec"]), stored[:time_bytes], timestamp_ms)
        tile.decode_values(int(entry["value_codec"]), stored[time_bytes:], value)
    except CorruptData as error:
        raise CorruptData(f"{name}: tile {number} at byte {start:,}: {error}") from error
    return timestamp_ms, value


def read_header(file: ReadFile, name: str) -> tuple[int, int, int]:
    """Version, start and length of the window in ms; the header is the same in all versions.

    Raises: CorruptData; NotReady, for a version that this program does not read.
    """
    if file.size_bytes < layout.HEADER_BYTES + layout.TRAILER.size:
        raise CorruptData(f"{name}: {file.size_bytes} bytes are too few for a block")
    raw = file.read(0, layout.HEADER_BYTES)
    magic, crc = layout.HEADER_FIXED.unpack_from(raw)
    if magic != layout.MAGIC:
        raise CorruptData(f"{name}: magic {magic!r}, not {layout.MAGIC!r}")
    if crc != google_crc32c.value(raw[layout.HEADER_FIXED.size :]):
        raise CorruptData(f"{name}: the checksum of the header")
    version, start_ms, window_ms = layout.HEADER_BODY.unpack_from(raw, layout.HEADER_FIXED.size)
    if version not in _DIRECTORY_OF_VERSION:
        raise NotReady(
            f"block {name} has version {version}, this program reads up to {max(_DIRECTORY_OF_VERSION)}; "
            f"start the program that wrote it"
        )
    if start_ms % layout.WINDOW_MS or window_ms % layout.WINDOW_MS or window_ms <= 0:
        raise CorruptData(
            f"{name}: a window of {window_ms:,} ms from {start_ms:,} ms on, not of whole {layout.WINDOW_MS:,} ms"
        )
    return version, start_ms, window_ms


def _directory_1(file: ReadFile, name: str) -> dict[int, Section]:
    """The sections by number. Raises: CorruptData."""
    end = file.size_bytes - layout.TRAILER.size
    at, count, crc, magic = layout.TRAILER.unpack(file.read(end, layout.TRAILER.size))
    if magic != layout.END_MAGIC:
        raise CorruptData(f"{name}: the file ends with {magic!r}, not {layout.END_MAGIC!r}")
    if at + count * layout.DIRECTORY_ENTRY.size != end:
        raise CorruptData(f"{name}: a directory of {count:,} entries at byte {at:,}")
    directory = file.read(at, end - at)
    if google_crc32c.value(directory) != crc:
        raise CorruptData(f"{name}: the checksum of the directory")
    return {number: Section(*rest) for number, *rest in layout.DIRECTORY_ENTRY.iter_unpack(directory)}


# How each version's sections are found. A version stays here when the next one comes.
_DIRECTORY_OF_VERSION: Mapping[int, Callable[[ReadFile, str], dict[int, Section]]] = {1: _directory_1}


def read_section(file: ReadFile, name: str, number: int, where: Section) -> bytes:
    """The bytes of a section, unpacked unless they are counts. Raises: CorruptData."""
    if where.offset + where.length > file.size_bytes:  # Not what was written; and a length is not to be trusted.
        raise CorruptData(f"{name}: section {number} at byte {where.offset:,} is not in the file")
    stored = file.read(where.offset, where.length)
    if google_crc32c.value(stored) != where.crc:
        raise CorruptData(f"{name}: the checksum of section {number} at byte {where.offset:,}")
    if where.codec == layout.SECTION_ZLIB:
        try:
            return zlib.decompress(stored)
        except zlib.error as error:
            raise CorruptData(f"{name}: section {number} at byte {where.offset:,}: {error}") from error
    if where.codec not in (layout.SECTION_RAW, layout.SECTION_PCODEC_U32):
        raise CorruptData(f"{name}: codec {where.codec} of section {number} is not known to this program")
    return stored


def counts_of(data: bytes, what: str) -> Int64s:
    """Undo the packing of counts. Raises: CorruptData."""
    try:
        counts = standalone.simple_decompress(data)
    except (RuntimeError, TypeError) as error:
        raise CorruptData(f"{what}: {error}") from error
    return np.empty(0, np.int64) if counts is None else counts.astype(np.int64)


def texts_of(text: bytes, lengths: Int64s, name: str) -> list[bytes]:
    """Label text, cut. Raises: CorruptData."""
    ends = np.cumsum(lengths).tolist()
    if (ends[-1] if ends else 0) != len(text):
        raise CorruptData(f"{name}: {len(text):,} bytes of label text, {ends[-1] if ends else 0:,} by their lengths")
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def table_of(data: bytes, dtype: np.dtype[np.void], what: str) -> npt.NDArray[np.void]:
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

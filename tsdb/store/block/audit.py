"""Reading one block to the last byte: checksums, tables against each other, tables against the samples.

A checksum says that bytes are those that were written; the rest says that what was written is true. For
`henge db verify` and `henge db repair`; nothing here is in the way of a query.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import google_crc32c
import numpy as np
import numpy.typing as npt

from tsdb.errors import CorruptData
from tsdb.sample import SEPARATOR, Float64s, Int64s, series_key
from tsdb.store.block import layout
from tsdb.store.block.file import BlockFile
from tsdb.store.block.layout import BlockName
from tsdb.store.content import ContentSum, by_place
from tsdb.store.disk import ReadFile
from tsdb.store.index import Keys

# A sum of doubles depends on their order in its last bits, and the order on the machine that added them.
_SUM_ERROR_MAX = 1e-9
_REQUIRED = (layout.SUMMARY, layout.TILES, layout.KEYS, layout.ROW_LENGTHS, layout.TEXT_LENGTHS, layout.TEXT)


@dataclass(frozen=True, slots=True)
class _Tables:
    keys: Keys
    canonical: list[bytes]
    row_offsets: Int64s
    tiles: npt.NDArray[np.void]


def faults_of(block: BlockFile) -> Iterator[str]:
    """Everything that is wrong with a block that could be opened, each as a sentence without the block's name."""
    for number in block.sections:
        try:
            block.section(number)
        except CorruptData as error:
            yield _without_name(error, block)
    yield from (f"section {number} is missing" for number in _REQUIRED if number not in block.sections)
    yield from _what_cannot_be_read(block)
    yield from _name_faults(block)
    try:
        tables = _Tables(block.keys(), block.canonical(), block.row_offsets(), block.tiles())
    except CorruptData:
        tables = None  # Said above.
    if tables is None:
        yield from _tile_checksum_faults(block)
        return
    found = [*_row_faults(block, tables), *_tile_table_faults(block, tables)]
    yield from found
    yield from _gap_faults(block, tables.tiles)
    if found:
        yield from _tile_checksum_faults(block)  # Rows and samples cannot be brought together.
    else:
        yield from _sample_faults(block, tables)


def checksum_fault(file: ReadFile, name: str) -> CorruptData | None:
    """The first checksum that does not hold, if there is one; no sample is decoded, so it runs at the disk's speed."""
    try:
        block = BlockFile(file, name)
        for number in block.sections:
            block.section(number)
        for number, entry in enumerate(block.tiles()):
            start = int(entry["data_offset"])
            stored = file.read(start, int(entry["time_bytes"]) + int(entry["value_bytes"]))
            if google_crc32c.value(stored) != int(entry["crc"]):
                return CorruptData(f"{name}: the checksum of tile {number} at byte {start:,}")
    except CorruptData as error:
        return error
    return None


def _without_name(error: Exception, block: BlockFile) -> str:
    return str(error).removeprefix(f"{block.name}: ")


def _what_cannot_be_read(block: BlockFile) -> Iterator[str]:
    """Sections that hold the bytes that were written, but not what belongs there."""
    for sections, read in (
        ((layout.KEYS,), block.keys),
        ((layout.TEXT, layout.TEXT_LENGTHS), block.canonical),
        ((layout.ROW_LENGTHS,), block.row_offsets),
        ((layout.TILES,), block.tiles),
        ((layout.CONTENT,), block.content),
    ):
        try:
            for number in sections:
                block.section(number)
        except CorruptData:
            continue
        try:
            read()
        except CorruptData as error:
            yield _without_name(error, block)


def _name_faults(block: BlockFile) -> Iterator[str]:
    name = BlockName.parse(block.name)
    if name is not None and (name.start_ms, name.window_ms) != (block.window_start_ms, block.window_ms):
        yield f"the header speaks of {block.window_ms:,} ms from {block.window_start_ms:,}, the name does not"


def _row_faults(block: BlockFile, tables: _Tables) -> Iterator[str]:
    lengths, row_count = np.diff(tables.row_offsets), tables.keys.high.size
    counts = {lengths.size, row_count, len(tables.canonical), block.summary.series_count}
    if len(counts) > 1:
        yield (
            f"{row_count:,} keys, {len(tables.canonical):,} label sets and {lengths.size:,} row lengths for "
            f"{block.summary.series_count:,} series"
        )
        return
    if (empty_count := int(np.count_nonzero(lengths < 1))) or not row_count:
        yield f"{empty_count:,} of {row_count:,} rows have no sample"
    if int(tables.row_offsets[-1]) != block.summary.sample_count:
        yield f"rows of {int(tables.row_offsets[-1]):,} samples for {block.summary.sample_count:,}"
    wrong = wrong_keys(tables.keys, tables.canonical)
    if wrong.size:
        yield f"{wrong.size:,} keys are not those of their label sets, the first in row {wrong[0]:,}"
    pairs = np.stack(tables.keys, axis=1)
    if np.unique(pairs, axis=0).shape[0] != row_count:
        yield "a series has two rows"


def wrong_keys(keys: Keys, canonical: list[bytes]) -> Int64s:
    """The rows whose key is not that of their label set, or whose label set is none."""
    stored = keys.to_bytes()
    return np.array(
        [
            row
            for row, text in enumerate(canonical)
            if series_key(text) != stored[16 * row : 16 * row + 16]
            or not text.endswith(SEPARATOR)
            or text.count(SEPARATOR) % 2
        ],
        np.int64,
    )


def _tile_table_faults(block: BlockFile, tables: _Tables) -> Iterator[str]:
    tiles, summary = tables.tiles, block.summary
    counts = tiles["sample_count"].astype(np.int64)
    if int(counts.sum()) != summary.sample_count:
        yield f"tiles of {int(counts.sum()):,} samples for {summary.sample_count:,}"
    if not np.array_equal(tiles["first_sample"].astype(np.int64), np.cumsum(counts) - counts) or (counts < 1).any():
        yield "the tiles do not follow one another"
    if tiles.size and (int(tiles["min_ms"].min()), int(tiles["max_ms"].max())) != (summary.min_ms, summary.max_ms):
        yield "the summary's range of time is not that of the tiles"


def _gap_faults(block: BlockFile, tiles: npt.NDArray[np.void]) -> Iterator[str]:
    """Bytes that belong to no part, but for the padding in front of sections: up to seven zeros."""
    starts = tiles["data_offset"].astype(np.int64)
    ends = starts + tiles["time_bytes"] + tiles["value_bytes"]
    sections = [(where.offset, where.offset + where.length) for where in block.sections.values()]
    directory_at = block.size_bytes - layout.TRAILER.size - len(block.sections) * layout.DIRECTORY_ENTRY.size
    parts = [(0, layout.HEADER_BYTES), *zip(starts.tolist(), ends.tolist(), strict=True), *sections]
    parts = [*sorted(parts), (directory_at, block.size_bytes)]
    for before, after in itertools.pairwise(parts):
        if after[0] < before[1]:
            yield f"two parts share the bytes {after[0]:,} to {before[1]:,}"
        elif after[0] - before[1] > 7 or _has_more_than_zeros(block, before[1], after[0]):
            yield f"bytes {before[1]:,} to {after[0]:,} belong to nothing and are not zero"


def _has_more_than_zeros(block: BlockFile, start: int, end: int) -> bool:
    """Also if they cannot be read. At most seven bytes are looked at."""
    try:
        return any(block.file.read(start, end - start))
    except CorruptData:
        return True


def _tile_checksum_faults(block: BlockFile) -> Iterator[str]:
    try:
        tiles = block.tiles()
    except CorruptData:
        return
    for number, entry in enumerate(tiles):
        try:
            block.read_tile(number, entry)
        except CorruptData as error:
            yield _without_name(error, block)


def _sample_faults(block: BlockFile, tables: _Tables) -> Iterator[str]:
    """Every sample: in its window, times rising in its row, and the tile's figures and the content hash true."""
    offsets = tables.row_offsets
    content = ContentSum(block.window_start_ms, block.window_ms)
    last_ms: int | None = None  # of the tile before, if it was whole
    is_whole = True
    for number, entry in enumerate(tables.tiles):
        try:
            timestamp_ms, value = block.read_tile(number, entry)
        except CorruptData as error:
            yield _without_name(error, block)
            last_ms, is_whole = None, False
            continue
        yield from (f"tile {number}: {what}" for what in _tile_faults(block, entry, timestamp_ms, value))
        first = int(entry["first_sample"])
        rows = slice(
            int(np.searchsorted(offsets, first, side="right")) - 1,
            int(np.searchsorted(offsets, first + value.size, side="left")),
        )
        edges = offsets[rows.start : rows.stop + 1].clip(first, first + value.size) - first
        falls = timestamp_ms[1:] <= timestamp_ms[:-1]
        falls[edges[1:-1] - 1] = False  # From one row to the next a time may fall.
        goes_on = int(offsets[rows.start]) < first and last_ms is not None
        if falls.any() or (goes_on and last_ms is not None and timestamp_ms[0] <= last_ms):
            yield f"tile {number}: the times of a row do not rise"
        if _is_inside(block, timestamp_ms):
            content.add(Keys(tables.keys.high[rows], tables.keys.low[rows]), edges, timestamp_ms, value)
        else:
            is_whole = False
        last_ms = int(timestamp_ms[-1])
    if is_whole:
        yield from _content_faults(block, content)


def _is_inside(block: BlockFile, timestamp_ms: Int64s) -> bool:
    start_ms = block.window_start_ms
    return int(timestamp_ms.min()) >= start_ms and int(timestamp_ms.max()) < start_ms + block.window_ms


def _tile_faults(block: BlockFile, entry: np.void, timestamp_ms: Int64s, value: Float64s) -> Iterator[str]:
    if not _is_inside(block, timestamp_ms):
        yield "a time lies outside the block's window"
    if (int(timestamp_ms.min()), int(timestamp_ms.max())) != (int(entry["min_ms"]), int(entry["max_ms"])):
        yield "its range of time is not that of its samples"
    numbers = value[~np.isnan(value)]
    if numbers.size != int(entry["number_count"]):
        yield f"{numbers.size:,} values are not NaN, its entry says {int(entry['number_count']):,}"
    elif numbers.size:
        with np.errstate(over="ignore", invalid="ignore"):
            total, size = float(numbers.sum()), float(np.abs(numbers).sum())
        if numbers.min() != entry["min_value"] or numbers.max() != entry["max_value"]:
            yield "its lowest and highest value are not those of its samples"
        # A sum that overflows on the way does so in one order and not in another.
        if np.isfinite(size) and not abs(total - float(entry["sum"])) <= _SUM_ERROR_MAX * size:
            yield f"its sum is {float(entry['sum'])!r}, that of its samples {total!r}"


def _content_faults(block: BlockFile, found: ContentSum) -> Iterator[str]:
    try:
        stored = block.content()
    except CorruptData:
        return  # Said already.
    if stored is None:
        return
    of_samples, of_table = by_place(found.table()), by_place(stored)
    wrong = [place for place in of_samples.keys() | of_table if of_samples.get(place) != of_table.get(place)]
    if wrong:
        start_ms, partition = min(wrong)
        yield (
            f"section {layout.CONTENT}: the content of {len(wrong):,} places is not that of the samples, the first is "
            f"partition {partition} in the window at {start_ms:,} ms"
        )

"""What is whole in a damaged block: sections found one by one, rows of which key and samples are still certain.

For `henge db repair`. Nothing is guessed: every section and every tile is used only if its own checksum is right, and a
row only if its label set is the one that its key names. The directory, which holds those checksums, has one for itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

import google_crc32c
import msgspec
import numpy as np
import numpy.typing as npt

from tsdb.errors import CorruptData
from tsdb.sample import KEY_BYTES, Int64s
from tsdb.store.block import layout
from tsdb.store.block.audit import wrong_keys
from tsdb.store.block.file import BlockFile, Section, counts_of, read_header, read_section, table_of, texts_of
from tsdb.store.block.layout import Summary
from tsdb.store.disk import ReadFile
from tsdb.store.index import Keys

# A directory whose trailer is damaged is looked for in front of it; more sections than this no version has.
_SECTION_COUNT_MAX = 32


@dataclass(frozen=True, slots=True)
class Salvage:
    """The tables of a damaged block. canonical: None for a row whose label text is damaged; its key is certain.

    summary: None if it is damaged.
    """

    keys: Keys
    canonical: list[bytes | None]
    row_offsets: Int64s
    tiles: npt.NDArray[np.void]
    summary: Summary | None

    @property
    def sample_count(self) -> int:
        return int(self.row_offsets[-1])


def salvage(file: ReadFile, name: str) -> Salvage:
    """Raises: CorruptData, if samples and rows cannot be brought together any more; NotReady, for a later version."""
    sections = _whole_sections(file, name)
    missing = [number for number in (layout.TILES, layout.ROW_LENGTHS) if number not in sections]
    if missing:
        raise CorruptData(f"{name}: section {missing[0]} is damaged, and nothing else says where the samples belong")
    tiles = table_of(sections[layout.TILES], layout.TILE_DTYPE, f"{name}: the tiles")
    lengths = counts_of(sections[layout.ROW_LENGTHS], f"{name}: the lengths of rows")
    keys, canonical = _rows(sections, name)
    counts = tiles["sample_count"].astype(np.int64)
    is_one_block = np.array_equal(tiles["first_sample"].astype(np.int64), np.cumsum(counts) - counts)
    if not is_one_block or int(counts.sum()) != int(lengths.sum()) or len(canonical) != lengths.size:
        raise CorruptData(
            f"{name}: tiles of {int(counts.sum()):,} samples and {len(canonical):,} series do not fit "
            f"{lengths.size:,} rows of {int(lengths.sum()):,} samples"
        )
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
    return Salvage(keys, canonical, offsets, tiles, _summary(sections))


def _whole_sections(file: ReadFile, name: str) -> dict[int, bytes]:
    found = {}
    for number, where in _directory(file, name).items():
        try:
            found[number] = read_section(file, name, number, where)
        except CorruptData:
            continue
    return found


def _directory(file: ReadFile, name: str) -> Mapping[int, Section]:
    with contextlib.suppress(CorruptData):
        return BlockFile(file, name).sections
    with contextlib.suppress(CorruptData):
        read_header(file, name)  # A later version has to be left alone: NotReady goes on to the caller.
    if mended := _mended_directory(file):
        return mended
    end = file.size_bytes - layout.TRAILER.size
    best: dict[int, Section] = {}
    for count in range(1, _SECTION_COUNT_MAX + 1):
        at = end - count * layout.DIRECTORY_ENTRY.size
        if at < layout.HEADER_BYTES:
            break
        found = {}
        try:
            stored = file.read(at, end - at)
        except CorruptData:
            break
        for number, *rest in layout.DIRECTORY_ENTRY.iter_unpack(stored):
            where = Section(*rest)
            if where.offset >= layout.HEADER_BYTES and where.offset + where.length <= at and where.length:
                try:
                    read_section(file, name, number, where)
                except CorruptData:
                    continue
                found[number] = where
        if len(found) > len(best):
            best = found
    return best


def _mended_directory(file: ReadFile) -> dict[int, Section]:
    """The directory as it is, or with the one bit turned back with which its checksum holds; empty if there is none.

    Seven entries are 1,344 bits, which takes a millisecond. CRC32C tells any two of them apart, and what a wrong turn
    would lead to has no right checksum of its own.
    """
    end = file.size_bytes - layout.TRAILER.size
    if end < layout.HEADER_BYTES:
        return {}
    try:
        at, count, crc, _ = layout.TRAILER.unpack(file.read(end, layout.TRAILER.size))
        if count > _SECTION_COUNT_MAX or at + count * layout.DIRECTORY_ENTRY.size != end:
            return {}
        stored = file.read(at, end - at)
    except CorruptData:
        return {}
    whole = int.from_bytes(stored, "little")
    for turned in (0, *(1 << bit for bit in range(8 * len(stored)))):
        tried = (whole ^ turned).to_bytes(len(stored), "little")
        if google_crc32c.value(tried) == crc:
            return {number: Section(*rest) for number, *rest in layout.DIRECTORY_ENTRY.iter_unpack(tried)}
    return {}


def _rows(sections: Mapping[int, bytes], name: str) -> tuple[Keys, list[bytes | None]]:
    """Keys and label sets, each from the other where only one is whole."""
    canonical: list[bytes] | None = None
    if layout.TEXT in sections and layout.TEXT_LENGTHS in sections:
        lengths = counts_of(sections[layout.TEXT_LENGTHS], f"{name}: the lengths of label text")
        canonical = texts_of(sections[layout.TEXT], lengths, name)
    stored = sections.get(layout.KEYS)
    if stored is None or len(stored) % KEY_BYTES:
        if canonical is None:
            raise CorruptData(f"{name}: keys and label text are damaged, so no sample has a series")
        stored = Keys.of(canonical).to_bytes()
    keys = Keys.from_bytes(stored)
    if canonical is None or len(canonical) != keys.high.size:
        return keys, [None] * keys.high.size
    checked: list[bytes | None] = list(canonical)
    for row in wrong_keys(keys, canonical).tolist():
        checked[row] = None
    return keys, checked


def _summary(sections: Mapping[int, bytes]) -> Summary | None:
    try:
        return msgspec.json.decode(sections[layout.SUMMARY], type=Summary)
    except (KeyError, msgspec.MsgspecError):
        return None

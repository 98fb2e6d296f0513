"""The parts of a block file and their names. Layout: docs/format/block.md."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

import msgspec
import numpy as np

from appliance.units import duration_ms, duration_text
from tsdb.interface import Aggregate

MAGIC = b"HENGEBLK"
END_MAGIC = b"HENGEEND"
VERSION = 1

# magic · crc32c of the rest · version · window: start ms, length ms
HEADER_FIXED = struct.Struct("<8sI")
HEADER_BODY = struct.Struct("<Iqq")
HEADER_BYTES = HEADER_FIXED.size + HEADER_BODY.size
assert HEADER_BYTES == 32

DIRECTORY_ENTRY = struct.Struct("<HHIQQ")  # section · codec · crc32c of its bytes as stored · offset · stored length
# offset of the directory · its entries · crc32c of the directory · magic
TRAILER = struct.Struct("<QII8s")

# Sections; a reader passes over numbers that it does not know. 8 is kept for tombstones.
SUMMARY = 1  # JSON, see Summary
TILES = 2  # TILE_DTYPE[tiles]
KEYS = 3  # 16 B for each row; the first six bits are the row's partition
ROW_LENGTHS = 4  # u32[rows]: samples of each row; the rows own the samples of the block one after another
TEXT_LENGTHS = 5  # u32[rows]: bytes of each row's canonical form
TEXT = 6  # the canonical bytes of all rows, one after another
CONTENT = 7  # CONTENT_DTYPE[places with samples]; blocks of the first days have none

# Codecs of sections.
SECTION_RAW = 0
SECTION_ZLIB = 1
SECTION_PCODEC_U32 = 2  # a standalone pcodec file of uint32

TILE_DTYPE = np.dtype(
    [
        ("first_sample", "<u8"),
        ("data_offset", "<u8"),
        ("sample_count", "<u4"),
        ("time_bytes", "<u4"),
        ("value_bytes", "<u4"),
        ("crc", "<u4"),  # crc32c of time bytes and value bytes
        ("min_ms", "<i8"),
        ("max_ms", "<i8"),
        ("min_value", "<f8"),  # of the values that are not NaN; NaN if there is none
        ("max_value", "<f8"),
        ("sum", "<f8"),
        ("number_count", "<u4"),  # values that are not NaN
        ("time_codec", "u1"),
        ("value_codec", "u1"),
        ("reserved", "<u2"),
    ]
)
assert TILE_DTYPE.itemsize == 80

CONTENT_DTYPE = np.dtype(
    [
        ("window", "<u4"),  # start of the 2 h window / 2 h; 2^32 of them end in the year 981,000
        ("partition", "<u2"),
        ("reserved", "<u2"),
        ("sample_count", "<u8"),
        ("hash_low", "<u8"),
        ("hash_high", "<u8"),
    ]
)
assert CONTENT_DTYPE.itemsize == 32

PARTITION_BITS = 6  # The first bits of a series' key.
PARTITION_COUNT = 1 << PARTITION_BITS

HOUR_MS = 3_600_000
WINDOW_MS = 2 * HOUR_MS  # Of the blocks that a flush writes.
SUFFIX = ".block"
_NAME = re.compile(r"(\d{10})-(\d+)h-(\d{8})(?:\.(\d+[a-z]+)-([a-z]+))?\.block")


class Summary(msgspec.Struct, kw_only=True, frozen=True):
    """What the engine needs to know of a block without reading its tables."""

    series_count: int
    sample_count: int
    min_ms: int
    max_ms: int
    replaces: list[str] = []
    rolled_from: list[str] = []  # Of a rollup: the blocks that it stands for,
    rolled_with: list[str] = []  # and all blocks that were written with it and must be there before those go.


@dataclass(frozen=True, slots=True, order=True)
class BlockName:
    """`<start of the window in s>-<its hours>h-<number>.block`; the number is one higher for each block of a folder.

    A rollup says which before the end, as `.1m-sum.block`; see docs/format/rollup.md.
    """

    start_ms: int
    window_ms: int
    number: int
    tier_ms: int = 0  # The resolution of a rollup; 0: samples as they came.
    aggregate: Aggregate | None = None  # None: samples as they came.

    def __str__(self) -> str:
        rollup = "" if self.aggregate is None else f".{duration_text(self.tier_ms)}-{self.aggregate}"
        return f"{self.start_ms // 1_000:010d}-{self.window_ms // 3_600_000}h-{self.number:08d}{rollup}{SUFFIX}"

    @property
    def is_raw(self) -> bool:
        return self.aggregate is None

    @property
    def end_ms(self) -> int:
        return self.start_ms + self.window_ms

    @staticmethod
    def parse(name: str) -> BlockName | None:
        """None, if it is not the name of a block."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        start_s, hours, number = map(int, found.groups()[:3])
        if found[4] is None:
            return BlockName(start_s * 1_000, hours * 3_600_000, number)
        if found[5] not in list(Aggregate):
            return None
        try:
            tier_ms = duration_ms(found[4])
        except ValueError:
            return None
        return BlockName(start_s * 1_000, hours * 3_600_000, number, tier_ms or 0, Aggregate(found[5]))


@dataclass(frozen=True, slots=True, eq=False)
class BlockEntry:
    """A block that is on disk, as the engine keeps it in mind."""

    name: BlockName
    summary: Summary
    size_bytes: int

    def overlaps(self, start_ms: int, end_ms: int) -> bool:
        """May be true of a rollup that ends before the range: its last bucket may be written as the window's end."""
        return self.summary.min_ms <= end_ms and self.summary.max_ms + self.name.tier_ms >= start_ms

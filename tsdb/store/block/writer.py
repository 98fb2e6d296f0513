"""Writing one block: rows in order, tile by tile, under another name until every byte is durable."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import google_crc32c
import msgspec
import numpy as np
import numpy.typing as npt
from pcodec import ChunkConfig, standalone

from tsdb.sample import Float64s, Int32s, Int64s
from tsdb.store.block import layout, tile
from tsdb.store.block.layout import BlockEntry, BlockName, Summary
from tsdb.store.columns import Rows
from tsdb.store.content import ContentSum
from tsdb.store.disk import Disk, Part, full_disk_named
from tsdb.store.index import Keys

TEMPORARY_SUFFIX = ".tmp"
# Encoded tiles are written in pieces of at least this size.
_WRITE_BYTES = 1 << 20
_ZLIB_LEVEL = 1  # Label text in the order of rows shrinks to a tenth at 300 MB/s; higher levels gain little.

# For what is not written yet: a sample that does not compress well, and a row's key with its name, compressed.
_WAITING_SAMPLE_BYTES = 4
_ROW_BYTES = 24


def cut(row_starts: Int64s, group_starts: Int64s, sample_count: int, *, is_last: bool) -> list[int]:
    """Where the tiles of a stretch of samples end; without is_last, what is left over waits for more.

    row_starts, group_starts: the samples at which another series begins, another group of similar series; rising.
    """
    ends: list[int] = []
    at = 0
    while sample_count - at >= tile.SAMPLE_COUNT_MAX:
        low, high = at + tile.SAMPLE_COUNT_MIN, at + tile.SAMPLE_COUNT_MAX
        group = group_starts[np.searchsorted(group_starts, low) : np.searchsorted(group_starts, high, side="right")]
        rows = row_starts[np.searchsorted(row_starts, low) : np.searchsorted(row_starts, high, side="right")]
        if group.size:
            at = int(group[0])
        elif rows.size:
            at = int(rows[np.argmin(np.abs(rows - (at + tile.SAMPLE_COUNT_TARGET)))])
        else:
            at += tile.SAMPLE_COUNT_TARGET
        ends.append(at)
    if is_last and at < sample_count:
        ends.append(sample_count)
    return ends


class BlockWriter:
    """add() rows in the order of the block, each row whole and once, then finish().

    Rows come with the numbers of candidates, rising; a candidate without samples gets no row in the block.
    keys: by candidate.
    groups: by candidate, a number that similar ones share, never falling; tiles are cut between groups where possible.
    breathe: called between tiles, so that the engine can do what must not wait for a whole block.
    is_rewrite: a file of this name is there, and is replaced at the end in one step or not at all.
    """

    def __init__(
        self,
        disk: Disk,
        folder: Path,
        name: BlockName,
        keys: Keys,
        groups: Int32s,
        breathe: Callable[[], None],
        *,
        is_rewrite: bool = False,
    ) -> None:
        self._disk = disk
        self._folder = folder
        self.name = name
        self._keys = keys
        self._groups = groups
        self._breathe = breathe
        self._is_rewrite = is_rewrite
        self._temporary = folder / (str(name) + TEMPORARY_SUFFIX)
        with full_disk_named(f"block {name}"):
            self._file = disk.create(self._temporary)
        self._size_bytes = 0
        self._waiting: list[Part] = []
        self._waiting_bytes = 0
        self._rest = Rows.empty()  # Samples too few for a tile yet.
        self._row_ends: list[Int64s] = [np.zeros(1, np.int64)]
        self._candidates: list[Int64s] = []
        self._sample_count = 0
        self._tiles: list[tuple[object, ...]] = []
        self._tile_sample_count = 0
        self._content = ContentSum(name.start_ms, name.window_ms)
        body = layout.HEADER_BODY.pack(layout.VERSION, name.start_ms, name.window_ms)
        self._put(layout.HEADER_FIXED.pack(layout.MAGIC, google_crc32c.value(body)) + body)

    def add(self, rows: Rows) -> None:
        """Add the next rows: rows.row are candidates, rising and higher than those added before."""
        if not rows.row.size:
            return
        assert not self._candidates or rows.row[0] > self._candidates[-1][-1], rows.row[0]
        self._candidates.append(rows.row)
        self._row_ends.append(self._sample_count + rows.offsets[1:])
        self._sample_count += rows.value.size
        self._content.add(self._keys.taken(rows.row), rows.offsets, rows.timestamp_ms, rows.value)
        rest = self._rest
        self._rest = Rows(
            np.concatenate((rest.row, rows.row)),
            np.concatenate((rest.offsets[:-1], rest.offsets[-1] + rows.offsets)),
            np.concatenate((rest.timestamp_ms, rows.timestamp_ms)),
            np.concatenate((rest.value, rows.value)),
        )
        self._encode(is_last=False)

    @property
    def is_empty(self) -> bool:
        """Not one row was added."""
        return not self._candidates

    @property
    def expected_bytes(self) -> int:
        """About what the file would take, if it were finished now."""
        waiting_bytes = self._waiting_bytes + _WAITING_SAMPLE_BYTES * self._rest.value.size
        return self._size_bytes + waiting_bytes + _ROW_BYTES * sum(map(len, self._candidates))

    def finish(
        self,
        describe: Callable[[Int64s], Sequence[bytes]],
        replaces: Sequence[str],
        rolled_from: Sequence[str] = (),
        rolled_with: Sequence[str] = (),
    ) -> BlockEntry | None:
        """Write the tables, make the file durable and give it its name; None if not one row was added.

        describe: the canonical bytes of candidates; the names of blocks: see layout.Summary.
        """
        if not self._candidates:
            self.abandon()
            return None
        self._encode(is_last=True)
        candidates = np.concatenate(self._candidates)
        keys, canonical = self._keys.taken(candidates), describe(candidates)
        tiles = np.array(self._tiles, layout.TILE_DTYPE)
        row_ends = np.concatenate(self._row_ends)
        row_lengths = row_ends[1:] - row_ends[:-1]
        assert row_lengths.size == len(canonical), (row_lengths.size, len(canonical))
        lengths = np.fromiter(map(len, canonical), np.uint32, len(canonical))
        summary = Summary(
            series_count=len(canonical),
            sample_count=self._sample_count,
            min_ms=int(tiles["min_ms"].min()),
            max_ms=int(tiles["max_ms"].max()),
            replaces=list(replaces),
            rolled_from=list(rolled_from),
            rolled_with=list(rolled_with),
        )
        self._put_tables(
            {
                layout.SUMMARY: (layout.SECTION_RAW, msgspec.json.encode(summary)),
                layout.TILES: (layout.SECTION_ZLIB, zlib.compress(tiles.tobytes(), _ZLIB_LEVEL)),
                layout.KEYS: (layout.SECTION_RAW, keys.to_bytes()),
                layout.ROW_LENGTHS: (layout.SECTION_PCODEC_U32, _packed(row_lengths)),
                layout.TEXT_LENGTHS: (layout.SECTION_PCODEC_U32, _packed(lengths)),
                layout.TEXT: (layout.SECTION_ZLIB, zlib.compress(b"".join(canonical), _ZLIB_LEVEL)),
                layout.CONTENT: (layout.SECTION_RAW, self._content.table().tobytes()),
            }
        )
        self._write_waiting()
        self._file.sync()
        self._file.close()
        self._disk.rename(self._temporary, self._folder / str(self.name))
        self._disk.sync_folder(self._folder)
        return BlockEntry(self.name, summary, self._size_bytes)

    def abandon(self) -> None:
        """Remove what was written, after an error."""
        self._file.close()
        self._disk.remove(self._temporary)
        if not self._is_rewrite:
            self._disk.remove(self._folder / str(self.name))

    def _encode(self, *, is_last: bool) -> None:
        rest = self._rest
        row_starts = rest.offsets[1:-1]
        groups = self._groups[rest.row]
        ends = cut(row_starts, row_starts[groups[1:] != groups[:-1]], rest.value.size, is_last=is_last)
        start = 0
        for end in ends:
            inside = row_starts[np.searchsorted(row_starts, start, "right") : np.searchsorted(row_starts, end)]
            row_lengths = np.diff(inside, prepend=start, append=end)
            self._put_tile(rest.timestamp_ms[start:end], rest.value[start:end], row_lengths)
            self._breathe()
            start = end
        # The row in which the cut lies stays, with the samples behind the cut.
        first = int(np.searchsorted(rest.offsets, start, side="right")) - 1
        offsets = rest.offsets[first:] - start
        offsets[0] = 0
        self._rest = Rows(rest.row[first:], offsets, rest.timestamp_ms[start:].copy(), rest.value[start:].copy())

    def _put_tile(self, timestamp_ms: Int64s, value: Float64s, row_lengths: Int64s) -> None:
        time_codec, times = tile.encode_times(timestamp_ms, row_lengths)
        value_codec, values = tile.encode_values(value, row_lengths)
        numbers = value[~np.isnan(value)]
        with np.errstate(over="ignore", invalid="ignore"):
            sums = (numbers.min(), numbers.max(), numbers.sum()) if numbers.size else (np.nan, np.nan, 0.0)
        self._tiles.append(
            (
                self._tile_sample_count,
                self._size_bytes + self._waiting_bytes,
                value.size,
                len(times),
                len(values),
                google_crc32c.extend(google_crc32c.value(times), values),
                timestamp_ms.min(),
                timestamp_ms.max(),
                *sums,
                numbers.size,
                time_codec,
                value_codec,
                0,
            )
        )
        self._tile_sample_count += value.size
        self._put(times)
        self._put(values)

    def _put_tables(self, sections: dict[int, tuple[int, bytes]]) -> None:
        directory = b""
        for section, (codec, data) in sections.items():
            self._put(bytes(-self._end % 8))
            directory += layout.DIRECTORY_ENTRY.pack(section, codec, google_crc32c.value(data), self._end, len(data))
            self._put(data)
        self._put(bytes(-self._end % 8))
        trailer = layout.TRAILER.pack(self._end, len(sections), google_crc32c.value(directory), layout.END_MAGIC)
        self._put(directory + trailer)

    @property
    def _end(self) -> int:
        return self._size_bytes + self._waiting_bytes

    def _put(self, data: bytes) -> None:
        if not data:
            return
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= _WRITE_BYTES:
            self._write_waiting()

    def _write_waiting(self) -> None:
        with full_disk_named(f"block {self.name}"):
            self._size_bytes += self._file.append(self._waiting)
        self._waiting, self._waiting_bytes = [], 0


def _packed(counts: npt.NDArray[np.integer]) -> bytes:
    """Counts below 2^32 as a section."""
    assert int(counts.max()) < 1 << 32, counts.max()
    packed: bytes = standalone.simple_compress(counts.astype(np.uint32), ChunkConfig())
    return packed

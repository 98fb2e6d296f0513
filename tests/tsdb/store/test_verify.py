"""What a verification finds: bytes that changed, tables that lie although their checksums are right, odd files."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import google_crc32c
import msgspec
import numpy as np
import pytest
from pcodec import ChunkConfig, standalone

from tests.sim.disk import MemoryDisk, held
from tests.tsdb.store.stores import FOLDER, NOW_MS, Row, append, bits_of, labels, open_engine
from tests.tsdb.store.test_damage import batch, cut, damaged_log, drop_frame, flip, frame_at
from tests.tsdb.store.test_old_formats import BLOCK_NAME, bytes_of, disk_with
from tsdb.errors import NotReady
from tsdb.store.block import layout
from tsdb.store.block.file import BlockFile, counts_of
from tsdb.store.verify import verify


def rows() -> list[Row]:
    """Two series of sixty samples in one window."""
    return [
        (one, NOW_MS + 1_000 * at, bits_of(at / 4))
        for one in (labels(name="a"), labels(name="b", host="1"))
        for at in range(60)
    ]


@contextlib.contextmanager
def small_tiles() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsdb.store.block.tile.SAMPLE_COUNT_MIN", 10)
        patch.setattr("tsdb.store.block.tile.SAMPLE_COUNT_TARGET", 15)
        patch.setattr("tsdb.store.block.tile.SAMPLE_COUNT_MAX", 20)
        yield


def store() -> tuple[MemoryDisk, Path]:
    """A store of one block with eight tiles, and the path of the block."""
    disk = MemoryDisk()
    with small_tiles():
        engine = open_engine(disk)
        append(engine, rows())
        engine.flush()
        engine.close()
    (path,) = disk.paths(FOLDER / "blocks")
    return disk, path


def faults(disk: MemoryDisk) -> dict[str, str]:
    """By path, everything that is wrong, in one line."""
    return {verdict.path: "; ".join(verdict.damage) for verdict in verify(FOLDER, disk) if verdict.damage}


def with_sections(data: bytes, changed: dict[int, bytes | None]) -> bytes:
    """A block with other bytes, as stored, in some sections, all checksums right; None leaves a section out."""
    block = BlockFile(held(data), "x")
    stored = {
        number: (where.codec, data[where.offset : where.offset + where.length])
        for number, where in block.sections.items()
    }
    body = data[: min(where.offset for where in block.sections.values())]
    directory = b""
    for number, (codec, old) in stored.items():
        new = changed.get(number, old)
        if new is None:
            continue
        body += bytes(-len(body) % 8)
        directory += layout.DIRECTORY_ENTRY.pack(number, codec, google_crc32c.value(new), len(body), len(new))
        body += new
    body += bytes(-len(body) % 8)
    count = len(directory) // layout.DIRECTORY_ENTRY.size
    return body + directory + layout.TRAILER.pack(len(body), count, google_crc32c.value(directory), layout.END_MAGIC)


Lie = Callable[[BlockFile], dict[int, bytes | None]]


def in_tiles(column: str, value: float, number: int = 1) -> Lie:
    def lie(block: BlockFile) -> dict[int, bytes | None]:
        tiles = block.tiles().copy()
        tiles[column][number] = value
        return {layout.TILES: zlib.compress(tiles.tobytes())}

    return lie


def in_content(column: str, value: int) -> Lie:
    def lie(block: BlockFile) -> dict[int, bytes | None]:
        table = block.content().copy()  # type: ignore[union-attr]
        table[column][0] = value
        return {layout.CONTENT: table.tobytes()}

    return lie


def in_summary(**values: object) -> Lie:
    return lambda block: {
        layout.SUMMARY: msgspec.json.encode(msgspec.to_builtins(block.summary) | values),
    }


def in_counts(section: int, change: Callable[[np.ndarray], np.ndarray]) -> Lie:
    def lie(block: BlockFile) -> dict[int, bytes | None]:
        counts = change(counts_of(block.section(section), "")).astype(np.uint32)
        return {section: standalone.simple_compress(counts, ChunkConfig())}

    return lie


LIES: dict[str, tuple[Lie, str]] = {  # name: (what is changed, what is said)
    "the lowest time of a tile": (in_tiles("min_ms", NOW_MS), "tile 1: its range of time is not that of its samples"),
    "the highest time of the last tile": (in_tiles("max_ms", NOW_MS, -1), "tile 7: its range of time"),
    "the lowest value": (in_tiles("min_value", -1.0), "tile 1: its lowest and highest value"),
    "the highest value": (in_tiles("max_value", 1e9), "tile 1: its lowest and highest value"),
    "the sum": (in_tiles("sum", 7.0), "tile 1: its sum is 7.0"),
    "how many are numbers": (in_tiles("number_count", 3), "values are not NaN, its entry says 3"),
    "where a tile begins": (in_tiles("first_sample", 3), "the tiles do not follow one another"),
    "a count in the summary": (in_summary(sample_count=119), "rows of 120 samples for 119"),
    "the series in the summary": (in_summary(series_count=3), "for 3 series"),
    "the time in the summary": (in_summary(min_ms=NOW_MS + 1), "the summary's range of time"),
    "a hash": (in_content("hash_high", 1), "section 7: the content of 1 places is not that of the samples"),
    "a partition": (in_content("partition", 1), "section 7: the content of 2 places"),
    "a count beside a hash": (in_content("sample_count", 1), "section 7: the content of 1 places"),
    "half a table of hashes": (lambda block: {layout.CONTENT: b"0123456"}, "7 bytes for entries of 32"),
    "rows cut elsewhere": (
        in_counts(layout.ROW_LENGTHS, lambda lengths: lengths + np.array([1, -1])),
        "the times of a row do not rise",
    ),
    "a row without samples": (
        in_counts(layout.ROW_LENGTHS, lambda _: np.array([120, 0])),
        "1 of 2 rows have no sample",
    ),
    "keys in another order": (
        lambda block: {layout.KEYS: block.section(layout.KEYS)[16:] + block.section(layout.KEYS)[:16]},
        "2 keys are not those of their label sets, the first in row 0",
    ),
    "text cut elsewhere": (
        in_counts(layout.TEXT_LENGTHS, lambda lengths: lengths + np.array([1, -1])),
        "2 keys are not those",
    ),
    "less text than lengths": (
        in_counts(layout.TEXT_LENGTHS, lambda lengths: lengths + 1),
        "bytes of label text",
    ),
    "no keys": (lambda block: {layout.KEYS: None}, "section 3 is missing"),
    "half a key": (lambda block: {layout.KEYS: b"12345"}, "5 bytes of keys of 16"),
    "text that is not packed": (lambda block: {layout.TEXT: b"12345"}, "section 6 at byte"),
}


@pytest.mark.parametrize(("lie", "said"), LIES.values(), ids=LIES.keys())
def test_a_table_that_lies_is_found(lie: Lie, said: str) -> None:
    disk, path = store()
    data = disk.map(path).tobytes()
    changed = with_sections(data, lie(BlockFile(disk.open(path), path.name)))
    disk.damage(path, 0, lambda content: content.__setitem__(slice(None), changed))
    assert said in faults(disk)[f"blocks/{path.name}"]


@pytest.mark.parametrize(("start_ms", "window_ms"), [(NOW_MS + 1, 7_200_000), (NOW_MS, 7_200_001), (NOW_MS, 0)])
def test_a_header_with_a_window_that_is_none_is_found_although_its_checksum_is_right(
    start_ms: int, window_ms: int
) -> None:
    disk, path = store()

    def lie(data: bytearray) -> None:
        fixed, body = layout.HEADER_FIXED, layout.HEADER_BODY
        body.pack_into(data, fixed.size, body.unpack_from(data, fixed.size)[0], start_ms, window_ms)
        fixed.pack_into(data, 0, layout.MAGIC, google_crc32c.value(bytes(data[fixed.size : layout.HEADER_BYTES])))

    disk.damage(path, 0, lie)
    assert f"a window of {window_ms:,} ms from {start_ms:,} ms on" in faults(disk)[f"blocks/{path.name}"]
    open_engine(disk).close()
    assert disk.names(FOLDER / "quarantine") == [path.name]


def test_a_sound_store_has_a_verdict_for_every_file_and_no_fault() -> None:
    disk, path = store()
    engine = open_engine(disk)
    append(engine, rows())
    disk.create(FOLDER / "blocks" / "x.block.tmp").append([b"half"])
    disk.create(FOLDER / "notes.txt").append([b"somebody's"])
    disk.create(FOLDER / "wal" / "notes.txt").append([b"somebody's"])
    disk.create(FOLDER / "quarantine" / "0000000001.wal-32.bad").append([b"somebody's"])
    found = {verdict.path: verdict.content for verdict in verify(FOLDER, disk)}
    assert faults(disk) == {}
    assert found == {
        f"blocks/{path.name}": "120 samples of 2 series",
        "blocks/x.block.tmp": "unfinished, removed at the next start",
        "wal/0000000002.wal": "0 samples in 0 frames",
        "wal/0000000003.wal": "120 samples in 1 frames",
        "wal/notes.txt": "no file of the store, left alone",
        "quarantine/0000000001.wal-32.bad": "10 bytes, damaged, kept for inspection",
        "notes.txt": "no file of the store, left alone",
    }


def test_a_block_of_before_content_hashes_says_so_and_is_no_damage() -> None:
    disk = disk_with(FOLDER / "blocks" / BLOCK_NAME, bytes_of("block-1-without-content.txt"))
    (verdict,) = verify(FOLDER, disk)
    assert verdict.content == "167 samples of 5 series, written before content hashes"
    assert verdict.damage == ()


def test_a_block_under_another_name_is_found() -> None:
    disk, path = store()
    disk.rename(path, path.with_name(path.name.replace("2h", "8h")))
    assert "the name does not" in next(iter(faults(disk).values()))


def test_many_faults_of_one_file_are_bounded() -> None:
    disk, path = store()
    block = BlockFile(disk.open(path), path.name)
    tiles = np.repeat(block.tiles(), 10)
    tiles["crc"] = 1
    changed = with_sections(disk.map(path).tobytes(), {layout.TILES: zlib.compress(tiles.tobytes())})
    disk.damage(path, 0, lambda content: content.__setitem__(slice(None), changed))
    (verdict,) = [verdict for verdict in verify(FOLDER, disk) if verdict.damage]
    assert len(verdict.damage) == 21
    assert verdict.damage[-1].endswith(" more")


SEGMENTS: dict[str, tuple[Callable[[bytearray], None], str]] = {
    "a bit of the samples": (flip(1, -5), "checksum of the samples"),
    "a bit of a header": (flip(2, 20), "checksum of the frame's header"),
    "a frame that is missing": (drop_frame, "frame 2 stands where frame 1 belongs"),
    "a series that is missing": (flip(0, 56 + 2 * 12 + 10), "20 samples of series that the segment does not define"),
    "a bit of the segment's header": (
        lambda data: data.__setitem__(9, data[9] ^ 1),
        "checksum of the segment's header",
    ),
}


@pytest.mark.parametrize(("change", "said"), SEGMENTS.values(), ids=SEGMENTS.keys())
def test_damage_to_a_segment_is_found(change: Callable[[bytearray], None], said: str) -> None:
    assert said in faults(damaged_log(change))["wal/0000000001.wal"]


def test_a_torn_tail_is_damage_only_where_another_segment_follows() -> None:
    disk = damaged_log(cut(1))
    assert faults(disk) == {}
    disk.create(FOLDER / "wal" / "0000000002.wal")
    assert "the frame ends at" in faults(disk)["wal/0000000001.wal"]
    assert frame_at(bytearray(disk.map(FOLDER / "wal" / "0000000001.wal")), 3) > 0
    assert len(batch(0)) == 40


def test_a_block_of_a_later_version_is_refused_by_name_and_left_where_it_is() -> None:
    disk, path = store()

    def later(content: bytearray) -> None:
        content[12:16] = struct.pack("<I", 2)
        content[8:12] = struct.pack("<I", google_crc32c.value(bytes(content[12:32])))

    disk.damage(path, 0, later)
    assert "has version 2, this program reads up to 1" in faults(disk)[f"blocks/{path.name}"]
    with pytest.raises(NotReady, match="has version 2, this program reads up to 1; start the program that wrote it"):
        open_engine(disk)
    assert disk.paths(FOLDER / "blocks") == [path]

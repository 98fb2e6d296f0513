"""What a file of the store holds, told from the outside: parts and their sizes, counts, codecs, some series.

Every function gives JSON-ready objects with long lists cut to `limit`, and the full number beside them. A file is
known by its first bytes, so it may lie anywhere; damage is said and the rest is told.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tsdb.errors import CorruptData, TsdbError
from tsdb.sample import labels_of
from tsdb.store import tombstones
from tsdb.store.block import layout, tile
from tsdb.store.block.file import BlockFile
from tsdb.store.block.layout import HOUR_MS, PARTITION_BITS, PARTITION_COUNT, WINDOW_MS, BlockName
from tsdb.store.content import BlockContent, Content, Place, by_place, known
from tsdb.store.disk import Bytes, Disk, OsDisk, ReadFile
from tsdb.store.frame import SEGMENT_MAGIC, check_segment_header, segment_epoch, segment_version
from tsdb.store.readable import all_bytes
from tsdb.store.segment import stretches
from tsdb.store.wal import segment_name, segment_numbers

Described = dict[str, Any]

_SECTION_NAMES = {
    layout.SUMMARY: "summary",
    layout.TILES: "tiles",
    layout.KEYS: "keys",
    layout.ROW_LENGTHS: "row lengths",
    layout.TEXT_LENGTHS: "text lengths",
    layout.TEXT: "text",
    layout.CONTENT: "content",
}
_SECTION_CODECS = {layout.SECTION_RAW: "raw", layout.SECTION_ZLIB: "zlib", layout.SECTION_PCODEC_U32: "pcodec"}
_TILE_CODECS = {
    tile.RAW: "raw",
    tile.PCODEC: "pcodec",
    tile.CONSTANT: "constant",
    tile.DECIMAL: "decimal",
    tile.GRID: "grid",
}


def describe_file(path: Path, limit: int, disk: Disk | None = None) -> Described:
    """A block, a segment of the log or a tombstone. Raises: FileNotFoundError; CorruptData, if it is none of these."""
    disk = OsDisk() if disk is None else disk
    file = disk.open(path)
    magic = file.read(0, min(file.size_bytes, len(layout.MAGIC)))
    if magic == layout.MAGIC or BlockName.parse(path.name) is not None:
        return _block(file, path.name, limit)
    data, _ = all_bytes(disk, path)
    if magic == SEGMENT_MAGIC or path.suffix == ".wal":
        return _segment(data, path.name, limit)
    if magic == tombstones.MAGIC or path.suffix == tombstones.SUFFIX:
        return _tombstone(data, path.name)
    raise CorruptData(f"{path} is no block, no segment of the log and no tombstone: it begins with {magic!r}")


def describe_folder(folder: Path, limit: int, disk: Disk | None = None) -> Described:
    """All files of a store in a line each, and what its blocks hold together by place.

    A block that another has taken the place of is there for readers alone, until half a minute later or the next start:
    it is told and marked, and neither it nor what it holds is counted with the others.
    """
    disk = OsDisk() if disk is None else disk
    names = [name for name in disk.names(folder / "blocks") if BlockName.parse(name) is not None]
    blocks: list[Described] = []
    opened: list[BlockFile] = []
    for name in names:
        try:
            block = BlockFile(disk.open(folder / "blocks" / name), name)
        except FileNotFoundError:
            continue
        except TsdbError as error:
            blocks.append({"name": name, "damage": str(error).removeprefix(f"{name}: ")})
            continue
        opened.append(block)
        blocks.append({"name": name, "bytes": block.size_bytes, **_summary(block)})
    gone = _replaced_in(opened)
    for told in blocks:
        if told["name"] in gone:
            told["replaced"] = True
    counted = [block for block in opened if block.name not in gone]
    content, unsure = _content_of(opened, _deletions(disk, folder / "tombstones"))
    segments: list[Described] = []
    for number in segment_numbers(disk, folder / "wal"):
        with contextlib.suppress(FileNotFoundError):  # Its samples are in blocks by now.
            segment = segment_name(number)
            segments.append({"name": segment, "bytes": disk.size_bytes(folder / "wal" / segment)})
    return {
        "kind": "folder",
        "path": str(folder),
        "blocks": {
            "count": len(blocks) - len(opened) + len(counted),
            "bytes": sum(block.size_bytes for block in counted),
            "samples": sum(block.summary.sample_count for block in counted if _is_raw(block)),
            "damaged": len(blocks) - len(opened),
            "replaced": len(opened) - len(counted),
            "list": blocks[:limit],
        },
        "segments": {
            "count": len(segments),
            "bytes": sum(one["bytes"] for one in segments),
            "list": segments[:limit],
        },
        "tombstones": {"count": len(disk.names(folder / "tombstones"))},
        "quarantine": {"count": len(disk.names(folder / "quarantine"))},
        "content": {"count": len(content), "unsure": len(unsure), "list": _places(content, limit)},
    }


def _replaced_in(blocks: Sequence[BlockFile]) -> set[str]:
    """The names of blocks that these have taken the place of."""
    return {old for block in blocks for old in (*block.summary.replaces, *block.summary.rolled_from)}


def _is_raw(block: BlockFile) -> bool:
    """Buckets of rollups are no samples."""
    name = BlockName.parse(block.name)
    return name is not None and name.is_raw


def _deletions(disk: Disk, folder: Path) -> list[tombstones.Tombstone]:
    found = []
    for name in disk.names(folder):
        if name.endswith(tombstones.SUFFIX):
            with contextlib.suppress(TsdbError, FileNotFoundError):
                found.append(tombstones.decode(all_bytes(disk, folder / name)[0].tobytes(), name))
    return found


def _content_of(
    blocks: Sequence[BlockFile], deletions: Sequence[tombstones.Tombstone]
) -> tuple[dict[Place, Content], set[Place]]:
    """What raw blocks hold by window and partition, without those that a later one has taken the place of.

    Where something is deleted and still stands in a block, that cannot be said.
    """
    replaced = _replaced_in(blocks)
    parts = []
    for block in blocks:
        name = BlockName.parse(block.name)
        if block.name in replaced or name is None or not name.is_raw:
            continue
        try:
            table = block.content()
        except CorruptData:
            table = None
        parts.append(BlockContent(name.start_ms, name.end_ms, block.summary.min_ms, block.summary.max_ms, table))
    content, unsure = known(parts)
    for place in list(content):
        if any(one.start_ms < place[0] + WINDOW_MS and one.end_ms >= place[0] for one in deletions):
            del content[place]
            unsure.add(place)
    return content, unsure


def _places(content: dict[Place, Content], limit: int) -> list[Described]:
    return [
        {"window_ms": place[0], "partition": place[1], "samples": one.sample_count, "hash": f"{one.hash:032x}"}
        for place, one in sorted(content.items())[:limit]
    ]


def _summary(block: BlockFile) -> Described:
    summary = block.summary
    return {
        "samples": summary.sample_count,
        "series": summary.series_count,
        "min_ms": summary.min_ms,
        "max_ms": summary.max_ms,
        "bytes_per_sample": round(block.size_bytes / max(1, summary.sample_count), 3),
        **({"replaces": summary.replaces} if summary.replaces else {}),
        **({"rolled_from": summary.rolled_from} if summary.rolled_from else {}),
    }


def _block(file: ReadFile, name: str, limit: int) -> Described:
    told: Described = {"kind": "block", "name": name, "bytes": file.size_bytes}
    damage: list[str] = []
    try:
        block = BlockFile(file, name)
        told |= {"version": block.version, "window_ms": block.window_start_ms, "window_h": block.window_ms // HOUR_MS}
        told |= {**_summary(block), "sections": list(_sections(block))}
        for part in (_tiles, _rows, _content):
            try:
                told |= part(block, limit)
            except CorruptData as error:
                damage.append(str(error))
    except TsdbError as error:
        damage.append(str(error))
    return told | ({"damage": damage} if damage else {})


def _sections(block: BlockFile) -> Iterator[Described]:
    for number, where in block.sections.items():
        yield {
            "section": number,
            "name": _SECTION_NAMES.get(number, "unknown"),
            "codec": _SECTION_CODECS.get(where.codec, str(where.codec)),
            "offset": where.offset,
            "bytes": where.length,
        }


def _tiles(block: BlockFile, limit: int) -> Described:
    tiles = block.tiles()
    return {
        "tiles": {
            "count": tiles.size,
            "times": _by_codec(tiles, "time_codec", "time_bytes"),
            "values": _by_codec(tiles, "value_codec", "value_bytes"),
            "list": [_tile(number, entry) for number, entry in enumerate(tiles[:limit])],
        }
    }


def _by_codec(tiles: npt.NDArray[np.void], codec_column: str, bytes_column: str) -> Described:
    found: Described = {}
    for codec in np.unique(tiles[codec_column]).tolist():
        chosen = tiles[tiles[codec_column] == codec]
        samples, size_bytes = int(chosen["sample_count"].sum()), int(chosen[bytes_column].sum())
        found[_TILE_CODECS.get(codec, str(codec))] = {
            "tiles": chosen.size,
            "samples": samples,
            "bytes": size_bytes,
            "bytes_per_sample": round(size_bytes / max(1, samples), 3),
        }
    return found


def _tile(number: int, entry: np.void) -> Described:
    names = ("sample_count", "data_offset", "time_bytes", "value_bytes", "min_ms", "max_ms", "number_count")
    numbers = {name: int(entry[name]) for name in names}
    # JSON has no NaN and no infinities: Python's own words stand for all doubles.
    values = {name: repr(float(entry[name])) for name in ("min_value", "max_value", "sum")}
    codecs = {name: _TILE_CODECS.get(int(entry[name]), str(entry[name])) for name in ("time_codec", "value_codec")}
    return {"tile": number, **numbers, **values, **codecs}


def _rows(block: BlockFile, limit: int) -> Described:
    keys, canonical, lengths = block.keys(), block.canonical(), np.diff(block.row_offsets())
    if not keys.high.size == len(canonical) == lengths.size:
        raise CorruptData(
            f"{block.name}: {keys.high.size:,} keys, {len(canonical):,} label sets, {lengths.size:,} rows"
        )
    partition = (keys.high >> np.uint64(64 - PARTITION_BITS)).astype(np.int64)
    series = np.bincount(partition, minlength=PARTITION_COUNT)
    samples = np.bincount(partition, weights=lengths, minlength=PARTITION_COUNT)
    stored = keys.taken(np.arange(min(limit, lengths.size))).to_bytes()
    return {
        "partitions": [
            {"partition": number, "series": int(series[number]), "samples": int(samples[number])}
            for number in np.flatnonzero(series).tolist()
        ][:limit],
        "partition_count": int(np.count_nonzero(series)),
        "rows": [
            {
                "key": stored[16 * row : 16 * row + 16].hex(),
                "partition": int(partition[row]),
                "samples": int(lengths[row]),
                "labels": _labels(canonical[row]),
            }
            for row in range(min(limit, lengths.size))
        ],
    }


def _labels(canonical: bytes) -> Described:
    try:
        return dict(labels_of(canonical))
    except ValueError as error:
        return {"damage": str(error)}


def _content(block: BlockFile, limit: int) -> Described:
    table = block.content()
    if table is None:
        return {"content": {"count": None, "list": []}}
    return {"content": {"count": table.size, "list": _places(by_place(table), limit)}}


def _segment(data: Bytes, name: str, limit: int) -> Described:
    told: Described = {"kind": "segment", "name": name, "bytes": int(data.size)}
    damage: list[str] = []
    try:
        wrong = check_segment_header(data)
    except TsdbError as error:
        return told | {"damage": [str(error)]}
    if wrong:
        damage.append(wrong)
    else:
        told |= {"version": segment_version(data), "epoch": segment_epoch(data)}
    frames: list[Described] = []
    series: list[Described] = []
    frame_count = sample_count = series_count = damage_count = 0
    ranges: list[tuple[int, int]] = []
    for stretch in stretches(data):
        described: Described = {"offset": stretch.start, "bytes": stretch.end - stretch.start}
        if stretch.frame is not None:
            times = stretch.frame.samples.timestamp_ms
            ranges += [(int(times.min()), int(times.max()))] if times.size else []
            defined = stretch.frame.definitions.canonical
            frame_count, sample_count = frame_count + 1, sample_count + times.size
            series_count += len(defined)
            series += [_labels(one) for one in defined[: max(0, limit - len(series))]]
            described |= {"sequence": stretch.frame.sequence, "samples": times.size, "defines": len(defined)}
            described |= {"min_ms": ranges[-1][0], "max_ms": ranges[-1][1]} if times.size else {}
        if stretch.is_damaged:
            damage_count += 1
            described["damage"] = " and ".join(stretch.faults)
            damage += [f"bytes {stretch.start:,} to {stretch.end:,}: {described['damage']}"][: limit - len(damage)]
        if len(frames) < limit:
            frames.append(described)
    told |= {"samples": sample_count, "series_defined": series_count, **_range(ranges)}
    told |= {"frames": {"count": frame_count, "damaged": damage_count, "list": frames}, "series": series}
    return told | ({"damage": damage} if damage else {})


def _range(ranges: Iterable[tuple[int, int]]) -> Described:
    ranges = list(ranges)
    if not ranges:
        return {}
    return {"min_ms": min(low for low, _ in ranges), "max_ms": max(high for _, high in ranges)}


def _tombstone(data: Bytes, name: str) -> Described:
    told: Described = {"kind": "tombstone", "name": name, "bytes": int(data.size)}
    try:
        return told | {"deletes": msgspec.to_builtins(tombstones.decode(data.tobytes(), name))}
    except TsdbError as error:
        return told | {"damage": [str(error)]}

"""Flipped bits in every part of every kind of file below samples/: found, set aside, told, and the rest is readable.

One folder holds every kind. A flip is met in the two ways in which it happens: the store starts on it and a repair
comes later, and a repair comes first. A kind of file, or a part of one, that has no row here fails the tests.
"""

from __future__ import annotations

import errno
import functools
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NoReturn

import pytest

from appliance.retention import parse_retention
from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import (
    FOLDER,
    HOUR_MS,
    NOW_MS,
    DrivenClock,
    Row,
    append,
    bits_of,
    everything,
    labels,
    open_engine,
    rows_of,
)
from tests.tsdb.store.test_retention import live
from tests.tsdb.store.test_verify import faults, small_tiles
from tsdb.interface import Aggregate, Grain
from tsdb.sample import Matcher, MatchOp
from tsdb.store.block import layout
from tsdb.store.block.file import BlockFile
from tsdb.store.engine import Engine
from tsdb.store.frame import FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES
from tsdb.store.repair import repair
from tsdb.store.schemas import SchemaTable
from tsdb.store.segment import stretches

TIERS = SchemaTable.of(parse_retention("raw:6h,10m:forever"))
LATER_MS = NOW_MS + 80 * HOUR_MS
BUDGET = "disk_bytes_max.json"

KINDS = {  # kind: the paths below samples/ that are of it
    "block": r"blocks/\d{10}-\d+h-\d{8}\.block",
    "rollup": r"blocks/\d{10}-\d+h-\d{8}\.[0-9a-z]+-[a-z]+\.block",
    "segment": r"wal/\d{10}\.wal",
    "tombstone": r"tombstones/\d{8}\.tombstone",
    "budget": r"disk_bytes_max\.json",
    "kept aside": r"quarantine/.*\.bad",
    "lock": r"LOCK",  # It never holds a byte.
}
PAGES = {  # a page of docs/format: the kinds of file that it lays out below samples/
    "block.md": {"block"},
    "rollup.md": {"rollup", "budget"},
    "content-hash.md": {"block", "rollup"},  # section 7
    "series-key.md": {"block", "rollup"},  # sections 3 and 6
    "wal.md": {"segment"},
    "tombstones.md": {"tombstone"},
    "documents.md": set(),  # in the state file
    "state.md": set(),
    "export.md": set(),  # goes out
    "metadata.md": set(),  # beside samples/, and no samples
    "snapshot.md": set(),  # beside samples/; its damage is in test_snapshot.py
    "backup.md": set(),  # goes out; its damage is in test_sealed_file.py
    "audit.md": set(),  # in the state file and beside it; its damage is in test_audit.py
}


class Lost(Enum):
    """Of what a file holds."""

    NOTHING = "nothing"
    PART = "part of it"
    ALL = "all of it"
    SOME = "nothing, part or all of it"


@dataclass(frozen=True)
class Effect:
    """What a flipped bit does. told: which figure of stats() says so after everything was read, None: none does.

    after_repair: what is lost for good.
    """

    lost: Lost
    told: str | None
    after_repair: Lost
    is_found: bool = True  # by `henge db verify`, before a start


def of_block(of_text: Effect) -> dict[str, Effect]:
    return {
        "header": Effect(Lost.ALL, "quarantined_blocks", Lost.NOTHING),
        "a tile's times": Effect(Lost.PART, "damaged_reads", Lost.PART),
        "a tile's values": Effect(Lost.PART, "damaged_reads", Lost.PART),
        "padding": Effect(Lost.NOTHING, None, Lost.NOTHING),
        "summary": Effect(Lost.ALL, "quarantined_blocks", Lost.NOTHING),
        "tiles": Effect(Lost.ALL, "damaged_reads", Lost.ALL),
        "keys": Effect(Lost.ALL, "damaged_reads", Lost.NOTHING),
        "row lengths": Effect(Lost.ALL, "damaged_reads", Lost.ALL),
        "text lengths": of_text,
        "text": of_text,
        "content": Effect(Lost.NOTHING, None, Lost.NOTHING),
        "directory": Effect(Lost.ALL, "quarantined_blocks", Lost.NOTHING),
        "trailer": Effect(Lost.ALL, "quarantined_blocks", Lost.NOTHING),
    }


EFFECTS: dict[str, dict[str, Effect]] = {
    # Its series are in a block that was opened before, and keys are enough then.
    "block": of_block(Effect(Lost.NOTHING, None, Lost.NOTHING)),
    "rollup": of_block(Effect(Lost.ALL, "damaged_reads", Lost.NOTHING)),
    "segment": {
        "header": Effect(Lost.NOTHING, None, Lost.NOTHING),
        "a frame's header": Effect(Lost.PART, "quarantined_frames", Lost.PART),
        "definitions": Effect(Lost.PART, "quarantined_frames", Lost.PART),
        "padding": Effect(Lost.NOTHING, "quarantined_frames", Lost.NOTHING),
        "columns": Effect(Lost.PART, "quarantined_frames", Lost.PART),
        "the last frame": Effect(Lost.PART, "torn_tails", Lost.PART, is_found=False),
    },
    "tombstone": {
        "magic": Effect(Lost.NOTHING, "quarantined_tombstones", Lost.NOTHING),
        "checksum": Effect(Lost.NOTHING, "quarantined_tombstones", Lost.NOTHING),
        "version": Effect(Lost.NOTHING, "quarantined_tombstones", Lost.NOTHING),
        "selector and times": Effect(Lost.NOTHING, "quarantined_tombstones", Lost.NOTHING),
    },
    "budget": {"all of it": Effect(Lost.NOTHING, None, Lost.NOTHING)},
    "kept aside": {"all of it": Effect(Lost.NOTHING, None, Lost.NOTHING, is_found=False)},
    "lock": {},
}
FIGURES = {
    "quarantined_blocks",
    "damaged_reads",
    "quarantined_frames",
    "torn_tails",
    "quarantined_tombstones",
    "missing_blocks",
}


def kind_of(path: Path, folder: Path = FOLDER) -> str:
    (kind,) = [kind for kind, one in KINDS.items() if re.fullmatch(one, str(path.relative_to(folder)))] or ["none"]
    assert kind != "none", f"{path}: a kind of file without a row in KINDS"
    return kind


def start(disk: MemoryDisk, at_ms: int = LATER_MS) -> Engine:
    clock = DrivenClock(at_ms)
    return open_engine(disk, clock=clock, schemas=TIERS, future_max_ms=200 * HOUR_MS, disk_bytes_max=None)


def hour(start_ms: int) -> list[Row]:
    """Three series of sixty samples, whose values and times shrink badly."""
    return [
        (labels(name=one, job="x"), start_ms + 60_000 * at + at**2 % 17, bits_of((at * 7.7) ** 1.5 % 3))
        for one in ("a", "b", "gone")
        for at in range(60)
    ]


@functools.cache
def whole() -> MemoryDisk:
    """Rollups whose samples have gone, two blocks with the same series, a deletion, two segments with samples."""
    disk = MemoryDisk()
    engine = start(disk, NOW_MS)
    clock = engine._clock
    assert isinstance(clock, DrivenClock)
    append(engine, hour(NOW_MS), now_ms=NOW_MS)
    with small_tiles():
        engine.flush()
        clock.time_ms = LATER_MS
        append(engine, [(labels(name="c"), LATER_MS, 1)], now_ms=LATER_MS)
        live(engine, clock, LATER_MS)
        engine._catalogue.remove_doomed(float("inf"))
        for number in range(2):
            append(engine, hour(LATER_MS - 4 * HOUR_MS + 2 * number * HOUR_MS), now_ms=LATER_MS)
            engine.flush()
    engine.delete([Matcher("__name__", MatchOp.EQUAL, "gone")], LATER_MS - 4 * HOUR_MS, LATER_MS)
    for number in range(2):
        for batch in range(3):
            rows = [
                (labels(name=f"n{number}{batch}{one}"), LATER_MS + 1_000 * number + 10 * batch + at, bits_of(at / 7))
                for one in "xy"
                for at in range(7)
            ]
            append(engine, rows, now_ms=LATER_MS)
        engine.close()
        engine = start(disk)
    engine.close()
    disk.create(FOLDER / "quarantine" / "0000000001.wal-32.bad").append([b"kept for somebody who looks"])
    for folder in ("", "wal", "blocks", "tombstones", "quarantine"):
        disk.sync_folder(FOLDER / folder)
    kept = disk._files[FOLDER / "quarantine" / "0000000001.wal-32.bad"]
    kept.durable = bytes(kept.content)
    return disk


def files(disk: MemoryDisk) -> list[Path]:
    folders = [FOLDER, *(FOLDER / name for name in disk.folders(FOLDER))]
    return [path for folder in folders for path in disk.paths(folder)]


Answers = set[tuple[str, Row]]


def answers(engine: Engine) -> Answers:
    """All samples, with the last values of buckets, and the sums of the buckets of ten minutes."""
    sums = engine.select([], 0, NOW_MS + 4 * HOUR_MS, Grain(Aggregate.SUM, 600_000))
    return {("last", row) for row in everything(engine)} | {("sum", row) for row in rows_of(sums)}


@functools.cache
def answers_without(path: Path | None) -> Answers:
    """What is answered when a file is not there at all; None: when nothing is missing."""
    disk = whole().reboot()
    if path is not None:
        disk.remove(path)
    engine = start(disk)
    found = answers(engine)
    engine.close()
    return found


Region = tuple[int, int]


def block_regions(disk: MemoryDisk, path: Path) -> dict[str, list[Region]]:
    block = BlockFile(disk.open(path), path.name)
    names = {1: "summary", 2: "tiles", 3: "keys", 4: "row lengths", 5: "text lengths", 6: "text", 7: "content"}
    found: dict[str, list[Region]] = {"header": [(0, layout.HEADER_BYTES)], "a tile's times": [], "a tile's values": []}
    for entry in block.tiles():
        at, middle = int(entry["data_offset"]), int(entry["data_offset"]) + int(entry["time_bytes"])
        found["a tile's times"].append((at, middle))
        found["a tile's values"].append((middle, middle + int(entry["value_bytes"])))
    for number, where in block.sections.items():
        found[names[number]] = [(where.offset, where.offset + where.length)]
    trailer_at = block.size_bytes - layout.TRAILER.size
    found["directory"] = [(trailer_at - len(block.sections) * layout.DIRECTORY_ENTRY.size, trailer_at)]
    found["trailer"] = [(trailer_at, block.size_bytes)]
    taken = sorted(region for regions in found.values() for region in regions)
    found["padding"] = [(one[1], other[0]) for one, other in itertools.pairwise(taken) if one[1] < other[0]]
    return found


def segment_regions(disk: MemoryDisk, path: Path) -> dict[str, list[Region]]:
    data = disk.map(path)
    found: dict[str, list[Region]] = {"header": [(0, SEGMENT_HEADER_BYTES)]}
    frames = list(stretches(data))
    for number, one in enumerate(frames):
        if number == len(frames) - 1:
            found.setdefault("the last frame", []).append((one.start, one.end))
            continue
        assert one.frame is not None
        defined_at = one.start + FRAME_HEADER_BYTES
        defined_end = defined_at + sum(12 + len(text) for text in one.frame.definitions.canonical)
        columns_at = defined_end + -(defined_end - defined_at) % 8
        found.setdefault("a frame's header", []).append((one.start, defined_at))
        found.setdefault("definitions", []).append((defined_at, defined_end))
        found.setdefault("padding", []).append((defined_end, columns_at))
        found.setdefault("columns", []).append((columns_at, one.end))
    return found


def regions_of(disk: MemoryDisk, path: Path) -> dict[str, list[Region]]:
    """The parts of a file, which are all of its bytes."""
    size_bytes = disk.size_bytes(path)
    tombstone = {
        "magic": [(0, 8)],
        "checksum": [(8, 12)],
        "version": [(12, 16)],
        "selector and times": [(16, size_bytes)],
    }
    readers: dict[str, Callable[[], dict[str, list[Region]]]] = {
        "block": lambda: block_regions(disk, path),
        "rollup": lambda: block_regions(disk, path),
        "segment": lambda: segment_regions(disk, path),
        "tombstone": lambda: tombstone,
    }
    return readers.get(kind_of(path), lambda: {"all of it": [(0, size_bytes)]})()


def places(region: str, regions: list[Region]) -> list[int]:
    """Bytes of a part: the first, one in the middle and the last; of a part that is there often, of two of them."""
    (low, high), (_, other_high) = regions[0], regions[len(regions) // 2]
    chosen = {low, (low + high) // 2, other_high - 1}
    return sorted(chosen | set(range(low, high, 24)) if region == "all of it" else chosen)


def chosen_files(disk: MemoryDisk) -> list[Path]:
    """One file of each kind, that with the most in it."""
    by_kind: dict[str, list[Path]] = {}
    for path in files(disk):
        by_kind.setdefault(kind_of(path), []).append(path)
    return [max(paths, key=lambda path: (".10m-sum" in path.name, disk.size_bytes(path))) for paths in by_kind.values()]


CASES = [(kind, region) for kind, effects in EFFECTS.items() for region in effects]


def flips(kind: str, region: str) -> tuple[Path, list[int]]:
    (path,) = [path for path in chosen_files(whole()) if kind_of(path) == kind]
    return path, places(region, regions_of(whole(), path)[region])


def lost_of(path: Path, found: Answers) -> Lost:
    """What is lost, after a look that it is of this file and that nothing is invented."""
    everything_there = answers_without(None)
    held = everything_there - answers_without(path)
    lost = everything_there - found
    assert lost <= held, "another file's samples are lost"
    assert found <= everything_there | answers_without(path), "invented"
    return Lost.NOTHING if not lost else Lost.ALL if lost == held else Lost.PART


def test_every_file_and_every_part_has_a_row() -> None:
    disk = whole()
    assert {kind_of(path) for path in files(disk)} == EFFECTS.keys() - {"lock"}
    for path in files(disk):
        parts = regions_of(disk, path)
        at = 0
        for low, high in sorted(region for regions in parts.values() for region in regions):
            assert (at, low <= high) == (low, True), f"{path}: bytes {at} to {low} are of no part"
            at = high
        assert at == disk.size_bytes(path), path
    for path in chosen_files(disk):
        assert regions_of(disk, path).keys() == EFFECTS[kind_of(path)].keys()


def test_a_folder_on_a_real_disk_has_no_other_files(tmp_path: Path) -> None:
    engine = open_engine(None, tmp_path, disk_bytes_max=None)
    append(engine, hour(NOW_MS))
    engine.flush()
    append(engine, hour(NOW_MS + HOUR_MS))
    found = {kind_of(path, tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"block", "segment", "budget", "lock"}
    engine.close()
    assert (tmp_path / "LOCK").stat().st_size == 0


def test_every_page_of_the_formats_is_covered() -> None:
    pages = {path.name for path in Path("docs/format").iterdir()}
    assert pages == PAGES.keys()
    assert set().union(*PAGES.values()) | {"kept aside", "lock"} == KINDS.keys()


@pytest.mark.parametrize(("kind", "region"), CASES, ids=[f"{kind}: {region}" for kind, region in CASES])
def test_a_flipped_bit(kind: str, region: str) -> None:
    effect = EFFECTS[kind][region]
    path, wanted_places = flips(kind, region)
    wanted_places = wanted_places[:2] if kind == "rollup" else wanted_places  # Written by the same code as a block.
    for number, at in enumerate(wanted_places):
        disk = whole().reboot()
        disk.damage(path, at)
        if effect.is_found:
            assert list(faults(disk)) == [str(path.relative_to(FOLDER))], f"byte {at}"
        engine = start(disk)
        found = answers(engine)
        assert lost_of(path, found) == effect.lost, f"byte {at}"
        stats = engine.stats()
        told = {name for name in FIGURES if stats[name]}
        assert told == ({effect.told} if effect.told else set()), f"byte {at}"
        engine.tick(LATER_MS)
        engine.close()
        if number == 1:  # A repair comes first.
            disk = whole().reboot()
            disk.damage(path, at)
        repaired(disk, path, effect, found, at)
        if number == 0:
            assert list(repair(FOLDER, disk)) == [], "nothing is left for a second repair"


def repaired(disk: MemoryDisk, path: Path, effect: Effect, before: Answers, at: int) -> None:
    """Nothing is wrong afterwards, and what could be read still can."""
    damaged = disk.map(path).tobytes() if path in disk.paths(path.parent) else None
    done = list(repair(FOLDER, disk))
    assert {name: what for name, what in faults(disk).items() if not name.startswith("quarantine/")} == {}, f"byte {at}"
    if damaged is not None and effect.lost != Lost.NOTHING and done:
        kept = [disk.map(one).tobytes() for one in disk.paths(FOLDER / "quarantine")]
        assert any(one in damaged for one in kept), f"byte {at}: nothing was kept"
    engine = start(disk)
    found = answers(engine)
    assert before & answers_without(None) <= found, f"byte {at}"
    assert lost_of(path, found) == effect.after_repair, f"byte {at}"
    stats = engine.stats()
    assert not {name for name in FIGURES - {"torn_tails"} if stats[name]}, f"byte {at}"
    engine.close()


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_budget_of_before_checksums_counts_and_a_full_disk_keeps_no_store_from_starting(
    monkeypatch: pytest.MonkeyPatch, is_damaged: bool
) -> None:
    disk = MemoryDisk()
    disk.make_folder(FOLDER)
    old = b'{"version":1,"disk_bytes_max":7000000,"free_bytes":9000000,"at_ms":1}'
    disk.create(FOLDER / BUDGET).append([old[is_damaged:]])

    def full(path: Path) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    create = disk.create
    monkeypatch.setattr(disk, "create", lambda path: full(path) if BUDGET in path.name else create(path))
    engine = start(disk)
    assert (engine.stats()["disk_bytes_max"] == 7_000_000) is not is_damaged
    engine.close()
    assert disk.map(FOLDER / BUDGET).tobytes() == old[is_damaged:]
    monkeypatch.undo()
    engine = start(disk)
    assert (engine.stats()["disk_bytes_max"] == 7_000_000) is not is_damaged
    engine.close()
    assert b'"crc32c":' in disk.map(FOLDER / BUDGET).tobytes()
    assert faults(disk) == {}


def test_an_unknown_kind_of_file_fails() -> None:
    with pytest.raises(AssertionError, match="without a row"):
        kind_of(FOLDER / "blocks" / "index.new")

"""Named damage to every kind of file: it is found, set aside and counted, and the rest stays readable."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import numpy as np
import pytest

from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import FOLDER, NOW_MS, Row, append, bits_of, everything, labels, open_engine
from tests.tsdb.store.test_old_formats import OLD
from tsdb.errors import NotReady
from tsdb.sample import canonical_bytes
from tsdb.store.block.audit import faults_of
from tsdb.store.block.file import BlockFile
from tsdb.store.block.layout import TILES
from tsdb.store.columns import Columns
from tsdb.store.frame import (
    FRAME_HEADER_BYTES,
    FRAME_MAGIC,
    NO_DEFINITIONS,
    SEGMENT_HEADER_BYTES,
    Damage,
    Definitions,
    Frame,
    frame_parts,
    read_frames,
    segment_header,
)
from tsdb.store.numbers import CONSTANT, UINT8
from tsdb.store.repair import repair
from tsdb.store.verify import verify

Change = Callable[[bytearray], None]


def batch(number: int) -> list[Row]:
    """Samples of one old and one new series; times differ, so that the column of times is there."""
    return [
        (one, NOW_MS + 1_000 * number + at, bits_of(number + at / 10))
        for one in (labels(name="old"), labels(name=f"new{number}"))
        for at in range(20)
    ]


def frame_at(data: bytearray, number: int) -> int:
    """The offset of a frame of the one segment."""
    at = -1
    for _ in range(number + 1):
        at = data.index(FRAME_MAGIC, at + 1)
    return at


def flip(frame: int, inside: int) -> Change:
    """Flip a bit of a frame; inside: the byte, counted from the start of the frame, or from its end if negative."""

    def change(data: bytearray) -> None:
        start = frame_at(data, frame)
        end = frame_at(data, frame + 1) if frame < 3 else len(data)
        data[start + inside if inside >= 0 else end + inside] ^= 0x10

    return change


def cut(bytes_count: int) -> Change:
    def change(data: bytearray) -> None:
        del data[-bytes_count:]

    return change


def zeros_at_the_end(data: bytearray) -> None:
    data[-100:] = bytes(100)


def garbage_at_the_end(data: bytearray) -> None:
    data += b"\x01garbage" * 100


def drop_frame(data: bytearray) -> None:
    del data[frame_at(data, 1) : frame_at(data, 2)]


def empty(data: bytearray) -> None:
    data.clear()


def noise_in_the_middle(data: bytearray) -> None:
    start = frame_at(data, 1)
    data[start : start + 300] = bytes((7 * at) % 256 for at in range(300))


# The first frame defines two series, the others one: ids, lengths, checks, then the names, `old` first.
NAME_OF_OLD = FRAME_HEADER_BYTES + 2 * 12 + 10
ID_OF_NEW = FRAME_HEADER_BYTES

LOG_DAMAGE: dict[str, tuple[Change, set[int], int, int]] = {
    # name: (the change, batches that are whole afterwards, frames quarantined, tails cut)
    "a bit of the samples in the middle": (flip(1, -5), {0, 2, 3}, 1, 0),
    "a bit of the first frame's series": (flip(0, NAME_OF_OLD), set(), 4, 0),
    "a bit of a middle frame's series": (flip(1, ID_OF_NEW), {0, 2, 3}, 1, 0),
    "a bit of a frame's header": (flip(2, 20), {0, 1, 3}, 1, 0),
    "a bit of a frame's magic": (flip(2, 0), {0, 1, 3}, 1, 0),
    "a bit of the last frame": (flip(3, -5), {0, 1, 2}, 0, 1),
    "a bit of the segment's header": (lambda data: data.__setitem__(9, data[9] ^ 1), {0, 1, 2, 3}, 0, 0),
    "noise in the middle": (noise_in_the_middle, {0, 2, 3}, 1, 0),
    "the last byte missing": (cut(1), {0, 1, 2}, 0, 1),
    "cut within the last header": (lambda data: data.__delitem__(slice(frame_at(data, 3) + 9, None)), {0, 1, 2}, 0, 1),
    "cut at the end of a frame": (lambda data: data.__delitem__(slice(frame_at(data, 3), None)), {0, 1, 2}, 0, 0),
    "the tail in zeros": (zeros_at_the_end, {0, 1, 2}, 0, 1),
    "garbage behind the end": (garbage_at_the_end, {0, 1, 2, 3}, 0, 1),
    "a whole frame missing": (drop_frame, {0, 2, 3}, 0, 0),
    "an empty segment": (empty, set(), 0, 0),
    "half a segment header": (lambda data: data.__delitem__(slice(SEGMENT_HEADER_BYTES // 2, None)), set(), 0, 0),
}


def damaged_log(change: Change) -> MemoryDisk:
    disk = MemoryDisk()
    engine = open_engine(disk)
    for number in range(4):
        append(engine, batch(number))
    disk = disk.reboot()
    (segment,) = disk.paths(FOLDER / "wal")
    disk.damage(segment, 0, change)
    return disk


@pytest.mark.parametrize(("change", "whole", "quarantined", "torn"), LOG_DAMAGE.values(), ids=LOG_DAMAGE.keys())
def test_damage_to_the_log(change: Change, whole: set[int], quarantined: int, torn: int) -> None:
    disk = damaged_log(change)
    engine = open_engine(disk)
    found = set(everything(engine))
    sent = {number: set(batch(number)) for number in range(4)}
    assert found <= set().union(*sent.values()), "invented, or in another series"
    assert {number for number, rows in sent.items() if rows <= found} == whole
    stats = engine.stats()
    assert (stats["quarantined_frames"], stats["torn_tails"]) == (quarantined, torn)
    assert len(disk.names(FOLDER / "quarantine")) >= quarantined
    append(engine, batch(9))
    again = open_engine(disk.reboot())
    assert set(everything(again)) == found | set(batch(9)), "a second start finds the same"
    assert again.stats()["torn_tails"] == 0, "the tail was cut for good"


def test_damage_to_one_definition_costs_the_samples_of_that_series_alone() -> None:
    engine = open_engine(damaged_log(flip(0, NAME_OF_OLD)))
    lost = {row for number in range(4) for row in batch(number) if row[0] == labels(name="old")}
    assert set(everything(engine)) == {row for number in range(4) for row in batch(number)} - lost
    assert engine.stats()["lost_samples"] == len(lost)


def test_every_flipped_bit_of_the_log_is_noticed_or_harmless() -> None:
    """No bit of the log, flipped, makes a sample appear that was not sent, or stops the store from starting."""
    sent = set().union(*(set(batch(number)) for number in range(4)))
    size = len(damaged_log(lambda _: None).map(FOLDER / "wal" / "0000000001.wal"))
    for at in range(0, size, 7):
        found = set(everything(open_engine(damaged_log(lambda data, at=at: data.__setitem__(at, data[at] ^ 4)))))
        assert found <= sent, f"invented, byte {at}"
        assert len(found) >= len(sent) / 2 or at < 200, f"too much is lost, byte {at}"


def test_a_bit_of_an_old_segment_costs_one_frame() -> None:
    """Segments that an earlier program wrote are read, and so is what is left of them."""
    data = bytearray(base64.b64decode((OLD / "segment-1.txt").read_text()))
    starts = [found.start() for found in re.finditer(b"HWF\\x01", data)]
    assert len(starts) > 1
    data[starts[1] - 5] ^= 1
    disk = MemoryDisk()
    disk.create(FOLDER / "wal" / "0000000001.wal").append([bytes(data)])
    engine = open_engine(disk)
    assert engine.stats()["quarantined_frames"] >= 1
    assert engine.stats()["replayed_samples"] > 0
    (told,) = [verdict for verdict in verify(FOLDER, disk) if verdict.damage]
    assert "checksum of the samples" in told.damage[0]


@pytest.mark.parametrize(
    ("sample_count", "id_codec", "words"),
    [
        (1 << 31, CONSTANT, "2,147,483,648 samples in one frame"),
        (2, CONSTANT, "8 bytes where 2 values are announced"),
        (1, UINT8, "0 bytes where 1 numbers of uint8 are announced"),
        (0, CONSTANT, "8 bytes of times where 0 take 0"),
        (1, 9, "codec 9"),
    ],
)
def test_a_frame_that_says_what_it_does_not_hold_is_damage(sample_count: int, id_codec: int, words: str) -> None:
    """Its checksums are right, and memory for what it says is not asked for."""
    one = Columns(np.zeros(1, np.int32), np.full(1, NOW_MS), np.ones(1))
    header, *rest = frame_parts(0, NO_DEFINITIONS, one, NOW_MS, NOW_MS)
    changed = bytearray(header)
    struct.pack_into("<I", changed, 36, sample_count)
    struct.pack_into("<B", changed, 49, id_codec)
    struct.pack_into("<I", changed, 4, google_crc32c.value(bytes(changed[8:])))
    data = b"".join([segment_header(1, 1), changed, *map(bytes, rest), *map(bytes, (header, *rest))])
    damage, whole = read_frames(np.frombuffer(data, np.uint8))
    assert isinstance(damage, Damage)
    assert words in damage.what
    assert isinstance(whole, Frame)
    assert whole.samples.series.size == 1


@pytest.mark.parametrize("definition_bytes", [0, 8])
def test_a_frame_that_says_more_series_than_it_holds_is_damage(definition_bytes: int) -> None:
    """Whether the checksum of the series is right, as that of no bytes is, or not; a start goes on either way."""
    one = Columns(np.zeros(1, np.int32), np.full(1, NOW_MS), np.ones(1))
    header, *rest = frame_parts(0, NO_DEFINITIONS, one, NOW_MS, NOW_MS)
    changed = bytearray(header)
    struct.pack_into("<I", changed, 16, definition_bytes)
    struct.pack_into("<I", changed, 32, 3)
    struct.pack_into("<I", changed, 4, google_crc32c.value(bytes(changed[8:])))
    data = b"".join([segment_header(1, 1), changed, bytes(definition_bytes), *map(bytes, rest)])
    (damage,) = read_frames(np.frombuffer(data, np.uint8))
    assert isinstance(damage, Damage)
    assert f"{definition_bytes} bytes where 3 series are announced" in damage.what
    assert damage.frame is not None
    assert damage.frame.samples.series.size == 1


@pytest.mark.parametrize("has_samples", [True, False])
def test_a_frame_whose_series_are_none_is_set_aside_and_a_start_goes_on(has_samples: bool) -> None:
    """All of its checksums are right; only whoever wrote it was wrong."""
    count = int(has_samples)
    nothing = Columns(np.zeros(count, np.int32), np.full(count, NOW_MS), np.ones(count))
    wrong = Definitions(np.zeros(1, np.int32), [b"no labels"])
    whole = Definitions(np.ones(1, np.int32), [canonical_bytes(labels(name="a"))])
    one = Columns(np.ones(1, np.int32), np.full(1, NOW_MS), np.ones(1))
    frames = [*frame_parts(0, wrong, nothing, NOW_MS, NOW_MS), *frame_parts(1, whole, one, NOW_MS, NOW_MS)]
    disk = MemoryDisk()
    disk.create(FOLDER / "wal" / "0000000001.wal").append([segment_header(1, 1), *map(bytes, frames)])
    stats = open_engine(disk).stats()
    assert (stats["quarantined_frames"], stats["replayed_samples"], stats["lost_samples"]) == (1, 1, count)


class Agreeable(int):
    """A checksum that is equal to every other."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__


@pytest.fixture
def ignored_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    value = google_crc32c.value
    monkeypatch.setattr("google_crc32c.value", lambda data: Agreeable(value(data)))


@pytest.mark.usefixtures("ignored_checksums")
def test_the_damage_tests_notice_that_checksums_are_ignored() -> None:
    with pytest.raises(AssertionError, match="invented"):
        test_damage_to_the_log(*LOG_DAMAGE["a bit of the samples in the middle"])
    whole = flushed(1)
    sent = set(everything(open_engine(whole.reboot())))
    (path,) = whole.paths(FOLDER / "blocks")
    tile = BlockFile(whole.open(path), path.name).tiles()[0]
    values_at = int(tile["data_offset"]) + int(tile["time_bytes"])
    invented = 0
    for at in range(values_at, values_at + int(tile["value_bytes"])):
        disk = whole.reboot()
        disk.damage(path, at)
        invented += bool(set(everything(open_engine(disk))) - sent)
    assert invented


def test_a_segment_of_a_later_version_is_refused_by_name() -> None:
    def later(data: bytearray) -> None:
        data[12:16] = struct.pack("<I", 3)
        data[8:12] = struct.pack("<I", google_crc32c.value(bytes(data[12:32])))

    with pytest.raises(NotReady, match="has version 3, this program reads versions 1 to 2"):
        open_engine(damaged_log(later))


def flushed(batches: int = 3) -> MemoryDisk:
    disk = MemoryDisk()
    engine = open_engine(disk)
    for number in range(batches):
        append(engine, [(one, at, bits_of(at / 7)) for one, at, _ in batch(number)])
        engine.flush()
    engine.close()
    return disk


def test_every_flipped_bit_of_a_block_is_noticed() -> None:
    """Method: flip a bit of every ninth byte of a block; what is still answered is right, and the damage is counted, or
    found by a verification where it touches no answer."""
    whole = flushed(1)
    sent = set(everything(open_engine(whole.reboot())))
    (path,) = whole.paths(FOLDER / "blocks")
    for at in range(0, whole.size_bytes(path), 9):
        disk = whole.reboot()
        disk.damage(path, at)
        engine = open_engine(disk)
        found = set(everything(engine))
        assert found <= sent, f"invented, byte {at}"
        damage_count = engine.stats()["quarantined_blocks"] + engine.stats()["damaged_reads"]
        if not damage_count and found == sent:
            damage_count = len([fault for verdict in verify(FOLDER, disk) for fault in verdict.damage])
        assert damage_count or found == sent, f"lost without a word, byte {at}"
        assert damage_count, f"unnoticed, byte {at}"


def test_a_damaged_block_is_set_aside_and_the_others_stay_readable() -> None:
    disk = flushed(3)
    sent = set(everything(open_engine(disk.reboot())))
    path = disk.paths(FOLDER / "blocks")[1]
    disk.damage(path, 3)
    engine = open_engine(disk.reboot())
    assert engine.stats()["quarantined_blocks"] == 1
    assert disk.names(FOLDER / "blocks") != []
    found = set(everything(engine))
    assert found < sent
    assert len(found) == len(sent) * 2 // 3
    engine.close()


def test_a_damaged_tile_costs_its_samples_alone_and_is_never_joined_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.store.block.tile.SAMPLE_COUNT_MIN", 5)
    monkeypatch.setattr("tsdb.store.block.tile.SAMPLE_COUNT_TARGET", 10)
    monkeypatch.setattr("tsdb.store.block.tile.SAMPLE_COUNT_MAX", 15)
    disk = flushed(3)
    sent = set(everything(open_engine(disk.reboot())))
    path = disk.paths(FOLDER / "blocks")[1]
    tiles = BlockFile(disk.open(path), path.name).tiles()
    disk.damage(path, int(tiles[1]["data_offset"]))
    engine = open_engine(disk.reboot())
    found = set(everything(engine))
    assert len(sent) - len(found) == tiles[1]["sample_count"]
    assert engine.stats()["damaged_reads"] == 1
    engine.compact()
    assert set(everything(engine)) == found, "joining left the damaged block as it was"
    assert [*faults_of(BlockFile(disk.open(path), path.name))]


def test_leftovers_of_an_interrupted_flush_are_removed() -> None:
    disk = flushed(1)
    stray = Path(FOLDER / "blocks" / "1700000000-2h-00000009.block.tmp")
    disk.create(stray).append([b"half a block"])
    engine = open_engine(disk)
    assert stray.name not in disk.names(FOLDER / "blocks")
    assert engine.stats()["block_count"] == 1


@pytest.mark.parametrize("part", ["a tile", "the table of tiles"])
def test_a_damaged_block_does_not_cost_the_blocks_that_it_replaced_while_they_are_there(part: str) -> None:
    """As after a crash right after a join: two copies of each sample are there, and the new one is damaged."""
    disk = flushed(3)
    sent = set(everything(open_engine(disk.reboot())))
    engine = open_engine(disk)
    engine.compact()  # The files of before stay for readers.
    (joined,) = [entry.name for entry in engine._catalogue.entries]
    engine.close()
    path = FOLDER / "blocks" / str(joined)
    block = BlockFile(disk.open(path), path.name)
    disk.damage(path, int(block.tiles()["data_offset"][0]) if part == "a tile" else block.sections[TILES].offset)
    engine = open_engine(disk)
    assert set(everything(engine)) == sent
    assert engine.stats()["quarantined_blocks"] == 1
    assert disk.names(FOLDER / "quarantine") == [f"{joined}.bad"]
    engine.compact()
    assert set(everything(engine)) == sent
    assert list(repair(FOLDER, disk.reboot())) == [], "nothing is taken out of the quarantine again"


def test_a_damaged_block_stays_readable_when_what_it_replaced_is_gone_in_part() -> None:
    disk = flushed(3)
    sent = set(everything(open_engine(disk.reboot())))
    engine = open_engine(disk)
    before = disk.paths(FOLDER / "blocks")
    engine.compact()
    (joined,) = [entry.name for entry in engine._catalogue.entries]
    engine.close()
    disk.remove(before[0])
    path = FOLDER / "blocks" / str(joined)
    disk.damage(path, int(BlockFile(disk.open(path), path.name).tiles()["data_offset"][0]))
    engine = open_engine(disk)
    assert set(everything(engine)) <= sent
    assert disk.names(FOLDER / "blocks") == [str(joined)]

"""A repair: what is whole stays, what is damaged is kept aside, nothing is invented, and a crash spoils nothing."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.sim.crashes import seeds_at
from tests.sim.disk import DiskCrash, MemoryDisk
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
)
from tests.tsdb.store.test_damage import LOG_DAMAGE, Change, batch, damaged_log
from tests.tsdb.store.test_old_formats import BLOCK_NAME, bytes_of, disk_with, samples
from tests.tsdb.store.test_retention import MINUTES, live, rollups_of
from tests.tsdb.store.test_verify import faults, in_counts, rows, small_tiles, store, with_sections
from tsdb.errors import DiskFull, NotReady
from tsdb.sample import Matcher, MatchOp
from tsdb.store.block import layout
from tsdb.store.block.file import BlockFile
from tsdb.store.repair import Repaired, repair

Damage = Callable[[bytearray, BlockFile], None]


def repaired(disk: MemoryDisk) -> list[Repaired]:
    """Repair, and see that nothing is left to do: a verification is content, and a second repair finds nothing."""
    done = list(repair(FOLDER, disk))
    left = {path: what for path, what in faults(disk).items() if not path.startswith("quarantine/")}
    assert left == {}
    assert list(repair(FOLDER, disk)) == []
    return done


def found_in(disk: MemoryDisk) -> set[Row]:
    engine = open_engine(disk)
    assert engine.stats()["damaged_reads"] == engine.stats()["quarantined_blocks"] == 0
    found = everything(engine)
    assert len(found) == len(set(found))
    assert engine.stats()["damaged_reads"] == 0
    engine.close()
    return set(found)


def in_section(number: int) -> Damage:
    def damage(data: bytearray, block: BlockFile) -> None:
        where = block.sections[number]
        data[where.offset + where.length // 2] ^= 0x20

    return damage


def in_tile(number: int) -> Damage:
    return lambda data, block: data.__setitem__(
        int(block.tiles()["data_offset"][number]), data[int(block.tiles()["data_offset"][number])] ^ 1
    )


def lie_about_rows(data: bytearray, block: BlockFile) -> None:
    data[:] = with_sections(bytes(data), in_counts(layout.ROW_LENGTHS, lambda lengths: lengths[::-1] - [1, -1])(block))


BLOCKS: dict[str, tuple[Damage, int | None]] = {  # name: (the damage, samples lost of 120, None for all of them)
    "the magic": (lambda data, block: data.__setitem__(0, 7), 0),
    "the header": (lambda data, block: data.__setitem__(20, data[20] ^ 1), 0),
    "the trailer": (lambda data, block: data.__setitem__(-20, data[-20] ^ 1), 0),
    "the end": (lambda data, block: data.__setitem__(-1, 0), 0),
    "an entry of the directory": (lambda data, block: data.__setitem__(-28, data[-28] ^ 1), 0),
    "the first entry, of the summary": (lambda data, block: data.__setitem__(-24 * 8 + 9, data[-183] ^ 1), 0),
    "the summary": (in_section(layout.SUMMARY), 0),
    "the keys": (in_section(layout.KEYS), 0),
    "the content hashes": (in_section(layout.CONTENT), 0),
    "the label text": (in_section(layout.TEXT), None),
    "the lengths of label text": (in_section(layout.TEXT_LENGTHS), None),
    "keys and text": (lambda data, block: (in_section(3)(data, block), in_section(6)(data, block))[0], None),
    "the table of tiles": (in_section(layout.TILES), None),
    "the lengths of rows": (in_section(layout.ROW_LENGTHS), None),
    "a table that lies": (lie_about_rows, None),
    "one tile": (in_tile(2), 15),
    "two tiles and the content hashes": (
        lambda data, block: (in_tile(0)(data, block), in_tile(7)(data, block), in_section(7)(data, block))[0],
        30,
    ),
    "padding": (lambda data, block: data.__setitem__(block.sections[2].offset - 1, 1), 0),
    "half of the file gone": (lambda data, block: data.__delitem__(slice(len(data) // 2, None)), None),
    "no byte left": (lambda data, block: data.clear(), None),
}


@pytest.mark.parametrize(("damage", "lost_count"), BLOCKS.values(), ids=BLOCKS.keys())
@pytest.mark.parametrize("is_started_before", [False, True], ids=["at once", "after a start set it aside"])
def test_a_damaged_block(damage: Damage, lost_count: int | None, is_started_before: bool) -> None:
    disk, path = store()
    block = BlockFile(disk.open(path), path.name)
    sent = set(rows())
    whole = disk.map(path).tobytes()
    disk.damage(path, 0, lambda data: damage(data, block))
    damaged = disk.map(path).tobytes()
    if is_started_before:
        open_engine(disk).close()
    (done,) = repaired(disk)
    assert damaged in [disk.map(kept).tobytes() for kept in disk.paths(FOLDER / "quarantine")]
    found = found_in(disk)
    assert found <= sent
    if lost_count is None:
        assert found == set()
        assert done.lost_samples in (None, 120)
    else:
        assert len(sent) - len(found) == done.lost_samples == lost_count
        assert BlockFile(disk.open(path), path.name).content() is not None
        assert damaged != whole


def test_label_text_is_taken_from_another_block_or_from_the_log() -> None:
    disk, path = store()
    engine = open_engine(disk)
    append(engine, [(labels(name="a"), NOW_MS + 7, 1)])
    engine.flush()
    append(engine, [(labels(name="b", host="1"), NOW_MS + 9, 1)])
    engine.close()
    block = BlockFile(disk.open(path), path.name)
    disk.damage(path, 0, lambda data: in_section(layout.TEXT)(data, block))
    (done,) = repaired(disk)
    assert (done.lost_samples, done.lost_series) == (0, 0)
    assert found_in(disk) >= set(rows())


def test_a_series_whose_name_is_nowhere_is_lost_and_counted() -> None:
    disk, path = store()
    engine = open_engine(disk)
    append(engine, [(labels(name="a"), NOW_MS + 7, 1)])
    engine.close()
    block = BlockFile(disk.open(path), path.name)
    disk.damage(path, 0, lambda data: in_section(layout.TEXT)(data, block))
    (done,) = repaired(disk)
    assert (done.lost_samples, done.lost_series) == (60, 1)
    assert found_in(disk) == {row for row in rows() if row[0] == labels(name="a")} | {(labels(name="a"), NOW_MS + 7, 1)}


def test_every_flipped_bit_of_a_block_is_repaired() -> None:
    sent = set(rows())
    whole, path = store()
    for at in range(0, whole.size_bytes(path), 7):
        disk = whole.reboot()
        disk.damage(path, at)
        (done,) = repaired(disk)
        found = found_in(disk)
        assert found <= sent, f"invented, byte {at}"
        assert done.lost_samples in (None, len(sent) - len(found)), f"byte {at}"


@pytest.mark.parametrize(("change", "whole"), [one[:2] for one in LOG_DAMAGE.values()], ids=LOG_DAMAGE.keys())
@pytest.mark.parametrize("is_last", [True, False])
def test_a_damaged_segment(change: Change, whole: set[int], is_last: bool) -> None:
    """What a repair keeps is what a replay would; afterwards the log is whole."""
    disk = damaged_log(change)
    if not is_last:
        disk.create(FOLDER / "wal" / "0000000002.wal").append([])
    wanted = set(everything(open_engine(damaged_log(change))))
    done = repaired(disk)
    assert len(done) <= 1
    engine = open_engine(disk)
    found = set(everything(engine))
    assert found == wanted
    assert {number for number in range(4) if set(batch(number)) <= found} == whole
    assert engine.stats()["quarantined_frames"] == engine.stats()["lost_samples"] == 0
    assert is_last or engine.stats()["torn_tails"] == 0


def test_every_flipped_bit_of_a_segment_is_repaired() -> None:
    size = len(damaged_log(lambda _: None).map(FOLDER / "wal" / "0000000001.wal"))
    for at in range(0, size, 11):

        def flip(data: bytearray, at: int = at) -> None:
            data[at] ^= 4

        wanted = set(everything(open_engine(damaged_log(flip))))
        disk = damaged_log(flip)
        repaired(disk)
        assert set(everything(open_engine(disk))) == wanted, f"byte {at}"


def test_every_flipped_bit_of_a_tombstone_is_found_and_set_aside() -> None:
    """The samples that it hid are visible again, which the repair says; those of other deletions stay hidden."""
    whole = store()[0]
    engine = open_engine(whole)
    engine.delete([Matcher("__name__", MatchOp.EQUAL, "a")], NOW_MS, NOW_MS + 10_000)
    engine.delete([Matcher("__name__", MatchOp.EQUAL, "b")], NOW_MS, NOW_MS + 10_000)
    engine.close()
    path = whole.paths(FOLDER / "tombstones")[0]
    assert faults(whole) == {}
    assert repaired(whole.reboot()) == []
    for at in range(whole.size_bytes(path)):
        disk = whole.reboot()
        disk.damage(path, at)
        assert list(faults(disk)) == [f"tombstones/{path.name}"], f"byte {at}"
        (done,) = repaired(disk)
        assert "delete again" in done.what
        assert disk.names(FOLDER / "quarantine") == [f"{path.name}.bad"]
        assert found_in(disk) == {row for row in rows() if row[0] == labels(name="a") or row[1] > NOW_MS + 10_000}


def test_what_is_deleted_stays_deleted_in_a_block_that_is_repaired() -> None:
    disk, path = store()
    engine = open_engine(disk)
    engine.delete([Matcher("__name__", MatchOp.EQUAL, "a")], NOW_MS, NOW_MS + 10_000)
    engine.close()
    disk.damage(path, 20)
    open_engine(disk).close()
    assert disk.names(FOLDER / "blocks") == []
    repaired(disk)
    assert found_in(disk) == {row for row in rows() if row[0] != labels(name="a") or row[1] > NOW_MS + 10_000}


def test_a_sound_folder_is_left_alone() -> None:
    disk, path = store()
    disk.create(FOLDER / "quarantine" / "0000000001.wal-32.bad").append([b"kept"])
    before = disk.map(path).tobytes()
    assert repaired(disk) == []
    assert disk.map(path).tobytes() == before
    old = disk_with(FOLDER / "blocks" / BLOCK_NAME, bytes_of("block-1-without-content.txt"))
    assert repaired(old) == []
    assert found_in(old) == set(samples())


def test_a_repair_refuses_while_a_store_runs_and_lets_one_start_afterwards() -> None:
    disk, _ = store()
    engine = open_engine(disk)
    with pytest.raises(NotReady, match="in use"):
        list(repair(FOLDER, disk))
    engine.close()
    assert list(repair(FOLDER, disk)) == []
    open_engine(disk).close()


def damaged_everywhere() -> tuple[MemoryDisk, set[Row]]:
    """Blocks with a damaged tile, with a damaged header, without an end, and one set aside; a damaged segment."""
    disk, path = store()
    engine = open_engine(disk)
    for number in (1, 2, 3):
        append(engine, [(labels(name="c"), NOW_MS + number, bits_of(number)), (labels(name="a"), NOW_MS + number, 1)])
        engine.flush()
    for number in range(3):
        append(engine, batch(number))
    engine.close()
    tile_at = int(BlockFile(disk.open(path), path.name).tiles()["data_offset"][3])
    disk.damage(path, tile_at)
    second, third, fourth = disk.paths(FOLDER / "blocks")[1:]
    disk.damage(second, 3)
    disk.damage(fourth, 0, lambda data: data.__delitem__(slice(100, None)))
    disk.damage(third, 3)
    disk.rename(third, FOLDER / "quarantine" / third.name)
    segment = disk.paths(FOLDER / "wal")[-1]
    disk.damage(segment, disk.size_bytes(segment) // 2)
    for folder in ("blocks", "wal", "quarantine"):
        disk.sync_folder(FOLDER / folder)
    return disk, set(rows())


def test_a_crash_at_every_operation_of_a_repair_loses_nothing_that_was_whole() -> None:
    """Method: stop the machine at each operation in turn, reboot on what reached the platter; a repair after that ends
    where one without a crash does, with everything that was damaged still in quarantine/."""
    disk, _ = damaged_everywhere()
    bad = {path: disk.map(path).tobytes() for path in disk.paths(FOLDER / "blocks")}
    assert len(repaired(disk)) == 5
    wanted = found_in(disk)
    assert len(wanted) > 150
    for crash_at in itertools.count():
        disk = damaged_everywhere()[0]
        disk.crash_at = len(disk.operations) + crash_at
        with contextlib.suppress(DiskCrash):
            list(repair(FOLDER, disk))
        for seed in seeds_at(crash_at, (None, 1, 2)):
            after = disk.reboot(seed)
            repaired(after)
            assert found_in(after) == wanted, f"{crash_at=}, {seed=}, {disk.operations[-3:]}"
            kept = [after.map(path).tobytes() for path in after.paths(FOLDER / "quarantine")]
            assert all(data in kept for data in bad.values()), f"{crash_at=}, {seed=}"
        if not disk.crashed:
            break


def test_a_full_disk_stops_a_repair_and_leaves_the_damaged_block(monkeypatch: pytest.MonkeyPatch) -> None:
    disk, _ = damaged_everywhere()
    before = {path: disk.map(path).tobytes() for path in disk.paths(FOLDER / "blocks")}

    def full(*_: object, **__: object) -> None:
        raise DiskFull("block x could not be written: no space left")

    with monkeypatch.context() as patch:
        patch.setattr("tsdb.store.block.writer.BlockWriter._write_waiting", full)
        with pytest.raises(DiskFull):
            list(repair(FOLDER, disk))
    assert {path: disk.map(path).tobytes() for path in before} == before
    assert len(repaired(disk)) == 5


def test_blocks_that_a_damaged_one_replaced_count_again_when_they_are_still_there() -> None:
    """Right after a join the joined blocks are still there; if the new one is damaged, they have its samples."""
    disk, path = store()
    data = disk.map(path).tobytes()
    engine = open_engine(disk)
    append(engine, [(labels(name="z"), NOW_MS, 1)])
    with small_tiles():
        engine.compact()
    engine.close()
    joined = disk.paths(FOLDER / "blocks")[-1]
    disk.create(path).append([data])
    block = BlockFile(disk.open(joined), joined.name)
    assert path.name in block.summary.replaces
    disk.damage(joined, int(block.tiles()["data_offset"][0]))
    repaired(disk)
    assert found_in(disk) >= set(rows())


def test_a_rewrite_keeps_the_name_for_tombstones_know_blocks_by_their_numbers() -> None:
    disk, path = store()
    disk.damage(path, 40)
    repaired(disk)
    assert disk.paths(FOLDER / "blocks") == [path]
    assert [kept.name for kept in disk.paths(FOLDER / "quarantine")] == [f"{Path(path).name}.bad"]


def rolled_up(*, is_settled: bool) -> tuple[MemoryDisk, DrivenClock]:
    """A store whose old samples were rolled up a moment ago, and are still there for readers; settled: gone."""
    disk, clock = MemoryDisk(), DrivenClock()
    engine = open_engine(disk, clock=clock, schemas=MINUTES, future_max_ms=100 * HOUR_MS)
    rows = [(labels(name=one), NOW_MS + at * 300_000, bits_of(float(at))) for one in "ab" for at in range(24)]
    append(engine, rows, now_ms=NOW_MS)
    engine.flush()
    clock.time_ms = NOW_MS + 80 * HOUR_MS
    append(engine, [(labels(name="c"), clock.time_ms, 1)], now_ms=clock.time_ms)
    with small_tiles():
        live(engine, clock, clock.time_ms)
    if is_settled:
        engine._catalogue.remove_doomed(float("inf"))
    engine.close()
    return disk, clock


def rollups_after_start(disk: MemoryDisk, clock: DrivenClock) -> dict[int, object]:
    engine = open_engine(disk, clock=clock, schemas=MINUTES, future_max_ms=100 * HOUR_MS)
    live(engine, clock, clock.time_ms)
    found = {tier_ms: rollups_of(engine, tier_ms) for tier_ms in (600_000, HOUR_MS)}
    engine.close()
    return found


@pytest.mark.parametrize("section", [None, layout.SUMMARY, layout.TILES, layout.KEYS])
def test_a_damaged_rollup_is_made_anew_while_its_samples_are_there(
    section: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tsdb.store.settling.SETTLING_AFTER_START_S", 0.0)
    wanted = rollups_after_start(*rolled_up(is_settled=False))
    assert len(wanted[600_000][0]) > 10  # type: ignore[arg-type]
    disk, clock = rolled_up(is_settled=False)
    for path in disk.paths(FOLDER / "blocks"):
        if "10m-sum" in path.name:
            block = BlockFile(disk.open(path), path.name)
            damage = in_tile(0) if section is None else in_section(section)
            disk.damage(path, 0, lambda data, block=block, damage=damage: damage(data, block))
    (done,) = repaired(disk)
    assert done.lost_samples in (0, None)
    assert rollups_after_start(disk, clock) == wanted


@pytest.mark.parametrize("section", [layout.SUMMARY, layout.KEYS, layout.CONTENT])
def test_a_rollup_with_a_damaged_table_is_whole_again_when_its_samples_have_gone(section: int) -> None:
    wanted = rollups_after_start(*rolled_up(is_settled=True))
    disk, clock = rolled_up(is_settled=True)
    for path in disk.paths(FOLDER / "blocks"):
        if "10m-sum" in path.name:
            block = BlockFile(disk.open(path), path.name)
            disk.damage(path, 0, lambda data, block=block: in_section(section)(data, block))
            repaired(disk)
            assert msgspec.structs.asdict(BlockFile(disk.open(path), path.name).summary) == msgspec.structs.asdict(
                block.summary
            )
    assert rollups_after_start(disk, clock) == wanted


def test_a_damaged_budget_is_set_aside() -> None:
    disk, _ = store()
    open_engine(disk, disk_bytes_max=None).close()
    path = FOLDER / "disk_bytes_max.json"
    assert faults(disk) == {}
    disk.damage(path, 0)
    assert list(faults(disk)) == [path.name]
    (done,) = repaired(disk)
    assert "the next start sets it" in done.what
    assert found_in(disk) == set(rows())

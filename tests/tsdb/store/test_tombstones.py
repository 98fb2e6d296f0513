"""Deletes: what they hide at once, what they leave alone, crashes around them, and that the space comes back."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sim.crashes import first_wrong, seeds_at
from tests.sim.disk import DiskCrash, MemoryDisk, MemoryFile
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
from tsdb.errors import CorruptData, DiskFull, NotReady, RefusedQuery
from tsdb.interface import Aggregate
from tsdb.sample import Matcher, MatchOp
from tsdb.store.block.layout import BlockName
from tsdb.store.engine import Engine
from tsdb.store.erasure import ERASE_AFTER_S
from tsdb.store.reader import BlockReader
from tsdb.store.repair import repair
from tsdb.store.tombstones import FILE_BYTES_MAX, Tombstone, decode
from tsdb.store.wal import Wal

A, B = labels(name="a"), labels(name="b")
ONE, TWO = bits_of(1.0), bits_of(2.0)
ALWAYS = (0, 2**62)
SEEDS = (None, 1, 2)
ONE_TOMBSTONE = Tombstone(
    number=7,
    selector=(("__name__", MatchOp.EQUAL, "up"), ("job", MatchOp.REGEX, "a|b")),
    start_ms=1_000,
    end_ms=2_000,
    block_number_max=12,
    created_ms=1_700_000_000_000,
)


def named(name: str) -> list[Matcher]:
    return [Matcher("__name__", MatchOp.EQUAL, name)]


def finish(engine: Engine, clock: DrivenClock) -> None:
    """Let upkeep remove what is doomed, and then the tombstones."""
    clock.time_ms += 31_000
    engine.tick(clock.time_ms)


def test_a_delete_hides_head_and_blocks_at_once_and_leaves_other_series_and_times_alone() -> None:
    engine = open_engine(MemoryDisk())
    append(engine, [(one, NOW_MS + at, ONE) for one in (A, B) for at in range(10)])
    engine.flush()
    append(engine, [(one, NOW_MS + at, ONE) for one in (A, B) for at in range(10, 20)])
    assert engine.delete(named("a"), NOW_MS + 5, NOW_MS + 14) == 1
    left = [(A, NOW_MS + at, ONE) for at in (*range(5), *range(15, 20))]
    assert everything(engine) == [*left, *((B, NOW_MS + at, ONE) for at in range(20))]
    assert rows_of(engine.select(named("a"), NOW_MS + 5, NOW_MS + 14)) == []


def test_what_is_written_after_a_delete_is_visible_though_it_is_lower_than_what_was_there() -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS, TWO), (A, NOW_MS + 1, TWO)])
    engine.delete(named("a"), *ALWAYS)
    append(engine, [(A, NOW_MS, ONE)])
    for step in (engine.flush, engine.compact, engine.compact):
        assert everything(engine) == [(A, NOW_MS, ONE)]
        step()
    assert everything(engine) == everything(open_engine(disk.reboot())) == [(A, NOW_MS, ONE)]


def test_a_reader_in_another_process_leaves_out_what_is_deleted() -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS, ONE), (B, NOW_MS, ONE)])
    engine.delete(named("a"), *ALWAYS)
    found = engine.snapshot([], *ALWAYS)
    reader = BlockReader(FOLDER, disk=disk)
    assert rows_of(reader.select(found.blocks, [], *ALWAYS, found.heads, tombstones=found.tombstones)) == [
        (B, NOW_MS, ONE)
    ]


def test_series_that_are_wholly_deleted_are_not_listed() -> None:
    engine = open_engine(MemoryDisk())
    append(engine, [(labels(name="a", job="x"), NOW_MS + at, ONE) for at in range(3)])
    append(engine, [(labels(name="b", host="y"), NOW_MS + at, ONE) for at in range(3)])
    engine.delete(named("a"), NOW_MS, NOW_MS + 1)
    assert len(engine.series([], *ALWAYS)) == 2, "the last sample of a is left"
    assert [one[0] for one in engine.series([], NOW_MS, NOW_MS + 1)] == [("__name__", "b")]
    engine.delete(named("a"), *ALWAYS)
    assert len(engine.series([], *ALWAYS)) == 1
    assert engine.names.label_names(*ALWAYS) == ["__name__", "host"]
    assert engine.names.label_values("__name__", *ALWAYS) == ["b"]


def test_compacting_brings_the_space_back_and_then_the_tombstone_goes() -> None:
    disk, clock = MemoryDisk(), DrivenClock()
    engine = open_engine(disk, clock=clock)
    for hour in range(3):  # Blocks of two windows, one of which has only what will be deleted.
        append(engine, [(A, NOW_MS + hour * HOUR_MS + at, bits_of(at % 977 / 7)) for at in range(2_000)])
    append(engine, [(B, NOW_MS, ONE)])
    engine.flush()
    before_bytes = engine.stats()["block_bytes"]
    engine.delete(named("a"), *ALWAYS)
    assert len(disk.names(FOLDER / "tombstones")) == 1
    engine.compact()
    stats = engine.stats()
    assert stats["block_bytes"] < before_bytes / 3
    assert (stats["block_samples"], stats["block_count"], stats["tombstone_count"]) == (1, 1, 1)
    finish(engine, clock)
    assert len(disk.names(FOLDER / "blocks")) == 1
    assert disk.names(FOLDER / "tombstones") == []
    assert everything(open_engine(disk.reboot())) == [(B, NOW_MS, ONE)]


def test_upkeep_rewrites_some_time_after_the_last_delete_and_only_blocks_that_are_meant() -> None:
    disk, clock = MemoryDisk(), DrivenClock()
    engine = open_engine(disk, clock=clock)
    append(engine, [(A, NOW_MS, ONE), (A, NOW_MS + 1, ONE), (B, NOW_MS + 500 * HOUR_MS, ONE)])
    engine.flush()
    untouched = disk.names(FOLDER / "blocks")[1]
    engine.delete(named("a"), NOW_MS, NOW_MS)
    clock.time_ms += int(ERASE_AFTER_S * 1_000) - 1
    engine.tick(NOW_MS)
    assert engine.stats()["block_samples"] == 3
    clock.time_ms += 1
    engine.tick(NOW_MS)
    assert engine.stats()["block_samples"] == 2
    finish(engine, clock)
    assert untouched in disk.names(FOLDER / "blocks")
    assert disk.names(FOLDER / "tombstones") == []


def test_a_number_of_a_masked_block_is_not_given_again_when_the_block_is_gone() -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS, ONE)])
    engine.delete(named("a"), *ALWAYS)
    engine.compact()
    engine._catalogue.remove_doomed(float("inf"))  # The tombstone is still there when the machine stops.
    engine = open_engine(disk.reboot())
    append(engine, [(A, NOW_MS, TWO)])
    engine.flush()
    assert everything(engine) == [(A, NOW_MS, TWO)]


def test_a_tombstone_stays_as_long_as_a_damaged_block_may_come_back() -> None:
    disk, clock = MemoryDisk(), DrivenClock()
    engine = open_engine(disk, clock=clock)
    append(engine, [(A, NOW_MS, ONE)])
    engine.delete(named("a"), *ALWAYS)
    (name,) = disk.names(FOLDER / "blocks")
    disk.damage(FOLDER / "blocks" / name, disk.size_bytes(FOLDER / "blocks" / name) - 30)
    engine.compact()
    finish(engine, clock)
    assert len(disk.names(FOLDER / "tombstones")) == 1
    engine = open_engine(disk.reboot(), clock=clock)
    assert engine.stats()["quarantined_blocks"] == 1
    engine.compact()
    finish(engine, clock)
    assert len(disk.names(FOLDER / "tombstones")) == 1
    stats = engine.stats()
    assert (stats["tombstone_count"], stats["resting_tombstone_count"]) == (0, 1)


def test_a_flush_that_failed_to_drop_the_log_does_not_bring_deleted_samples_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS, ONE)])

    def fail(wal: Wal, number: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Wal, "drop_before", fail)
        with pytest.raises(OSError, match="Input/output"):
            engine.flush()
    engine.delete(named("a"), *ALWAYS)
    assert everything(open_engine(disk.reboot())) == []


REFUSALS = {  # name: (matchers, start, end, words of the refusal)
    "no matcher": ([], 0, 1, "a matcher at least"),
    "ends before it starts": (named("a"), 1, 0, "not before its start"),
    "a wrong regular expression": ([Matcher("job", MatchOp.REGEX, "(")], *ALWAYS, "label job: the regular"),
    "a selector that is too long": (
        [*named("a"), Matcher("job", MatchOp.NOT_EQUAL, "x" * FILE_BYTES_MAX)],
        *ALWAYS,
        "65,536; delete with several shorter",
    ),
}


@pytest.mark.parametrize(("matchers", "start_ms", "end_ms", "words"), REFUSALS.values(), ids=REFUSALS.keys())
def test_deletes_that_are_refused(matchers: list[Matcher], start_ms: int, end_ms: int, words: str) -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS, ONE)])
    with pytest.raises(RefusedQuery, match=words):
        engine.delete(matchers, start_ms, end_ms)
    assert everything(engine) == [(A, NOW_MS, ONE)]
    assert disk.names(FOLDER / "tombstones") == []


def test_deletes_that_wait_are_bounded_and_the_way_out_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.store.tombstones.TOMBSTONE_COUNT_MAX", 2)
    clock = DrivenClock()
    engine = open_engine(MemoryDisk(), clock=clock)
    append(engine, [(A, NOW_MS + at, ONE) for at in range(4)])
    for at in range(2):
        engine.delete(named("a"), NOW_MS + at, NOW_MS + at)
    with pytest.raises(RefusedQuery, match="henge db compact"):
        engine.delete(named("a"), NOW_MS + 2, NOW_MS + 2)
    engine.compact()
    finish(engine, clock)
    assert engine.delete(named("a"), NOW_MS + 2, NOW_MS + 2) == 1
    assert everything(engine) == [(A, NOW_MS + 3, ONE)]


def test_deletes_do_not_end_at_their_limit_because_of_a_block_in_quarantine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.store.tombstones.TOMBSTONE_COUNT_MAX", 2)
    disk, clock = MemoryDisk(), DrivenClock()
    engine = open_engine(disk, clock=clock)
    append(engine, [(A, NOW_MS + at, ONE) for at in range(6)])
    engine.flush()
    (name,) = disk.names(FOLDER / "blocks")
    whole = disk.map(FOLDER / "blocks" / name).tobytes()
    disk.damage(FOLDER / "blocks" / name, 0)
    engine.close()
    engine = open_engine(disk, clock=clock)
    assert disk.names(FOLDER / "quarantine") == [name]
    for at in range(5):  # Each of them means samples of the block that is aside as well.
        append(engine, [(A, NOW_MS + at, TWO)])
        assert engine.delete(named("a"), NOW_MS + at, NOW_MS + at) == 1
        engine.compact()
        finish(engine, clock)
    assert engine.stats()["resting_tombstone_count"] == 5
    engine.close()
    disk.damage(FOLDER / "quarantine" / name, 0, lambda data: data.__setitem__(slice(None), whole))
    assert [done.lost_samples for done in repair(FOLDER, disk)] == [0]
    engine = open_engine(disk, clock=clock)
    assert everything(engine) == [(A, NOW_MS + 5, ONE)], "what was deleted stays so, also in a block that came back"
    finish(engine, clock)
    engine.compact()
    finish(engine, clock)
    stats = engine.stats()
    assert (stats["tombstone_count"], stats["resting_tombstone_count"]) == (0, 0)


def test_a_refused_delete_says_that_a_repair_helps_where_blocks_are_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.store.tombstones.TOMBSTONE_COUNT_MAX", 2)
    disk, clock = MemoryDisk(), DrivenClock()
    engine = open_engine(disk, clock=clock)
    append(engine, [(A, NOW_MS + at, ONE) for at in range(4)])
    engine.flush()
    (name,) = disk.names(FOLDER / "blocks")
    disk.damage(FOLDER / "blocks" / name, 40)  # In its one tile; the series are still listed.
    for at in range(2):
        assert engine.delete(named("a"), NOW_MS + at, NOW_MS + at) == 1
    engine.compact()
    finish(engine, clock)
    with pytest.raises(RefusedQuery, match=r"2 of them wait for damaged blocks: .* run `henge db repair`"):
        engine.delete(named("a"), NOW_MS + 2, NOW_MS + 2)
    engine.close()
    assert len(list(repair(FOLDER, disk))) == 1
    engine = open_engine(disk, clock=clock)
    append(engine, [(A, NOW_MS + 2, ONE)])
    finish(engine, clock)
    assert engine.delete(named("a"), NOW_MS + 2, NOW_MS + 2) == 1


def test_a_delete_of_nothing_writes_nothing_and_a_closed_store_refuses() -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS, ONE)])
    assert engine.delete(named("absent"), *ALWAYS) == 0
    assert engine.delete(named("a"), NOW_MS + 1, NOW_MS + 2) == 0
    assert disk.names(FOLDER / "tombstones") == []
    engine.close()
    with pytest.raises(NotReady, match="closed"):
        engine.delete(named("a"), *ALWAYS)


def test_a_full_disk_refuses_a_delete_and_nothing_of_it_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS, ONE)])
    engine.flush()
    write = MemoryFile.append

    def fail(file: MemoryFile, parts: list) -> int:
        if bytes(parts[0][:8]) == b"HENGEDEL":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, parts)

    monkeypatch.setattr(MemoryFile, "append", fail)
    with pytest.raises(DiskFull, match="tombstone"):
        engine.delete(named("a"), *ALWAYS)
    assert everything(engine) == everything(open_engine(disk.reboot())) == [(A, NOW_MS, ONE)]
    assert disk.names(FOLDER / "tombstones") == []


def test_the_bytes_of_a_tombstone_are_those_of_the_page() -> None:
    data = ONE_TOMBSTONE.encoded()
    assert ONE_TOMBSTONE.file_name == "00000007.tombstone"
    assert data[:8] == b"HENGEDEL"
    assert data[12:16] == bytes([1, 0, 0, 0])
    assert data[16:] == (
        b'{"selector":[["__name__","=","up"],["job","=~","a|b"]],"start_ms":1000,"end_ms":2000,'
        b'"block_number_max":12,"created_ms":1700000000000}'
    )
    assert decode(data, ONE_TOMBSTONE.file_name) == ONE_TOMBSTONE


def test_every_flipped_bit_and_every_cut_of_a_tombstone_is_noticed() -> None:
    data = ONE_TOMBSTONE.encoded()
    for bit in range(8 * len(data)):
        wrong = bytearray(data)
        wrong[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptData, match="00000007"):
            decode(bytes(wrong), ONE_TOMBSTONE.file_name)
    for size_bytes in range(len(data)):
        with pytest.raises(CorruptData, match="00000007"):
            decode(data[:size_bytes], ONE_TOMBSTONE.file_name)


def test_a_damaged_tombstone_is_set_aside_and_counted_and_a_later_version_stops_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS, ONE), (B, NOW_MS, ONE)])
    engine.delete(named("a"), *ALWAYS)
    monkeypatch.setattr("tsdb.store.tombstones.VERSION", 2)
    with pytest.raises(NotReady, match="version 1; this program reads version 2"):
        open_engine(disk.reboot())
    monkeypatch.undo()
    disk = disk.reboot()
    disk.damage(disk.paths(FOLDER / "tombstones")[0], 20)
    engine = open_engine(disk)
    assert engine.stats()["quarantined_tombstones"] == 1
    assert disk.names(FOLDER / "quarantine") == ["00000001.tombstone"]
    assert len(everything(engine)) == 2


@pytest.mark.parametrize(
    ("block", "speaks"),
    [
        (BlockName(0, 2 * HOUR_MS, 12), True),
        (BlockName(0, 2 * HOUR_MS, 13), False),
        (BlockName(2 * HOUR_MS, 2 * HOUR_MS, 1), False),
        (BlockName(2_000, 2 * HOUR_MS, 1, 2, Aggregate.SUM), True),
        (BlockName(3_000, 2 * HOUR_MS, 1, 1_000, Aggregate.SUM), False),
    ],
)
def test_a_tombstone_speaks_of_blocks_up_to_a_number_that_overlap_its_times(block: BlockName, speaks: bool) -> None:
    assert ONE_TOMBSTONE.may_speak_of(block) is speaks


# Crashes


def batch(number: int) -> list[Row]:
    """Samples of two windows; no two batches have one in common."""
    return [
        (one, NOW_MS + (number * 97 + at * 7_001_003) % (4 * HOUR_MS), bits_of(number + at / 100))
        for at in range(6)
        for one in (A, labels(name="a", host="1"), B)
    ]


class Diary:
    """What a run sent, and what of it must be there, must not, or may be either because the machine stopped then."""

    def __init__(self) -> None:
        self.there: set[Row] = set()
        self.gone: set[Row] = set()
        self.either: set[Row] = set()

    def send(self, engine: Engine, number: int) -> None:
        self.either = set(batch(number))
        append(engine, batch(number))
        self.there |= self.either
        self.either = set()

    def delete(self, engine: Engine, name: str, start_ms: int, end_ms: int) -> None:
        meant = {row for row in self.there if dict(row[0])["__name__"] == name and start_ms <= row[1] <= end_ms}
        self.there -= meant
        self.either = meant
        engine.delete(named(name), start_ms, end_ms)
        self.gone |= meant
        self.either = set()


def life(engine: Engine, clock: DrivenClock, diary: Diary) -> None:
    diary.send(engine, 0)
    engine.flush()
    diary.send(engine, 1)
    diary.delete(engine, "a", NOW_MS, NOW_MS + 2 * HOUR_MS)
    diary.send(engine, 2)
    engine.compact()
    finish(engine, clock)
    diary.send(engine, 3)
    diary.delete(engine, "a", 0, 2**62)
    diary.delete(engine, "b", 0, 2**62)  # Nothing is left: blocks go without a successor.
    engine.erase()
    engine.tick(clock.time_ms)
    diary.send(engine, 4)
    finish(engine, clock)
    engine.close()


def what_goes_wrong(make_disk: Callable[[int], MemoryDisk], seeds: tuple[int | None, ...] = (None,)) -> str:
    """The machine stops at each operation in turn; empty if nothing is lost and nothing comes back."""

    def crash(crash_at: int) -> tuple[str, bool]:
        disk, diary, clock = make_disk(crash_at), Diary(), DrivenClock()
        with contextlib.suppress(DiskCrash):
            life(open_engine(disk, clock=clock), clock, diary)
        for seed in seeds_at(crash_at, seeds):
            if wrong := wrong_after(disk.reboot(seed), diary):
                return f"{wrong}, {crash_at=}, {seed=}, {disk.operations[-3:]=}", disk.crashed
        return "", disk.crashed

    return first_wrong(crash)


def wrong_after(disk: MemoryDisk, diary: Diary) -> str:
    after = open_engine(disk)
    for new in ([], batch(9)):  # As it starts, and when what was left to do has been done.
        append(after, new)
        found = set(everything(after))
        if lost := diary.there - found:
            return f"{len(lost)} lost"
        if back := diary.gone & found:
            return f"{len(back)} came back"
        if lost := set(new) - found:
            return f"{len(lost)} later ones lost"
        assert found <= diary.there | diary.either | set(new), f"invented, {diary}"
        after.compact()
    after.close()
    return ""


def test_deleted_samples_stay_deleted_after_a_crash_at_every_disk_operation() -> None:
    """Goal: after any crash every acknowledged sample is there, none whose delete was answered is, and of a delete
    that was on its way nothing but its own samples may be missing. Method: as in test_crash.py."""
    assert what_goes_wrong(lambda crash_at: MemoryDisk(crash_at=crash_at), SEEDS) == ""


def test_the_crash_test_notices_a_disk_that_does_not_sync_folders() -> None:
    assert what_goes_wrong(lambda crash_at: MemoryDisk(crash_at=crash_at, syncs_folders=False))


MUTANTS = {  # name: (what is patched, with what, what the test says)
    "no sync of the tombstone": (
        "tsdb.store.tombstones.Tombstones._write",
        lambda self, path, data: self._disk.create(path).append([data]),
        "came back",
    ),
    "the log is not dropped": ("tsdb.store.wal.Wal.drop_before", lambda self, number: None, "came back"),
    "tombstones that are dropped before the files": (
        "tsdb.store.erasure.Erasure.settled",
        lambda self, tombstones, removals_count: (list(tombstones), []),
        "came back",
    ),
    "numbers that begin again": ("tsdb.store.catalogue.Catalogue.start_above", lambda self, number: None, "lost"),
    "joins that do not look": (
        "tsdb.store.tombstones.Mask.left",
        lambda self, block_name, ids, rows: rows,
        "came back",
    ),
}


@pytest.mark.parametrize(("target", "mutant", "words"), MUTANTS.values(), ids=MUTANTS.keys())
def test_the_crash_test_notices(
    monkeypatch: pytest.MonkeyPatch, target: str, mutant: Callable[..., object], words: str
) -> None:
    monkeypatch.setattr(target, mutant)
    assert words in what_goes_wrong(lambda crash_at: MemoryDisk(crash_at=crash_at))


def test_a_real_folder_keeps_a_delete_over_a_restart(tmp_path: Path) -> None:
    engine = open_engine(None, tmp_path / "samples")
    append(engine, [(one, NOW_MS + at, ONE) for one in (A, B) for at in range(1_000)])
    engine.delete(named("a"), NOW_MS, NOW_MS + 499)
    engine.close()
    engine = open_engine(None, tmp_path / "samples")
    assert len(everything(engine)) == 1_500
    engine.compact()
    assert engine.stats()["block_samples"] == 1_500
    engine.close()

"""Crashes of the machine at every disk operation, and what must be there afterwards."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable

import pytest

from tests.sim.crashes import seeds_at
from tests.sim.disk import DiskCrash, MemoryDisk
from tests.tsdb.store.stores import (
    FOLDER,
    HOUR_MS,
    NOW_MS,
    Row,
    append,
    bits_of,
    everything,
    labels,
    later,
    open_engine,
)
from tsdb.store.engine import Engine


@pytest.fixture(autouse=True)
def _few_series_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few gone series end an epoch, and a few that are seen are defined ahead of time in the next segment."""
    monkeypatch.setattr("tsdb.store.epochs.INACTIVE_COUNT_MIN", 3)
    monkeypatch.setattr("tsdb.store.wal.PREPARED_SERIES_COUNT_MIN", 1)


SEEDS = (1, 2, 3)


def batch(number: int) -> list[Row]:
    """Sixty samples: three series that every batch has, one of its own; of two windows, some out of order.

    No two batches have a sample in common, so a sample tells which batch it came with.
    """
    return [
        (one, NOW_MS + (number * 97 + at * 7_001_003) % (4 * HOUR_MS), bits_of(number + at / 100))
        for at in range(15)
        for one in (labels(name="a"), labels(name="a", host="1"), labels(name="b"), labels(name=f"new{number}"))
    ]


def life(engine: Engine, acknowledged: list[Row], sent: list[Row]) -> None:
    """A short life of a store, with all that it does to the disk."""

    def send(number: int) -> None:
        sent.extend(batch(number))
        append(engine, batch(number))
        acknowledged.extend(batch(number))

    send(0)
    send(1)
    engine.flush()
    send(2)
    engine.tick(NOW_MS)
    send(3)
    engine.compact()
    send(4)
    engine.flush()
    engine._catalogue.remove_doomed(float("inf"))
    send(5)
    later(engine)  # The series of the first batches are gone by now, which ends the epoch at the next flush.
    send(6)
    epoch = engine.epoch
    engine.flush()
    assert engine.epoch != epoch
    send(7)
    engine.close()


def history(number: int) -> list[Row]:
    """Sixty samples of two series, of nearly four weeks: five windows of 128 h, most of them of several of 2 h."""
    return [
        (one, NOW_MS - (number * 97 + at * 21 * HOUR_MS + at % 3 * 5_000_000), bits_of(number + at / 100))
        for at in range(30)
        for one in (labels(name="a"), labels(name=f"old{number}"))
    ]


def life_with_history(engine: Engine, acknowledged: list[Row], sent: list[Row]) -> None:
    """Old samples that come at once, together with new ones, and more of them for the same windows."""
    for number in range(2):
        for rows in (history(number), batch(number)):
            sent.extend(rows)
            append(engine, rows)
            acknowledged.extend(rows)
        engine.flush()
    engine.tick(NOW_MS)
    engine.close()


Life = Callable[[Engine, list[Row], list[Row]], None]


def run(disk: MemoryDisk, lived: Life = life, **settings: object) -> tuple[list[Row], list[Row]]:
    acknowledged: list[Row] = []
    sent: list[Row] = []
    with contextlib.suppress(DiskCrash):
        lived(open_engine(disk, **settings), acknowledged, sent)
    return acknowledged, sent


def lost_or_invented(make_disk: Callable[[int], MemoryDisk], lived: Life = life) -> str:
    """What goes wrong when the machine stops at operation 0, 1, 2 … in turn; empty if nothing does."""
    for crash_at in itertools.count():
        disk = make_disk(crash_at)
        acknowledged, sent = run(disk, lived)
        for seed in (None, *seeds_at(crash_at, SEEDS)):
            after = open_engine(disk.reboot(seed))
            found = everything(after)
            if lost := set(acknowledged) - set(found):
                return f"{len(lost)} lost, {crash_at=}, {seed=}, {disk.operations[-3:]=}"
            if invented := set(found) - set(sent):
                return f"{len(invented)} invented, {crash_at=}, {seed=}, {disk.operations[-3:]=}"
            assert len(found) == len(set(found)), f"twice there, {crash_at=}, {seed=}"
            append(after, batch(9))  # The store takes samples again, and a second start keeps them.
            after.compact()
            after.close()
        if not disk.crashed:
            return ""
    raise AssertionError


def test_acknowledged_samples_survive_a_crash_at_every_disk_operation() -> None:
    """Goal: with fsync always, an acknowledged sample is there after any crash, and no other sample is.

    Method: stop the machine at each operation in turn, reboot on what reached the platter (nothing unsynced, and a
    random part of it), compare (labels, time, value bits)."""
    assert lost_or_invented(lambda crash_at: MemoryDisk(crash_at=crash_at)) == ""


def test_a_crash_at_every_disk_operation_of_a_flush_into_long_windows_loses_nothing() -> None:
    """As above, with blocks of 128 h that a flush writes by itself."""
    disk = MemoryDisk()
    run(disk, life_with_history)
    hours = Counter(name.split("-")[1] for name in disk.names(FOLDER / "blocks"))
    assert hours["128h"] >= 8, hours
    assert lost_or_invented(lambda crash_at: MemoryDisk(crash_at=crash_at), life_with_history) == ""


def test_the_crash_test_notices_a_disk_that_does_not_sync_files() -> None:
    assert "lost" in lost_or_invented(lambda crash_at: MemoryDisk(crash_at=crash_at, syncs_files=False))


def test_the_crash_test_notices_a_disk_that_does_not_sync_folders() -> None:
    assert "lost" in lost_or_invented(lambda crash_at: MemoryDisk(crash_at=crash_at, syncs_folders=False))


def test_the_crash_test_notices_an_acknowledgement_before_the_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.store.wal.Wal.sync", lambda self, up_to_count=None: None)
    assert "lost" in lost_or_invented(lambda crash_at: MemoryDisk(crash_at=crash_at))


def test_the_crash_test_notices_a_log_that_is_dropped_before_the_blocks_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    roll = Engine._flush

    def flush(engine: Engine) -> None:
        number = engine._wal.roll()
        engine._wal.drop_before(number)
        roll(engine)

    monkeypatch.setattr(Engine, "_flush", flush)
    assert "lost" in lost_or_invented(lambda crash_at: MemoryDisk(crash_at=crash_at))


def test_the_crash_test_notices_a_block_that_gets_its_name_before_its_bytes_are_durable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.sim.disk.MemoryFile.sync", _sync_unless_block(monkeypatch))
    assert "lost" in lost_or_invented(lambda crash_at: MemoryDisk(crash_at=crash_at))


def _sync_unless_block(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    from tests.sim.disk import MemoryFile

    sync = MemoryFile.sync

    def sync_log_alone(file: MemoryFile) -> None:
        if file._inode.content.startswith(b"HENGEBLK"):
            file._disk.count("sync")
        else:
            sync(file)

    return sync_log_alone


@pytest.mark.parametrize("fsync", ["interval", "never"])
def test_what_survives_without_a_sync_per_batch_is_a_prefix_of_the_log(fsync: str) -> None:
    """Goal: with an interval a crash costs the last batches alone: if a batch is there, all before it are.

    A batch of which a part survived counts as there; only the last may be such a part."""
    for crash_at in itertools.count():
        disk = MemoryDisk(crash_at=crash_at)
        _, sent = run(disk, fsync=fsync)
        for seed in seeds_at(crash_at, (None, *SEEDS)):
            found = set(everything(open_engine(disk.reboot(seed))))
            assert found <= set(sent), f"invented, {crash_at=}, {seed=}"
            there = [bool(found & set(batch(number))) for number in range(8)]
            whole = [found >= set(batch(number)) for number in range(8)]
            count = sum(there)
            assert there == [True] * count + [False] * (8 - count), f"{there=}, {crash_at=}, {seed=}"
            assert all(whole[: max(0, count - 1)]), f"{whole=}, {crash_at=}, {seed=}"
        if not disk.crashed:
            break

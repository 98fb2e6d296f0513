"""The engine's promises: ids and epochs, limits, what is refused, upkeep, one engine per folder."""

from __future__ import annotations

import errno
import itertools
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.sim.disk import MemoryDisk, MemoryFile
from tests.tsdb.store.stores import (
    FOLDER,
    HOUR_MS,
    NOW_MS,
    DrivenClock,
    append,
    bits_of,
    everything,
    labels,
    open_engine,
    rows_of,
)
from tests.waiting import wait_until
from tsdb.errors import DiskFull, NotReady, RefusedQuery, StaleEpoch
from tsdb.sample import Matcher, MatchOp, SampleBatch, canonical_bytes
from tsdb.store.block.writer import BlockWriter
from tsdb.store.disk import OsFile
from tsdb.store.reader import BlockGone, BlockReader

A, B, C = (labels(name=name) for name in "abc")
ONE = bits_of(1.0)


def batch_of(series: list[int], times_ms: list[int] | None = None) -> SampleBatch:
    return SampleBatch(
        series=np.array(series, np.int32),
        timestamp_ms=np.array(times_ms or [NOW_MS] * len(series), np.int64),
        value=np.ones(len(series)),
    )


def test_new_series_get_ids_and_known_ones_keep_theirs() -> None:
    engine = open_engine(MemoryDisk())
    a, b, c = map(canonical_bytes, (A, B, C))
    first = engine.append(batch_of([-1, -2, -1]), [a, b], epoch=engine.epoch, now_ms=NOW_MS)
    again = engine.append(batch_of([-1, -2, -3, 0]), [b, c, b], epoch=engine.epoch, now_ms=NOW_MS)
    assert first.new_ids.tolist() == [0, 1]
    assert again.new_ids.tolist() == [1, 2, 1]
    assert (first.accepted_count, again.accepted_count) == (3, 4)


def test_a_batch_of_an_earlier_start_is_refused() -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS, ONE)])
    old_epoch = engine.epoch
    engine.close()
    engine = open_engine(disk)
    assert engine.epoch != old_epoch
    with pytest.raises(StaleEpoch, match="register the series"):
        engine.append(batch_of([0]), [], epoch=old_epoch, now_ms=NOW_MS)


@pytest.mark.parametrize("series", [[1], [-2], [0, 5], [-1, -3]])
def test_an_id_that_nobody_gave_out_is_refused_with_the_whole_batch(series: list[int]) -> None:
    engine = open_engine(MemoryDisk())
    with pytest.raises(ValueError, match="ids go to"):
        engine.append(batch_of(series), [canonical_bytes(A)], epoch=engine.epoch, now_ms=NOW_MS)
    assert everything(engine) == []


def test_bytes_that_are_not_canonical_labels_are_refused() -> None:
    engine = open_engine(MemoryDisk())
    for wrong in (b"", b"a", b"a\xff", b"a\xffb\xffc\xff"):
        with pytest.raises(ValueError, match="not canonical"):
            engine.append(batch_of([-1]), [wrong], epoch=engine.epoch, now_ms=NOW_MS)


REFUSALS = {  # name: (time relative to now in ms, retention in ms, the reason; empty if it is stored)
    "now": (0, None, ""),
    "the last moment that is allowed": (HOUR_MS, None, ""),
    "past the future limit": (HOUR_MS + 1, None, "too_far_in_future"),
    "1970 with retention forever": (-NOW_MS, None, ""),
    "before 1970": (-NOW_MS - 1, None, "negative_time"),
    "before 1970 with a retention": (-NOW_MS - 1, HOUR_MS, "negative_time"),
    "at the retention": (-HOUR_MS, HOUR_MS, ""),
    "past the retention": (-HOUR_MS - 1, HOUR_MS, "too_old"),
    "the highest number": (2**63 - 1 - NOW_MS, None, "too_far_in_future"),
    "the lowest number": (-(2**63) - NOW_MS, HOUR_MS, "negative_time"),
}


@pytest.mark.parametrize(("offset_ms", "retention_ms", "reason"), REFUSALS.values(), ids=REFUSALS.keys())
def test_times_that_are_refused(offset_ms: int, retention_ms: int | None, reason: str) -> None:
    engine = open_engine(MemoryDisk(), retention_raw_ms=retention_ms)
    ack = append(engine, [(A, NOW_MS, ONE), (B, NOW_MS + offset_ms, ONE)], now_ms=NOW_MS)
    assert ack.refused == ({reason: 1} if reason else {})
    assert ack.accepted_count == (1 if reason else 2)
    assert len(everything(engine)) == ack.accepted_count


def test_series_over_the_limit_are_refused_and_known_ones_are_not() -> None:
    engine = open_engine(MemoryDisk(), series_count_max=2)
    ack = append(engine, [(A, NOW_MS, ONE), (B, NOW_MS, ONE), (C, NOW_MS, ONE), (C, NOW_MS + 1, ONE)])
    assert ack.new_ids.tolist() == [0, 1, -1]
    assert ack.refused == {"too_many_series": 2}
    again = append(engine, [(C, NOW_MS, ONE), (A, NOW_MS + 1, ONE)])
    assert again.new_ids.tolist() == [-1, 0]
    assert again.accepted_count == 1


def test_registering_series_without_samples_gives_ids() -> None:
    engine = open_engine(MemoryDisk())
    ack = engine.append(batch_of([]), [canonical_bytes(A)], epoch=engine.epoch, now_ms=NOW_MS)
    assert ack.new_ids.tolist() == [0]
    engine.append(batch_of([0]), [], epoch=engine.epoch, now_ms=NOW_MS)
    assert [row[0] for row in everything(engine)] == [A]


def test_a_second_engine_on_one_folder_is_refused(tmp_path: Path) -> None:
    engine = open_engine(None, tmp_path / "samples")
    append(engine, [(A, NOW_MS, ONE)])
    with pytest.raises(NotReady, match="in use by another store"):
        open_engine(None, tmp_path / "samples")
    engine.close()
    again = open_engine(None, tmp_path / "samples")
    assert everything(again) == [(A, NOW_MS, ONE)]
    again.close()


def test_a_closed_engine_takes_nothing() -> None:
    engine = open_engine(MemoryDisk())
    engine.close()
    engine.close()
    with pytest.raises(NotReady, match="closed"):
        append(engine, [(A, NOW_MS, ONE)])


def test_a_real_folder_keeps_everything_over_flush_compact_and_restart(tmp_path: Path) -> None:
    rows = [(one, NOW_MS + 1_000 * at, bits_of(at / 3)) for one in (A, B, C) for at in range(5_000)]
    engine = open_engine(None, tmp_path / "samples", fsync="interval")
    for start in range(0, len(rows), 4_000):
        append(engine, rows[start : start + 4_000])
        engine.flush()
    assert engine.stats()["block_count"] > 1
    engine.compact()
    assert engine.stats()["block_count"] == 1
    assert engine.stats()["head_samples"] == 0
    append(engine, [(A, NOW_MS + 1, ONE)])
    engine.close()
    engine = open_engine(None, tmp_path / "samples")
    assert everything(engine) == sorted([*rows, (A, NOW_MS + 1, ONE)])
    engine.close()


def test_one_window_becomes_one_block() -> None:
    engine = open_engine(MemoryDisk())
    append(engine, [(A, NOW_MS + hour * HOUR_MS, ONE) for hour in range(5)])
    engine.flush()
    stats = engine.stats()
    assert (stats["block_count"], stats["head_samples"], stats["wal_bytes"]) == (3, 0, 32)


def test_a_snapshot_names_only_the_blocks_of_the_range_and_a_reader_elsewhere_answers_from_it() -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    rows = [(one, NOW_MS + hour * HOUR_MS, bits_of(hour)) for one in (A, B) for hour in range(6)]
    append(engine, rows)
    engine.flush()
    append(engine, [(A, NOW_MS + HOUR_MS, bits_of(99.0)), (C, NOW_MS + HOUR_MS, ONE)])
    wanted = [Matcher("__name__", MatchOp.REGEX, "a|c")]
    snapshot = engine.snapshot(wanted, NOW_MS, NOW_MS + HOUR_MS)
    assert len(snapshot.blocks) == 1
    reader = BlockReader(FOLDER, disk=disk)
    found = reader.select(snapshot.blocks, wanted, NOW_MS, NOW_MS + HOUR_MS, snapshot.head)
    assert rows_of(found) == [
        (A, NOW_MS, bits_of(0)),
        (A, NOW_MS + HOUR_MS, bits_of(99.0)),
        (C, NOW_MS + HOUR_MS, ONE),
    ]


def test_replaced_blocks_stay_readable_for_a_while_and_then_ask_for_a_new_snapshot() -> None:
    disk, clock = MemoryDisk(), DrivenClock()
    engine = open_engine(disk, clock=clock)
    for value in range(2):
        append(engine, [(A, NOW_MS + value, ONE)])
        engine.flush()
    old = engine.snapshot([], 0, 2**60)
    engine.compact()
    assert len(BlockReader(FOLDER, disk=disk).select(old.blocks, [], 0, 2**60).value) == 2
    clock.time_ms += 31_000
    engine.tick(NOW_MS)
    with pytest.raises(BlockGone, match="new snapshot"):
        BlockReader(FOLDER, disk=disk).select(old.blocks, [], 0, 2**60)
    assert len(everything(engine)) == 2


def test_blocks_of_days_past_become_one_and_late_samples_are_still_found() -> None:
    disk = MemoryDisk()
    engine = open_engine(disk, clock=DrivenClock(NOW_MS + 1_000 * HOUR_MS))
    rows = [(one, NOW_MS + hour * HOUR_MS, bits_of(hour)) for one in (A, B) for hour in range(300)]
    append(engine, rows)
    engine.compact()
    assert engine.stats()["block_count"] <= 4, "300 hours are in three or four windows of 128"
    append(engine, [(A, NOW_MS, bits_of(77.0)), (C, NOW_MS + HOUR_MS, ONE)])
    engine.flush()
    wanted = sorted([*rows[1:], (A, NOW_MS, bits_of(77.0)), (C, NOW_MS + HOUR_MS, ONE)])
    assert everything(engine) == wanted
    engine.tick(NOW_MS + 1_000 * HOUR_MS)
    engine.compact()
    assert everything(engine) == wanted
    assert everything(open_engine(disk.reboot())) == wanted


def test_a_long_join_lets_a_full_head_be_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.store.block.tile.SAMPLE_COUNT_MIN", 2)
    monkeypatch.setattr("tsdb.store.block.tile.SAMPLE_COUNT_TARGET", 3)
    monkeypatch.setattr("tsdb.store.block.tile.SAMPLE_COUNT_MAX", 4)
    engine = open_engine(MemoryDisk(), head_bytes_max=200)
    for at in range(3):
        append(engine, [(one, NOW_MS + at, ONE) for one in (A, B, C)])
        engine.flush()
    put_tile = BlockWriter._put_tile
    head_counts: list[int] = []

    def send_meanwhile(writer: BlockWriter, *columns: np.ndarray) -> None:
        if not head_counts:
            append(engine, [(labels(name="meanwhile"), NOW_MS + 100 + at, ONE) for at in range(11)])
        head_counts.append(engine.stats()["head_samples"])
        put_tile(writer, *columns)

    monkeypatch.setattr(BlockWriter, "_put_tile", send_meanwhile)
    engine.compact()
    assert head_counts[0] == 11
    assert head_counts[-1] == 0, "the head was flushed between two tiles of the join"
    assert len(everything(engine)) == 9 + 11


def test_label_names_and_values_come_from_head_and_blocks_of_the_range() -> None:
    engine = open_engine(MemoryDisk())
    append(engine, [(labels(name="old", job="x"), NOW_MS, ONE)])
    engine.flush()
    append(engine, [(labels(name="new", host="y"), NOW_MS + 9 * HOUR_MS, ONE)])
    assert engine.label_names(0, 2**60) == ["__name__", "host", "job"]
    assert engine.label_names(NOW_MS + HOUR_MS, 2**60) == ["__name__", "host"]
    assert engine.label_values("__name__", 0, 2**60) == ["new", "old"]
    assert engine.label_values("__name__", 0, NOW_MS) == ["old"]
    assert engine.label_values("absent", 0, NOW_MS) == []
    assert engine.series([Matcher("job", MatchOp.NOT_EQUAL, "")], 0, 2**60) == [labels(name="old", job="x")]


def test_a_wrong_regular_expression_is_refused_with_the_label_named() -> None:
    engine = open_engine(MemoryDisk())
    append(engine, [(A, NOW_MS, ONE)])
    with pytest.raises(RefusedQuery, match="label job: the regular expression '\\('"):
        engine.select([Matcher("job", MatchOp.REGEX, "(")], 0, 1)


def test_upkeep_flushes_a_head_that_is_full_or_old() -> None:
    clock = DrivenClock()
    engine = open_engine(MemoryDisk(), clock=clock, head_bytes_max=10_000)
    append(engine, [(A, NOW_MS + at, ONE) for at in range(400)])
    engine.tick(NOW_MS)
    assert engine.stats()["block_count"] == 0, "8,000 bytes are within the limit"
    append(engine, [(A, NOW_MS + 400 + at, ONE) for at in range(400)])
    engine.tick(NOW_MS)
    assert engine.stats()["block_count"] == 1
    append(engine, [(A, NOW_MS + 2_000, ONE)])
    clock.time_ms += 3 * HOUR_MS
    engine.tick(NOW_MS)
    assert engine.stats()["head_samples"] == 0


def test_a_head_far_over_its_limit_refuses_until_blocks_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.store.engine.ROOM_WAIT_S", 0.01)
    engine = open_engine(MemoryDisk(), head_bytes_max=1_000)
    append(engine, [(A, NOW_MS + at, ONE) for at in range(200)])
    with pytest.raises(NotReady, match="twice store"):
        append(engine, [(A, NOW_MS, ONE)])
    engine.tick(NOW_MS)
    assert append(engine, [(A, NOW_MS, ONE)]).accepted_count == 1


def test_a_sender_who_meets_a_head_far_over_its_limit_is_held_back_until_there_is_room() -> None:
    engine = open_engine(MemoryDisk(), head_bytes_max=1_000)
    append(engine, [(A, NOW_MS + at, ONE) for at in range(200)])
    sender = threading.Thread(target=append, args=(engine, [(B, NOW_MS, ONE)]))
    sender.start()
    engine.flush()
    sender.join(10)
    assert [row[0] for row in everything(engine)][-1] == B


def test_upkeep_joins_the_blocks_of_a_closed_window() -> None:
    engine = open_engine(MemoryDisk())
    for at in range(3):
        append(engine, [(A, NOW_MS + at, ONE)])
        engine.flush()
    engine.tick(NOW_MS + 2 * HOUR_MS)
    assert engine.stats()["block_count"] == 3, "samples within the out-of-order window may still come"
    engine.tick(NOW_MS + 3 * HOUR_MS)
    assert engine.stats()["block_count"] == 1
    assert len(everything(engine)) == 3


def test_blocks_past_the_retention_are_dropped_but_not_by_a_clock_that_jumps_ahead() -> None:
    disk, clock = MemoryDisk(), DrivenClock()
    engine = open_engine(disk, clock=clock, retention_raw_ms=24 * HOUR_MS)
    append(engine, [(A, NOW_MS, ONE), (A, NOW_MS + 20 * HOUR_MS, ONE)], now_ms=NOW_MS + 20 * HOUR_MS)
    engine.flush()
    engine.tick(NOW_MS + 365 * 24 * HOUR_MS)
    assert len(everything(engine)) == 2, "the newest sample is not a year ahead"
    append(engine, [(A, NOW_MS + 30 * HOUR_MS, ONE)], now_ms=NOW_MS + 30 * HOUR_MS)
    engine.tick(NOW_MS + 30 * HOUR_MS)
    assert len(everything(engine)) == 2
    clock.time_ms += HOUR_MS
    engine.tick(NOW_MS + 30 * HOUR_MS)
    assert len(disk.names(FOLDER / "blocks")) == 1


def test_a_full_disk_refuses_writes_keeps_reads_and_recovers_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS, ONE)])
    write = MemoryFile.append

    def half_then_full(file: MemoryFile, parts: list) -> int:
        write(file, [b"".join(map(bytes, parts))[:20]])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(MemoryFile, "append", half_then_full)
        with pytest.raises(DiskFull, match="writes are refused and reads go on"):
            append(engine, [(B, NOW_MS, ONE)])
        with pytest.raises(DiskFull):
            engine.flush()
        assert everything(engine) == [(A, NOW_MS, ONE)]
    append(engine, [(B, NOW_MS, ONE)])
    wanted = [(A, NOW_MS, ONE), (B, NOW_MS, ONE)]
    assert everything(engine) == wanted
    again = open_engine(disk.reboot())
    assert everything(again) == wanted
    assert again.stats()["quarantined_frames"] == again.stats()["torn_tails"] == 0, "the half frame was cut"


def test_a_store_that_starts_on_a_full_disk_serves_what_it_has_and_recovers_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = MemoryDisk()
    append(open_engine(disk), [(A, NOW_MS, ONE)])
    disk = disk.reboot()

    def fail(file: MemoryFile, parts: list) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(MemoryFile, "append", fail)
        engine = open_engine(disk)
        assert everything(engine) == [(A, NOW_MS, ONE)]
        for _ in range(3):
            with pytest.raises(DiskFull, match="until space is free"):
                append(engine, [(B, NOW_MS, ONE)])
            engine.tick(NOW_MS)
    assert len(disk.names(FOLDER / "wal")) == 1, "attempts leave no empty segments behind"
    append(engine, [(B, NOW_MS, ONE)])
    wanted = [(A, NOW_MS, ONE), (B, NOW_MS, ONE)]
    assert everything(engine) == everything(open_engine(disk.reboot())) == wanted
    engine.close()


def test_a_flush_that_fails_half_way_leaves_no_block_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS, ONE), (A, NOW_MS + 2 * HOUR_MS, ONE)])
    create, block_numbers = MemoryDisk.create, itertools.count()

    def full_at_the_second_block(self: MemoryDisk, path: Path) -> MemoryFile:
        if path.parent.name == "blocks" and next(block_numbers) % 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return create(self, path)

    with monkeypatch.context() as full:
        full.setattr(MemoryDisk, "create", full_at_the_second_block)
        for _ in range(3):
            with pytest.raises(DiskFull):
                engine.flush()
            assert disk.names(FOLDER / "blocks") == []
    engine.flush()
    assert engine.stats()["block_count"] == len(disk.names(FOLDER / "blocks")) == 2
    assert len(everything(engine)) == 2


def test_a_segment_that_cannot_be_begun_leaves_no_file_open_or_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(None, tmp_path)
    append(engine, [(A, NOW_MS, ONE)])

    def fail(file: OsFile, parts: list) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    open_count = len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as full:
        full.setattr(OsFile, "append", fail)
        for _ in range(3):
            with pytest.raises(DiskFull):
                engine.flush()
    assert len(list(Path("/proc/self/fd").iterdir())) == open_count
    assert len(list((tmp_path / "wal").iterdir())) == 1
    assert everything(engine) == [(A, NOW_MS, ONE)]
    engine.close()


def test_a_segment_that_cannot_be_begun_does_not_cost_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: what is cut off after a failed write is that write alone, also after a roll that failed late."""
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS, ONE)])

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    for method, act in (("sync_folder", engine.flush), ("append", lambda: append(engine, [(B, NOW_MS, ONE)]))):
        with monkeypatch.context() as full:
            full.setattr(MemoryDisk if method == "sync_folder" else MemoryFile, method, fail)
            with pytest.raises(DiskFull):
                act()
    assert everything(open_engine(disk.reboot())) == [(A, NOW_MS, ONE)]


def test_an_old_head_whose_flush_failed_is_flushed_as_soon_as_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = DrivenClock()
    engine = open_engine(MemoryDisk(), clock=clock)
    append(engine, [(A, NOW_MS, ONE)])
    clock.time_ms += 3 * HOUR_MS

    def fail(disk: MemoryDisk, path: Path) -> MemoryFile:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(MemoryDisk, "create", fail)
        with pytest.raises(NotReady, match="new segment"):
            engine.tick(NOW_MS)
    clock.time_ms += 1_000
    engine.tick(NOW_MS)
    assert engine.stats()["block_count"] == 1


def test_closing_breaks_off_a_flush_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS, ONE)])
    closing = threading.Thread(target=engine.close)
    breathe = engine._breathe

    def breathe_while_somebody_closes() -> None:
        closing.start()
        wait_until(lambda: engine._is_closing)
        breathe()

    monkeypatch.setattr(engine, "_block_folder", replace(engine._block_folder, breathe=breathe_while_somebody_closes))
    with pytest.raises(NotReady, match="being closed"):
        engine.flush()
    closing.join(10)
    assert disk.names(FOLDER / "blocks") == []
    assert everything(open_engine(disk.reboot())) == [(A, NOW_MS, ONE)]


def test_a_failed_sync_refuses_the_batch_and_the_log_goes_on_in_a_new_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)

    def fail(file: MemoryFile) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(MemoryFile, "sync", fail)
        with pytest.raises(NotReady, match="could not be synced"):
            append(engine, [(A, NOW_MS, ONE)])
    append(engine, [(A, NOW_MS, ONE), (B, NOW_MS, ONE)])
    assert len(disk.names(FOLDER / "wal")) == 2
    assert set(everything(open_engine(disk.reboot()))) == {(A, NOW_MS, ONE), (B, NOW_MS, ONE)}


@pytest.mark.parametrize("comes_more", [False, True])
def test_samples_whose_sync_failed_are_soon_made_durable_as_blocks(
    monkeypatch: pytest.MonkeyPatch, comes_more: bool
) -> None:
    disk, clock = MemoryDisk(), DrivenClock()
    engine = open_engine(disk, fsync="interval", clock=clock)
    append(engine, [(A, NOW_MS, ONE)])
    clock.time_ms += 1_000

    def fail(file: MemoryFile) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(MemoryFile, "sync", fail)
        with pytest.raises(NotReady, match="could not be synced"):
            engine.tick(NOW_MS)
    if comes_more:  # It goes into a new segment, which hides that the old one is broken.
        append(engine, [(A, NOW_MS, ONE)])
    engine.tick(NOW_MS)
    assert engine.stats()["block_count"] == 1
    assert everything(open_engine(disk.reboot())) == [(A, NOW_MS, ONE)]


def test_a_batch_of_a_broken_segment_is_refused_however_often_the_log_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: who is slow to ask for his sync is not told that it was made. Method: break, fail to roll, roll, break."""
    disk = MemoryDisk()
    engine = open_engine(disk, fsync="never")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def break_once() -> None:
        append(engine, [(A, NOW_MS, ONE)])
        with monkeypatch.context() as broken:
            broken.setattr(MemoryFile, "sync", fail)
            with pytest.raises(NotReady, match="could not be synced"):
                engine._wal.sync()

    break_once()
    slow = engine._wal.written_count
    with monkeypatch.context() as broken:
        broken.setattr(MemoryDisk, "create", fail)
        with pytest.raises(NotReady, match="new segment"):
            append(engine, [(A, NOW_MS, ONE)])
    break_once()
    append(engine, [(A, NOW_MS, ONE)])
    with pytest.raises(NotReady, match="could not be synced"):
        engine._wal.sync(slow)


def test_appends_of_many_threads_share_syncs_and_all_are_kept() -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    one = [labels(name=f"thread{number}") for number in range(8)]

    def send(number: int) -> None:
        for at in range(50):
            append(engine, [(one[number], NOW_MS + at, ONE)])

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        engine.flush()
    for thread in threads:
        thread.join()
    assert everything(open_engine(disk.reboot())) == [(series, NOW_MS + at, ONE) for series in one for at in range(50)]

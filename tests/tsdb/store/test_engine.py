"""The engine's promises: ids and epochs, limits, what is refused, upkeep, one engine per folder."""

from __future__ import annotations

import errno
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
from tsdb.answer import PathNode
from tsdb.errors import DiskFull, NotReady, RefusedQuery, StaleEpoch
from tsdb.sample import Matcher, MatchOp, SampleBatch, canonical_bytes
from tsdb.store.block.writer import BlockWriter
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
    assert list(ack.words) == ([reason] if reason else [])
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
    clock = DrivenClock()
    engine = open_engine(MemoryDisk(), clock=clock)
    append(engine, [(A, NOW_MS + hour * HOUR_MS, ONE) for hour in range(5)])
    clock.time_ms += 2_000
    engine.flush()
    stats = engine.stats()
    assert (stats["block_count"], stats["head_samples"], stats["wal_bytes"]) == (3, 0, 32)


def test_a_segment_that_is_begun_under_load_knows_the_series_that_were_seen_in_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tsdb.store.wal.PREPARED_SERIES_COUNT_MIN", 1)
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(A, NOW_MS, ONE), (B, NOW_MS, ONE)])
    engine.flush()
    defined_bytes = engine.stats()["wal_bytes"]
    append(engine, [(A, NOW_MS + 1, ONE)])
    # A frame of one sample: header, value, and no definition; id and time are in the header.
    assert engine.stats()["wal_bytes"] == defined_bytes + 56 + 8
    engine.flush()
    assert engine.stats()["wal_bytes"] < defined_bytes  # B was not seen any more.
    append(engine, [(one, NOW_MS + 2, ONE) for one in (A, B)])
    assert len(everything(open_engine(disk.reboot()))) == 5


def test_a_segment_that_is_begun_while_nobody_sends_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.store.wal.PREPARED_SERIES_COUNT_MIN", 1)
    clock = DrivenClock()
    engine = open_engine(MemoryDisk(), clock=clock)
    append(engine, [(A, NOW_MS, ONE)])
    clock.time_ms += 1_000
    engine.flush()
    assert engine.stats()["wal_bytes"] == 32


def test_joins_wait_while_the_head_fills_fast_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = DrivenClock()
    engine = open_engine(MemoryDisk(), clock=clock, head_bytes_max=20)

    def fill(minute: int) -> int:
        append(engine, [(A, NOW_MS - 24 * HOUR_MS + minute * 60_000, ONE)])  # In a window that is over.
        engine.tick(clock.now_ms())
        clock.time_ms += 10_000
        return int(engine.stats()["block_count"])

    assert [fill(minute) for minute in range(4)] == [1, 2, 3, 4]
    monkeypatch.setattr("tsdb.store.compaction.WAITING_BLOCKS_MAX", 3)
    engine.tick(clock.now_ms())
    assert engine.stats()["block_count"] == 1
    monkeypatch.undo()
    assert [fill(minute) for minute in (4, 5)] == [2, 3]
    clock.time_ms += 30_000
    engine.tick(clock.now_ms())
    assert engine.stats()["block_count"] == 1
    assert len(everything(engine)) == 6


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
    found = reader.select(snapshot.blocks, wanted, NOW_MS, NOW_MS + HOUR_MS, snapshot.heads)
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


def test_a_reader_forgets_series_that_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: names that come and go do not fill a process that lives long. Method: a new name an hour, for 50 hours."""
    monkeypatch.setattr("tsdb.store.reader._GONE_SERIES_MAX", 10)
    disk, clock = MemoryDisk(), DrivenClock()
    engine = open_engine(disk, clock=clock, retention_raw_ms=4 * HOUR_MS)
    reader = BlockReader(FOLDER, disk=disk)
    for hour in range(50):
        now_ms = NOW_MS + hour * HOUR_MS
        append(engine, [(labels(name=f"n{hour}"), now_ms, ONE)], now_ms=now_ms)
        engine.flush()
        clock.time_ms = now_ms
        engine.tick(now_ms)
        found = engine.snapshot([], 0, 2**62)
        answer = rows_of(reader.select(found.blocks, [], 0, 2**62, found.heads))
        assert (labels(name=f"n{hour}"), now_ms, ONE) in answer
        assert answer == everything(engine)
    assert len(reader._known.index) < 30


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
    assert engine.names.label_names(0, 2**60) == ["__name__", "host", "job"]
    assert engine.names.label_names(NOW_MS + HOUR_MS, 2**60) == ["__name__", "host"]
    assert engine.names.label_values("__name__", 0, 2**60) == ["new", "old"]
    assert engine.names.label_values("__name__", 0, NOW_MS) == ["old"]
    assert engine.names.label_values("absent", 0, NOW_MS) == []
    assert engine.series([Matcher("job", MatchOp.NOT_EQUAL, "")], 0, 2**60) == [labels(name="old", job="x")]


def test_paths_come_from_head_and_blocks_of_the_range() -> None:
    engine = open_engine(MemoryDisk())
    append(engine, [(labels(name="old.a"), NOW_MS, ONE), (labels(name="both"), NOW_MS, ONE)])
    engine.flush()
    append(engine, [(labels(name="both.b"), NOW_MS + 9 * HOUR_MS, ONE), (labels(name="x.y", job="z"), NOW_MS, ONE)])
    old, both = PathNode("old", is_leaf=False, is_branch=True), PathNode("both", is_leaf=True, is_branch=True)
    assert engine.names.find_paths("*", 0, 2**60) == [both, old]
    assert engine.names.label_values("__name__", 0, 2**60, has_tags=True) == ["x.y"]
    assert engine.names.find_paths("*", NOW_MS + HOUR_MS, 2**60) == [PathNode("both", is_leaf=False, is_branch=True)]


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


ROOMS = {  # name: (head_bytes_max, samples of 20 B that stay in memory, samples that do not; beside 94,216 B of index)
    "what the index leaves": (1_000_000, 45_000, 46_000),
    "half in any case": (100_000, 2_400, 2_600),
}


@pytest.mark.parametrize(("head_bytes_max", "stay_count", "leave_count"), ROOMS.values(), ids=ROOMS.keys())
def test_the_index_of_series_takes_room_from_the_head(
    head_bytes_max: int, stay_count: int, leave_count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tsdb.store.engine.INDEX_FREE_BYTES", 0)
    engine = open_engine(MemoryDisk(), head_bytes_max=head_bytes_max)
    for count, block_count in ((stay_count, 0), (leave_count - stay_count, 1)):
        append(engine, [(A, NOW_MS + at, ONE) for at in range(count)])
        assert 90_000 < engine.stats()["index_bytes"] < 98_000
        engine.tick(NOW_MS)
        assert engine.stats()["block_count"] == block_count


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


def test_blocks_past_the_retention_are_dropped_but_not_by_a_clock_that_jumps_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tsdb.store.settling.SETTLING_AFTER_START_S", 0.0)
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

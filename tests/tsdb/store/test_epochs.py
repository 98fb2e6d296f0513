"""Series that come and go: the index begins anew with the active ones, and nothing is lost or mixed up by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import (
    HOUR_MS,
    NOW_MS,
    DrivenClock,
    Row,
    append,
    bits_of,
    everything,
    labels,
    later,
    open_engine,
)
from tsdb.errors import DiskFull, StaleEpoch
from tsdb.sample import Matcher, MatchOp, SampleBatch, canonical_bytes
from tsdb.store import epochs
from tsdb.store.block.layout import BlockEntry
from tsdb.store.engine import Engine
from tsdb.store.flush import flush_runs
from tsdb.store.index import SeriesIndex


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three series that are gone are enough to begin anew."""
    monkeypatch.setattr("tsdb.store.epochs.INACTIVE_COUNT_MIN", 3)


def rows(*numbers: int, at_ms: int = NOW_MS) -> list[Row]:
    return [(labels(name="m", host=str(number)), at_ms + number, bits_of(number)) for number in numbers]


def with_gone_series() -> tuple[Engine, list[Row]]:
    """Hosts 0 to 7 were there two hours ago, hosts 6 to 8 are now; the next flush begins anew."""
    engine = open_engine(MemoryDisk())
    append(engine, rows(*range(8)))
    engine.flush()
    later(engine)
    append(engine, rows(6, 7, 8, at_ms=NOW_MS + HOUR_MS))
    return engine, rows(*range(8)) + rows(6, 7, 8, at_ms=NOW_MS + HOUR_MS)


@pytest.mark.usefixtures("few")
def test_a_flush_ends_the_epoch_when_most_series_are_gone() -> None:
    engine, sent = with_gone_series()
    epoch = engine.epoch
    assert engine.stats()["series_count"] == 9
    engine.flush()
    assert engine.epoch != epoch
    assert engine.stats()["series_count"] == 3
    assert sorted(everything(engine)) == sorted(sent)


@pytest.mark.usefixtures("few")
def test_a_sender_of_the_old_epoch_is_told_and_finds_active_series_in_their_places() -> None:
    engine, _ = with_gone_series()
    epoch = engine.epoch
    engine.flush()
    batch = SampleBatch(series=np.zeros(1, np.int32), timestamp_ms=np.array([NOW_MS]), value=np.ones(1))
    with pytest.raises(StaleEpoch):
        engine.append(batch, [], epoch=epoch, now_ms=NOW_MS)
    ack = append(engine, rows(8, 6, 0))
    assert sorted(ack.new_ids.tolist()) == [0, 2, 3]
    assert ack.new_ids[2] == 3


@pytest.mark.usefixtures("few")
def test_samples_of_both_epochs_are_found_while_the_old_ones_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, sent = with_gone_series()
    seen = []

    def slow(*arguments: Any) -> list[BlockEntry]:
        more = rows(0, 6, 20, at_ms=NOW_MS + HOUR_MS + 1)
        append(engine, more)
        sent.extend(more)
        seen.append(everything(engine))
        host_6 = [Matcher("host", MatchOp.EQUAL, "6")]
        assert len(engine.select(host_6, 0, 2**60).timestamp_ms) == 3
        assert len(engine.series([], NOW_MS + HOUR_MS, NOW_MS + 2 * HOUR_MS)) == 5
        assert "20" in engine.names.label_values("host", 0, 2**60)
        assert engine.names.label_names(0, 2**60) == ["__name__", "host"]
        return flush_runs(*arguments)

    monkeypatch.setattr("tsdb.store.engine.flush_runs", slow)
    engine.flush()
    assert [sorted(found) for found in seen] == [sorted(sent)]
    assert sorted(everything(engine)) == sorted(sent)


@pytest.mark.usefixtures("few")
def test_a_flush_that_fails_keeps_the_samples_of_both_epochs_and_the_next_writes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, sent = with_gone_series()

    def fail(*_: object) -> None:
        raise DiskFull("full")

    with monkeypatch.context() as full:
        full.setattr("tsdb.store.engine.flush_runs", fail)
        with pytest.raises(DiskFull):
            engine.flush()
    more = rows(0, 6, at_ms=NOW_MS + HOUR_MS + 1)
    append(engine, more)
    assert sorted(everything(engine)) == sorted(sent + more)
    engine.flush()
    assert engine.stats()["head_samples"] == 0
    assert sorted(everything(engine)) == sorted(sent + more)


@pytest.mark.usefixtures("few")
def test_a_new_segment_that_cannot_be_begun_leaves_the_epoch_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, sent = with_gone_series()
    epoch = engine.epoch

    def fail(*_: object) -> None:
        raise DiskFull("full")

    with monkeypatch.context() as full:
        full.setattr("tsdb.store.wal.Wal._create", fail)
        with pytest.raises(DiskFull):
            engine.flush()
    assert engine.epoch == epoch
    append(engine, rows(30))
    assert sorted(everything(engine)) == sorted(sent + rows(30))


@pytest.mark.usefixtures("few")
def test_upkeep_counts_once_a_minute_and_ends_the_epoch_without_a_full_head() -> None:
    engine = open_engine(MemoryDisk())
    append(engine, rows(*range(8)))
    engine.flush()
    epoch = engine.epoch
    later(engine, by_ms=HOUR_MS // 2)
    engine.tick(NOW_MS)
    assert engine.epoch == epoch
    later(engine, by_ms=HOUR_MS)
    engine.tick(NOW_MS)
    assert engine.epoch != epoch
    assert engine.stats()["series_count"] == 0
    assert sorted(everything(engine)) == sorted(rows(*range(8)))


@pytest.mark.usefixtures("few")
def test_the_limit_on_series_counts_the_active_ones() -> None:
    engine = open_engine(MemoryDisk(), series_count_max=10)
    append(engine, rows(*range(10)))
    assert append(engine, rows(10, 11)).refused == {"too_many_series": 2}
    engine.flush()
    later(engine)
    append(engine, rows(*range(8)))  # Two of ten are gone: too few to begin anew, and they take no place any more.
    engine.tick(NOW_MS)
    assert append(engine, rows(10, 11, 12)).refused == {"too_many_series": 1}


def test_a_hundred_thousand_series_are_carried_over_as_they_are() -> None:
    index = SeriesIndex()
    canonical = [canonical_bytes(labels(name="x" * (number % 50 + 1), host=str(number))) for number in range(30_000)]
    index.add(canonical, at_s=7)
    is_active = np.arange(30_000) % 3 == 1
    begun = epochs.successor(index, epochs.Census(is_active, is_active), lambda: None)
    kept = [one for one, active in zip(canonical, is_active, strict=True) if active]
    assert begun.canonical_of(np.arange(len(begun))) == kept
    assert begun.add(kept[::-1]).tolist() == list(range(len(kept)))[::-1]
    assert begun.match([Matcher("host", MatchOp.EQUAL, "4")]).tolist() == [1]
    assert begun.is_seen_since(7, len(kept)).all()


def test_churn_leaves_no_growth_beyond_the_active_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: names that come and go for a day take no more memory than those of three hours, and replay knows them.

    Method: 4,000 new series every half hour of a driven clock, one sample each, 192,000 in all."""
    monkeypatch.setattr("tsdb.store.epochs.INACTIVE_COUNT_MIN", 10_000)
    clock = DrivenClock()
    engine = open_engine(None, tmp_path, fsync="never", series_count_max=30_000, clock=clock)
    counts, sizes = [], []
    for step in range(48):
        new = [canonical_bytes((("__name__", "m"), ("pod", f"{step}-{number:06d}"))) for number in range(4_000)]
        batch = SampleBatch(
            series=-1 - np.arange(4_000, dtype=np.int32),
            timestamp_ms=np.full(4_000, clock.now_ms()),
            value=np.full(4_000, float(step)),
        )
        ack = engine.append(batch, new, epoch=engine.epoch, now_ms=clock.now_ms())
        assert ack.accepted_count == 4_000
        clock.time_ms += HOUR_MS // 2
        engine.tick(clock.now_ms())
        counts.append(len(engine._index))
        sizes.append(engine._index.size_bytes)
    assert max(counts[24:]) <= 2 * 7 * 4_000
    assert max(sizes[24:]) <= max(sizes[:24])
    for step in range(48):
        assert len(engine.select([Matcher("pod", MatchOp.EQUAL, f"{step}-000007")], 0, 2**60).labels) == 1
    engine.close()


def of_team(team: str, *numbers: int) -> list[Row]:
    return [(labels(name="m", team=team, host=str(number)), NOW_MS, 0) for number in numbers]


@pytest.mark.usefixtures("few")
def test_a_team_may_have_so_many_active_series_and_others_are_free() -> None:
    engine = open_engine(MemoryDisk(), series_per_team_max=3)
    assert append(engine, of_team("a", 1, 2)).refused == {}
    ack = append(engine, [*of_team("a", 3, 4, 5), *of_team("b", 1, 2, 3), *rows(*range(9))])
    assert ack.refused == {"too_many_series_of_team": 2}
    assert "a team may have 3 active series (store.series_per_team_max)" in ack.words["too_many_series_of_team"]
    assert append(engine, of_team("a", 1, 3, 4)).refused == {"too_many_series_of_team": 1}
    engine.flush()
    later(engine)
    append(engine, of_team("a", 1))  # The others of the team are gone, and the census says so.
    engine.tick(NOW_MS)
    assert append(engine, of_team("a", 6, 7, 8)).refused == {"too_many_series_of_team": 1}


def test_new_series_a_minute_are_limited_after_the_start() -> None:
    engine = open_engine(MemoryDisk(), new_series_per_minute_max=4)
    assert append(engine, rows(*range(50))).refused == {}
    later(engine, by_ms=300_000)
    ack = append(engine, rows(*range(56)))
    assert ack.refused == {"too_many_new_series": 2}
    assert "4 series may be new in a minute (store.new_series_per_minute_max)" in ack.words["too_many_new_series"]
    later(engine, by_ms=60_000)
    assert append(engine, rows(*range(56))).refused == {}


def test_the_words_of_the_limit_in_all_name_value_and_setting() -> None:
    engine = open_engine(MemoryDisk(), series_count_max=3)
    words = append(engine, rows(*range(5))).words["too_many_series"]
    assert "3 series may be active (store.series_count_max)" in words

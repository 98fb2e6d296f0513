"""Series that have no samples in the range of a query: they are not looked at, and no other is taken for one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import (
    HOUR_MS,
    NOW_MS,
    DrivenClock,
    append,
    bits_of,
    labels,
    later,
    open_engine,
    rows_of,
)
from tsdb.sample import Int32s, Matcher, MatchOp, SampleBatch, canonical_bytes
from tsdb.store import head, reader
from tsdb.store.block import tile
from tsdb.store.engine import Engine
from tsdb.store.order import LabelOrder

REQUESTS = [Matcher("__name__", MatchOp.EQUAL, "requests")]
DEAD_COUNT, LIVE_COUNT = 100_000, 1_000


def send(engine: Engine, release: str, pods: Sequence[str], times_ms: Sequence[int]) -> None:
    """One sample of each pod of a release at each time."""
    new = [canonical_bytes(labels(name="requests", pod=pod, release=release)) for pod in pods]
    series = np.tile(-1 - np.arange(len(pods), dtype=np.int32), len(times_ms))
    timestamp_ms = np.repeat(np.array(times_ms, np.int64), len(pods))
    batch = SampleBatch(series=series, timestamp_ms=timestamp_ms, value=np.ones(series.size))
    engine.append(batch, new, epoch=engine.epoch, now_ms=times_ms[-1])


class Looks:
    """How many rows of each block a selection looked at, and how many series it put in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: dict[str, int] = {}
        self.ordered: list[int] = []
        read_part, ordered = reader.read_part, LabelOrder.ordered

        def counted_part(table: Any, place: Any, *rest: Any) -> Any:
            self.rows[table.file.name] = self.rows.get(table.file.name, 0) + place.size
            return read_part(table, place, *rest)

        def counted_order(order: LabelOrder, ids: Int32s) -> Int32s:
            self.ordered.append(ids.size)
            return ordered(order, ids)

        monkeypatch.setattr(reader, "read_part", counted_part)
        monkeypatch.setattr(LabelOrder, "ordered", counted_order)

    def clear(self) -> None:
        self.rows.clear()
        self.ordered.clear()


def test_a_hundred_thousand_dead_series_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a query of the last hour costs what lives in that hour, whatever lived before.

    Method: pods of a release that is gone, then those of another, first in blocks of their own, then in one,
    where the rows of a release lie together and share a tile with another at the border alone."""
    clock = DrivenClock(NOW_MS // (8 * HOUR_MS) * 8 * HOUR_MS)
    begin_ms = clock.time_ms
    engine = open_engine(MemoryDisk(), clock=clock, series_count_max=1 << 20, out_of_order_window_ms=24 * HOUR_MS)
    send(engine, "amber", [f"web-{number:06}" for number in range(DEAD_COUNT)], [begin_ms, begin_ms + 60_000])
    engine.flush()
    later(engine, 4 * HOUR_MS)
    now_ms = clock.time_ms
    live = [f"web-{DEAD_COUNT + number}" for number in range(LIVE_COUNT)]
    send(engine, "basil", live, [now_ms, now_ms + 60_000])
    engine.flush()
    assert len(engine.select(REQUESTS, begin_ms, now_ms + HOUR_MS).labels) == DEAD_COUNT + LIVE_COUNT
    looks = Looks(monkeypatch)
    assert len(engine.select(REQUESTS, now_ms, now_ms + HOUR_MS).labels) == LIVE_COUNT
    assert list(looks.rows.values()) == [LIVE_COUNT]
    assert looks.ordered == [LIVE_COUNT]

    later(engine, 24 * HOUR_MS)
    engine.compact()
    assert [entry.summary.series_count for entry in engine._catalogue.entries] == [DEAD_COUNT + LIVE_COUNT]
    looks.clear()
    assert len(engine.select(REQUESTS, now_ms, now_ms + HOUR_MS).labels) == LIVE_COUNT
    in_one_tile = tile.SAMPLE_COUNT_MAX // 2  # Two samples each.
    assert LIVE_COUNT <= sum(looks.rows.values()) <= LIVE_COUNT + in_one_tile
    assert max(looks.ordered) <= LIVE_COUNT + in_one_tile
    assert LIVE_COUNT <= len(engine.series(REQUESTS, now_ms, now_ms + HOUR_MS)) <= LIVE_COUNT + in_one_tile
    assert set(live) <= set(engine.names.label_values("pod", now_ms, now_ms + HOUR_MS))
    assert len(engine.names.label_values("pod", now_ms, now_ms + HOUR_MS)) <= LIVE_COUNT + in_one_tile


def test_a_moment_finds_the_samples_at_it() -> None:
    engine = open_engine(MemoryDisk())
    rows = [(labels(name="requests", pod=str(pod)), NOW_MS + 1_000 * pod, bits_of(1.0)) for pod in range(3)]
    append(engine, rows)
    for flushes in (False, True):
        if flushes:
            engine.flush()
        for pod in range(3):
            at_ms = NOW_MS + 1_000 * pod
            assert [dict(one)["pod"] for one, _, _ in rows_of(engine.select(REQUESTS, at_ms, at_ms))] == [str(pod)]
            assert str(pod) in engine.names.label_values("pod", at_ms, at_ms)
            assert labels(name="requests", pod=str(pod)) in engine.series(REQUESTS, at_ms, at_ms)


@settings(max_examples=15, phases=(Phase.explicit, Phase.generate))
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 95)), min_size=25, max_size=60, unique=True),
    st.lists(st.tuples(st.integers(0, 95), st.sampled_from([0, 0, 1, 3, 20])), min_size=8, max_size=16),
    st.sets(st.integers(0, 9), max_size=3),
    st.integers(0, 2),
)
def test_no_series_with_a_sample_in_the_range_is_left_out(
    samples: list[tuple[int, int]], ranges: list[tuple[int, int]], flushes: set[int], compactions: int
) -> None:
    """Goal: whatever is skipped has nothing in the range.

    Method: samples of eight hours in any order, runs of eight samples and tiles of three, blocks cut and joined
    anywhere, a delete; then what is found is compared with a walk over all samples."""
    with pytest.MonkeyPatch.context() as patch:
        for name, count in (("MIN", 2), ("TARGET", 3), ("MAX", 4)):
            patch.setattr(tile, f"SAMPLE_COUNT_{name}", count)
        patch.setattr(head, "RUN_SAMPLE_COUNT_MAX", 8)
        clock = DrivenClock(NOW_MS // (8 * HOUR_MS) * 8 * HOUR_MS)
        begin_ms = clock.time_ms
        engine = open_engine(MemoryDisk(), clock=clock)
        stored: list[tuple[int, int]] = []
        for at, (pod, minutes) in enumerate(samples):
            append(engine, [(labels(name="requests", pod=str(pod)), begin_ms + minutes * 300_000, bits_of(at))])
            stored.append((pod, minutes))
            if at % 10 in flushes:
                engine.flush()
                later(engine, 3 * HOUR_MS)
            if at == 20 and compactions:
                later(engine, 40 * HOUR_MS)
                engine.compact()
            if at == 30:
                engine.delete([Matcher("pod", MatchOp.EQUAL, "3")], begin_ms, begin_ms + 6 * HOUR_MS)
                stored = [one for one in stored if one[0] != 3 or one[1] > 72]
        if compactions == 2:
            later(engine, 40 * HOUR_MS)
            engine.compact()
        for first, length in ranges:
            start_ms, end_ms = begin_ms + first * 300_000, begin_ms + (first + length) * 300_000
            want = sorted((str(pod), minutes) for pod, minutes in stored if first <= minutes <= first + length)
            found = rows_of(engine.select(REQUESTS, start_ms, end_ms))
            assert [(dict(one)["pod"], (at_ms - begin_ms) // 300_000) for one, at_ms, _ in found] == want
            alive = {pod for pod, _ in want}
            assert alive <= {dict(one)["pod"] for one in engine.series(REQUESTS, start_ms, end_ms)}
            assert alive <= set(engine.names.label_values("pod", start_ms, end_ms))
            assert not alive or "pod" in engine.names.label_names(start_ms, end_ms)

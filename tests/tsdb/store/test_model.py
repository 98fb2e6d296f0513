"""The engine against a deliberately dumb twin: a dict, over random lists of operations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.sim.disk import MemoryDisk
from tests.tsdb.matching import satisfies
from tests.tsdb.store.stores import (
    FOLDER,
    HOUR_MS,
    NOW_MS,
    DrivenClock,
    Row,
    append,
    bits_of,
    labels,
    later,
    open_engine,
    rows_of,
)
from tests.tsdb.store.test_columns import any_bits, rank
from tsdb.sample import Labels, Matcher, MatchOp, Selection
from tsdb.store.engine import Engine
from tsdb.store.headpart import heads_of
from tsdb.store.reader import BlockReader

SERIES = [
    labels(name="up"),
    labels(name="up", job="api"),
    labels(name="up", job="api", host="h1"),
    labels(name="up", job="web", host="h2"),
    labels(name="down", job="api"),
    labels(job="no metric name"),
    labels(name="servers.h1.cpu"),
    labels(name="grün\n", job="a|b"),
]
times_ms = st.one_of(
    st.integers(NOW_MS, NOW_MS + 30),
    st.integers(NOW_MS // HOUR_MS, NOW_MS // HOUR_MS + 9).map(lambda hour: hour * HOUR_MS),
    st.sampled_from([0, NOW_MS - 1, NOW_MS + 10 * 24 * HOUR_MS]),
    st.integers(1, 60).map(lambda hours: NOW_MS - hours * HOUR_MS),  # Of windows that are over: a flush joins them.
)
batches = st.lists(st.tuples(st.sampled_from(SERIES), times_ms, any_bits), max_size=40)
matchers = st.builds(
    Matcher,
    st.sampled_from(["__name__", "job", "host", "absent"]),
    st.sampled_from(list(MatchOp)),
    st.sampled_from(["up", "api", "", "h1", "api|web", "api|", ".*", ".+", "u.", "[^x]*", "servers.h1.cpu", "a|b"]),
)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), batches),
        st.tuples(st.just("append"), batches),
        st.tuples(
            st.sampled_from(["flush", "compact", "erase", "restart", "crash", "tick", "forget", "epoch", "retain"]),
            st.none(),
        ),
        st.tuples(st.just("delete"), st.tuples(st.lists(matchers, min_size=1, max_size=2), times_ms, times_ms)),
        st.tuples(st.just("select"), st.tuples(st.lists(matchers, max_size=3), times_ms, times_ms)),
    ),
    max_size=12,
)


@pytest.fixture(autouse=True, scope="module")
def _small_parts() -> Iterator[None]:
    """Runs, tiles and pieces of a few samples, so that a few dozen samples meet every border there is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsdb.store.head.RUN_SAMPLE_COUNT_MAX", 16)
        patch.setattr("tsdb.store.sorted_run._PART_SAMPLE_COUNT_MIN", 1)
        patch.setattr("tsdb.store.sorted_run._ROW_COUNT_MIN", 1)
        patch.setattr("tsdb.store.numbers._STRETCH_COUNT_MIN", 2)
        patch.setattr("tsdb.store.index._SCAN_COUNT_MIN", 2)
        patch.setattr("tsdb.store.index._INDEX_STEP_COUNT", 3)
        patch.setattr("tsdb.store.postings._KNOWN_VALUES_COUNT_MIN", 1)
        patch.setattr("tsdb.store.postings._SET_SERIES_COUNT_MIN", 2)
        patch.setattr("tsdb.store.text_search._SPAN_BYTES_MIN", 0)
        patch.setattr("tsdb.store.frame.FRAME_SAMPLE_COUNT_MAX", 7)
        patch.setattr("tsdb.store.epochs.INACTIVE_COUNT_MIN", 1)
        patch.setattr("tsdb.store.flush._PIECE_SAMPLE_COUNT", 12)
        patch.setattr("tsdb.store.pieces._SINGLE_RANGES_MAX", 2)
        patch.setattr("tsdb.store.order._SORTED_ALONE_MAX", 1)
        patch.setattr("tsdb.store.tiles._SCRATCH_SAMPLE_COUNT", 12)
        patch.setattr("tsdb.store.reader._PIECE_SAMPLES", 20)
        patch.setattr("tsdb.store.reader._CACHED_SAMPLES_PER_SELECTION_MAX", 15)
        patch.setattr("tsdb.store.block.tile.SAMPLE_COUNT_MIN", 3)
        patch.setattr("tsdb.store.block.tile.SAMPLE_COUNT_TARGET", 5)
        patch.setattr("tsdb.store.block.tile.SAMPLE_COUNT_MAX", 8)
        yield


KEEP_MS = 5 * 24 * HOUR_MS


class Twin:
    """left: what retention has taken. Until its files go, 30 s later, a restart may bring it back; so nothing is said
    of these places any more."""

    def __init__(self) -> None:
        self.bits_at: dict[tuple[Labels, int], int] = {}
        self.left: set[tuple[Labels, int]] = set()
        self.newest_ms: int | None = None  # Of all that ever came: a sample that was deleted has told the time as well.

    def append(self, rows: list[Row]) -> None:
        for series, time_ms, bits in rows:
            if time_ms < NOW_MS - KEEP_MS:
                continue
            held = self.bits_at.get((series, time_ms), bits)
            self.bits_at[series, time_ms] = max(held, bits, key=rank)
            self.newest_ms = time_ms if self.newest_ms is None else max(self.newest_ms, time_ms)

    def delete(self, wanted: list[Matcher], start_ms: int, end_ms: int) -> None:
        for series, time_ms, _ in self.select(wanted, start_ms, end_ms):
            del self.bits_at[series, time_ms]

    def retain(self, found: list[Row], now_ms: int) -> None:
        """Only what is past its time may have left; the clock counts as far as there have been samples."""
        there = {(series, time_ms) for series, time_ms, _ in found}
        now_ms = now_ms if self.newest_ms is None else min(now_ms, self.newest_ms)
        for series, time_ms in self.bits_at.keys() - there - self.left:
            assert time_ms < now_ms - KEEP_MS
            self.left.add((series, time_ms))

    def of_interest(self, rows: list[Row]) -> list[Row]:
        return [row for row in rows if row[:2] not in self.left]

    def select(self, wanted: list[Matcher], start_ms: int, end_ms: int) -> list[Row]:
        return [
            (series, time_ms, bits)
            for (series, time_ms), bits in sorted(self.bits_at.items())
            if start_ms <= time_ms <= end_ms and satisfies(series, wanted)
        ]


UP = labels(name="up")
LATEST_MS = NOW_MS + 2 * KEEP_MS


@given(operations)
@example(
    [
        ("append", [(UP, NOW_MS, 1)] * 15 + [(UP, LATEST_MS, 1)]),
        ("delete", ([Matcher("__name__", MatchOp.EQUAL, "up")], NOW_MS + 1, LATEST_MS)),
        ("retain", None),
    ]
)
def test_the_engine_answers_as_a_dict_does(steps: list[tuple[str, Any]]) -> None:
    disk, twin, clock = MemoryDisk(), Twin(), DrivenClock()
    settings: dict[str, Any] = {"clock": clock, "retention_raw_ms": KEEP_MS, "future_max_ms": 4 * KEEP_MS}
    engine, reader = open_engine(disk, **settings), BlockReader(FOLDER, disk=disk)
    for what, argument in [*steps, ("select", ([], 0, 2**60)), ("crash", None), ("select", ([], 0, 2**60))]:
        match what:
            case "append":
                append(engine, argument, now_ms=NOW_MS)
                twin.append(argument)
            case "flush":
                engine.flush()
            case "compact":
                engine.compact()
            case "erase":
                engine.erase()
            case "delete":
                wanted, start_ms, end_ms = argument
                start_ms, end_ms = min(start_ms, end_ms), max(start_ms, end_ms)
                engine.delete(wanted, start_ms, end_ms)
                twin.delete(wanted, start_ms, end_ms)
            case "tick":
                engine.tick(NOW_MS)
            case "forget":  # Replaced blocks are removed, and tombstones that have done their work.
                clock.time_ms += 31_000
                engine.tick(NOW_MS)
            case "epoch":
                later(engine)
                engine.flush()  # Ends the epoch, if more series are gone than there are.
            case "retain":
                for _ in range(3):  # A clock that has leapt is believed after a day.
                    clock.time_ms = max(clock.time_ms + 25 * HOUR_MS, NOW_MS + 20 * 24 * HOUR_MS)
                    engine.tick(clock.time_ms)
                twin.retain(rows_of(engine.select([], 0, 2**60)), clock.time_ms)
            case "restart":
                engine.close()
                engine = open_engine(disk, **settings)
            case "crash":
                disk = disk.reboot()
                engine, reader = open_engine(disk, **settings), BlockReader(FOLDER, disk=disk)
            case _:
                wanted, start_ms, end_ms = argument
                expected = twin.of_interest(twin.select(wanted, start_ms, end_ms))
                here = rows_of(engine.select(wanted, start_ms, end_ms))
                elsewhere = rows_of(select_elsewhere(reader, engine, wanted, start_ms, end_ms))
                assert twin.of_interest(here) == twin.of_interest(elsewhere) == expected
                names = {series for series, _, _ in expected}
                assert names <= set(engine.series(wanted, start_ms, end_ms))


def select_elsewhere(
    reader: BlockReader, engine: Engine, wanted: list[Matcher], start_ms: int, end_ms: int
) -> Selection:
    """As the query process does it: a reader that outlives restarts of the store, the head by message."""
    found = engine.snapshot(wanted, start_ms, end_ms)
    columns = [column.copy() for head in found.heads for column in head.columns()]
    described = [head.described() for head in found.heads]
    heads = heads_of(described, columns, lambda token, ids: list(engine.canonical_of(ids, token)))
    return reader.select(found.blocks, wanted, start_ms, end_ms, heads, None, found.tombstones)


def test_values_are_kept_bit_for_bit_through_log_and_block() -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    odd = [0x7FF0000000000002, 0x7FF8000000000001, 0xFFF8000000000123, bits_of(-0.0), 1, bits_of(float("-inf"))]
    rows = [(SERIES[0], NOW_MS + at, bits) for at, bits in enumerate(odd)]
    append(engine, rows)
    for _ in range(2):
        engine = open_engine(disk.reboot())
        assert rows_of(engine.select([], 0, 2**60)) == rows
        engine.flush()
        assert rows_of(engine.select([], 0, 2**60)) == rows

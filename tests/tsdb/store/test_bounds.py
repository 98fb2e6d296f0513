"""A selection that is too large is refused before its samples are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from appliance.retention import parse_retention
from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import HOUR_MS, NOW_MS, DrivenClock, append, bits_of, labels, later, open_engine
from tsdb.errors import QueryTooLarge
from tsdb.interface import Aggregate, Grain
from tsdb.query.promql.ledger import Ledger
from tsdb.query.promql.limits import Deadline, Limits
from tsdb.sample import Matcher, MatchOp
from tsdb.store.schemas import SchemaTable

SAMPLES_COUNT = 240
EVERYTHING = [Matcher("__name__", MatchOp.EQUAL, "m")]


class Counting:
    """Bounds that refuse more than so many samples, and remember what they were told."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self.counts: list[int] = []
        self.rooms: list[int] = []
        self.looks = 0

    def found(self, count: int) -> None:
        self.counts.append(count)
        if count > self._count_max:
            raise QueryTooLarge(f"{count} samples")

    def check(self) -> None:
        self.looks += 1

    @contextmanager
    def room(self, count: int) -> Iterator[None]:
        self.rooms.append(count)
        yield


def test_blocks_are_counted_before_any_of_their_samples_is_read() -> None:
    engine = open_engine(MemoryDisk())
    rows = [
        (labels(name="m", i=str(i)), NOW_MS - t * 1_000, bits_of(1.0)) for i in range(3) for t in range(SAMPLES_COUNT)
    ]
    append(engine, rows)
    later(engine)
    engine.flush()
    wide = (NOW_MS - HOUR_MS, NOW_MS)
    fitting, narrow, refusing = Counting(10**6), Counting(10**6), Counting(3 * SAMPLES_COUNT - 1)
    assert engine.select(EVERYTHING, *wide, bounds=fitting).timestamp_ms.size == 3 * SAMPLES_COUNT
    assert fitting.counts[-1] == 3 * SAMPLES_COUNT
    assert fitting.looks >= 1
    # Of a block that reaches beyond the range only what was found in it counts.
    assert engine.select(EVERYTHING, NOW_MS - 9_000, NOW_MS, bounds=narrow).timestamp_ms.size == 30
    assert max(narrow.counts) == 30
    with pytest.raises(QueryTooLarge):
        engine.select(EVERYTHING, *wide, bounds=refusing)
    assert refusing.counts == [3 * SAMPLES_COUNT], "told once, from the lengths of the rows"
    assert refusing.looks == 0, "no piece of a block was begun"
    engine.close()


def test_telling_which_rollup_answers_is_on_the_account_of_the_query() -> None:
    """A byte for each series and stretch of time: many blocks of rollups and many series make it megabytes."""
    series_count, windows = 500, 40
    clock = DrivenClock(NOW_MS)
    engine = open_engine(MemoryDisk(), clock=clock, schemas=SchemaTable.of(parse_retention("raw:6h,10m:forever")))
    for window in range(windows):
        at_ms = NOW_MS + 2 * HOUR_MS * window
        append(engine, [(labels(name="m", i=str(i)), at_ms, bits_of(1.0)) for i in range(series_count)], now_ms=at_ms)
    engine.flush()
    clock.time_ms += 2 * HOUR_MS * windows
    for _ in range(windows):
        clock.time_ms += 11_000
        engine.tick(clock.time_ms)
    blocks = [entry for entry in engine._catalogue.rollups if entry.name.aggregate is Aggregate.LAST]
    assert len(blocks) >= 3
    bounds = Counting(10**9)
    found = engine.select(EVERYTHING, NOW_MS, clock.time_ms, Grain(Aggregate.LAST, 0), bounds=bounds)
    assert found.resolution_ms == 600_000
    assert max(bounds.rooms) >= len(blocks) * series_count
    most = max(bounds.rooms)
    ledger = Ledger(Limits(bytes_max=36 * int(found.timestamp_ms.size) + most // 2), Deadline(None))
    with pytest.raises(QueryTooLarge, match=r"or raise query\.bytes_max"):
        engine.select(EVERYTHING, NOW_MS, clock.time_ms, Grain(Aggregate.LAST, 0), bounds=ledger)
    ledger.close()
    assert ledger.held_bytes == 0
    engine.close()

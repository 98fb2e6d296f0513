"""A selection that is too large is refused before its samples are read."""

from __future__ import annotations

import pytest

from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import HOUR_MS, NOW_MS, append, bits_of, labels, later, open_engine
from tsdb.errors import QueryTooLarge
from tsdb.sample import Matcher, MatchOp

SAMPLES_COUNT = 240
EVERYTHING = [Matcher("__name__", MatchOp.EQUAL, "m")]


class Counting:
    """Bounds that refuse more than so many samples, and remember what they were told."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self.counts: list[int] = []
        self.looks = 0

    def found(self, count: int) -> None:
        self.counts.append(count)
        if count > self._count_max:
            raise QueryTooLarge(f"{count} samples")

    def check(self) -> None:
        self.looks += 1


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

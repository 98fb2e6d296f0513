"""Joining parts whose rows have the same times: as pieces.joined() does it, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import HOUR_MS, NOW_MS, Row, append, bits_of, labels, open_engine, rows_of
from tsdb.sample import Matcher, MatchOp, SharedTimes
from tsdb.store.even import joined_evenly
from tsdb.store.pieces import Part, Pieces, joined

Piece = tuple[int, list[int]]
"""Row and times."""


def int64(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


def part_of(pieces: list[Piece], first_value: float = 0.0, *, shares: bool = False) -> Pieces:
    """Times lie one after another behind a gap, or of all pieces where those of the first lie; values likewise."""
    lengths = int64([len(times) for _, times in pieces])
    value_starts = 2 + np.cumsum(lengths) - lengths
    starts = np.full(lengths.size, 2) if shares else value_starts
    times = [0, 0, *(time for _, times in (pieces[:1] if shares else pieces) for time in times)]
    value = first_value + np.arange(2 + int(lengths.sum()))
    return Pieces(int64([row for row, _ in pieces]), starts, lengths, int64(times), value, value_starts)


def go_on() -> None:
    """Nobody asks."""


@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), min_size=1, max_size=4),
    st.lists(st.integers(0, 20), min_size=1, max_size=9, unique=True),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_rows_with_the_same_times_are_joined_as_others_are(gaps, rows, random, shares: bool) -> None:  # type: ignore[no-untyped-def]
    """Method: stages of rising times, each of all rows in another order, cut into parts, all parts shuffled."""
    parts: list[Part] = []
    now_ms = 0
    for stage in gaps:
        times = [now_ms := now_ms + gap for gap in stage]
        random.shuffle(rows)
        cut = random.randrange(len(rows) + 1)
        for some in (rows[:cut], rows[cut:]):
            first_value = float(1_000 * len(parts))
            parts.append(part_of([(row, times) for row in some], first_value, shares=shares and bool(some)))
    random.shuffle(parts)
    found, wanted = joined_evenly(parts, go_on), joined(parts, 21, go_on)
    assert found is not None
    assert found.row.tolist() == wanted.row.tolist() == sorted(rows)
    assert (found.times_ms.tolist() * len(rows), found.value.tolist()) == (
        wanted.timestamp_ms.tolist(),
        wanted.value.tolist(),
    )


UNEVEN: dict[str, list[list[Piece]]] = {
    "nothing": [],
    "another number of times": [[(0, [1, 2]), (1, [1])]],
    "another first time": [[(0, [1, 2, 4]), (1, [0, 2, 4])]],
    "another last time": [[(0, [1, 2, 4]), (1, [1, 2, 5])]],
    "another time in the midst": [[(0, [1, 2, 4]), (1, [1, 3, 4])]],
    "a row that begins later": [[(0, [1, 2])], [(0, [3, 4]), (1, [3, 4])]],
    "a row that ends sooner": [[(0, [1, 2]), (1, [1, 2])], [(1, [3, 4])]],
    "another row in its place": [[(0, [1, 2]), (1, [1, 2])], [(0, [3, 4]), (2, [3, 4])]],
    "a row twice in a part": [[(0, [1, 2]), (0, [3, 4])]],
    "a row twice, as a replay gives it": [[(0, [1, 2])], [(0, [1, 2])]],
    "a row twice in place of another": [[(0, [1, 2]), (1, [1, 2])], [(0, [3, 4]), (0, [3, 4])]],
    "parts that overlap": [[(0, [1, 4]), (1, [1, 4])], [(0, [3, 5]), (1, [3, 5])]],
    "parts that meet": [[(0, [1, 4])], [(0, [4, 5])]],
    "rows of other times in another part": [[(0, [1, 2])], [(1, [1, 3])]],
}


@pytest.mark.parametrize("parts", UNEVEN.values(), ids=UNEVEN.keys())
def test_others_are_left_to_the_join_of_all(parts: list[list[Piece]]) -> None:
    assert joined_evenly([part_of(pieces) for pieces in parts], go_on) is None


def test_times_of_series_in_blocks_and_heads_are_kept_once_until_one_of_them_differs() -> None:
    """Method: series that came in the order of their labels turned round, in a block and in the head, then one sample
    of one series alone."""
    engine = open_engine(MemoryDisk(), out_of_order_window_ms=4 * HOUR_MS)
    series = [labels(name="m", i=f"{9 - i}") for i in range(10)]
    sent: list[Row] = []

    def send(times_ms: list[int], some: list[int]) -> None:
        rows = [(series[i], at_ms, bits_of(float(at_ms % 10_007 + i))) for at_ms in times_ms for i in some]
        append(engine, rows)
        sent.extend(rows)

    every = list(range(10))
    send([NOW_MS - HOUR_MS + 1_000 * at for at in range(40)], every)
    engine.flush()
    send([NOW_MS + 1_000 * at for at in range(3)], every)
    matchers = [Matcher("__name__", MatchOp.EQUAL, "m")]
    found = engine.select(matchers, 0, 2 * NOW_MS)
    assert isinstance(found.times_ms, SharedTimes)
    assert (found.times_ms.of_each_ms.size, found.value.size) == (43, 430)
    assert rows_of(found) == sorted(sent)
    early = engine.select(matchers, 0, NOW_MS - HOUR_MS + 4_500)
    assert early.times_ms.size == 50
    assert rows_of(early) == [row for row in sorted(sent) if row[1] <= NOW_MS - HOUR_MS + 4_500]
    send([NOW_MS + 500], [4])
    found = engine.select(matchers, 0, 2 * NOW_MS)
    assert isinstance(found.times_ms, np.ndarray)
    assert rows_of(found) == sorted(sent)
    engine.close()

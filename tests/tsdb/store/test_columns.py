"""Sorting, the duplicate rule and the joining of rows, against plain Python."""

from __future__ import annotations

import functools
import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.tsdb.store.stores import bits_of, value_of
from tsdb.sample import STALE_NAN_BITS
from tsdb.store.columns import Columns, Rows, merged, ordered, rows_of, spread, stable_order, value_rank

NAN_BITS = 0x7FF8000000000001
RISING = [  # The total order of values, lowest first, by bits.
    STALE_NAN_BITS,
    0x7FF0000000000001,
    0x7FF8000000000000,
    NAN_BITS,
    0xFFF8000000000000,
    *map(bits_of, [float("-inf"), -1e300, -1.0, -5e-324, -0.0, 0.0, 5e-324, 1.0, 1e300, float("inf")]),
]
any_bits = st.sampled_from(RISING) | st.integers(0, 2**64 - 1)
samples = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), any_bits), max_size=60)
Sample = tuple[int, int, int]


def rank(bits: int) -> tuple[int, int]:
    """The order of values as docs/format/series-key.md has it, in the plainest words."""
    if bits == STALE_NAN_BITS:
        return 0, 0
    if value_of(bits) != value_of(bits):
        return 1, bits
    return 2, (2**64 - 1 - bits) if bits >> 63 else bits + 2**63


def plain(rows: list[Sample]) -> list[Sample]:
    """Sorted, the greatest of equal (series, time)."""
    best: dict[tuple[int, int], int] = {}
    for series, time_ms, bits in rows:
        held = best.get((series, time_ms))
        best[series, time_ms] = bits if held is None else max(held, bits, key=rank)
    return [(series, time_ms, bits) for (series, time_ms), bits in sorted(best.items())]


def columns(rows: list[Sample]) -> Columns:
    return Columns(
        np.array([row[0] for row in rows], np.int32),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.uint64).view(np.float64),
    )


def listed(found: Columns) -> list[Sample]:
    return list(
        zip(found.series.tolist(), found.timestamp_ms.tolist(), found.value.view(np.uint64).tolist(), strict=True)
    )


def test_the_order_of_values_is_the_documented_one() -> None:
    kind, order = value_rank(np.array(RISING, np.uint64).view(np.float64))
    found = list(zip(kind.tolist(), order.tolist(), strict=True))
    assert found == sorted(found)
    assert len(set(found)) == len(RISING)


@given(samples)
def test_ordering_sorts_and_keeps_the_greatest_value(rows: list[Sample]) -> None:
    assert listed(ordered(columns(rows))) == plain(rows)


@given(samples, st.randoms(use_true_random=False))
def test_the_duplicate_rule_is_commutative_associative_and_idempotent(rows: list[Sample], random) -> None:
    shuffled = rows.copy()
    random.shuffle(shuffled)
    cut = random.randint(0, len(rows))
    once = listed(ordered(columns(rows)))
    first, second = listed(ordered(columns(shuffled[:cut]))), listed(ordered(columns(shuffled[cut:])))
    assert listed(ordered(columns(shuffled))) == once
    assert listed(ordered(columns(second + first))) == once
    assert listed(ordered(columns(once + once))) == once


@given(st.lists(samples, max_size=5))
def test_merging_parts_is_sorting_all_of_them(parts: list[list[Sample]]) -> None:
    rows = merged([rows_of(ordered(columns(part))) for part in parts], 5)
    series = np.repeat(rows.row, rows.lengths).astype(np.int32)
    assert listed(Columns(series, rows.timestamp_ms, rows.value)) == plain(list(itertools.chain(*parts)))
    assert (rows.lengths > 0).all()


@given(samples, st.integers(-1, 7), st.integers(-1, 7))
def test_clipping_keeps_the_times_of_the_range(rows: list[Sample], start_ms: int, end_ms: int) -> None:
    clipped = rows_of(ordered(columns(rows))).clipped(start_ms, end_ms)
    found = Columns(np.repeat(clipped.row, clipped.lengths).astype(np.int32), clipped.timestamp_ms, clipped.value)
    assert listed(found) == [row for row in plain(rows) if start_ms <= row[1] <= end_ms]
    assert (clipped.lengths > 0).all()


@given(st.lists(st.integers(0, 2**31 - 1) | st.integers(0, 3), min_size=1, max_size=50), st.booleans())
def test_the_order_of_ids_is_stable(ids: list[int], is_sorted: bool) -> None:
    series = np.array(sorted(ids) if is_sorted else ids, np.int32)
    np.testing.assert_array_equal(stable_order(series), np.argsort(series, kind="stable"))


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 5))))
def test_spreading_ranges(ranges: list[tuple[int, int]]) -> None:
    starts, lengths = (np.array([pair[at] for pair in ranges], np.int64) for at in (0, 1))
    wanted = functools.reduce(list.__add__, ([*range(start, start + length)] for start, length in ranges), [])
    assert spread(starts, lengths).tolist() == wanted


def test_samples_in_order_are_not_copied() -> None:
    given_columns = columns([(0, 1, 5), (0, 2, 5), (1, 1, 5)])
    assert ordered(given_columns).value is given_columns.value
    assert merged([Rows.empty(), rows_of(given_columns)], 2).value is given_columns.value

"""The arithmetic of rollups against a twin that walks over every sample."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tsdb.store.stores import bits_of, value_of
from tsdb.interface import Aggregate
from tsdb.sample import STALE_NAN_BITS
from tsdb.store.buckets import Buckets, bucketed, coarser, combined, last_numbers, running
from tsdb.store.columns import Columns, Rows, ordered, rows_of

Bucket = dict[Aggregate, float]
Twin = dict[int, dict[int, Bucket]]

# Whole numbers, so that sums are exact in any order; a small range, so that counters reset.
VALUES = st.one_of(
    st.integers(-3, 60).map(float), st.sampled_from([math.nan, math.inf]), st.just(value_of(STALE_NAN_BITS))
)
SAMPLES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 90), VALUES), max_size=60)
RESOLUTION_MS = 7


def twin_of(samples: list[tuple[int, int, float]], resolution_ms: int, before: dict[int, float]) -> Twin:
    """One sample after another."""
    found: Twin = defaultdict(dict)
    previous = dict(before)
    for series, time_ms, value in samples:
        if bits_of(value) == STALE_NAN_BITS:
            continue
        bucket = found[series].setdefault(
            -(-time_ms // resolution_ms) * resolution_ms,
            {
                Aggregate.MIN: math.nan,
                Aggregate.MAX: math.nan,
                Aggregate.SUM: 0.0,
                Aggregate.COUNT: 0.0,
                Aggregate.INCREASE: 0.0,
            },
        )
        bucket[Aggregate.LAST] = value
        if math.isnan(value):
            continue
        bucket[Aggregate.MIN] = value if math.isnan(bucket[Aggregate.MIN]) else min(bucket[Aggregate.MIN], value)
        bucket[Aggregate.MAX] = value if math.isnan(bucket[Aggregate.MAX]) else max(bucket[Aggregate.MAX], value)
        bucket[Aggregate.SUM] += value
        bucket[Aggregate.COUNT] += 1
        if series in previous:
            last = previous[series]
            step = max(0.0, value) if value < last else value - last
            bucket[Aggregate.INCREASE] += step if math.isfinite(step) else 0.0
        previous[series] = value
    return dict(found)


def rows_from(samples: list[tuple[int, int, float]]) -> Rows:
    columns = Columns(
        np.array([series for series, _, _ in samples], np.int32),
        np.array([time_ms for _, time_ms, _ in samples], np.int64),
        np.array([value for _, _, value in samples], np.float64),
    )
    return rows_of(ordered(columns))


def samples_of(rows: Rows) -> list[tuple[int, int, float]]:
    series = np.repeat(rows.row, rows.lengths).tolist()
    return list(zip(series, rows.timestamp_ms.tolist(), rows.value.tolist(), strict=True))


def as_twin(buckets: Buckets) -> Twin:
    found: Twin = defaultdict(dict)
    for aggregate in Aggregate:
        for series, time_ms, value in samples_of(buckets.rows(aggregate)):
            found[series].setdefault(time_ms, {})[aggregate] = value
    return dict(found)


def same(found: Twin, want: Twin) -> bool:
    def plain(twin: Twin) -> list[tuple[object, ...]]:
        return sorted(
            (series, time_ms, aggregate, repr(value + 0.0))
            for series, buckets in twin.items()
            for time_ms, bucket in buckets.items()
            for aggregate, value in bucket.items()
        )

    return plain(found) == plain(want)


@given(SAMPLES, st.dictionaries(st.integers(0, 3), st.integers(0, 60).map(float)))
def test_every_aggregate_is_what_a_walk_over_the_samples_finds(
    samples: list[tuple[int, int, float]], known: dict[int, float]
) -> None:
    rows = rows_from(samples)
    before = np.array([known.get(series, math.nan) for series in range(4)])
    found = as_twin(bucketed(rows, RESOLUTION_MS, before))
    want = twin_of(samples_of(rows), RESOLUTION_MS, known)
    assert same(found, want), (found, want)


@given(SAMPLES)
def test_coarser_buckets_are_those_of_the_samples(samples: list[tuple[int, int, float]]) -> None:
    rows, before = rows_from(samples), np.full(4, np.nan)
    found = as_twin(coarser(bucketed(rows, RESOLUTION_MS, before), 3 * RESOLUTION_MS))
    want = twin_of(samples_of(rows), 3 * RESOLUTION_MS, {})
    assert same(found, want), (found, want)


@given(SAMPLES, st.lists(st.integers(0, 90), max_size=3))
def test_windows_make_the_same_buckets_wherever_they_are_cut(
    samples: list[tuple[int, int, float]], cuts: list[int]
) -> None:
    """Goal: a bucket through which a border goes, and the increase over the border, come out as without the border."""
    rows = rows_from(samples)
    edges = sorted({0, *cuts, 91})
    parts: dict[Aggregate, list[Rows]] = defaultdict(list)
    for start, end in itertools.pairwise(edges):
        before = np.full(4, np.nan)
        if parts:
            last = combined(parts[Aggregate.LAST], 4, Aggregate.LAST)
            for series, _, value in samples_of(rows.clipped(0, start - 1)):
                if not math.isnan(value):
                    before[series] = value
            assert last.row.size <= 4
        buckets = bucketed(rows.clipped(start, end - 1), RESOLUTION_MS, before)
        for aggregate in Aggregate:
            parts[aggregate].append(buckets.rows(aggregate))
    whole = bucketed(rows, RESOLUTION_MS, np.full(4, np.nan))
    joined: Twin = defaultdict(dict)
    for aggregate in Aggregate:
        for series, time_ms, value in samples_of(combined(parts[aggregate], 4, aggregate)):
            joined[series].setdefault(time_ms, {})[aggregate] = value
    assert same(dict(joined), as_twin(whole))


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 9).map(float)), max_size=9), max_size=4
    ),
    st.sampled_from(Aggregate),
)
def test_parts_of_a_bucket_become_one(parts: list[list[tuple[int, int, float]]], aggregate: Aggregate) -> None:
    made = [rows_from(list({(row, at): (row, at, value) for row, at, value in part}.values())) for part in parts]
    want: dict[tuple[int, int], list[float]] = defaultdict(list)
    for part in made:
        for row, time_ms, value in samples_of(part):
            want[row, time_ms].append(value)
    reduce = {
        Aggregate.LAST: lambda values: values[-1],
        Aggregate.MIN: min,
        Aggregate.MAX: max,
        Aggregate.SUM: sum,
        Aggregate.COUNT: sum,
        Aggregate.INCREASE: sum,
    }[aggregate]
    found = combined(made, 6, aggregate)
    assert samples_of(found) == [(row, at, reduce(values)) for (row, at), values in sorted(want.items())]


@given(
    st.lists(st.lists(st.integers(0, 9).map(float), min_size=1, max_size=6), min_size=1, max_size=5), st.integers(0, 3)
)
def test_increases_run_up_to_the_anchor(increases: list[list[float]], anchored_every: int) -> None:
    lengths = [len(row) for row in increases]
    rows = Rows(
        np.arange(len(lengths)),
        np.concatenate(([0], np.cumsum(lengths))),
        np.concatenate([np.arange(length) for length in lengths]),
        np.concatenate(increases),
    )
    anchor = np.array(
        [100.0 * at if anchored_every and at % anchored_every == 0 else math.nan for at in range(len(lengths))]
    )
    found = running(rows, anchor)
    for at, row in enumerate(increases):
        values = found.value[found.offsets[at] : found.offsets[at + 1]].tolist()
        assert values[-1] == (sum(row) if math.isnan(anchor[at]) else anchor[at])
        assert [after - first for first, after in itertools.pairwise(values)] == row[1:]


def test_a_small_counter_beside_a_large_one_keeps_its_digits() -> None:
    rows = Rows(np.arange(2), np.array([0, 2, 4]), np.array([1, 2, 1, 2]), np.array([1e15, 1e15, 0.25, 0.5]))
    assert running(rows, np.full(2, np.nan)).value[2:].tolist() == [0.25, 0.75]


@pytest.mark.parametrize(("values", "want"), [([1.0, 2.0], 2.0), ([1.0, math.nan], 1.0), ([math.nan], math.nan)])
def test_the_last_number_passes_over_nan(values: list[float], want: float) -> None:
    rows = Rows(np.zeros(1, np.int64), np.array([0, len(values)]), np.arange(len(values)), np.array(values))
    assert repr(float(last_numbers(rows)[0])) == repr(want)

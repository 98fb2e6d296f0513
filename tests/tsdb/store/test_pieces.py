"""Gathering ranges, cutting them in time and joining them, against plain Python."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tsdb.store.test_columns import Sample, columns, listed, plain, samples
from tsdb.store.columns import Columns, Rows, ordered, rows_of
from tsdb.store.pieces import Pieces, clipped, copy_ranges, joined

lengths = st.lists(st.sampled_from([0, 1, 2, 3, 3, 3, 5, 8, 13, 40]), max_size=80)


def int64(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


@given(lengths, st.randoms(use_true_random=False), st.sampled_from([0, 4, 1 << 16]))
def test_ranges_are_copied_to_their_places(sizes: list[int], random, counted_max: int) -> None:
    """Method: ranges of a column of distinct numbers, in any order, with gaps, to places in any order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsdb.store.pieces._SINGLE_RANGES_MAX", random.choice([-1, 16]))
        patch.setattr("tsdb.store.pieces._COUNTED_LENGTH_MAX", counted_max)
        source = np.arange(1, 2 * sum(sizes) + 60)
        starts = [random.randrange(0, source.size - size) for size in sizes]
        ends = list(itertools.accumulate(size + 1 for size in sizes))
        places = [end - size for end, size in zip(ends, sizes, strict=True)]
        random.shuffle(order := list(range(len(sizes))))
        target = np.zeros(max(ends, default=0) + 1, np.int64)
        given_arrays = [int64([values[at] for at in order]) for values in (starts, sizes, places)]
        if sizes:
            copy_ranges(source, *given_arrays[:2], target, given_arrays[2])
        assert [array.tolist() for array in given_arrays[:1]] == [[starts[at] for at in order]], "left as it was"
    wanted = np.zeros_like(target)
    for start, size, place in zip(starts, sizes, places, strict=True):
        wanted[place : place + size] = source[start : start + size]
    assert target.tolist() == wanted.tolist()


@pytest.mark.parametrize("places_step", [4, 7, None])
@pytest.mark.parametrize("starts_step", [0, 1, 4, 9, None])
def test_ranges_that_lie_evenly_are_copied_to_their_places(starts_step: int | None, places_step: int | None) -> None:
    """None: unevenly."""
    count, length = 40, 4
    uneven = np.arange(count) * 7 + np.arange(count) % 3
    starts = uneven if starts_step is None else 5 + starts_step * np.arange(count)
    places = uneven if places_step is None else 3 + places_step * np.arange(count)
    source, target = np.arange(1_000, 1_500), np.zeros(400, np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsdb.store.pieces._STAGE_BYTES", 3 * 8 * length)  # So that there are several stages.
        copy_ranges(source, starts, np.full(count, length), target, places)
    wanted = np.zeros_like(target)
    for start, place in zip(starts.tolist(), places.tolist(), strict=True):
        wanted[place : place + length] = source[start : start + length]
    assert target.tolist() == wanted.tolist()


@given(
    st.lists(st.lists(st.integers(-3, 9), min_size=1, max_size=6, unique=True).map(sorted), min_size=1, max_size=12),
    st.sampled_from([-(2**70), *range(-4, 11)]),
    st.sampled_from([*range(-4, 11), 2**63 - 1, 2**70]),
)
def test_pieces_are_cut_in_time(rows: list[list[int]], start_ms: int, end_ms: int) -> None:
    times = int64(list(itertools.chain([0], *rows, [0])))
    sizes = int64([len(row) for row in rows])
    kept, starts, counts = clipped(times, 1 + np.cumsum(sizes) - sizes, sizes, start_ms, end_ms)
    found = {
        row: times[start : start + count].tolist()
        for row, start, count in zip(np.arange(len(rows))[kept].tolist(), starts, counts, strict=True)
    }
    wanted = {row: [at for at in one if start_ms <= at <= end_ms] for row, one in enumerate(rows)}
    assert found == {row: one for row, one in wanted.items() if one}


@given(st.lists(st.tuples(samples, st.lists(st.integers(0, 59), max_size=8)), max_size=5))
def test_joining_parts_is_sorting_all_of_them(parts: list[tuple[list[Sample], list[int]]]) -> None:
    """Method: parts whose rows are cut into several pieces at some places."""
    rows = joined([in_pieces(rows_of(ordered(columns(part))), cuts) for part, cuts in parts], 5, lambda: None)
    series = np.repeat(rows.row, rows.lengths).astype(np.int32)
    everything = itertools.chain(*[part for part, _ in parts])
    assert listed(Columns(series, rows.timestamp_ms, rows.value)) == plain(list(everything))
    assert (rows.lengths > 0).all()


def in_pieces(rows: Rows, cuts: list[int]) -> Pieces:
    starts = np.union1d(rows.offsets[:-1], [cut for cut in cuts if cut < rows.value.size]).astype(np.int64)
    row = rows.row[np.searchsorted(rows.offsets, starts, side="right") - 1] if starts.size else rows.row
    return Pieces(row, starts, np.diff(starts, append=rows.value.size), rows.timestamp_ms, rows.value)


def test_what_lies_between_the_pieces_is_left_out() -> None:
    pieces = Pieces(int64([4, 2]), int64([1, 5]), int64([2, 1]), np.arange(10), np.arange(10) / 2)
    rows = pieces.gathered()
    assert (rows.row.tolist(), rows.offsets.tolist()) == ([4, 2], [0, 2, 3])
    assert (rows.timestamp_ms.tolist(), rows.value.tolist()) == ([1, 2, 5], [0.5, 1.0, 2.5])


def test_parts_in_which_one_row_is_ahead_of_another_are_not_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of two senders, one of which is ahead: the part that begins lowest is the second one of row 1."""
    monkeypatch.setattr("tsdb.store.pieces.ordered", None)
    steps = [[(0, 60), (1, 40)], [(1, 50)], [(0, 70), (1, 60)], [(1, 70), (2, 5)]]
    parts = [Pieces.of(rows_of(columns([(row, ms + at, ms) for row, ms in step for at in range(3)]))) for step in steps]
    found = joined(parts, 3, lambda: None)
    assert found.row.tolist() == [0, 1, 2]
    assert found.offsets.tolist() == [0, 6, 18, 21]
    times = [ms + at for ms in (60, 70, 40, 50, 60, 70, 5) for at in range(3)]
    assert found.timestamp_ms.tolist() == times

"""Sorted runs of the head: the rows that plain sorting gives, by whichever way, and nothing of the open columns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tsdb.store.test_columns import columns, samples
from tsdb.store import head as head_module
from tsdb.store import sorted_run as module
from tsdb.store.columns import Columns, Rows, ordered, rows_of
from tsdb.store.head import Head, Run, SpareColumns, select_runs
from tsdb.store.index import SeriesIndex
from tsdb.store.sorted_run import SortedRun, sorted_run

Told = list[tuple[int, list[tuple[int, int]]]]


@pytest.fixture(autouse=True, scope="module")
def small() -> Iterator[None]:
    """Every way is taken by few samples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PART_SAMPLE_COUNT_MIN", 1)
        patch.setattr(module, "_ROW_COUNT_MIN", 1)
        patch.setattr(head_module, "RUN_SAMPLE_COUNT_MAX", 50)
        yield


def told(rows: Rows) -> Told:
    bits = rows.value.view(np.uint64).tolist()
    times = rows.timestamp_ms.tolist()
    bounds = zip(rows.row.tolist(), rows.offsets[:-1].tolist(), rows.offsets[1:].tolist(), strict=True)
    return [(row, list(zip(times[start:end], bits[start:end], strict=True))) for row, start, end in bounds]


steps = st.lists(
    st.tuples(st.sampled_from([(0, 9), (0, 9), (3, 9), (0, 5), (9, 12), (2, 3)]), st.integers(0, 4), st.booleans()),
    min_size=1,
    max_size=7,
)
"""Of each step: from which series to which, at which time, and whether some series in the middle is missing."""


def of_steps(given_steps: list[tuple[tuple[int, int], int, bool]]) -> Columns:
    rows = [
        (series, time_ms, 1000 * number + series)
        for number, ((first, end), time_ms, has_gap) in enumerate(given_steps)
        for series in range(first, end)
        if not (has_gap and series == 4)
    ]
    return columns(rows)


def check(given_columns: Columns) -> SortedRun:
    want = told(rows_of(ordered(given_columns)))
    given_columns = Columns(*(column.copy() for column in given_columns))
    found = sorted_run(given_columns)
    for column in given_columns:
        column[:] = -7  # What belongs to the next run must not be read any more.
    assert told(found.all_pieces.gathered()) == want
    assert found.sample_count == sum(len(row) for _, row in want)
    assert found.first_ms.tolist() == [row[0][0] for _, row in want]
    assert found.last_ms.tolist() == [row[-1][0] for _, row in want]
    wanted = np.array([5, 0, 99, 3], np.int32)
    by_row = {at: row for at, one in enumerate(wanted.tolist()) for number, row in want if number == one}
    pieces = found.pieces(wanted)
    assert dict(told(pieces.gathered())) == by_row
    clipped = {at: [pair for pair in row if 1 <= pair[0] <= 3] for at, row in by_row.items()}
    assert dict(told(pieces.clipped(1, 3).gathered())) == {at: row for at, row in clipped.items() if row}
    return found


@given(samples)
def test_samples_in_any_order(given_samples: list[tuple[int, int, int]]) -> None:
    check(columns(given_samples or [(0, 0, 0)]))


@given(steps)
def test_steps_of_some_series(given_steps: list[tuple[tuple[int, int], int, bool]]) -> None:
    given_columns = of_steps(given_steps)
    if given_columns.series.size:
        check(given_columns)


def test_steps_of_the_same_series_are_not_sorted_and_their_times_kept_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps of two senders in turn, cut where their runs begin and end, and one that comes late."""
    monkeypatch.setattr(module, "ordered", None)
    given_columns = of_steps([((5, 9), 0, False), ((9, 12), 1, False), ((0, 9), 2, False), ((0, 9), 1, False)])
    found = sorted_run(given_columns)
    assert told(found.all_pieces.gathered())[0] == (0, [(1, 3000), (2, 2000)])
    assert told(found.all_pieces.gathered())[5] == (5, [(0, 5), (1, 3005), (2, 2005)])
    assert found.row.tolist() == list(range(12))
    assert found.timestamp_ms.tolist() == [1, 2, 0, 1, 2, 1]
    assert check(given_columns).timestamp_ms.size == 6


def test_times_that_neighbours_share_are_kept_once_when_sorted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_of_steps", lambda _: None)
    rows = [(series, time_ms, 1) for series in range(8) for time_ms in ((1, 2, 4) if series < 5 else (2, 9))]
    found = check(columns(rows))
    assert found.timestamp_ms.tolist() == [1, 2, 4, 2, 9]


def test_an_open_run_that_somebody_reads_does_not_become_the_next_one() -> None:
    """Method: a view is taken of one run and not of another; both are sorted."""
    index, spare = SeriesIndex(), SpareColumns()
    column = columns([(series, 5, 1) for series in range(50)])
    for is_viewed in (True, False):
        run = Run(index, spare)
        run.append(column, 0, 5, 5)
        view = run.view() if is_viewed else None
        run.sort()
        again = spare.take()
        if is_viewed:
            assert isinstance(view, Columns)
            assert not any(np.shares_memory(one, other) for one, other in zip(view, again, strict=True))
        else:
            assert again.series[:50].tolist() == list(range(50)), "the columns of the run"


def test_a_head_stays_right_while_runs_take_over_the_columns_of_others() -> None:
    head = Head(SeriesIndex())
    want: dict[int, list[tuple[int, int]]] = {}
    for number in range(30):
        rows = [(series, 10 * number + series % 2, number) for series in range(20 + number % 3)]
        head.append(columns(rows), 10 * number, 10 * number + 1)
        for series, time_ms, bits in rows:
            want.setdefault(series, []).append((time_ms, bits))
        if number % 2:
            for run in head.runs[:-1]:
                run.sort()
    ids = np.arange(25, dtype=np.int32)
    found: dict[int, list[tuple[int, int]]] = {}
    for part in select_runs(head.runs, ids, 0, 10**6):
        for row, pairs in told(part.gathered()):
            found.setdefault(row, []).extend(pairs)
    assert found == want


def test_a_run_ends_where_a_batch_ends_when_it_is_nearly_full() -> None:
    """Otherwise the batch that does not fit would be in two runs, and each of them have rows of several lengths."""
    head = Head(SeriesIndex())
    for size in (30, 15, 20, 45, 120, 10):
        head.append(columns([(series, size, 1) for series in range(size)]), size, size)
    assert [run.count for run in head.runs] == [45, 50, 50, 50, 45]
    assert [run.is_full for run in head.runs] == [True, True, True, True, False]


def test_a_selection_searches_few_runs_that_are_full_rather_than_wait_for_their_sorting() -> None:
    head = Head(SeriesIndex())
    for number in range(5):
        head.append(columns([(series, number, number) for series in range(50)]), number, number)
    one = np.array([7, 3], np.int32)
    want = [[(0, [(number, number)]), (1, [(number, number)])] for number in range(5)]
    found = select_runs(head.runs, one, 0, 99)
    assert [sorted(told(part.gathered())) for part in found] == want
    assert [run.is_sorted for run in head.runs] == [False, False, True, True, True]
    head.append(columns([(series, 9, 9) for series in range(50)]), 9, 9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head_module, "_SEARCHED_SERIES_COUNT_MAX", 1)
        select_runs(head.runs, one, 0, 99)
    assert all(run.is_sorted for run in head.runs)

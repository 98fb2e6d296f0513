"""Into which windows a flush writes, and the samples of a run by window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.sample import Int64s
from tsdb.store.block.layout import HOUR_MS, WINDOW_MS
from tsdb.store.columns import Columns
from tsdb.store.compaction import plan
from tsdb.store.flush import split
from tsdb.store.sorted_run import sorted_run
from tsdb.store.windows import WINDOWS_MS, WindowLimits, spans_of, window_max_ms


def windows(text: str) -> Int64s:
    """Numbers of windows of 2 h from ranges of hours, `0-8 12-14`."""
    found: list[int] = []
    for part in text.split():
        start, end = (int(hour) // 2 for hour in part.split("-"))
        found += range(start, end)
    return np.array(found, np.int64)


SPANS = {  # name: (windows with samples, hours before which they are closed, the longest, spans wanted)
    "one, open": ("0-2", 1, 128, "0-2"),
    "one, closed": ("0-2", 999, 128, "0-2"),
    "open ones stay apart": ("0-8", 7, 128, "0-2 2-4 4-6 6-8"),
    "closed ones are one": ("0-8", 8, 128, "0-8"),
    "the longest that is closed": ("0-50", 47, 128, "0-32 32-40 40-42 42-44 44-46 46-48 48-50"),
    "no longer than may be": ("0-20", 999, 8, "0-8 8-16 16-24"),
    "no longer than their samples": ("4-6 10-12 14-16 130-132", 999, 128, "0-32 130-132"),
    "all of a backfill": ("0-512", 999, 128, "0-128 128-256 256-384 384-512"),
}


@pytest.mark.parametrize(("there", "closed_before", "longest", "wanted"), SPANS.values(), ids=SPANS.keys())
def test_the_windows_that_a_flush_writes(there: str, closed_before: int, longest: int, wanted: str) -> None:
    found = spans_of(windows(there), WindowLimits(closed_before * HOUR_MS, longest * HOUR_MS))
    hours = [(span.start_ms // HOUR_MS, span.end_ms // HOUR_MS) for span in found]
    assert [f"{start}-{end}" for start, end in hours] == wanted.split()


@given(
    numbers=st.sets(st.integers(0, 300), min_size=1),
    closed_before=st.integers(0, 700),
    past_before=st.integers(0, 700),
    longest_ms=st.sampled_from(WINDOWS_MS),
)
def test_every_window_lies_in_one_span_which_is_aligned_and_closed_or_its_own(
    numbers: set[int], closed_before: int, past_before: int, longest_ms: int
) -> None:
    limits = WindowLimits(closed_before * HOUR_MS, longest_ms, past_before * HOUR_MS)
    found = spans_of(np.array(sorted(numbers), np.int64), limits)
    inside = [number for span in found for number in range(span.start_ms // WINDOW_MS, span.end_ms // WINDOW_MS)]
    assert len(inside) == len(set(inside)), "two spans overlap"
    assert numbers <= set(inside)
    assert found == sorted(found)
    for span in found:
        assert span.window_ms in WINDOWS_MS
        assert span.start_ms % span.window_ms == 0
        is_past = span.end_ms <= past_before * HOUR_MS
        assert span.window_ms <= longest_ms or is_past
        assert span.window_ms == WINDOW_MS or span.end_ms <= closed_before * HOUR_MS or is_past
        assert numbers & set(range(span.start_ms // WINDOW_MS, span.end_ms // WINDOW_MS))


def test_windows_are_no_longer_than_an_eighth_of_the_retention() -> None:
    hours = {
        retention: window_max_ms(retention and retention * HOUR_MS) // HOUR_MS for retention in (None, 1, 24, 64, 2_160)
    }
    assert hours == {None: 128, 1: 2, 24: 2, 64: 8, 2_160: 128}
    assert plan([], closed_before_ms=999 * HOUR_MS, longest_ms=2 * HOUR_MS) == []


@given(
    samples=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50)), min_size=1, max_size=60),
    series_count=st.sampled_from([1, 40]),
    starts=st.sets(st.integers(1, 50), max_size=6),
)
def test_a_split_run_has_every_sample_once_in_its_stretch(
    samples: list[tuple[int, int]], series_count: int, starts: set[int]
) -> None:
    """Also of forty series with the same times, which a run keeps once for all of them."""
    all_samples = {(series * series_count + copy, at) for series, at in samples for copy in range(series_count)}
    columns = Columns(
        np.array([series for series, _ in all_samples], np.int32),
        np.array([at for _, at in all_samples], np.int64),
        np.array([series * 100.0 + at for series, at in all_samples]),
    )
    starts_ms = np.array([0, *sorted(starts)], np.int64)
    ends_ms = [*starts_ms[1:].tolist(), 51]
    found: list[tuple[int, int]] = []
    numbers = []
    for number, pieces in split(sorted_run(columns), starts_ms):
        numbers.append(number)
        rows = pieces.gathered()
        series = np.repeat(rows.row, rows.lengths)
        assert (np.diff(rows.row) > 0).all()
        assert ((rows.timestamp_ms >= starts_ms[number]) & (rows.timestamp_ms < ends_ms[number])).all()
        assert (rows.value == series * 100.0 + rows.timestamp_ms).all()
        found += zip(series.tolist(), rows.timestamp_ms.tolist(), strict=True)
    assert numbers == sorted(set(numbers))
    assert len(found) == len(all_samples)
    assert set(found) == all_samples

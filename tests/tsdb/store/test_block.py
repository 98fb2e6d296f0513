"""Tiles bit for bit, where they are cut, names, plans of joining."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tests.tsdb.store.stores import HOUR_MS, NOW_MS
from tests.tsdb.store.test_columns import any_bits
from tsdb.errors import CorruptData
from tsdb.interface import Aggregate
from tsdb.sample import STALE_NAN
from tsdb.store.block import tile
from tsdb.store.block.layout import WINDOW_MS, BlockEntry, BlockName, Summary
from tsdb.store.block.writer import cut
from tsdb.store.compaction import plan


@st.composite
def values(draw: st.DrawFn) -> np.ndarray:
    """Anything, constants, and what devices send: decimals and counters with odd values strewn in."""
    count = draw(st.integers(1, 300))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    column = draw(
        st.sampled_from(
            [
                random.integers(0, 2**64, count, dtype=np.uint64).view(np.float64),
                np.full(count, 3.5),
                np.round(np.cumsum(random.normal(size=count)), 2),
                np.cumsum(random.poisson(5, count)).astype(float),
            ]
        )
    ).copy()
    odd = draw(st.lists(any_bits, max_size=5))
    column.view(np.uint64)[: len(odd)] = odd[:count]
    random.shuffle(column)
    return column


def row_lengths(count: int, cuts: list[int]) -> np.ndarray:
    """The lengths of the rows that a column of count samples has when it is cut."""
    return np.diff(sorted({0, count, *(cut % count for cut in cuts)}))


@given(values(), st.lists(st.integers(0, 300), max_size=5))
def test_values_come_back_bit_for_bit(value: np.ndarray, cuts: list[int]) -> None:
    codec, data = tile.encode_values(value, row_lengths(value.size, cuts))
    decoded = np.empty(value.size)
    tile.decode_values(codec, data, decoded)
    np.testing.assert_array_equal(decoded.view(np.uint64), value.view(np.uint64))


KINDS = {  # name: (values of four rows of 2,000 samples, most bytes a sample)
    "gauge with two decimals": (lambda r: np.round(np.cumsum(r.normal(0, 0.5, (4, 2_000)), 1), 2), 1.05),
    "counter": (lambda r: 1e6 + np.cumsum(r.poisson(50, (4, 2_000)), 1), 0.72),
    "rare events": (lambda r: 1e6 + np.cumsum(r.random((4, 2_000)) < 0.05, 1), 0.08),
    "small numbers": (lambda r: r.integers(0, 10, (4, 2_000)).astype(float), 0.45),
    "memory in pages": (lambda r: 4_096.0 * np.cumsum(r.integers(-9, 10, (4, 2_000)), 1), 0.65),
    "constants": (lambda r: np.repeat(r.integers(0, 9, (4, 1)).astype(float), 2_000, 1), 0.02),
    "a gauge that ends with a stale marker": (
        lambda r: np.c_[np.round(np.cumsum(r.normal(0, 0.5, (4, 1_999)), 1), 2), np.full(4, STALE_NAN)],
        1.06,
    ),
}


@pytest.mark.parametrize(("kind", "bytes_max"), KINDS.values(), ids=KINDS.keys())
def test_what_devices_send_is_small(kind: Callable[[np.random.Generator], np.ndarray], bytes_max: float) -> None:
    value = np.ascontiguousarray(kind(np.random.default_rng(3))).ravel()
    codec, data = tile.encode_values(value, np.full(4, 2_000))
    decoded = np.empty(value.size)
    tile.decode_values(codec, data, decoded)
    np.testing.assert_array_equal(decoded.view(np.uint64), value.view(np.uint64))
    assert codec == tile.DECIMAL
    assert len(data) / value.size < bytes_max


def times_back(timestamp_ms: np.ndarray, lengths: np.ndarray) -> tuple[int, float]:
    """That the times come back; the codec and the bytes a sample."""
    codec, data = tile.encode_times(timestamp_ms, lengths)
    decoded = np.empty(timestamp_ms.size, np.int64)
    tile.decode_times(codec, data, decoded)
    np.testing.assert_array_equal(decoded, timestamp_ms)
    return codec, len(data) / timestamp_ms.size


@given(
    npst.arrays(np.int64, st.integers(1, 300), elements=st.integers(-(2**62), 2**62) | st.integers(0, 5)),
    st.lists(st.integers(0, 300), max_size=5),
)
def test_times_come_back(timestamp_ms: np.ndarray, cuts: list[int]) -> None:
    times_back(timestamp_ms, row_lengths(timestamp_ms.size, cuts))


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=8),
    interval_ms=st.integers(1, 20_000),
    jitter_ms=st.integers(0, 30),
    gap_chance=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 2**32),
)
def test_times_near_a_grid_come_back(
    lengths: list[int], interval_ms: int, jitter_ms: int, gap_chance: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    rows = []
    for length in lengths:
        steps = 1 + (random.random(length) < gap_chance) * random.integers(1, 9, length)
        row = 1_700_000_000_000 + random.integers(0, 10**6) + interval_ms * np.cumsum(steps)
        rows.append(np.sort(row + random.integers(-jitter_ms, jitter_ms + 1, length)))
    times_back(np.concatenate(rows), np.array(lengths))


GRIDS = {  # name: (length of each row, jitter in ms, chance of a gap, phase of each row apart, most bytes a sample)
    "a scrape": ([280] * 29, 0, 0.0, False, 0.006),
    "a scrape, rows cut at both ends": ([100, *[280] * 28, 17], 0, 0.0, False, 0.006),
    "rows of other lengths": ([270 + n for n in range(29)], 0, 0.0, False, 0.012),
    "each row at a phase of its own": ([280] * 29, 0, 0.0, True, 0.02),
    "jitter of 25 ms": ([280] * 29, 25, 0.0, True, 0.75),  # log2(51) / 8 = 0.71
    "jitter in rows of nine": ([9] * 900, 25, 0.0, False, 0.92),
    "gaps": ([280] * 29, 0, 0.01, False, 0.03),
    "gaps and jitter": ([280] * 29, 25, 0.01, False, 0.78),
}


@pytest.mark.parametrize("kind", GRIDS.values(), ids=GRIDS.keys())
def test_times_near_a_grid_are_small(kind: tuple[list[int], int, float, bool, float]) -> None:
    lengths, jitter_ms, gap_chance, has_phases, bytes_max = kind
    random = np.random.default_rng(3)
    rows = [
        1_700_000_000_000
        + has_phases * random.integers(0, 10_000)
        + 10_000 * np.cumsum(1 + (random.random(length) < gap_chance))
        + random.integers(-jitter_ms, jitter_ms + 1, length)
        for length in lengths
    ]
    codec, size_bytes = times_back(np.concatenate(rows), np.array(lengths))
    assert codec == tile.GRID
    assert size_bytes < bytes_max


def test_drifting_times_are_differences() -> None:
    drift = np.cumsum(10_000 + (np.arange(8_000) % 3 == 0))
    assert times_back(1_700_000_000_000 + drift, np.array([8_000]))[0] == tile.PCODEC


def test_counters_of_different_rates_are_small_together() -> None:
    random = np.random.default_rng(3)
    rates = random.uniform(1, 5_000, 29)
    value = np.cumsum(np.floor(rates[:, None] * random.uniform(0.8, 1.2, (29, 280))), axis=1).ravel()
    codec, data = tile.encode_values(value, np.full(29, 280))
    decoded = np.empty(value.size)
    tile.decode_values(codec, data, decoded)
    np.testing.assert_array_equal(decoded, value)
    assert codec == tile.DECIMAL
    assert len(data) / value.size < 1.36  # 1.57 without the slopes; the mean of log2(0.4 of a rate) is 1.18


GRID_TIMES = tile.encode_times(np.arange(0, 90, 10), np.array([4, 5]))[1]
GRID_DAMAGE = {  # name: (data for nine times, what is said)
    "five bytes": (b"noise", "times on a grid of 5 bytes"),
    "cut short": (GRID_TIMES[:-1], "by their header"),
    "no samples in the first row": (GRID_TIMES[:24] + bytes(4) + GRID_TIMES[28:], "a row of 0 samples"),
    "others of no samples": (GRID_TIMES[:28] + bytes(4) + GRID_TIMES[32:], "others of 0"),
    "a row longer than the tile": (GRID_TIMES[:24] + bytes([200]) + GRID_TIMES[25:], "a row of 200 samples"),
    "row lengths that are none": (GRID_TIMES[:1] + GRID_TIMES[1:24] + b"noisenoi" + GRID_TIMES[32:], "a row of"),
}


@pytest.mark.parametrize(("data", "said"), GRID_DAMAGE.values(), ids=GRID_DAMAGE.keys())
def test_bytes_that_are_no_grid_are_named(data: bytes, said: str) -> None:
    with pytest.raises(CorruptData, match=said):
        tile.decode_times(tile.GRID, data, np.empty(9, np.int64))


DAMAGE = {  # name: (codec, data for two values, what is said)
    "an unknown codec": (99, b"", "codec 99"),
    "a constant of seven bytes": (tile.CONSTANT, bytes(7), "7 bytes, not 8"),
    "a short raw column": (tile.RAW, bytes(15), "15 bytes for 2 samples"),
    "noise for pcodec": (tile.PCODEC, b"noise", "a pcodec column of 5 bytes"),
    "three numbers for two": (
        tile.PCODEC,
        tile.encode_values(np.random.default_rng(1).random(3000), np.array([3000]))[1],
        "for 2 samples",
    ),
    "a decimal column of five bytes": (tile.DECIMAL, b"noise", "a decimal column of 5 bytes"),
    "three decimals for two": (tile.DECIMAL, tile.encode_values(np.arange(3.0), np.array([3]))[1], "a decimal column"),
    "a decimal column cut short": (
        tile.DECIMAL,
        tile.encode_values(np.arange(2.0), np.array([2]))[1][:-1],
        "by its header",
    ),
    "one number for two": (tile.PCODEC, tile._encode(np.arange(2.0)[:1], np.arange(1, 3), tile._VALUES)[1], "a pcodec"),
}


@pytest.mark.parametrize(("codec", "data", "said"), DAMAGE.values(), ids=DAMAGE.keys())
def test_bytes_that_are_no_column_are_named(codec: int, data: bytes, said: str) -> None:
    with pytest.raises(CorruptData, match=said):
        tile.decode_values(codec, data, np.empty(2))


LOW, TARGET, HIGH = tile.SAMPLE_COUNT_MIN, tile.SAMPLE_COUNT_TARGET, tile.SAMPLE_COUNT_MAX
CUTS = {  # name: (where rows begin, where groups begin, samples, whether it is the end, the ends wanted)
    "nothing": ([], [], 0, True, []),
    "too few for a tile, more to come": ([], [], HIGH - 1, False, []),
    "too few for a tile at the end": ([], [], 5, True, [5]),
    "one long series": ([], [], 2 * TARGET + 5, True, [TARGET, 2 * TARGET + 5]),
    "at the row next to the target": ([LOW, TARGET - 10, TARGET + 5], [], HIGH, True, [TARGET + 5, HIGH]),
    "rows outside the bounds do not count": ([LOW - 1], [], HIGH, True, [TARGET, HIGH]),
    "a group goes before a better row": ([LOW, TARGET], [LOW + 1], HIGH, True, [LOW + 1, HIGH]),
}


@pytest.mark.parametrize(("rows", "groups", "count", "is_last", "ends"), CUTS.values(), ids=CUTS.keys())
def test_cut(rows: list[int], groups: list[int], count: int, is_last: bool, ends: list[int]) -> None:
    found = cut(np.array(rows, np.int64), np.array(groups, np.int64), count, is_last=is_last)
    assert found == ends


def test_names_read_back_and_sort_by_time() -> None:
    name = BlockName(NOW_MS, WINDOW_MS, 7)
    assert str(name) == f"{NOW_MS // 1_000}-2h-00000007.block"
    assert BlockName.parse(str(name)) == name
    assert BlockName.parse("1700000000-2h-00000007.block.tmp") is None
    rollup = BlockName(NOW_MS, WINDOW_MS, 7, 600_000, Aggregate.SUM)
    assert str(rollup).endswith("-2h-00000007.10m-sum.block")
    assert BlockName.parse(str(rollup)) == rollup
    assert name.is_raw
    assert not rollup.is_raw
    assert BlockName.parse("1700000000-2h-00000007.10m-mean.block") is None
    assert BlockName.parse("1700000000-2h-00000007.10x-sum.block") is None
    assert str(BlockName(0, WINDOW_MS, 1)) < str(BlockName(WINDOW_MS, WINDOW_MS, 1)) < str(name)


DAYS_MS = NOW_MS // (128 * HOUR_MS) * (128 * HOUR_MS)  # The start of a window of every length.


def entries(text: str) -> list[BlockEntry]:
    """Blocks from `start-end#samples` in hours after the start of a window."""
    found = []
    for number, part in enumerate(text.split()):
        span, sample_count = part.split("#")
        start, end = (int(hour) * HOUR_MS for hour in span.split("-"))
        time_ms = DAYS_MS + start
        summary = Summary(series_count=1, sample_count=int(sample_count), min_ms=time_ms, max_ms=time_ms)
        found.append(BlockEntry(BlockName(DAYS_MS + start, end - start, number), summary, 1))
    return found


NINE = " ".join(["0-2#1"] * 9)
PLANS = {  # name: (blocks on disk, hours before which windows are closed, whether thorough, the groups wanted)
    "nothing on disk": ("", 9, False, {}),
    "one block": ("0-2#1", 999, True, {}),
    "two of one window": ("0-2#1 2-4#1 0-2#1", 4, False, {"0-2": [0, 2]}),
    "an open window waits": ("0-2#1 0-2#1", 1, False, {}),
    "an open window with many does not": (NINE, 1, False, {"0-2": [*range(9)]}),
    "nor when everything is asked for": ("0-2#1 0-2#1", 1, True, {"0-2": [0, 1]}),
    "oldest window first": ("2-4#1 2-4#1 0-2#1 0-2#1", 4, False, {"0-2": [2, 3], "2-4": [0, 1]}),
    "the parts of a longer window": ("0-2#1 2-4#1 6-8#1 8-10#1", 8, False, {"0-8": [0, 1, 2]}),
    "the longest that is closed": ("0-8#9 8-16#9 30-32#1 40-42#1", 32, False, {"0-32": [0, 1, 2]}),
    "all of a backfill at once": (
        " ".join(f"{hour}-{hour + 2}#1" for hour in range(0, 128, 2)),
        128,
        False,
        {"0-128": [*range(64)]},
    ),
    "few late samples stay apart": ("0-128#900 4-6#1", 999, False, {}),
    "many late samples do not": ("0-128#900 4-6#100 8-10#13", 999, False, {"0-128": [0, 1, 2]}),
    "late samples, thorough": ("0-128#900 4-6#1", 999, True, {"0-128": [0, 1]}),
    "too large for one block": (f"0-8#{2**28} 8-16#{2**28} 16-24#1", 32, False, {}),
    "large, but two of one window": (f"0-2#{2**29} 0-2#{2**29}", 2, False, {"0-2": [0, 1]}),
}


@pytest.mark.parametrize(("disk", "closed_before", "is_thorough", "wanted"), PLANS.values(), ids=PLANS.keys())
def test_plan(disk: str, closed_before: int, is_thorough: bool, wanted: dict[str, list[int]]) -> None:
    on_disk = entries(disk)
    found = plan(on_disk, closed_before_ms=DAYS_MS + closed_before * HOUR_MS, is_thorough=is_thorough)
    listed = {}
    for group in found:
        start = (group.start_ms - DAYS_MS) // HOUR_MS
        listed[f"{start}-{start + group.window_ms // HOUR_MS}"] = [on_disk.index(entry) for entry in group.entries]
    assert list(listed.items()) == list(wanted.items())

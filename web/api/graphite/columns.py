"""The values and times of many series as texts, each column at once: no Python object stands for a sample.

Series often share their times, so the text of a time is made once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from tsdb.answer import RenderedSeries
from tsdb.sample import Float64s, Int64s
from web.api.texts import Texts, joined_in_pairs

# Between these, and at 0, msgspec writes what Python's repr() does.
_ALIKE_MIN, _ALIKE_BELOW = 1e-4, 1e16
# The hours of all zones change on a quarter of an hour.
_QUARTER_S = 900

TimeTexts = Callable[[Int64s], list[bytes]]
"""The text of each of some times in seconds, which rise; it may hold what stands around it, but no line feed."""


def json_numbers(value: Float64s) -> Texts:
    """null for none; an infinity as a number too large to read, as graphite-web writes it."""
    if not value.size:
        return Texts.of([])
    texts = Texts.between_commas(msgspec.json.encode(value.tolist()))
    return texts.with_texts(
        np.flatnonzero(np.isinf(value)),
        [b"1e9999" if one > 0 else b"-1e9999" for one in value[np.isinf(value)].tolist()],
    )


def python_numbers(value: Float64s, nothing: bytes) -> Texts:
    """As Python writes floats: 74.0, 1.43e-05, inf. nothing: for none."""
    if not value.size:
        return Texts.of([])
    texts = Texts.between_commas(msgspec.json.encode(value.tolist()))
    size = np.abs(value)
    odd = np.flatnonzero(~((value == 0) | ((size >= _ALIKE_MIN) & (size < _ALIKE_BELOW))))
    return texts.with_texts(odd, [nothing if one != one else repr(one).encode() for one in value[odd].tolist()])


@dataclass(frozen=True, slots=True)
class Grid:
    """Equal steps in time, as hashable as they are."""

    start_s: int
    step_s: int
    count: int

    @staticmethod
    def of(one: RenderedSeries) -> Grid:
        return Grid(one.start_s, one.step_s, one.values.size)

    def times(self) -> Int64s:
        found: Int64s = self.start_s + self.step_s * np.arange(self.count, dtype=np.int64)
        return found


def rows(
    series: Sequence[RenderedSeries],
    numbers: Callable[[Float64s], Texts],
    times: TimeTexts,
    *,
    time_first: bool,
    leaves_nulls_out: bool = False,
) -> Iterator[memoryview]:
    """For each series the texts of its times and values, one behind the other in the order that is asked for."""
    values = np.concatenate([one.values for one in series]) if series else np.empty(0)
    stamps = _stamps([Grid.of(one) for one in series], times)
    edges = np.concatenate(([0], np.cumsum([one.values.size for one in series]))).astype(np.int64)
    if leaves_nulls_out:
        there = np.flatnonzero(~np.isnan(values))
        values, stamps, edges = values[there], stamps.taken(there), np.searchsorted(there, edges)
    written = numbers(values)
    pairs, ends = joined_in_pairs(*((stamps, written) if time_first else (written, stamps)))
    for start, end in pairwise(np.concatenate((np.zeros(1, np.int64), ends))[edges].tolist()):
        yield pairs[start:end]


def _stamps(grids: Sequence[Grid], times: TimeTexts) -> Texts:
    if not grids:
        return Texts.of([])
    first_by_grid: dict[Grid, int] = {}
    found: list[bytes] = []
    for grid in dict.fromkeys(grids):
        first_by_grid[grid] = len(found)
        found += times(grid.times())
    at = np.concatenate([np.arange(first_by_grid[grid], first_by_grid[grid] + grid.count) for grid in grids])
    return Texts.of(found).taken(at)


def numbers_between(before: str, after: str) -> TimeTexts:
    """Whole numbers with the same texts around each."""

    def texts(time_s: Int64s) -> list[bytes]:
        if not time_s.size:
            return []
        gap = f"{after}\n{before}".encode()
        listed = msgspec.json.encode(time_s.tolist())[1:-1].replace(b",", gap)
        return b"".join((before.encode(), listed, after.encode())).split(b"\n")

    return texts


def days_and_hours(zone: ZoneInfo, before: str, after: str) -> TimeTexts:
    """`2023-11-14 22:01:00` in a zone, with the same texts around each."""

    def texts(time_s: Int64s) -> list[bytes]:
        quarters, inverse = np.unique(time_s // _QUARTER_S, return_inverse=True)
        offsets = np.array([_offset_s(int(quarter) * _QUARTER_S, zone) for quarter in quarters.tolist()], np.int64)
        local = (time_s + offsets[inverse]).astype("datetime64[s]")
        return [f"{before}{text.replace('T', ' ')}{after}".encode() for text in np.datetime_as_string(local).tolist()]

    return texts


def _offset_s(at_s: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(at_s, zone).utcoffset()
    assert offset is not None, zone
    return int(offset.total_seconds())

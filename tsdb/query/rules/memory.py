"""Series in memory, for rules that are tried on series which stand in a file."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np

from tsdb import regex
from tsdb.interface import Bounds, Grain
from tsdb.sample import Labels, Matcher, MatchOp, Selection


class MemorySeries:
    """A SeriesSource to which samples are added in the order of their times; of two at one time the later stays."""

    def __init__(self) -> None:
        self._columns: dict[Labels, tuple[list[int], list[float]]] = {}

    def add(self, labels: Labels, at_ms: int, value: float) -> None:
        times, values = self._columns.setdefault(labels, ([], []))
        place = bisect_left(times, at_ms)
        if place < len(times) and times[place] == at_ms:
            values[place] = value
        else:
            times.insert(place, at_ms)
            values.insert(place, value)

    def select(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        grain: Grain | None = None,
        *,
        bounds: Bounds | None = None,
    ) -> Selection:
        labels, offsets, times, values = [], [0], [], []
        for key in self.series(matchers, start_ms, end_ms):
            column = self._columns[key]
            part = slice(bisect_left(column[0], start_ms), bisect_right(column[0], end_ms))
            if part.stop > part.start:
                labels.append(key)
                times += column[0][part]
                values += column[1][part]
                offsets.append(len(times))
        return Selection(
            labels=labels,
            offsets=np.array(offsets, np.int64),
            timestamp_ms=np.array(times, np.int64),
            value=np.array(values, np.float64),
        )

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Labels]:
        return sorted(key for key in self._columns if all(_satisfies(dict(key), matcher) for matcher in matchers))


def _satisfies(labels: dict[str, str], matcher: Matcher) -> bool:
    value = labels.get(matcher.name, "")
    if matcher.op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL):
        return (value == matcher.value) is (matcher.op is MatchOp.EQUAL)
    found = regex.compiled(matcher.value).fullmatch(value) is not None
    return found is (matcher.op is MatchOp.REGEX)

"""Series in memory: for rules that are tried on series which stand in a file, and for tests of the evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tsdb import regex
from tsdb.interface import Bounds, Grain
from tsdb.sample import Float64s, Int64s, Labels, Matcher, MatchOp, Selection, labels_from

CAPACITY_MIN = 16
FOUND_COUNT_MAX = 1_000  # Selectors whose series are remembered until the next new series.


class _Column:
    """The samples of one series in arrays that grow by doubling, so that a sample more costs no copy of the others."""

    __slots__ = ("_count", "_time", "_value")

    def __init__(self) -> None:
        self._time = np.empty(CAPACITY_MIN, np.int64)
        self._value = np.empty(CAPACITY_MIN, np.float64)
        self._count = 0

    def add(self, samples: Iterable[tuple[int, float]]) -> None:
        pairs = list(samples)
        if not pairs:
            return
        time = np.array([at_ms for at_ms, _ in pairs], np.int64)
        value = np.array([number for _, number in pairs], np.float64)
        is_next = not self._count or time[0] > self._time[self._count - 1]
        if not (is_next and (time[1:] > time[:-1]).all()):
            time = np.concatenate((self._time[: self._count], time))
            value = np.concatenate((self._value[: self._count], value))
            order = np.argsort(time, kind="stable")
            order = order[np.append(time[order][1:] != time[order][:-1], True)]  # Of one time, the latest.
            time, value, self._count = time[order], value[order], 0
        end = self._count + time.size
        if end > self._time.size:
            capacity = max(2 * self._time.size, end)
            self._time, self._value = np.resize(self._time, capacity), np.resize(self._value, capacity)
        self._time[self._count : end], self._value[self._count : end] = time, value
        self._count = end

    def between(self, start_ms: int, end_ms: int) -> tuple[Int64s, Float64s]:
        """Copies, both ends included."""
        time = self._time[: self._count]
        part = slice(time.searchsorted(start_ms, side="left"), time.searchsorted(end_ms, side="right"))
        return time[part].copy(), self._value[: self._count][part].copy()


class MemorySeries:
    """A SeriesSource to which samples are added; of two of one series at one time the later one added stays."""

    def __init__(self) -> None:
        self._columns: dict[Labels, _Column] = {}
        self._found: dict[tuple[Matcher, ...], list[Labels]] = {}

    def add(self, labels: Labels | Mapping[str, str], samples: Iterable[tuple[int, float]]) -> None:
        key = labels_from(labels) if isinstance(labels, Mapping) else labels
        column = self._columns.get(key)
        if column is None:
            column = self._columns[key] = _Column()
            self._found.clear()
        column.add(samples)

    def clear(self) -> None:
        self._columns.clear()
        self._found.clear()

    def select(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        grain: Grain | None = None,
        *,
        bounds: Bounds | None = None,
    ) -> Selection:
        labels, times, values = [], [], []
        for key in self.series(matchers, start_ms, end_ms):
            time, value = self._columns[key].between(start_ms, end_ms)
            if time.size:
                labels.append(key)
                times.append(time)
                values.append(value)
        if not labels:
            return Selection.empty()
        return Selection(
            labels=labels,
            offsets=np.concatenate(([0], np.cumsum([part.size for part in times]))).astype(np.int64),
            times_ms=np.concatenate(times),
            value=np.concatenate(values),
        )

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Labels]:
        """Of all times, by labels."""
        asked = tuple(matchers)
        found = self._found.get(asked)
        if found is None:
            if len(self._found) >= FOUND_COUNT_MAX:
                self._found.clear()
            found = sorted(key for key in self._columns if all(_satisfies(dict(key), matcher) for matcher in asked))
            self._found[asked] = found
        return found


def _satisfies(labels: dict[str, str], matcher: Matcher) -> bool:
    value = labels.get(matcher.name, "")
    if matcher.op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL):
        return (value == matcher.value) is (matcher.op is MatchOp.EQUAL)
    found = regex.compiled(matcher.value).fullmatch(value) is not None
    return found is (matcher.op is MatchOp.REGEX)

"""A SeriesSource that holds everything in memory and looks at every series: the twin of the store for tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tests.tsdb.matching import satisfies
from tsdb.interface import Bounds, Grain
from tsdb.sample import Labels, Matcher, Selection, labels_from


class MemorySource:
    """Series as sorted samples; of two samples of one series at one time the later one added stays."""

    def __init__(self) -> None:
        self._samples: dict[Labels, dict[int, float]] = {}
        self._columns: dict[Labels, tuple[np.ndarray, np.ndarray]] = {}

    def add(self, labels: dict[str, str], samples: Iterable[tuple[int, float]]) -> None:
        key = labels_from(labels)
        self._samples.setdefault(key, {}).update(samples)
        self._columns.pop(key, None)

    def clear(self) -> None:
        self._samples.clear()
        self._columns.clear()

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
            timestamp_ms, value = self._column(key)
            first = int(np.searchsorted(timestamp_ms, start_ms, side="left"))
            end = int(np.searchsorted(timestamp_ms, end_ms, side="right"))
            if end > first:
                labels.append(key)
                times.append(timestamp_ms[first:end])
                values.append(value[first:end])
        if not labels:
            return Selection.empty()
        return Selection(
            labels=labels,
            offsets=np.concatenate(([0], np.cumsum([part.size for part in times]))).astype(np.int64),
            timestamp_ms=np.concatenate(times),
            value=np.concatenate(values),
        )

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Labels]:
        return sorted(key for key in self._samples if satisfies(key, matchers))

    def _column(self, key: Labels) -> tuple[np.ndarray, np.ndarray]:
        if key not in self._columns:
            items = sorted(self._samples[key].items())
            self._columns[key] = (
                np.array([time for time, _ in items], np.int64),
                np.array([value for _, value in items], np.float64),
            )
        return self._columns[key]


class FixedSource:
    """A source that answers every selector with the same selection."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection

    def select(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        grain: Grain | None = None,
        *,
        bounds: Bounds | None = None,
    ) -> Selection:
        return self._selection

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Labels]:
        return self._selection.labels

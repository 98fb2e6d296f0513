"""A SeriesSource whose selections have coded labels, as those of the store; it counts what is fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tsdb.interface import Bounds, Grain, SeriesSource
from tsdb.sample import Labels, Matcher, Selection, canonical_bytes
from tsdb.store.index import SeriesIndex
from tsdb.store.labels import LabelColumn


class CodedSource:
    """Another source's samples."""

    def __init__(self, source: SeriesSource) -> None:
        self._source = source
        self._index = SeriesIndex()
        self.fetched: list[str] = []

    def select(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        grain: Grain | None = None,
        *,
        bounds: Bounds | None = None,
    ) -> Selection:
        self.fetched.append(matchers[0].value)
        found = self._source.select(matchers, start_ms, end_ms, grain, bounds=bounds)
        if not found.series_count:
            return found
        ids = self._index.add([canonical_bytes(labels) for labels in found.labels])
        return replace(found, labels=LabelColumn(self._index, ids))

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Labels]:
        return self._source.series(matchers, start_ms, end_ms)

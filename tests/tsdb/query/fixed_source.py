"""A SeriesSource that answers every selector alike."""

from __future__ import annotations

from collections.abc import Sequence

from tsdb.interface import Bounds, Grain
from tsdb.sample import Labels, Matcher, Selection


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

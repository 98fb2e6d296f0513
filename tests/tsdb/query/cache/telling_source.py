"""Sources that tell what has changed: one in memory, one over an engine; both count what is selected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tests.tsdb.query.coded_source import CodedSource
from tsdb.interface import Bounds, Changes, ChangeToken, Grain
from tsdb.query.rules.memory import MemorySeries
from tsdb.sample import Labels, Matcher, Selection, labels_from
from tsdb.store.changes import ChangeLog
from tsdb.store.engine import Engine


class TellingSource(MemorySeries):
    """A store in memory with the change log of the real one."""

    def __init__(self) -> None:
        super().__init__()
        self.log = ChangeLog()
        self.spans_ms: list[tuple[int, int]] = []  # Of the selections, first and last time.

    def add(self, labels: Labels | Mapping[str, str], samples: Iterable[tuple[int, float]]) -> None:
        samples = list(samples)
        super().add(labels, samples)
        if samples:
            self.log.note(min(time_ms for time_ms, _ in samples))

    def delete(self, labels: dict[str, str], start_ms: int, end_ms: int) -> None:
        held = self._columns.pop(labels_from(labels), None)
        self._found.clear()
        if held is not None:
            before, after = held.between(-(2**62), start_ms - 1), held.between(end_ms + 1, 2**62)
            for times_ms, values in (before, after):
                super().add(labels, zip(times_ms.tolist(), values.tolist(), strict=True))
        self.log.note(start_ms)

    def select(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        grain: Grain | None = None,
        *,
        bounds: Bounds | None = None,
    ) -> Selection:
        self.spans_ms.append((start_ms, end_ms))
        return super().select(matchers, start_ms, end_ms, grain, bounds=bounds)

    def changes(self, since: ChangeToken | None) -> Changes:
        return self.log.since() if since is None else self.log.since(since.store, since.sequence)


class CodedTelling(CodedSource):
    """The same samples with coded labels, as the store has them."""

    def __init__(self, source: TellingSource) -> None:
        super().__init__(source)
        self.changes = source.changes


class EngineSource:
    """An engine as the query process sees it, in one process."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.spans_ms: list[tuple[int, int]] = []

    def select(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        grain: Grain | None = None,
        *,
        bounds: Bounds | None = None,
    ) -> Selection:
        self.spans_ms.append((start_ms, end_ms))
        return self.engine.select(matchers, start_ms, end_ms, grain, bounds=bounds)

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Labels]:
        return self.engine.series(matchers, start_ms, end_ms)

    def changes(self, since: ChangeToken | None) -> Changes:
        log = self.engine.changes
        return log.since() if since is None else log.since(since.store, since.sequence)

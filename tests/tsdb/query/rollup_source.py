"""A source whose old samples are gone but for rollups, made one sample at a time: the twin of the store's tiers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tests.tsdb.query.dumb import Sample, is_stale
from tsdb.interface import Aggregate, Bounds, Grain
from tsdb.query.rules.memory import MemorySeries
from tsdb.sample import Labels, Matcher, Selection


class RollupSource:
    """Raw samples from raw_from_ms on; before it one bucket of each resolution.

    Answers with the coarsest resolution that divides what the grain allows, else with the finest.
    """

    def __init__(self, raw: MemorySeries, raw_from_ms: int, resolutions_ms: Sequence[int]) -> None:
        assert all((raw_from_ms - 1) % resolution_ms == 0 for resolution_ms in resolutions_ms), "buckets end there"
        self._raw = raw
        self._raw_from_ms = raw_from_ms
        self._resolutions_ms = sorted(resolutions_ms)
        self.grains: list[Grain | None] = []

    def select(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        grain: Grain | None = None,
        *,
        bounds: Bounds | None = None,
    ) -> Selection:
        self.grains.append(grain)
        if start_ms >= self._raw_from_ms:
            return self._raw.select(matchers, start_ms, end_ms)
        grain = Grain(Aggregate.LAST, 0) if grain is None else grain
        exact = [ms for ms in self._resolutions_ms if grain.resolution_max_ms % ms == 0 and grain.resolution_max_ms]
        resolution_ms = (exact or self._resolutions_ms[:1])[-1]
        found = []
        everything = self._raw.select(matchers, -(2**60), 2**60)
        bounds_of = everything.offsets.tolist()
        for i, labels in enumerate(everything.labels):
            part = slice(bounds_of[i], bounds_of[i + 1])
            samples = list(zip(everything.timestamp_ms[part].tolist(), everything.value[part].tolist(), strict=True))
            # A list of floats may lose the payload of a stale marker, so those are told from the column.
            kept = [s for s, value in zip(samples, everything.value[part], strict=True) if not is_stale(value)]
            old = buckets([s for s in kept if s[0] < self._raw_from_ms], grain.aggregate, resolution_ms)
            new = [(at, value) for at, value in kept if at >= self._raw_from_ms]
            if grain.aggregate is Aggregate.INCREASE and old:
                old = anchored(old, new)
            rows = [(at, value) for at, value in old + new if start_ms <= at <= end_ms]
            if rows:
                found.append((labels, rows))
        return selection_of(found, resolution_ms, self._raw_from_ms)

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Labels]:
        return self._raw.series(matchers, start_ms, end_ms)


def selection_of(found: Sequence[tuple[Labels, list[Sample]]], resolution_ms: int, raw_from_ms: int) -> Selection:
    return Selection(
        labels=[labels for labels, _ in found],
        offsets=np.cumsum([0, *(len(rows) for _, rows in found)], dtype=np.int64),
        times_ms=np.array([at for _, rows in found for at, _ in rows], np.int64),
        value=np.array([value for _, rows in found for _, value in rows], np.float64),
        resolution_ms=resolution_ms,
        raw_from_ms=raw_from_ms,
    )


def buckets(samples: Sequence[Sample], aggregate: Aggregate, resolution_ms: int) -> list[Sample]:
    """One number for each bucket (end - resolution, end] that has samples."""
    by_end: dict[int, list[float]] = {}
    rises: dict[int, float] = {}
    before = None
    for at, value in samples:
        end = math.ceil(at / resolution_ms) * resolution_ms
        by_end.setdefault(end, []).append(value)
        rise = 0.0 if before is None else value if value < before else value - before
        rises[end] = rises.get(end, 0.0) + rise
        before = value
    if aggregate is Aggregate.INCREASE:
        return sorted(rises.items())
    reduce = {
        Aggregate.LAST: lambda values: values[-1],
        Aggregate.MIN: min,
        Aggregate.MAX: max,
        Aggregate.SUM: math.fsum,
        Aggregate.COUNT: lambda values: float(len(values)),
    }[aggregate]
    return sorted((end, reduce(values)) for end, values in by_end.items())


def anchored(rises: Sequence[Sample], raw: Sequence[Sample]) -> list[Sample]:
    """A counter that rises by each increase and joins the first raw sample, without a fall between them."""
    total = math.fsum(rise for _, rise in rises)
    value = (raw[0][1] - total) if raw else 0.0
    counter = []
    for end, rise in rises:
        value += rise
        counter.append((end, value))
    return counter

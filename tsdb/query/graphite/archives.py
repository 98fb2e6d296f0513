"""Points of coarser steps as whisper's archives would hold them, by the method that is configured for the series.

Henge keeps every figure of a rollup, so the method is chosen when it is read. A coarse point is made of the fine ones
at once, where whisper makes it of the next finer archive: a mean of means may differ where points are missing.

Source: whisper 1.1.10, aggregate and __propagate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import re2

from appliance.graphite import AggregationRule
from tsdb.interface import Aggregate, Bounds, Grain, SeriesSource
from tsdb.query.graphite.series import Series
from tsdb.sample import METRIC_NAME, Float64s, Int64s, Labels, Matcher, Selection, is_stale, series_times

_SUM, _COUNT, _MIN, _MAX, _LAST = Aggregate.SUM, Aggregate.COUNT, Aggregate.MIN, Aggregate.MAX, Aggregate.LAST
_NEEDED: Mapping[str, tuple[Aggregate, ...]] = {
    "average": (_SUM,),
    "avg_zero": (_SUM,),
    "sum": (_SUM,),
    "min": (_MIN,),
    "max": (_MAX,),
    "last": (_LAST,),
    "absmax": (_MIN, _MAX),
    "absmin": (_MIN, _MAX),
}


@dataclass(frozen=True, slots=True)
class Archives:
    """rules: the first that fits a series counts. resolution_s: how often samples of a series are expected; or None.

    coarser_s: the steps of its rollups.
    """

    rules: Sequence[AggregationRule]
    resolution_s: Callable[[Labels], int | None]
    coarser_s: Callable[[Labels], Sequence[int]]

    def apply(
        self,
        source: SeriesSource,
        matchers: Sequence[Matcher],
        found: Selection,
        series: Mapping[Labels, Series],
        bounds: Bounds | None,
    ) -> None:
        """Put other values in the place of those of coarser steps, and of those that are read of rollups.

        found: what the series were made of.
        """
        asked = []
        for labels, one in series.items():
            resolution_s = self.resolution_s(labels)
            is_coarse = resolution_s is not None and one.step_s > resolution_s
            if not is_coarse and (not found.resolution_ms or found.raw_from_ms <= 1_000 * one.start_s):
                continue
            if (rule := self._rule_of(labels)) is not None:
                asked.append((labels, one, rule, resolution_s))
        if not asked:
            return
        step_ms = 1_000 * math.gcd(*(one.step_s for _, one, _, _ in asked))
        start_ms = 1_000 * min(one.start_s for _, one, _, _ in asked)
        end_ms = 1_000 * max(one.end_s for _, one, _, _ in asked)
        aggregates = {_COUNT}.union(*(_NEEDED[rule.method] for _, _, rule, _ in asked))
        tables = {
            each: _Table.of(each, source.select(matchers, start_ms, end_ms, Grain(each, step_ms), bounds=bounds))
            for each in sorted(aggregates)
        }
        for labels, one, rule, resolution_s in asked:
            rows = {
                each: table.rows(labels, one, resolution_s)
                for each, table in tables.items()
                if each is _COUNT or each in _NEEDED[rule.method]
            }
            size = one.values.size
            count = _figure(_COUNT, *rows[_COUNT], size)
            coarser = [one.step_s // each for each in self.coarser_s(labels) if one.step_s % each == 0]
            wanted = _wanted_count(count, one.step_s / (resolution_s or one.step_s), coarser)
            one.values = _made(rule, rows, count, wanted)

    def _rule_of(self, labels: Labels) -> AggregationRule | None:
        path = dict(labels).get(METRIC_NAME, "")
        return next((rule for rule in self.rules if re2.search(rule.pattern, path) is not None), None)


@dataclass(frozen=True, slots=True)
class _Table:
    """One figure of all series: samples, and buckets before raw_from_ms."""

    aggregate: Aggregate
    found: Selection
    places: Mapping[Labels, int]

    @staticmethod
    def of(aggregate: Aggregate, found: Selection) -> _Table:
        return _Table(aggregate, found, {labels: index for index, labels in enumerate(found.labels)})

    def rows(self, labels: Labels, one: Series, resolution_s: int | None) -> tuple[Int64s, Float64s]:
        """The steps of one, which rise, and the figures that lie in them."""
        index = self.places.get(labels)
        if index is None:
            return np.empty(0, np.int64), np.empty(0)
        time_ms = series_times(self.found.times_ms, self.found.offsets, index)
        value = self.found.value[int(self.found.offsets[index]) : int(self.found.offsets[index + 1])]
        is_there = ~is_stale(value) & ~np.isnan(value)
        time_ms, value = time_ms[is_there], value[is_there]
        is_raw = time_ms >= self.found.raw_from_ms
        time_ms = time_ms - ~is_raw  # A bucket ends at its time, which is in it: it lies before the step that begins.
        if resolution_s is not None:
            kept = _last_of_each(time_ms // (1_000 * resolution_s)) | ~is_raw
            time_ms, value, is_raw = time_ms[kept], value[kept], is_raw[kept]
        if self.aggregate is _COUNT:
            value = np.where(is_raw, 1.0, value)
        slot = (time_ms // 1_000 - one.start_s) // one.step_s
        is_inside = (slot >= 0) & (slot < (one.end_s - one.start_s) // one.step_s)
        return slot[is_inside], value[is_inside]


def _last_of_each(slot: Int64s) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.concatenate((slot[1:] != slot[:-1], np.ones(min(1, slot.size), np.bool_)))


def _figure(aggregate: Aggregate, slot: Int64s, value: Float64s, size: int) -> Float64s:
    """By step: the figure of all that is in it; NaN where nothing is."""
    figure = np.full(size, np.nan)
    if aggregate is _LAST or not slot.size:
        figure[slot] = value  # Of several in one step, the last stays.
        return figure
    begins = np.flatnonzero(np.concatenate(([True], slot[1:] != slot[:-1])))
    reduce = {_MIN: np.minimum, _MAX: np.maximum}.get(aggregate, np.add)
    figure[slot[begins]] = reduce.reduceat(value, begins)
    return figure


def _wanted_count(count: Float64s, fine: float, coarser: Sequence[int]) -> Float64s:
    """By step: how many points there are when none is missing: fine, or as many as one of the coarser archives has.

    History that was imported has coarse points alone, and a whole minute is one sample where six are expected. That is
    believed where a step beside it has just as many: at the edge of an outage, one is full or empty.
    """
    wanted = np.full(count.size, fine)
    for points in coarser:
        is_whole = (count == points) & (points < fine)
        if count.size > 1:
            beside = is_whole[1:] & is_whole[:-1]
            is_whole = np.concatenate((beside, [False])) | np.concatenate(([False], beside))
        wanted[is_whole] = points
    return wanted


def _made(
    rule: AggregationRule, rows: Mapping[Aggregate, tuple[Int64s, Float64s]], count: Float64s, wanted: Float64s
) -> Float64s:
    """count, wanted: by step, how many fine points it has, and how many when all are there."""
    if rule.method in ("absmin", "absmax"):
        slot = np.concatenate([rows[each][0] for each in (_MIN, _MAX)])
        value = np.concatenate([rows[each][1] for each in (_MIN, _MAX)])
        order = np.lexsort((np.abs(value) if rule.method == "absmax" else -np.abs(value), slot))
        values = _figure(_LAST, slot[order], value[order], count.size)
    else:
        (needed,) = _NEEDED[rule.method]
        values = _figure(needed, *rows[needed], count.size)
        if rule.method == "average":
            values = values / count
        elif rule.method == "avg_zero":
            values = values / np.maximum(wanted, count)
    return np.where(count >= rule.x_files_factor * wanted, values, np.nan)

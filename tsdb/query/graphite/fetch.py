"""Stored samples at equal steps, as whisper would give them.

Henge keeps samples as they came; a step is therefore what the schema of the series says, and otherwise what its
samples show: the gap that most of them have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tsdb.interface import Bounds, SeriesSource
from tsdb.query.graphite.account import Account
from tsdb.query.graphite.archives import Archives
from tsdb.query.graphite.context import Event
from tsdb.query.graphite.errors import BadTarget
from tsdb.query.graphite.globs import matchers_of
from tsdb.query.graphite.series import Series
from tsdb.sample import (
    METRIC_NAME,
    Float64s,
    Int64s,
    Labels,
    Matcher,
    MatchOp,
    Selection,
    SharedTimes,
    is_stale,
    series_times,
)

STEP_S_DEFAULT = 60  # As carbon's own default, for a series of one sample.
# Samples so long before the range tell the step of a series of which the range has none or one.
LOOK_BACK_S = 3_600
# Graphite's steps are whole and mostly round: a gap within a tenth of one of these is meant as it.
_ROUND_STEPS_S = np.array(
    [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 604_800]
)
_OPERATORS = (("!=~", MatchOp.NOT_REGEX), ("=~", MatchOp.REGEX), ("!=", MatchOp.NOT_EQUAL), ("=", MatchOp.EQUAL))

StepOf = Callable[[Labels, int], int | None]
"""The step in seconds that is configured for a series in a range that starts so many seconds ago, if there is one."""


class StoredSeries:
    """A Storage over the store. Times in seconds; one for each request, for it keeps what it fetched."""

    def __init__(
        self,
        source: SeriesSource,
        now_s: int,
        step_of: StepOf = lambda labels, age_s: None,
        events: Callable[[Sequence[str], int, int], list[Event]] = lambda tags, start_s, end_s: [],
        bounds: Bounds | None = None,
        archives: Archives | None = None,
        account: Account | None = None,
    ) -> None:
        self._source = source
        self._now_s = now_s  # What lives now is shown, though it has no sample in the range.
        self._step_of = step_of
        self._events = events
        self._bounds = bounds
        self._archives = archives
        self._account = Account() if account is None else account
        self._fetched: dict[tuple[object, int, int], list[Series]] = {}

    def fetch(self, pattern: str, start_s: int, end_s: int) -> list[Series]:
        key = (pattern, start_s, end_s)
        if key not in self._fetched:
            matchers = tag_matchers_of_name(pattern) if ";" in pattern else matchers_of(pattern)
            self._fetched[key] = self._read(matchers, start_s, end_s, pattern, is_tagged=";" in pattern)
        return [one.but() for one in self._fetched[key]]

    def fetch_tagged(self, expressions: Sequence[str], start_s: int, end_s: int) -> list[Series]:
        key = (tuple(expressions), start_s, end_s)
        if key not in self._fetched:
            matchers = [tag_matcher(text) for text in expressions]
            self._fetched[key] = self._read(matchers, start_s, end_s, "", is_tagged=None)
        return [one.but() for one in self._fetched[key]]

    def events(self, tags: Sequence[str], start_s: int, end_s: int) -> list[Event]:
        return self._events(tags, start_s, end_s)

    def _read(
        self, matchers: Sequence[Matcher], start_s: int, end_s: int, path: str, *, is_tagged: bool | None
    ) -> list[Series]:
        """is_tagged: whether series with labels beside the metric are wanted, or those without; None: both."""
        start_ms, end_ms = (start_s - LOOK_BACK_S) * 1_000, end_s * 1_000 + 999
        known = self._source.series(matchers, start_ms, max(end_ms, self._now_s * 1_000))
        found = self._source.select(matchers, start_ms, end_ms, bounds=self._bounds)
        places = {labels: index for index, labels in enumerate(found.labels)}
        wanted = [labels for labels in known if is_tagged is None or (len(labels) > 1) is is_tagged]
        samples = [_there(found, places.get(labels)) for labels in wanted]
        inferred_s = _inference(found)
        spans = [
            self._span(labels, times_ms, start_s, end_s, inferred_s)
            for labels, (times_ms, _) in zip(wanted, samples, strict=True)
        ]
        self._account.make(sum((last_s - first_s) // step_s for first_s, last_s, step_s in spans))
        made = {
            labels: _on_steps(labels, *columns, span, path)
            for labels, columns, span in zip(wanted, samples, spans, strict=True)
        }
        if self._archives is not None:
            self._archives.apply(self._source, matchers, found, made, self._bounds)
        return list(made.values())

    def _span(
        self, labels: Labels, times_ms: Int64s, start_s: int, end_s: int, inferred_s: Callable[[Int64s], int]
    ) -> tuple[int, int, int]:
        """The first time, the end and the step of what a series gives."""
        step_s = self._step_of(labels, self._now_s - start_s) or inferred_s(times_ms)
        first_s, last_s = start_s - start_s % step_s + step_s, end_s - end_s % step_s + step_s
        return first_s, max(last_s, first_s + step_s), step_s  # A range shorter than a step holds one point.


def _inference(found: Selection) -> Callable[[Int64s], int]:
    """inferred_step_s() which looks once at the times that series share."""
    if not isinstance(found.times_ms, SharedTimes):
        return inferred_step_s
    shared_ms = found.times_ms.of_each_ms
    shared_s = inferred_step_s(shared_ms)
    return lambda times_ms: shared_s if times_ms is shared_ms else inferred_step_s(times_ms)


def _there(found: Selection, index: int | None) -> tuple[Int64s, Float64s]:
    """The times and values of a series without its stale markers; None: of one that has nothing in the range."""
    if index is None:
        return np.empty(0, np.int64), np.empty(0)
    times_ms = series_times(found.times_ms, found.offsets, index)
    value = found.value[int(found.offsets[index]) : int(found.offsets[index + 1])]
    is_there = ~is_stale(value)
    return (times_ms, value) if is_there.all() else (times_ms[is_there], value[is_there])


def _on_steps(labels: Labels, times_ms: Int64s, value: Float64s, span: tuple[int, int, int], path: str) -> Series:
    name = written(labels)
    tags = {("name" if label == METRIC_NAME else label): text for label, text in labels}
    return Series(name, *span, on_grid(times_ms, value, *span), tags, path or name)


def on_grid(time_ms: Int64s, value: Float64s, first_s: int, last_s: int, step_s: int) -> Float64s:
    """The last value of each step [t, t + step), NaN where there is none. Times rise."""
    slots = (time_ms // 1_000 - first_s) // step_s
    count = (last_s - first_s) // step_s
    part = slice(int(np.searchsorted(slots, 0)), int(np.searchsorted(slots, count)))
    values = np.full(count, np.nan)
    values[slots[part]] = value[part]  # Of several in one slot the last stays.
    return values


def inferred_step_s(time_ms: Int64s) -> int:
    """The gap that most samples have, rounded to what people choose."""
    if time_ms.size < 2:
        return STEP_S_DEFAULT
    gap_s = float(np.median(np.diff(time_ms))) / 1_000
    near = int(_ROUND_STEPS_S[np.argmin(np.abs(_ROUND_STEPS_S - gap_s))])
    return near if abs(near - gap_s) <= near / 10 else max(1, round(gap_s))


def written(labels: Labels) -> str:
    """`disk.used;dc=lon`: the metric and its tags in order."""
    pairs = dict(labels)
    name = pairs.pop(METRIC_NAME, "")
    return ";".join([name, *(f"{label}={text}" for label, text in sorted(pairs.items()))])


def tag_matcher(text: str) -> Matcher:
    """`dc=lon`, `dc!=lon`, `dc=~l.*`, `dc!=~l.*`; the tag `name` is the metric. Raises: BadTarget."""
    for written_operator, operator in _OPERATORS:
        tag, found, value = text.partition(written_operator)
        if found and tag and not set(tag) & set("!=~;"):
            if operator in (MatchOp.REGEX, MatchOp.NOT_REGEX) and not value.startswith("^"):
                value = f"(?:{value}).*"
            elif operator in (MatchOp.REGEX, MatchOp.NOT_REGEX):
                value = f"(?:{value[1:]}).*" if not value.endswith("$") else value[1:-1]
            return Matcher(METRIC_NAME if tag == "name" else tag, operator, value)
    raise BadTarget(f"the tag expression {text[:200]!r} is not of the form tag=value, !=, =~ or !=~")


def tag_matchers_of_name(name: str) -> list[Matcher]:
    """`disk.used;dc=lon`: that very series, and others with more tags. Raises: BadTarget."""
    metric, *pairs = name.split(";")
    return [*matchers_of(metric), *(tag_matcher(pair) for pair in pairs)]

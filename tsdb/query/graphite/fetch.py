"""Stored samples at equal steps, as whisper would give them.

Henge keeps samples as they came; a step is therefore what the schema of the series says, and otherwise what its
samples show: the gap that most of them have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tsdb.interface import Bounds, CodedLabels, SeriesSource
from tsdb.query.graphite.account import Account
from tsdb.query.graphite.archives import Archives
from tsdb.query.graphite.context import Event
from tsdb.query.graphite.errors import BadTarget
from tsdb.query.graphite.globs import matchers_of
from tsdb.query.graphite.grid import STEP_S_DEFAULT, Samples
from tsdb.query.graphite.series import Series
from tsdb.sample import METRIC_NAME, Int64s, Labels, Matcher, MatchOp, Selection

# Samples so long before the range tell the step of a series of which the range has none or one.
LOOK_BACK_S = 3_600
# A range that ended so short a time ago is read to the present: whatever lives now is among what is read then.
LOOK_AHEAD_S = 3_600
# Samples behind the end belong to the last step, as long as a step is no longer than this.
LAST_STEP_S = 600
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
        is_tagged = ";" in pattern
        matchers = tag_matchers_of_name(pattern) if is_tagged else matchers_of(pattern)
        return self._kept((pattern, start_s, end_s), lambda: self._read(matchers, start_s, end_s, pattern, is_tagged))

    def fetch_tagged(self, expressions: Sequence[str], start_s: int, end_s: int) -> list[Series]:
        matchers = [tag_matcher(text) for text in expressions]
        return self._kept((tuple(expressions), start_s, end_s), lambda: self._read(matchers, start_s, end_s, "", None))

    def _kept(self, key: tuple[object, int, int], read: Callable[[], list[Series]]) -> list[Series]:
        if key in self._fetched:
            return [one.but() for one in self._fetched[key]]
        self._fetched[key] = read()
        return list(self._fetched[key])

    def events(self, tags: Sequence[str], start_s: int, end_s: int) -> list[Event]:
        return self._events(tags, start_s, end_s)

    def _read(
        self, matchers: Sequence[Matcher], start_s: int, end_s: int, path: str, is_tagged: bool | None
    ) -> list[Series]:
        """is_tagged: whether series with labels beside the metric are wanted, or those without; None: both."""
        start_ms, now_ms = (start_s - LOOK_BACK_S) * 1_000, self._now_s * 1_000
        is_recent = self._now_s - end_s <= LOOK_AHEAD_S
        end_ms = max(now_ms, end_s * 1_000 + 999) if is_recent else (end_s + LAST_STEP_S) * 1_000
        found = self._source.select(matchers, start_ms, end_ms, bounds=self._bounds)
        known = found.labels if is_recent else self._source.series(matchers, start_ms, now_ms)
        columns = _columns(found, known, is_tagged)
        samples = Samples(found)
        steps_s = self._steps_s(samples, columns, start_s)
        first_s = start_s - start_s % steps_s + steps_s
        last_s = np.maximum(end_s - end_s % steps_s + steps_s, first_s + steps_s)  # At least one point.
        self._account.make(int(((last_s - first_s) // steps_s).sum()))
        made: list[Series | None] = [None] * len(columns.names)
        for step_s in np.unique(steps_s).tolist():
            places = np.flatnonzero(steps_s == step_s)
            span = (int(first_s[places[0]]), int(last_s[places[0]]), step_s)
            for place, values in zip(places.tolist(), samples.on_grid(columns.rows[places], *span), strict=True):
                name = columns.names[place]
                made[place] = Series(name, *span, values, columns.tags(place), path or name)
        series = [one for one in made if one is not None]
        if self._archives is not None:
            by_labels = dict(zip(map(columns.labels, range(len(series))), series, strict=True))
            self._archives.apply(self._source, matchers, found, by_labels, self._bounds)
        return series

    def _steps_s(self, samples: Samples, columns: _Columns, start_s: int) -> Int64s:
        """By series: what is configured, or what its samples show."""
        inferred_s = np.append(samples.steps_s(), STEP_S_DEFAULT)[columns.rows]  # Row -1 has no sample.
        age_s = self._now_s - start_s
        configured_s = [self._step_of(columns.labels(place), age_s) or 0 for place in range(len(columns.names))]
        return np.where(configured_s, configured_s, inferred_s).astype(np.int64)


class _Columns(NamedTuple):
    """Series by name. rows: of each its place in the selection; -1 if it has no sample there."""

    names: Sequence[str]
    rows: Int64s
    of: Sequence[Labels] | None  # None: of series that have nothing but their name.

    def labels(self, place: int) -> Labels:
        return ((METRIC_NAME, self.names[place]),) if self.of is None else self.of[place]

    def tags(self, place: int) -> dict[str, str]:
        if self.of is None:
            return {"name": self.names[place]}
        return {("name" if label == METRIC_NAME else label): text for label, text in self.of[place]}


def _columns(found: Selection, known: Sequence[Labels], is_tagged: bool | None) -> _Columns:
    """The series that are wanted of those that are known."""
    if known is found.labels:
        if isinstance(known, CodedLabels) and not is_tagged and known.names() == [METRIC_NAME]:
            codes, texts = known.codes(METRIC_NAME)
            return _Columns([texts[code] for code in codes.tolist()], np.arange(len(known)), None)
        wanted = [place for place, labels in enumerate(known) if is_tagged is None or (len(labels) > 1) is is_tagged]
        of = [known[place] for place in wanted]
        return _Columns([written(labels) for labels in of], np.array(wanted, np.int64), of)
    places = {labels: place for place, labels in enumerate(found.labels)}
    of = [labels for labels in known if is_tagged is None or (len(labels) > 1) is is_tagged]
    rows = np.array([places.get(labels, -1) for labels in of], np.int64)
    return _Columns([written(labels) for labels in of], rows, of)


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

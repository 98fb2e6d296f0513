"""Series in longer steps: what was in each interval, as one value."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from tsdb.query.graphite.attime import seconds_of
from tsdb.query.graphite.consolidation import AGGREGATION_NAMES, aggregation, x_files_enough
from tsdb.query.graphite.context import Invocation
from tsdb.query.graphite.errors import BadTarget
from tsdb.query.graphite.registry import SERIES_LIST, Kind, function, optional, required
from tsdb.query.graphite.series import Series, matrix
from tsdb.sample import Float64s

GROUP = "Transform"
INTERVAL = required("intervalString", Kind.INTERVAL, suggestions=("10min", "1h", "1d"))
FUNC_OR_SUM = optional("func", Kind.AGGREGATION, "sum", options=AGGREGATION_NAMES)
BUCKET_COUNT_MAX = 1_000_000
# Of a block so many are put into buckets at once: 2 MiB, which stay in the caches of a core.
_BLOCK_VALUES_MAX = 256 * 1_024
_NO_VALUES = np.empty(0)
# How a unit of smartSummarize begins; the week begins on Monday.
ALIGNMENTS = (False, None, True, "days", "hours", "minutes", "months", "seconds", "weeks", "years")
_SIZES_S = (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1))
_UNITS = ("seconds", "minutes", "hours", "days", "weeks", "months", "years")


def interval_s_of(call: Invocation, text: str) -> int:
    """Raises: BadTarget, BadTime."""
    interval_s = seconds_of(text)
    if interval_s <= 0:
        raise BadTarget(f"{call.name}(): the interval {text!r} must be longer than 0")
    return interval_s


Span = tuple[int, int]  # The first time of intervals, and the time before which the last one begins.


def in_buckets(
    call: Invocation, group: Sequence[Series], spans: Sequence[Span], name: str, interval_s: int
) -> list[Float64s]:
    """For each series one value for each interval of its span; series whose steps are alike go in one block."""
    alike: dict[tuple[object, ...], list[int]] = {}
    for place, (one, span) in enumerate(zip(group, spans, strict=True)):
        key = (span, one.start_s, one.step_s, one.values.size, one.x_files_factor)
        alike.setdefault(key, []).append(place)
    found: list[Float64s] = [_NO_VALUES] * len(group)
    for places in alike.values():
        some = [group[place] for place in places]
        first_s, end_s = spans[places[0]]
        for place, row in zip(places, _block_in_buckets(call, some, name, first_s, interval_s, end_s), strict=True):
            found[place] = row
    return found


def _block_in_buckets(
    call: Invocation, alike: Sequence[Series], name: str, first_s: int, interval_s: int, end_s: int
) -> Float64s:
    """(series, intervals) of series with the same steps; NaN where nothing is there."""
    one = alike[0]
    count = -(-(end_s - first_s) // interval_s)
    if count > BUCKET_COUNT_MAX:
        raise BadTarget(f"{call.name}(): {count:,} intervals are more than {BUCKET_COUNT_MAX:,}; choose longer ones")
    call.context.account.make(max(0, count - one.values.size))
    reduce = aggregation(name)
    found = np.full((len(alike), max(count, 0)), np.nan)
    if not one.values.size or not found.size:
        return found
    places = (one.start_s + one.step_s * np.arange(one.values.size) - first_s) // interval_s
    inside = (places >= 0) & (places < count)
    places, kept = places[inside], np.flatnonzero(inside)
    if not places.size:
        return found
    firsts = np.flatnonzero(np.diff(places, prepend=places[0] - 1))
    sizes = np.diff(np.append(firsts, places.size))
    rows = matrix(alike)
    for size in np.unique(sizes):  # A bucket a row; those of one size in one go.
        some = sizes == size
        columns = kept[firsts[some][:, None] + np.arange(size)]
        row_count = max(1, _BLOCK_VALUES_MAX // columns.size)
        for row in range(0, len(alike), row_count):
            part = slice(row, row + row_count)
            buckets = np.take(rows[part], columns, axis=1)
            enough = x_files_enough(buckets, one.x_files_factor, interval_s / one.step_s)
            found[part, places[firsts[some]]] = np.where(enough, reduce(buckets), np.nan)
    return found


@function(
    "summarize",
    group=GROUP,
    parameters=[SERIES_LIST, INTERVAL, FUNC_OR_SUM, optional("alignToFrom", Kind.BOOLEAN, False)],
)
def summarize(call: Invocation, group: list[Series], interval: str, name: str, from_start: bool) -> list[Series]:
    """Each interval of time as one value, by an aggregation; intervals begin at round times, or with the range."""
    interval_s = interval_s_of(call, interval)
    ending = ", true" if from_start else ""
    spans = [_span(one, interval_s, from_start) for one in group]
    found = []
    for one, span, values in zip(group, spans, in_buckets(call, group, spans, name, interval_s), strict=True):
        start_s, end_s = span
        title = f'summarize({one.name}, "{interval}", "{name}"{ending})'
        made = one.but(name=title, path=title, start_s=start_s, end_s=end_s, step_s=interval_s, values=values)
        made.tags |= {"summarize": interval, "summarizeFunction": name}
        found.append(made)
    return found


def _span(one: Series, interval_s: int, from_start: bool) -> Span:
    if from_start:
        return one.start_s, one.start_s + -(-(one.end_s - one.start_s) // interval_s) * interval_s
    return one.start_s // interval_s * interval_s, one.end_s // interval_s * interval_s + interval_s


def aligned(at_s: int, unit: str, call: Invocation) -> int:
    """The beginning of the second, minute, … or year of a time, by the clock of the request's zone."""
    zone = call.context.zone
    at = datetime.fromtimestamp(at_s, zone).replace(microsecond=0)
    level = _UNITS.index(unit)
    if level >= 1:
        at = at.replace(second=0)
    if level >= 2:
        at = at.replace(minute=0)
    if level >= 3:
        at = at.replace(hour=0)
    if unit == "weeks":
        at -= timedelta(days=at.weekday())
    if level >= 5:
        at = at.replace(day=1)
    if level >= 6:
        at = at.replace(month=1)
    return int(at.timestamp())


@function(
    "smartSummarize",
    group=GROUP,
    parameters=[
        SERIES_LIST,
        INTERVAL,
        FUNC_OR_SUM,
        optional("alignTo", Kind.STRING, options=ALIGNMENTS),
    ],
)
def smart_summarize(call: Invocation, group: list[Series], interval: str, name: str, unit: str | None) -> list[Series]:
    """Each interval from the start of the range on as one value; the start may be moved back to that of a unit."""
    interval_s = interval_s_of(call, interval)
    if unit is not None:
        group = call.again(0, call.context.between(_aligned_start_s(call, unit), call.context.end_s))
    spans = [(one.start_s, one.end_s) for one in group]
    found = []
    for one, values in zip(group, in_buckets(call, group, spans, name, interval_s), strict=True):
        title = f'smartSummarize({one.name}, "{interval}", "{name}")'
        end_s = one.start_s + values.size * interval_s
        made = one.but(name=title, path=title, end_s=end_s, step_s=interval_s, values=values)
        made.tags |= {"smartSummarize": interval, "smartSummarizeFunction": name}
        found.append(made)
    return found


def _aligned_start_s(call: Invocation, text: str) -> int:
    begin = text.lower()
    unit = next((unit for unit in _UNITS if begin and (unit.startswith(begin) or begin.startswith(unit[:-1]))), None)
    if unit is None or (begin.startswith("m") and len(begin) < 3):
        raise BadTarget(f"{call.name}(): the unit {text!r} is none of {', '.join(_UNITS)}")
    return aligned(call.context.start_s, unit, call)


@function(
    "hitcount",
    group=GROUP,
    parameters=[SERIES_LIST, INTERVAL, optional("alignToInterval", Kind.BOOLEAN, False)],
)
def hitcount(call: Invocation, group: list[Series], interval: str, is_aligned: bool) -> list[Series]:
    """How many hits each interval had, of series that say how many there were a second."""
    interval_s = interval_s_of(call, interval)
    if is_aligned:
        unit = next(
            unit
            for unit, size_s in (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1))
            if interval_s >= size_s
        )
        group = call.again(0, call.context.between(aligned(call.context.start_s, unit, call), call.context.end_s))
    found = []
    for one in group:
        span_s = one.end_s - one.start_s
        count = span_s // interval_s + 1 if is_aligned else -(-span_s // interval_s)
        start_s = one.start_s if is_aligned else one.end_s - count * interval_s
        if count > BUCKET_COUNT_MAX:
            raise BadTarget(f"hitcount(): {count:,} intervals are more than {BUCKET_COUNT_MAX:,}; choose longer ones")
        call.context.account.make(max(0, count - one.values.size))
        values = _hits(one, start_s, interval_s, count)
        text = ", true" if is_aligned else ""
        title = f'hitcount({one.name}, "{interval}"{text})'
        made = one.but(
            name=title,
            path=title,
            start_s=start_s,
            end_s=start_s + count * interval_s,
            step_s=interval_s,
            values=values,
        )
        made.tags["hitcount"] = interval
        found.append(made)
    return found


def _hits(one: Series, start_s: int, interval_s: int, count: int) -> Float64s:
    """The seconds of each step are shared among the intervals in which they lie."""
    there = ~np.isnan(one.values)
    begins = one.start_s + one.step_s * np.flatnonzero(there) - start_s
    ends, rate = begins + one.step_s, one.values[there]
    found, is_hit = np.zeros(count), np.zeros(count, np.bool_)
    at = begins.copy()
    while at.size:
        place = at // interval_s
        until = np.minimum(ends, (place + 1) * interval_s)
        inside = (place >= 0) & (place < count)
        np.add.at(found, place[inside], (rate * (until - at))[inside])
        is_hit[place[inside]] = True
        left = until < ends
        at, ends, rate = until[left], ends[left], rate[left]
    return np.where(is_hit, found, np.nan)

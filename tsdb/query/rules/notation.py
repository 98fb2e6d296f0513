"""The notation in which series stand in unit tests: `up{job="a"}` and `1+2x3 _ stale`.

Source: prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules, "series".
"""

from __future__ import annotations

import re

from tsdb.errors import RefusedQuery
from tsdb.query.promql.selector import selector_of
from tsdb.sample import STALE_NAN, Labels, MatchOp, labels_from

POINT_COUNT_MAX = 1_000_000  # Of one series: two years of minutes.
_NUMBER = r"[+-]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[iI]nf|[nN]a[nN])"
_REPEATED = re.compile(rf"(?P<start>{_NUMBER})(?P<rise>[+-](?:{_NUMBER.removeprefix('[+-]?')}))?x(?P<count>\d+)")


def series_labels(text: str) -> Labels:
    """The labels of a series as PromQL writes it. `{}` has none. Raises: ValueError."""
    if text.strip() == "{}":
        return ()
    try:
        matchers = selector_of(text)
    except RefusedQuery as error:
        raise ValueError(f"{text[:80]!r} is not a series: {error}") from None
    if any(matcher.op is not MatchOp.EQUAL for matcher in matchers):
        raise ValueError(f"{text[:80]!r} is not a series: its labels are given by =")
    return labels_from([(matcher.name, matcher.value) for matcher in matchers])


def points(text: str) -> list[float | None]:
    """One value each interval; None where there is none. Raises: ValueError."""
    found: list[float | None] = []
    for word in text.split():
        found += _expanded(word)
        if len(found) > POINT_COUNT_MAX:
            raise ValueError(f"a series has more than {POINT_COUNT_MAX:,} points")
    return found


def _expanded(word: str) -> list[float | None]:
    head, _, times = word.partition("x")
    if head in ("_", "stale") and (not times or times.isdecimal()):
        count = _count(times) if times else 1
        point = None if head == "_" else float(STALE_NAN)
        return [point] * (count + 1 if times and point is not None else count)
    match = _REPEATED.fullmatch(word)
    if match is None:
        return [_number(word)]
    start, rise = _number(match["start"]), _number(match["rise"] or "0")
    return [start + place * rise for place in range(_count(match["count"]) + 1)]


def _count(text: str) -> int:
    if len(text) > 7 or int(text) > POINT_COUNT_MAX:
        raise ValueError(f"x{text[:20]}: more than {POINT_COUNT_MAX:,} points")
    return int(text)


def _number(word: str) -> float:
    if not re.fullmatch(_NUMBER, word):
        raise ValueError(f"{word[:40]!r} is not a point such as 1, 1+2x3, _ or stale; native histograms are not read")
    return float(int(word, 16)) if "0x" in word.lower() else float(word)

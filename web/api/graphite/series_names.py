"""Names of series with tags as Graphite writes them, `disk.used;dc=lon`, read and written."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tsdb.sample import METRIC_NAME
from web.api.graphite.arguments import bad

NAME_CHARS_MAX = 4_096
_FORBIDDEN_IN_TAGS = frozenset(";!^=")
_OPEN_METRICS = re.compile(r"([^;{}]+)\{(.*)\}", re.DOTALL)
_OPEN_METRICS_PAIR = re.compile(r'\s*([^=,{}"\s]+)="((?:[^"\\]|\\.)*)"\s*(?:,|$)', re.DOTALL)


def written(labels: Mapping[str, str]) -> str:
    """The metric and its tags in order."""
    tags = sorted((label, text) for label, text in labels.items() if label != METRIC_NAME)
    return ";".join([labels.get(METRIC_NAME, ""), *(f"{label}={text}" for label, text in tags)])


def read(path: str) -> dict[str, str]:
    """The labels of a name, also of `disk.used{dc="lon"}`. Raises: Refusal."""
    if len(path) > NAME_CHARS_MAX:
        raise bad(f"a name of {len(path):,} characters is longer than {NAME_CHARS_MAX:,}")
    found = _OPEN_METRICS.fullmatch(path)
    metric, pairs = (found[1], _open_metrics_pairs(path, found[2])) if found is not None else _carbon_pairs(path)
    if not metric:
        raise bad(f"{path[:200]!r} has no metric before its tags")
    for tag, value in pairs.items():
        if not tag or not _FORBIDDEN_IN_TAGS.isdisjoint(tag):
            raise bad(f"{path[:200]!r}: the tag {tag[:80]!r} is empty or has one of ;!^= in it")
        if not value or value.startswith("~") or ";" in value:
            raise bad(f"{path[:200]!r}: the value of {tag[:80]!r} is empty, begins with ~ or has a ; in it")
    return {METRIC_NAME: metric, **pairs}


def _carbon_pairs(path: str) -> tuple[str, dict[str, str]]:
    metric, *segments = path.split(";")
    pairs = {}
    for segment in segments:
        tag, equals, value = segment.partition("=")
        if not equals:
            raise bad(f"{path[:200]!r}: {segment[:80]!r} is not of the form tag=value")
        pairs[tag] = value
    return metric, pairs


def _open_metrics_pairs(path: str, inside: str) -> dict[str, str]:
    pairs, at = {}, 0
    while at < len(inside):
        pair = _OPEN_METRICS_PAIR.match(inside, at)
        if pair is None:
            raise bad(f'{path[:200]!r}: {inside[at : at + 80]!r} is not of the form tag="value"')
        pairs[pair[1]] = re.sub(r"\\(.)", r"\1", pair[2])
        at = pair.end()
    return pairs

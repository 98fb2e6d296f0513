"""The name of a series as text → canonical label bytes: Prometheus' notation where it ends in `}`, else Graphite's.

    up{instance="h:9100",job="node"}      {"a metric.with dots","a label"="x"}      servers.web1.cpu;dc=eu

Source: Prometheus' text of selectors with `=` alone (promql/parser; UTF-8 names in quotes since 3.0).
"""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from tsdb.canonical import CanonicalColumn
from tsdb.errors import RefusedSample
from tsdb.ingest.arrow.notation import plain_names
from tsdb.ingest.graphite import names as graphite
from tsdb.ingest.raw_names import RawNames
from tsdb.ingest.spelling import Plain, Spelling
from tsdb.sample import METRIC_NAME, canonical_bytes, labels_from

# Either `name="value"` or a quoted metric name alone, then a comma or the end.
_LABEL = re.compile(
    r'\s*(?:([a-zA-Z_][a-zA-Z0-9_.:]*)|"((?:[^"\\\n]|\\.)*)")\s*(?:=\s*"((?:[^"\\\n]|\\.)*)")?\s*(?:,\s*|$)', re.DOTALL
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "'": "'"}


def _exact(name: str | bytes) -> bytes:
    """Raises: RefusedSample, reason bad_name, empty_name, bad_tag or a label limit."""
    assert isinstance(name, str), name
    if name.endswith("}"):
        return _from_prometheus(name)
    if not name:
        raise RefusedSample("empty_name", "the series has an empty name")
    return graphite.canonical_of(name)


def _plain(names: pl.Series | RawNames) -> Plain:
    """Graphite's paths without tags, and the usual form of Prometheus' notation."""
    assert isinstance(names, pl.Series), names
    is_braced = names.str.ends_with("}")
    if not is_braced.any():
        return graphite.plain_paths(names)
    braced = plain_names(names.filter(is_braced))
    if is_braced.all():
        return braced
    is_braced_array = is_braced.to_numpy()
    paths = graphite.plain_paths(names.filter(~is_braced))
    is_plain = np.empty(len(names), np.bool_)
    is_plain[is_braced_array], is_plain[~is_braced_array] = braced.is_plain, paths.is_plain
    of_kind = iter(braced.canonical), iter(paths.canonical)
    kinds = np.where(is_braced_array, 0, 1)[is_plain].tolist()
    return Plain(is_plain, CanonicalColumn.of([next(of_kind[kind]) for kind in kinds]))


canonical_of = Spelling(_exact, _plain)


def _from_prometheus(name: str) -> bytes:
    metric, brace, inside = name[:-1].partition("{")
    if not brace:
        raise RefusedSample("bad_name", f"{name[:80]!r} ends in }} and has no {{")
    pairs: list[tuple[str, str]] = []
    metrics = [metric] if metric else []
    at, inside = 0, inside.rstrip()
    while at < len(inside):
        found = _LABEL.match(inside, at)
        if not found:
            raise RefusedSample("bad_name", f'{inside[at : at + 80]!r} in {name[:80]!r} is not label="value"')
        plain, quoted, value = found.groups()
        label = plain if quoted is None else _unescaped(quoted, name)
        if value is not None:
            pairs.append((label, _unescaped(value, name)))
        elif quoted is not None:
            metrics.append(label)
        else:
            raise RefusedSample("bad_name", f"label {plain[:80]!r} of {name[:80]!r} has no value")
        at = found.end()
    if len(metrics) > 1:
        raise RefusedSample("bad_name", f"{name[:80]!r} names its metric twice")
    return canonical_bytes(labels_from([*((METRIC_NAME, one) for one in metrics), *pairs]))


def _unescaped(text: str, name: str) -> str:
    if "\\" not in text:
        return text

    def plain(found: re.Match[str]) -> str:
        if found[1] not in _ESCAPED:
            raise RefusedSample("bad_name", f'{found[0]!r} in {name[:80]!r} is no escape; there are \\\\, \\" and \\n')
        return _ESCAPED[found[1]]

    return _ESCAPE.sub(plain, text)

"""From a Graphite path to labels: plain, with carbon's tags (`path;tag=value`), or in OpenMetrics' form.

Source: carbon 1.1.10, lib/carbon/util.py, class TaggedSeries.
"""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from tsdb.canonical import Bools, CanonicalColumn
from tsdb.errors import RefusedSample
from tsdb.ingest.raw_names import RawNames
from tsdb.ingest.spelling import Plain, Spelling
from tsdb.sample import LABEL_VALUE_BYTES_MAX, METRIC_NAME, SEPARATOR, canonical_bytes, labels_from

_METRIC_PREFIX = METRIC_NAME.encode() + SEPARATOR
# What stands in place of the separators between two paths, as long as they and of the same use in a text of polars.
_BETWEEN = f"\0{METRIC_NAME}\0"
_OPENMETRICS_LABEL = re.compile(r'([^=]+)="((?:\\["\\]|[^"\\])+)"(?:,|$)')
_PROHIBITED_IN_TAG = ";!^="


def _exact(path: str | bytes) -> bytes:
    """The canonical label bytes of a path. Raises: RefusedSample, reason empty_name, bad_tag or a label limit."""
    assert isinstance(path, str), path
    encoded = path.encode()
    is_plain = ";" not in path and not path.startswith("~") and not path.endswith('"}')
    if is_plain and 0 < len(encoded) <= LABEL_VALUE_BYTES_MAX:
        return _METRIC_PREFIX + encoded + b"\xff"
    metric, tags = _from_openmetrics(path) if path.endswith('"}') and "{" in path else _from_carbon(path)
    if not metric.lstrip("~"):
        raise RefusedSample("empty_name", f"path {path[:80]!r} has no metric name before its tags")
    tags.pop("name", None)  # carbon's own name for the metric; the path decides.
    if METRIC_NAME in tags:
        raise RefusedSample("bad_tag", f"tag {METRIC_NAME!r} of {path[:80]!r} is the metric name's own label")
    return canonical_bytes(labels_from({METRIC_NAME: metric, **tags}))


def _plain(names: pl.Series | RawNames) -> Plain:
    """Paths without tags: the canonical bytes are a prefix, the path and a separator, made by writing between them."""
    assert isinstance(names, pl.Series), names
    return plain_paths(names)


def plain_paths(names: pl.Series, *, is_other: Bools | None = None) -> Plain:
    """is_other: names that are not to be taken, whatever they look like."""
    lengths = names.str.len_bytes().to_numpy()
    is_plain = (lengths > 0) & (lengths <= LABEL_VALUE_BYTES_MAX)
    if is_other is not None:
        is_plain &= ~is_other
    joined = names.str.join(_BETWEEN).item() or ""
    if ";" in joined:
        is_plain &= ~names.str.contains(";", literal=True).to_numpy()
    if "~" in joined:
        is_plain &= ~names.str.starts_with("~").to_numpy()
    if '"}' in joined:
        is_plain &= ~names.str.ends_with('"}').to_numpy()
    if not is_plain.all():
        names, lengths = names.filter(pl.Series(is_plain)), lengths[is_plain]
        joined = names.str.join(_BETWEEN).item() or ""
    if not lengths.size:
        return Plain(is_plain, CanonicalColumn.of(()))
    text = np.frombuffer(bytearray(b"".join((_METRIC_PREFIX, joined.encode(), SEPARATOR))), np.uint8)
    ends = np.cumsum(lengths.astype(np.int64) + len(_METRIC_PREFIX) + len(SEPARATOR))
    text[ends - 1] = SEPARATOR[0]
    text[ends[:-1] + len(_METRIC_PREFIX) - 1] = SEPARATOR[0]
    return Plain(is_plain, CanonicalColumn(text, ends))


canonical_of = Spelling(_exact, _plain)


def _from_carbon(path: str) -> tuple[str, dict[str, str]]:
    metric, *segments = path.split(";")
    tags = {}
    for segment in segments if metric else ():
        tag, equals, value = segment.partition("=")
        if not equals:
            raise RefusedSample("bad_tag", f"segment {segment[:80]!r} of {path[:80]!r} is not tag=value")
        _check_tag(tag, value, path)
        tags[tag] = value  # The last of several wins, as in carbon.
    return metric, tags


def _from_openmetrics(path: str) -> tuple[str, dict[str, str]]:
    metric, rest = path[:-1].split("{", 1)
    tags = {}
    while metric and rest:
        found = _OPENMETRICS_LABEL.match(rest)
        if not found:
            raise RefusedSample("bad_tag", f'{rest[:80]!r} in {path[:80]!r} is not tag="value"')
        tag, value = found[1], found[2].replace('\\"', '"').replace("\\\\", "\\")
        _check_tag(tag, value, path)
        tags[tag] = value
        rest = rest[found.end() :]
    return metric, tags


def _check_tag(tag: str, value: str, path: str) -> None:
    if not tag:
        raise RefusedSample("bad_tag", f"a tag of {path[:80]!r} has no name")
    if not value:
        raise RefusedSample("bad_tag", f"tag {tag[:80]!r} of {path[:80]!r} has no value")
    if any(char in tag for char in _PROHIBITED_IN_TAG):
        raise RefusedSample("bad_tag", f"tag {tag[:80]!r} of {path[:80]!r} holds one of {_PROHIBITED_IN_TAG}")
    if value.startswith("~"):
        raise RefusedSample("bad_tag", f"the value of tag {tag[:80]!r} of {path[:80]!r} starts with ~")

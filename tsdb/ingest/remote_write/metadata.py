"""What remote-write bodies say of metrics: type, help and unit.

    message MetricMetadata { MetricType type = 1; string metric_family_name = 2; string help = 4; string unit = 5; }
    message Metadata       { MetricType type = 1; uint32 help_ref = 3; uint32 unit_ref = 4; }

The first stands beside the series of 1.0, the second within each series of 2.0.

Source: prometheus/prompb/types.proto; io/prometheus/write/v2/types.proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tsdb.metadata import KINDS
from tsdb.wire import BYTES, VARINT, BadWire, fields, varint

_TYPE, _FAMILY, _HELP, _UNIT = 1, 2, 4, 5
_HELP_REF, _UNIT_REF = 3, 4
HISTOGRAM, SUMMARY = KINDS.index("histogram"), KINDS.index("summary")
HELP_BYTES_MAX = 1_024  # The longest of node_exporter has 120.
COUNT_MAX = 50_000  # Of one body; a large cluster has some 5,000 metrics. The rest is counted as left out.
# Series of these belong to the metric without the ending, which is what 1.0 names.
_ENDINGS = {HISTOGRAM: (b"_bucket", b"_count", b"_sum"), SUMMARY: (b"_count", b"_sum")}


class Said(NamedTuple):
    """Of one metric. kind: a number of KINDS, or one that nobody knows yet. Texts are cut to HELP_BYTES_MAX."""

    metric: bytes
    kind: int
    help: bytes
    unit: bytes


def of_requests(data: bytes, places: Iterable[tuple[int, int]]) -> list[Said]:
    """The messages of 1.0 that lie in these places; what is no message says nothing."""
    found = []
    for start, end in places:
        kind, texts = 0, {_FAMILY: b"", _HELP: b"", _UNIT: b""}
        try:
            for number, wire, first, last in fields(data, start, end):
                if number == _TYPE and wire == VARINT:
                    kind = varint(data, first, last)[0]
                elif number in texts and wire == BYTES:
                    texts[number] = data[first : min(last, first + HELP_BYTES_MAX)]
        except BadWire:
            continue
        if texts[_FAMILY]:
            found.append(Said(texts[_FAMILY], kind, texts[_HELP], texts[_UNIT]))
    return found


def of_series(data: bytes, start: int, end: int, metric: bytes, symbols: Sequence[bytes]) -> Said | None:
    """The message of a series of 2.0; None, if it says nothing. Raises: BadWire."""
    kind, refs = 0, {_HELP_REF: 0, _UNIT_REF: 0}
    for number, wire, first, last in fields(data, start, end):
        if wire != VARINT:
            continue
        if number == _TYPE:
            kind = varint(data, first, last)[0]
        elif number in refs:
            refs[number] = varint(data, first, last)[0]
    if max(refs.values()) >= len(symbols):
        return None
    help_text, unit = (symbols[refs[name]][:HELP_BYTES_MAX] for name in (_HELP_REF, _UNIT_REF))
    if not (kind or help_text or unit):
        return None
    for ending in _ENDINGS.get(kind, ()):
        if metric.endswith(ending):
            metric = metric.removesuffix(ending)
            break
    return Said(metric, kind, help_text, unit)

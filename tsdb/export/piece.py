"""What every format writes: the samples of some series, and how a series is written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tsdb.sample import METRIC_NAME, Float64s, Int64s, Labels, is_stale, labels_of

_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


@dataclass(frozen=True, slots=True)
class Piece:
    """Series i owns offsets[i]:offsets[i + 1] of both columns; canonical: their label bytes."""

    canonical: Sequence[bytes]
    offsets: Int64s
    timestamp_ms: Int64s
    value: Float64s

    @property
    def texts(self) -> list[str]:
        return [series_text(labels_of(one)) for one in self.canonical]

    @property
    def index(self) -> Int64s:
        """By sample: which series it is of."""
        return np.repeat(np.arange(len(self.canonical)), np.diff(self.offsets))

    def without_stale(self) -> Piece:
        """Stale markers are NaNs of which text keeps no payload, so it leaves them out."""
        kept = ~is_stale(self.value)
        if kept.all():
            return self
        offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(kept, dtype=np.int64)))[self.offsets]
        return replace(self, offsets=offsets, timestamp_ms=self.timestamp_ms[kept], value=self.value[kept])


def series_text(labels: Labels) -> str:
    """A series in Prometheus' notation, braces always: `up{job="x"}`, `{"a.b","my.label"="x"}`.

    The escapes are those of OpenMetrics: backslash, quote, newline."""
    name = dict(labels).get(METRIC_NAME, "")
    is_plain = _METRIC_NAME.fullmatch(name) is not None
    inside = [] if is_plain or not name else [_quoted(name)]
    inside += [
        f"{label if _LABEL_NAME.fullmatch(label) else _quoted(label)}={_quoted(value)}"
        for label, value in labels
        if label != METRIC_NAME
    ]
    return f"{name if is_plain else ''}{{{','.join(inside)}}}"


def _quoted(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'

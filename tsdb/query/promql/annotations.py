"""What an answer tells its reader beside the values: warnings and infos, in Prometheus' words.

Each text ends with the place in the expression that it is about, and is told once. As in Prometheus' HTTP API an answer
carries ten of each kind and the number of those that are left out.
Source: Prometheus util/annotations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tsdb.query.promql.labels import quoted
from tsdb.query.promql.numbers import short_text_of_number
from tsdb.sample import Float64s

TOLD_COUNT_MAX = 10
# Texts are told apart up to this many of a kind: a name of 4 KiB each comes to 4 MiB. More are not counted.
KNOWN_COUNT_MAX = 1_000

MONOTONICITY = (
    "input to histogram_quantile needed to be fixed for monotonicity "
    "(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
)


class Annotations:
    """Of one query; grows while it is evaluated."""

    def __init__(self) -> None:
        self._warnings: dict[str, None] = {}
        self._infos: dict[str, None] = {}

    @property
    def warnings(self) -> list[str]:
        return _told(self._warnings, "warning")

    @property
    def infos(self) -> list[str]:
        return _told(self._infos, "info")

    def warn(self, text: str, at: str) -> None:
        """at: `line:column`; may be empty."""
        _add(self._warnings, f"PromQL warning: {text}", at)

    def inform(self, text: str, at: str) -> None:
        _add(self._infos, f"PromQL info: {text}", at)

    def check_quantiles(self, phi: Float64s, at: str) -> None:
        """Warn of each quantile that is none."""
        for value in _distinct(phi[~((phi >= 0) & (phi <= 1))]):
            self.warn(f"quantile value should be between 0 and 1, got {short_text_of_number(value)}", at)

    def check_ratios(self, ratio: Float64s, at: str) -> None:
        """Warn of each ratio that is too large, and say what is taken for it."""
        for value in _distinct(ratio[np.abs(ratio) > 1]):
            capped = short_text_of_number(math.copysign(1.0, value))
            text = short_text_of_number(value)
            self.warn(f"ratio value should be between -1 and 1, got {text}, capping to {capped}", at)

    def check_counters(self, metrics: Iterable[str], at: str) -> None:
        """Inform of metrics that do not look like counters, though they are asked for their rate."""
        for name in metrics:
            if not name.endswith(("_total", "_sum", "_count", "_bucket")):
                text = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket"
                self.inform(f"{text}: {quoted(name)}", at)

    def bad_bucket(self, bound: str, metric: str, at: str) -> None:
        text = f'bucket label "le" is missing or has a malformed value of {quoted(bound)}'
        self.warn(text + _of_metric(metric), at)

    def forced_monotonicity(self, metric: str, at: str) -> None:
        self.inform(MONOTONICITY + _of_metric(metric), at)


def _of_metric(name: str) -> str:
    return f" for metric name {quoted(name)}" if name else ""


def _add(known: dict[str, None], text: str, at: str) -> None:
    if len(known) < KNOWN_COUNT_MAX:
        known[f"{text} ({at})" if at else text] = None


def _told(known: dict[str, None], kind: str) -> list[str]:
    texts = list(known)
    if len(texts) <= TOLD_COUNT_MAX:
        return texts
    return [*texts[:TOLD_COUNT_MAX], f"{len(texts) - TOLD_COUNT_MAX} more {kind} annotations omitted"]


def _distinct(values: Float64s) -> list[float]:
    return [float(value) for value in np.unique(values)[:KNOWN_COUNT_MAX]]

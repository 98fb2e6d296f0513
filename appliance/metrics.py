"""The appliance's own counters and gauges: kept per process, gathered over the bus, shown as Prometheus text.

Source of the text format: Prometheus documentation, "Exposition formats", text format 0.0.4.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from typing import Literal

import msgspec

LABEL_SET_COUNT_MAX = 1_000  # Of one metric. Beyond it, values are gathered under "other": a sender cannot fill memory.
OTHER = "other"
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)

Kind = Literal["counter", "gauge"]
_LabelKey = tuple[tuple[str, str], ...]


class Sample(msgspec.Struct, frozen=True):
    """One number of one metric with one set of labels, as it travels over the bus."""

    name: str
    kind: Kind
    help: str
    labels: dict[str, str]
    value: float


class _Metric:
    """The numbers of one metric, by label set. Labels are sorted by name, so that their order in a call is free."""

    kind: Kind

    def __init__(self, name: str, help_text: str) -> None:
        assert _NAME.fullmatch(name), name
        self.name = name
        self.help = help_text
        self._lock = threading.Lock()
        self._value_by_labels: dict[_LabelKey, float] = {}

    def samples(self) -> list[Sample]:
        with self._lock:
            pairs = list(self._value_by_labels.items())
        return [Sample(self.name, self.kind, self.help, dict(labels), value) for labels, value in pairs]

    def remove(self, **labels: object) -> None:
        """Forget the number of a label set, because what it counted is gone."""
        with self._lock:
            self._value_by_labels.pop(tuple((name, str(labels[name])) for name in sorted(labels)), None)

    def _key(self, labels: dict[str, object]) -> _LabelKey:
        """The key to count under; the caller holds the lock."""
        if not labels:
            return ()
        key = tuple((name, str(labels[name])) for name in sorted(labels))
        if key in self._value_by_labels:
            return key
        assert all(_LABEL_NAME.fullmatch(name) and not name.startswith("__") for name, _ in key), key
        if len(self._value_by_labels) >= LABEL_SET_COUNT_MAX:
            return tuple((name, OTHER) for name, _ in key)
        return key


class Counter(_Metric):
    """A number that only rises, from 0 at the start of the process. Its name ends in _total."""

    kind: Kind = "counter"

    def inc(self, amount: float = 1, **labels: object) -> None:
        assert amount >= 0, (self.name, amount)
        with self._lock:
            key = self._key(labels)
            self._value_by_labels[key] = self._value_by_labels.get(key, 0) + amount


class Gauge(_Metric):
    """A number that goes up and down."""

    kind: Kind = "gauge"

    def set(self, value: float, **labels: object) -> None:
        with self._lock:
            self._value_by_labels[self._key(labels)] = value


class Metrics:
    """The metrics of one process. Thread-safe; asking for a name again gives the same metric."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._metric_by_name: dict[str, Counter | Gauge] = {}

    def counter(self, name: str, help: str) -> Counter:  # noqa: A002 - Prometheus' word for it.
        assert name.endswith("_total"), f"{name}: the name of a counter ends in _total"
        with self._lock:
            metric = self._metric_by_name.setdefault(name, Counter(name, help))
        assert isinstance(metric, Counter), f"{name} is a {metric.kind} already"
        return metric

    def gauge(self, name: str, help: str) -> Gauge:  # noqa: A002 - Prometheus' word for it.
        assert not name.endswith("_total"), f"{name}: only the name of a counter ends in _total"
        with self._lock:
            metric = self._metric_by_name.setdefault(name, Gauge(name, help))
        assert isinstance(metric, Gauge), f"{name} is a {metric.kind} already"
        return metric

    def snapshot(self) -> list[Sample]:
        with self._lock:
            metrics = list(self._metric_by_name.values())
        return [sample for metric in metrics for sample in metric.samples()]


def render(samples: Iterable[Sample]) -> str:
    """Prometheus text of the samples of any number of processes.

    A series may appear only once in the text, so equal names and labels are added up, gauges as well: what must
    not be added up carries a label that tells the processes apart. HELP and TYPE are those met first.
    """
    head_by_name: dict[str, Sample] = {}
    value_by_labels_by_name: dict[str, dict[_LabelKey, float]] = {}
    for sample in samples:
        head_by_name.setdefault(sample.name, sample)
        value_by_labels = value_by_labels_by_name.setdefault(sample.name, {})
        key = tuple(sorted(sample.labels.items()))
        value_by_labels[key] = value_by_labels.get(key, 0.0) + sample.value
    lines = []
    for name in sorted(head_by_name):
        lines.append(f"# HELP {name} {_escaped_help(head_by_name[name].help)}\n")
        lines.append(f"# TYPE {name} {head_by_name[name].kind}\n")
        for key, value in sorted(value_by_labels_by_name[name].items()):
            labels = ",".join(f'{label}="{_escaped_label(text)}"' for label, text in key)
            lines.append(f"{name}{{{labels}}} {_number(value)}\n" if labels else f"{name} {_number(value)}\n")
    return "".join(lines)


def _escaped_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _escaped_label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    """Whole numbers without a fraction; infinities and NaN in Prometheus' spelling."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    if value == int(value) and abs(value) < 2**53:
        return str(int(value))
    return repr(float(value))

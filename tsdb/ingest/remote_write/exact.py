"""One series of a body field by field, in any order that protobuf allows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tsdb.errors import BodyTooLarge
from tsdb.sample import LABEL_COUNT_MAX, Float64s
from tsdb.wire import BYTES, FIXED64, VARINT, fields, int64, varint

HISTOGRAM = "native histograms are not stored; send classic ones (scrape_native_histograms: false)"
_LABELS, _SAMPLES, _EXEMPLARS, _HISTOGRAMS = 1, 2, 3, 4
_VALUE, _TIMESTAMP = 1, 2
_ZERO = bytes(8)
# More labels than a series may have are refused by their number: that many are enough to see it.
_LABELS_KEPT_COUNT_MAX = LABEL_COUNT_MAX + 1


@dataclass(slots=True)
class Series:
    """raw_labels: the Label fields end to end, as a series has them that lies straight."""

    raw_labels: bytes = b""
    times_ms: list[int] = field(default_factory=list)
    values: bytearray = field(default_factory=bytearray)  # 8 bytes each, so that every NaN stays what it is.
    labels_count: int = 0
    exemplars_count: int = 0
    histograms_count: int = 0

    @property
    def value(self) -> Float64s:
        return np.frombuffer(bytes(self.values), "<f8")


def read_series(data: bytes, start: int, end: int, *, samples_count_max: int) -> Series:
    """Read the series that lies in data[start:end]. Unknown fields are passed over. Raises: BadWire, BodyTooLarge."""
    series, labels = Series(), []
    for number, kind, first, last in fields(data, start, end):
        if kind != BYTES:
            continue
        if number == _LABELS:
            series.labels_count += 1
            if series.labels_count <= _LABELS_KEPT_COUNT_MAX:
                labels.append(b"\x0a" + _size(last - first) + data[first:last])
        elif number == _SAMPLES:
            read_sample(series, data, first, last)
            if len(series.times_ms) > samples_count_max:
                raise BodyTooLarge("the body has more samples than one may bring; split it")
        elif number == _EXEMPLARS:
            series.exemplars_count += 1
        elif number == _HISTOGRAMS:
            series.histograms_count += 1
    series.raw_labels = b"".join(labels)
    return series


def read_sample(series: Series, data: bytes, start: int, end: int) -> None:
    """A field that is not there is 0; of one that comes twice the last counts."""
    bits, time_ms = _ZERO, 0
    for number, kind, first, last in fields(data, start, end):
        if number == _VALUE and kind == FIXED64:
            bits = data[first:last]
        elif number == _TIMESTAMP and kind == VARINT:
            time_ms = int64(varint(data, first, last)[0])
    series.times_ms.append(time_ms)
    series.values += bits


def _size(count: int) -> bytes:
    parts = bytearray()
    while count > 0x7F:
        parts.append(count & 0x7F | 0x80)
        count >>= 7
    parts.append(count)
    return bytes(parts)

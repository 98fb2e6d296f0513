"""The nouns of the time-series room: labels, keys, samples in columns, selections.

Everything below travels in columns; nothing here holds one Python object per sample.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tsdb.errors import RefusedSample

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

Labels = tuple[tuple[str, str], ...]
"""The sorted (name, value) pairs of one series; `__name__` is the metric. Sorted by the UTF-8 bytes of the name,
without empty values and without repeated names."""

METRIC_NAME = "__name__"
SEPARATOR = b"\xff"  # Never occurs in UTF-8, so canonical bytes read back without lengths.

LABEL_COUNT_MAX = 64
LABEL_NAME_BYTES_MAX = 512
LABEL_VALUE_BYTES_MAX = 4096
# The largest canonical form: 64 × (512 + 4,096 + 2 separators) = 295,040 B, so a frame of one new series stays small.
CANONICAL_BYTES_MAX = LABEL_COUNT_MAX * (LABEL_NAME_BYTES_MAX + LABEL_VALUE_BYTES_MAX + 2)

KEY_BYTES = 16

STALE_NAN_BITS = 0x7FF0000000000002
"""The NaN payload by which Prometheus marks the end of a series; a real NaN is 0x7FF8000000000001 there."""
STALE_NAN = np.array([STALE_NAN_BITS], dtype=np.uint64).view(np.float64)[0]

RAW_ALONE_MS = -(2**63)
"""Selection.raw_from_ms of a selection without rollups."""


def is_stale(value: Float64s) -> npt.NDArray[np.bool_]:
    """Tell stale markers from real values, NaN included. Shape as value."""
    stale: npt.NDArray[np.bool_] = value.view(np.uint64) == np.uint64(STALE_NAN_BITS)
    return stale


def labels_from(pairs: Mapping[str, str] | Iterable[tuple[str, str]]) -> Labels:
    """Sort and check label pairs; pairs with an empty value are left out, as Prometheus does.

    Raises: RefusedSample, naming the label and the limit.
    """
    items = list(pairs.items() if isinstance(pairs, Mapping) else pairs)
    encoded = sorted((name.encode("utf-8", "surrogatepass"), name, value) for name, value in items if value != "")
    if not encoded:
        raise RefusedSample("empty_labels", "a series needs at least one label with a value, such as __name__")
    if len(encoded) > LABEL_COUNT_MAX:
        raise RefusedSample("too_many_labels", f"{len(encoded):,} labels; the limit is {LABEL_COUNT_MAX}")
    last = b""
    for name_bytes, name, value in encoded:
        if not name_bytes:
            raise RefusedSample("empty_label_name", f"the label of value {value[:80]!r} has no name")
        if name_bytes == last:
            raise RefusedSample("duplicate_label", f"label {name[:80]!r} is given twice")
        if len(name_bytes) > LABEL_NAME_BYTES_MAX:
            raise RefusedSample(
                "label_too_long",
                f"label name {name[:40]!r}… has {len(name_bytes):,} bytes of at most {LABEL_NAME_BYTES_MAX:,}",
            )
        value_bytes_count = len(value.encode("utf-8", "surrogatepass"))
        if value_bytes_count > LABEL_VALUE_BYTES_MAX:
            raise RefusedSample(
                "label_too_long",
                f"value of label {name[:80]!r} has {value_bytes_count:,} bytes of at most {LABEL_VALUE_BYTES_MAX:,}",
            )
        if re.search("[\ud800-\udfff]", name + value):
            raise RefusedSample("invalid_utf8", f"label {name[:80]!r} is not valid UTF-8")
        last = name_bytes
    return tuple((name, value) for _, name, value in encoded)


def canonical_bytes(labels: Labels) -> bytes:
    """The one byte form of a label set: `name 0xFF value 0xFF` for each label in order.

    Layout: docs/format/series-key.md.
    """
    return b"".join(part.encode() + SEPARATOR for pair in labels for part in pair)


def labels_of(canonical: bytes) -> Labels:
    """Undo canonical_bytes. Raises: ValueError, if the bytes are not canonical."""
    parts = canonical.split(SEPARATOR)
    if len(parts) % 2 == 0 or parts[-1]:
        raise ValueError(f"not canonical label bytes: {canonical[:80]!r}")
    text = [part.decode() for part in parts[:-1]]
    return tuple(zip(text[::2], text[1::2], strict=True))


def series_key(canonical: bytes) -> bytes:
    """BLAKE2b-128 of the canonical bytes: a series' name in every file and on every node.

    Layout: docs/format/series-key.md.
    """
    return hashlib.blake2b(canonical, digest_size=KEY_BYTES).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleBatch:
    """Samples as three columns of equal length, in the order of arrival.

    A negative id -1-k stands for the k-th new series that travels with the batch; all others are local ids of the
    store's current epoch.
    """

    series: Int32s
    timestamp_ms: Int64s
    value: Float64s

    def __post_init__(self) -> None:
        assert self.series.shape == self.timestamp_ms.shape == self.value.shape, self
        assert self.series.dtype == np.int32, self.series.dtype
        assert self.timestamp_ms.dtype == np.int64, self.timestamp_ms.dtype
        assert self.value.dtype == np.float64, self.value.dtype

    def __len__(self) -> int:
        return int(self.series.size)


@dataclass(frozen=True, eq=False)
class SharedTimes:
    """The times of several series that all have the same, as those have that one agent sends: kept once.

    They take as much room as one series; written out, as much as the values.
    """

    of_each_ms: Int64s
    series_count: int

    @property
    def size(self) -> int:
        return self.series_count * self.of_each_ms.size

    @cached_property
    def written_out(self) -> Int64s:
        """The column for all samples, kept from the first time that somebody asks."""
        return np.tile(self.of_each_ms, self.series_count)

    def take(self, index: Int64s) -> Int64s:
        """The times of some samples, without the column. Any time where index lies outside."""
        count = self.of_each_ms.size
        return self.of_each_ms[index % count] if count else np.zeros_like(index)


def series_times(times_ms: Int64s | SharedTimes, offsets: Int64s, series: int) -> Int64s:
    """The times of one series."""
    if isinstance(times_ms, SharedTimes):
        return times_ms.of_each_ms
    return times_ms[int(offsets[series]) : int(offsets[series + 1])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Samples of several series, CSR-shaped: series i owns the slice offsets[i]:offsets[i + 1] of both columns.

    times_ms: a column, or the times of one series where all are known to have the same; all of one length then.

    Samples before raw_from_ms may be rollups: one stands at the end t of each bucket (t - resolution, t].
    weight: how many samples each one stands for, where a source was asked to condense them; None: itself alone.
    Invariant: times within one series are strictly increasing; stale markers are included.
    """

    labels: Sequence[Labels]
    offsets: Int64s  # int64[len(labels) + 1], from 0.
    times_ms: Int64s | SharedTimes
    value: Float64s
    resolution_ms: int = 0  # Of the coarsest rollup that is in it; 0: raw samples alone.
    raw_from_ms: int = RAW_ALONE_MS  # From this time on every sample is as it came.
    weight: Float64s | None = None

    def __post_init__(self) -> None:
        assert self.offsets.size == len(self.labels) + 1, (self.offsets.size, len(self.labels))
        assert int(self.offsets[-1]) == self.times_ms.size == self.value.size, self.offsets[-1]

    @property
    def series_count(self) -> int:
        return len(self.labels)

    @property
    def timestamp_ms(self) -> Int64s:
        """The time of each sample. Shared times are written out for it: whoever asks counts the bytes."""
        times_ms = self.times_ms
        return times_ms.written_out if isinstance(times_ms, SharedTimes) else times_ms

    @staticmethod
    def empty() -> Selection:
        return Selection(
            labels=(), offsets=np.zeros(1, np.int64), times_ms=np.empty(0, np.int64), value=np.empty(0, np.float64)
        )


class MatchOp(StrEnum):
    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on one label; a series without the label has it with the value "". Regexes match the whole value."""

    name: str
    op: MatchOp
    value: str

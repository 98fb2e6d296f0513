"""What every decoder gives: samples in columns, and a count of what it refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from tsdb.ingest.raw_names import RawNames
from tsdb.sample import Float64s, Int32s, Int64s

if TYPE_CHECKING:
    import polars as pl

    from tsdb.ingest.remote_write.metadata import Said

TIMESTAMP_MS_MAX = 253_402_300_799_999  # The end of the year 9999, UTC; beyond it a time is surely in another unit.
EXAMPLES_COUNT_MAX = 3  # Of each reason in one body: enough to see the pattern, and noise cannot fill memory.
EXAMPLE_BYTES_MAX = 200


@dataclass(frozen=True, slots=True)
class Example:
    """One refused line or element, cut to EXAMPLE_BYTES_MAX, and where in the body it began."""

    reason: str
    text: bytes
    offset: int
    message: str


@dataclass(slots=True)
class Refusals:
    """The samples of one body that were refused: how many by reason, and a few examples of each.

    What a protocol also brings and nobody here keeps, such as exemplars, is counted apart: that is no fault of samples.
    """

    count_by_reason: dict[str, int] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)
    ignored_count_by_kind: dict[str, int] = field(default_factory=dict)
    _examples_count_by_reason: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str, text: bytes = b"", offset: int = 0, *, message: str = "", count: int = 1) -> None:
        self.count_by_reason[reason] = self.count_by_reason.get(reason, 0) + count
        if self.wants_example(reason):
            self._examples_count_by_reason[reason] = self._examples_count_by_reason.get(reason, 0) + 1
            self.examples.append(Example(reason, bytes(text[:EXAMPLE_BYTES_MAX]), offset, message))

    def count(self, reason: str, count: int) -> None:
        """Of what is refused because somebody here wants it so: nobody has to see examples."""
        if count:
            self.count_by_reason[reason] = self.count_by_reason.get(reason, 0) + count

    def ignore(self, kind: str, count: int) -> None:
        if count:
            self.ignored_count_by_kind[kind] = self.ignored_count_by_kind.get(kind, 0) + count

    def wants_example(self, reason: str) -> bool:
        return self._examples_count_by_reason.get(reason, 0) < EXAMPLES_COUNT_MAX

    def merge(self, other: Refusals) -> None:
        for reason, count in other.count_by_reason.items():
            self.count_by_reason[reason] = self.count_by_reason.get(reason, 0) + count
        for kind, count in other.ignored_count_by_kind.items():
            self.ignore(kind, count)
        for example in other.examples:
            if self.wants_example(example.reason):
                found = self._examples_count_by_reason.get(example.reason, 0)
                self._examples_count_by_reason[example.reason] = found + 1
                self.examples.append(example)

    @property
    def total(self) -> int:
        return sum(self.count_by_reason.values())

    @property
    def first_error(self) -> str | None:
        return (self.examples[0].message or self.examples[0].reason) if self.examples else None


Body = bytes | memoryview
"""What one request brought; of bytes ("B"), where it was received."""

CanonicalOf = Callable[[str | bytes], bytes]
"""From a sender's name of a series to its canonical label bytes. Raises: RefusedSample."""


class NameHashes(NamedTuple):
    """Two hashes of each name of a column, under the seeds of the register."""

    first: npt.NDArray[np.uint64]
    second: npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The samples of one body. A sample's series is names[name_index[i]], or names[i] where name_index is None.

    names: the names as the sender wrote them: a polars column (String, or Binary of label bytes), or where they lie.
    said: what the body tells of metrics, beside samples. hashes: of the names, where somebody needed them before.
    """

    names: pl.Series | RawNames
    name_index: Int32s | None
    timestamp_ms: Int64s
    value: Float64s
    canonical_of: CanonicalOf
    refusals: Refusals
    said: Sequence[Said] = ()
    hashes: NameHashes | None = None

    def __post_init__(self) -> None:
        index_count = len(self.names) if self.name_index is None else self.name_index.size
        assert index_count == self.timestamp_ms.size == self.value.size, (index_count, self.value.size)

    def __len__(self) -> int:
        return int(self.value.size)

    def slice(self, start: int, count: int) -> Decoded:
        """The samples from start on, at most count of them; no refusals, which were counted with the whole."""
        part = slice(start, start + count)
        hashes = self.hashes
        if hashes is not None and self.name_index is None:
            hashes = NameHashes(hashes.first[part], hashes.second[part])
        return Decoded(
            names=self.names.slice(start, count) if self.name_index is None else self.names,
            name_index=None if self.name_index is None else self.name_index[part],
            timestamp_ms=self.timestamp_ms[part],
            value=self.value[part],
            canonical_of=self.canonical_of,
            refusals=Refusals(),
            hashes=hashes,
        )


def used_names(name_count: int, name_index: Int32s | Int64s) -> tuple[Int64s | None, Int32s]:
    """Leave out the names that no sample has, for they must not become series.

    Returns: the places of the names that stay, or None if all do; and the index of each sample's name among them.
    """
    is_used = np.zeros(name_count, np.bool_)
    is_used[name_index] = True
    if is_used.all():
        return None, name_index.astype(np.int32, copy=False)
    return np.flatnonzero(is_used), (np.cumsum(is_used, dtype=np.int32) - np.int32(1))[name_index]

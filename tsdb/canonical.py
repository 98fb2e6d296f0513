"""The canonical label bytes of many series as one stretch of memory: on their way in, none of them becomes an object.

Layout of the bytes of one series: docs/format/series-key.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import overload

import numpy as np
import numpy.typing as npt

from tsdb.sample import KEY_BYTES, SEPARATOR, Int64s

Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
UInt32s = npt.NDArray[np.uint32]

_SEPARATOR_BYTE = SEPARATOR[0]


class CanonicalColumn(Sequence[bytes]):
    """Canonical bytes one after another in text; series i ends at ends[i], where the next begins.

    Also a sequence of bytes, for those who look at few of them. What is in it is as its maker left it: a column from
    another process is to be checked, by fault().
    """

    __slots__ = ("ends", "text")

    def __init__(self, text: Bytes, ends: Int64s) -> None:
        self.text = text
        self.ends = ends

    @staticmethod
    def of(series: Sequence[bytes]) -> CanonicalColumn:
        if isinstance(series, CanonicalColumn):
            return series
        lengths = np.fromiter(map(len, series), np.int64, len(series))
        return CanonicalColumn(np.frombuffer(b"".join(series), np.uint8), np.cumsum(lengths))

    @staticmethod
    def joined(parts: Sequence[CanonicalColumn]) -> CanonicalColumn:
        parts = [part for part in parts if len(part)]
        if len(parts) == 1:
            return parts[0]
        return CanonicalColumn.from_lengths(
            np.concatenate([part.text for part in parts] or [np.empty(0, np.uint8)]),
            np.concatenate([part.lengths for part in parts] or [np.empty(0, np.uint32)]),
        )

    @staticmethod
    def from_lengths(text: Bytes, lengths: npt.NDArray[np.integer]) -> CanonicalColumn:
        """Raises: ValueError, if the lengths are not those of the text."""
        ends = np.cumsum(lengths, dtype=np.int64)
        if (int(ends[-1]) if ends.size else 0) != text.size or (ends.size and int(lengths.min()) < 0):
            raise ValueError(f"{text.size:,} bytes of series where their lengths announce another number")
        return CanonicalColumn(text, ends)

    @property
    def starts(self) -> Int64s:
        return self.ends - self.lengths

    @property
    def lengths(self) -> UInt32s:
        return np.diff(self.ends, prepend=0).astype(np.uint32)

    def __len__(self) -> int:
        return int(self.ends.size)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.to_list())

    def to_list(self) -> list[bytes]:
        data, ends = self.text.tobytes(), self.ends.tolist()
        return [data[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)] if ends else []

    @overload
    def __getitem__(self, at: int) -> bytes: ...

    @overload
    def __getitem__(self, at: slice) -> CanonicalColumn: ...

    def __getitem__(self, at: int | slice) -> bytes | CanonicalColumn:
        if isinstance(at, slice):
            first, stop, step = at.indices(len(self))
            assert step == 1, step
            low = int(self.ends[first - 1]) if first else 0
            ends = self.ends[first : max(first, stop)]
            return CanonicalColumn(self.text[low : int(ends[-1]) if ends.size else low], ends - low)
        at = range(len(self))[at]
        return self.text[int(self.ends[at - 1]) if at else 0 : int(self.ends[at])].tobytes()

    def __repr__(self) -> str:
        return f"CanonicalColumn.of({list(self)!r:.1000})"

    def kept(self, where: Bools) -> CanonicalColumn:
        """Those of the series for which where is true, in their order."""
        if where.all():
            return self
        lengths = self.lengths
        return CanonicalColumn(self.text[np.repeat(where, lengths)], np.cumsum(lengths[where], dtype=np.int64))

    def fault(self) -> int | None:
        """The place of the first series whose bytes cannot be canonical: labels are pairs, each ended by 0xFF."""
        if not self.text.size:
            return 0 if len(self) else None
        separators = np.flatnonzero(self.text == _SEPARATOR_BYTE)
        before = np.searchsorted(separators, self.ends)
        counts = np.diff(before, prepend=0)
        is_wrong = (counts == 0) | (counts & 1 != 0) | (self.text[np.maximum(self.ends - 1, 0)] != _SEPARATOR_BYTE)
        return int(is_wrong.argmax()) if is_wrong.any() else None


def series_keys(canonical: Sequence[bytes]) -> bytes:
    """The series_key of each, one after another: 0.6 µs a series, nearly all of it BLAKE2b."""
    if not isinstance(canonical, CanonicalColumn):
        return b"".join([blake2b(one, digest_size=KEY_BYTES).digest() for one in canonical])
    data, ends = canonical.text.tobytes(), canonical.ends.tolist()
    return b"".join(
        [
            blake2b(data[start:end], digest_size=KEY_BYTES).digest()
            for start, end in zip([0, *ends[:-1]], ends, strict=False)
        ]
    )

"""Times on a grid: every row begins somewhere and goes on in steps of one interval. One codec of tiles.

What is asked for every ten seconds has nearly regular times: those that are cost next to nothing, and those that miss
the grid by a little cost as many bits as they miss it by, fewer than the difference of two such times. A gap is a step
of several intervals. Layout: docs/format/block.md.
"""

from __future__ import annotations

import itertools
import struct

import numpy as np

from tsdb.errors import CorruptData
from tsdb.sample import Int64s
from tsdb.store.block import packed

# bytes of the row lengths, of the firsts, of the steps, of the misses 4 × u32 · interval ms i64
_HEADER = struct.Struct("<IIIIq")
# Beyond it a time less the row's first is not exact as a double.
_SPAN_MAX = 1 << 53


def encode(timestamp_ms: Int64s, row_lengths: Int64s) -> bytes | None:
    """The column as times on a grid; None where plain differences are likely to be shorter."""
    if int(timestamp_ms.max()) - int(timestamp_ms.min()) >= _SPAN_MAX:
        return None
    starts = packed.starts_of(row_lengths)
    differences = packed.within_rows(timestamp_ms, starts)
    if not differences.size:
        return None
    interval = _interval(timestamp_ms, starts, row_lengths, packed.median(differences))
    if interval <= 0:
        return None
    place, misses, firsts = _on_grid(timestamp_ms, starts, row_lengths, interval)
    steps = packed.within_rows(place, starts)
    is_even, is_exact = bool((steps == 1).all()), not misses.any()
    if not (is_even and is_exact) and _is_dearer(misses, steps, differences - interval):
        return None
    parts = (
        packed.pack_lengths(row_lengths),
        packed.pack(firsts),
        b"" if is_even else packed.pack(steps),
        b"" if is_exact else packed.pack(misses),
    )
    return _HEADER.pack(*map(len, parts), interval) + b"".join(parts)


def _is_dearer(misses: Int64s, steps: Int64s, changes: Int64s) -> bool:
    return packed.bits(misses) + packed.bits(steps - 1) > packed.bits(changes)


def _interval(timestamp_ms: Int64s, starts: Int64s, row_lengths: Int64s, about: int) -> int:
    """The mean step of all rows, each step counted as so many intervals as it is about long."""
    if about <= 0:
        return 0
    spans = timestamp_ms[starts + row_lengths - 1] - timestamp_ms[starts]
    count = int(np.rint(spans / about).sum())
    return round(int(spans.sum()) / count) if count else 0


def _on_grid(timestamp_ms: Int64s, starts: Int64s, row_lengths: Int64s, interval: int) -> tuple[Int64s, Int64s, Int64s]:
    """For every sample its place on the row's grid and what it misses that by; for every row where its grid begins.

    A grid lies in the middle between the samples that miss it most, before and behind.
    """
    since = timestamp_ms - np.repeat(timestamp_ms[starts], row_lengths)
    place = np.rint(since / interval).astype(np.int64)
    misses = since - place * interval
    middle = (np.maximum.reduceat(misses, starts) + np.minimum.reduceat(misses, starts)) // 2
    misses -= np.repeat(middle, row_lengths)
    return place, misses, timestamp_ms[starts] + middle


def decode(data: bytes, into: Int64s) -> None:
    """Undo encode(). Raises: CorruptData."""
    try:
        *sizes, interval = _HEADER.unpack_from(data)
        ends = [*itertools.accumulate((_HEADER.size, *sizes))]
        if ends[-1] != len(data):
            raise CorruptData(f"times on a grid of {len(data):,} bytes, {ends[-1]:,} by their header")
        lengths, firsts, steps, misses = (data[start:end] for start, end in itertools.pairwise(ends))
        row_lengths = packed.unpack_lengths(lengths, into.size)
        first_ms = packed.unpack(firsts, row_lengths.size)
        if steps:
            step = packed.unpack(steps, into.size - row_lengths.size)
            into[:] = packed.summed(row_lengths, np.zeros(row_lengths.size, np.int64), step)
            into *= interval
        else:
            np.multiply(np.arange(into.size), interval, out=into)
            first_ms = first_ms - packed.starts_of(row_lengths) * interval
        into += np.repeat(first_ms, row_lengths)
        if misses:
            into += packed.unpack(misses, into.size)
    except (RuntimeError, TypeError, ValueError, IndexError, OverflowError, struct.error) as error:
        raise CorruptData(f"times on a grid of {len(data):,} bytes: {error}") from error

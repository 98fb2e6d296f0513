"""Whole numbers as bytes, near their entropy: the parts of which the codecs of a tile are made.

Layout: docs/format/block.md.
"""

from __future__ import annotations

import functools
import math
import struct

import numpy as np
import numpy.typing as npt
from pcodec import ChunkConfig, DeltaSpec, ModeSpec, standalone

from tsdb.sample import Int64s

# Level 8 costs twice the time for 0.002 B a sample less, level 4 saves a sixth of it for 0.02 B more.
_PLAIN = ChunkConfig(compression_level=6, mode_spec=ModeSpec.classic(), delta_spec=DeltaSpec.no_op())
# No pcodec file is as short, so a part of this length is told from one by it.
_CONSTANT = struct.Struct("<q")
_LENGTHS = struct.Struct("<II")  # the samples of the first row · of each other one, but the last may have fewer
_PROBE_COUNT = 1_024
# Lengths of a whole tile, all of one sample at worst, are 96 KiB: 64 of them 6 MiB.
_KEPT_LENGTHS_MAX = 64


def pack(numbers: Int64s) -> bytes:
    """A pcodec file of int32 or int64; eight bytes, if all numbers are the same; nothing, if there are none."""
    if not numbers.size:
        return b""
    lowest, highest = int(numbers.min()), int(numbers.max())
    if lowest == highest:
        return _CONSTANT.pack(lowest)
    is_short = lowest >= -(1 << 31) and highest < 1 << 31
    packed: bytes = standalone.simple_compress(numbers.astype(np.int32 if is_short else np.int64, order="C"), _PLAIN)
    return packed


def unpack(data: bytes, count: int) -> Int64s:
    """Undo pack(). Raises: ValueError, RuntimeError, TypeError, if it is not one of so many numbers."""
    return unpacked(data, (count,)).astype(np.int64)


def unpack_into(data: bytes, into: Int64s) -> None:
    """unpack() to where the numbers shall be."""
    into[...] = unpacked(data, into.shape)


def unpacked(data: bytes, shape: tuple[int, ...]) -> npt.NDArray[np.signedinteger]:
    """unpack() of numbers in this shape, int32 where they were packed so; not to be changed. Raises: as unpack()."""
    count = math.prod(shape)
    if not data:
        numbers: npt.NDArray[np.signedinteger] | None = np.empty(0, np.int64)
    elif len(data) == _CONSTANT.size:
        return np.broadcast_to(np.int64(_CONSTANT.unpack(data)[0]), shape)
    else:
        numbers = standalone.simple_decompress(data)
    if numbers is None or numbers.dtype not in (np.int32, np.int64) or numbers.size != count:
        raise ValueError(f"not {count:,} whole numbers")
    return numbers.reshape(shape)


def pack_lengths(row_lengths: Int64s) -> bytes:
    """The lengths of rows, each at least 1; eight bytes, if all but the first and a shorter last one are the same."""
    other = row_lengths[1:]
    common = int(other[0]) if other.size else 1
    if (other[:-1] == common).all() and (not other.size or other[-1] <= common):
        return _LENGTHS.pack(int(row_lengths[0]), common)
    return pack(row_lengths)


def unpack_lengths(data: bytes, sample_count: int) -> Int64s:
    """Undo pack_lengths() for rows of so many samples together; not to be changed. Raises: as unpack()."""
    if len(data) == _LENGTHS.size:
        return _common_lengths(data, sample_count)
    found = standalone.simple_decompress(data)
    return _checked(np.asarray(found if found is not None else [], np.int64), sample_count)


@functools.lru_cache(maxsize=_KEPT_LENGTHS_MAX)
def _common_lengths(data: bytes, sample_count: int) -> Int64s:
    """Tiles of series that are sampled together are alike: those of the last tiles are kept."""
    first, common = _LENGTHS.unpack(data)
    if not 0 < first <= sample_count or not common:
        raise ValueError(f"a row of {first:,} samples, others of {common:,}, in {sample_count:,}")
    rest_count = sample_count - first
    lengths = np.full(1 + -(-rest_count // common), common, np.int64)
    lengths[0] = first
    lengths[-1] = sample_count - lengths[:-1].sum()
    lengths.setflags(write=False)
    return _checked(lengths, sample_count)


def _checked(lengths: Int64s, sample_count: int) -> Int64s:
    if int(lengths.sum()) != sample_count or not (lengths > 0).all():
        raise ValueError(f"rows of {int(lengths.sum()):,} samples for {sample_count:,}")
    return lengths


def starts_of(row_lengths: Int64s) -> Int64s:
    starts: Int64s = np.cumsum(row_lengths) - row_lengths
    return starts


def within_rows(numbers: Int64s, starts: Int64s) -> Int64s:
    """The difference of each number to the one before it, but for the first of each row."""
    return np.delete(np.diff(numbers, prepend=0), starts)


def summed(row_lengths: Int64s, firsts: Int64s, steps: Int64s) -> Int64s:
    """Undo within_rows(), given the first number of each row."""
    if (table := _summed_evenly(row_lengths, firsts, steps)) is not None:
        return table
    starts = starts_of(row_lengths)
    is_step = np.ones(int(row_lengths.sum()), np.bool_)
    is_step[starts] = False
    numbers = np.zeros(is_step.size, np.int64)
    numbers[is_step] = steps
    np.cumsum(numbers, out=numbers)
    # Within a row the sum has grown from what it was at the row's start, where the first number stands.
    numbers += np.repeat(firsts - numbers[starts], row_lengths)
    return numbers


def _summed_evenly(row_lengths: Int64s, firsts: Int64s, steps: Int64s) -> Int64s | None:
    """summed() of rows of one length, as series sampled together have; None for others."""
    count, length = row_lengths.size, int(row_lengths[0])
    if not (row_lengths == length).all():
        return None
    table = np.empty((count, length), np.int64)
    table[:, 0] = firsts
    table[:, 1:] = steps.reshape(count, length - 1)
    summed: Int64s = np.cumsum(table, axis=1, out=table).reshape(-1)
    return summed


def bits(numbers: Int64s) -> float:
    """About how many bits a number takes, from some of them; good for a comparison, and cheap."""
    probe = _probe(numbers).astype(np.float64)
    return float(np.log2(np.abs(probe) + 1.0).mean()) if probe.size else 0.0


def median(numbers: Int64s) -> int:
    """Of some of the numbers."""
    return int(np.median(_probe(numbers)))


def _probe(numbers: Int64s) -> Int64s:
    return numbers[:: max(1, numbers.size // _PROBE_COUNT)]

"""Values that are decimals, as whole numbers: exact, and near their entropy. One codec of tiles.

Devices report 21.37 or 1,048,576, not reals: times a power of ten such a value is a whole number, and dividing again
gives the same double bit for bit. Along a series the differences are small, and pcodec is at its best on integers.
Values that are no such decimals (NaN, infinities, -0.0) are kept beside, if they are few. Layout: docs/format/block.md.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tsdb.errors import CorruptData
from tsdb.sample import Float64s, Int64s
from tsdb.store.block import packed

# exponent of ten u8 · 1 if differences along rows, else 0 u8 · bytes of the slopes u16 · bytes of the row lengths, of
# the first numbers, of the numbers 3 × u32 · exceptions u32 · multiplier i64
_HEADER = struct.Struct("<BBHIIIIq")

EXPONENT_MAX = 6
# A whole number below 2^53 and its quotient by a power of ten up to 10^22 are each one correctly rounded double.
_WHOLE_MAX = float(1 << 53)
# Exceptions cost 12 B each; at one in fifty that is 0.24 B a sample, where pcodec on doubles begins to be better.
_EXCEPTIONS_PER_SAMPLE_MAX = 1 / 50
_PROBE_COUNT = 256  # Values that rule out most exponents before a whole tile is tried.
# Where the estimate is that sure, only the better of the numbers and their differences is tried: half the work.
_SURE_GAIN_BITS = 1.5
_SLOPE_BITS = 24  # What the slope of a row costs, about.
_SLOPES_BYTES_MAX = (1 << 16) - 1

Bools = npt.NDArray[np.bool_]


def encode(value: Float64s, row_lengths: Int64s) -> bytes | None:
    """The column as decimals, None if too many of its values are none. row_lengths: of the series in the tile."""
    found = _whole_numbers(value)
    if found is None:
        return None
    whole, exponent, is_exact = found
    exceptions = np.flatnonzero(~is_exact)
    if exceptions.size:
        whole = _filled(whole, is_exact)
    multiplier = _common_divisor(whole)
    if multiplier > 1:
        whole //= multiplier
    lengths, firsts, slopes, numbers = _parts(whole, row_lengths)
    header = _HEADER.pack(
        exponent, bool(firsts), len(slopes), len(lengths), len(firsts), len(numbers), exceptions.size, multiplier
    )
    kept = value.view(np.uint64)[exceptions]
    return b"".join((header, lengths, firsts, slopes, numbers, exceptions.astype("<u4").tobytes(), kept.tobytes()))


def _parts(whole: Int64s, row_lengths: Int64s) -> tuple[bytes, bytes, bytes, bytes]:
    """Row lengths, first numbers, slopes and numbers: as differences, or, the first three empty, as they are."""
    starts = packed.starts_of(row_lengths)
    steps = packed.within_rows(whole, starts)
    gain_bits = packed.bits(whole - packed.median(whole)) - packed.bits(steps)
    plain = packed.pack(whole) if gain_bits < _SURE_GAIN_BITS else None
    if plain is not None and gain_bits < -_SURE_GAIN_BITS:
        return b"", b"", b"", plain
    slopes, numbers = _without_slopes(whole, starts, steps, row_lengths)
    parts = (packed.pack_lengths(row_lengths), packed.pack(whole[starts]), slopes, packed.pack(numbers))
    return parts if plain is None or sum(map(len, parts)) < len(plain) else (b"", b"", b"", plain)


def _without_slopes(whole: Int64s, starts: Int64s, steps: Int64s, row_lengths: Int64s) -> tuple[bytes, Int64s]:
    """The slopes of rows and what the differences are beyond them; no slopes, where they save nothing.

    A counter grows by much the same all along, and every counter of a tile by something else.
    """
    spans = whole[starts + row_lengths - 1] - whole[starts]
    slope = np.rint(spans / np.maximum(1, row_lengths - 1)).astype(np.int64)
    if not slope.any():
        return b"", steps
    beyond = steps - np.repeat(slope, row_lengths - 1)
    gain_bits = (packed.bits(steps) - packed.bits(beyond)) * steps.size
    if gain_bits <= _SLOPE_BITS * slope.size:
        return b"", steps
    slopes = packed.pack(slope)
    return (slopes, beyond) if len(slopes) <= _SLOPES_BYTES_MAX else (b"", steps)


class Parts(NamedTuple):
    """What an encoded column is made of; equal `alike`: such columns of one length are decoded together."""

    alike: tuple[int, int, int, bytes]  # exponent, 1 if differences, multiplier, row lengths
    firsts: bytes
    slopes: bytes
    numbers: bytes
    exception_at: bytes
    exception_bits: bytes


def parts_of(data: bytes) -> Parts:
    """Raises: CorruptData."""
    try:
        exponent, is_difference, *sizes, exception_count, multiplier = _HEADER.unpack_from(data)
    except struct.error as error:
        raise CorruptData(f"a decimal column of {len(data):,} bytes: {error}") from error
    slope_bytes, length_bytes, first_bytes, number_bytes = sizes
    firsts_at = _HEADER.size + length_bytes
    slopes_at = firsts_at + first_bytes
    numbers_at = slopes_at + slope_bytes
    at = numbers_at + number_bytes
    bits_at = at + 4 * exception_count
    end = bits_at + 8 * exception_count
    if end != len(data) or exponent > EXPONENT_MAX:
        raise CorruptData(f"a decimal column of {len(data):,} bytes, {end:,} by its header")
    return Parts(
        (exponent, is_difference, multiplier, data[_HEADER.size : firsts_at]),
        data[firsts_at:slopes_at],
        data[slopes_at:numbers_at],
        data[numbers_at:at],
        data[at:bits_at],
        data[bits_at:],
    )


def decode(data: bytes, into: Float64s) -> None:
    """Undo encode(). Raises: CorruptData."""
    decode_alike([parts_of(data)], into)


def decode_alike(columns: Sequence[Parts], into: Float64s) -> None:
    """Undo encode() of columns that are alike and of one length, one behind the other. Raises: CorruptData.

    Calls into numpy, which cost as much as the work on a few thousand numbers, are made once for all of them."""
    count = into.size // len(columns)
    exponent, is_difference, multiplier, lengths = columns[0].alike
    try:
        if is_difference:
            whole = _summed(columns, packed.unpack_lengths(lengths, count))
        else:
            whole = np.empty(into.size, np.int64)
            for column, numbers in zip(columns, whole.reshape(-1, count), strict=True):
                packed.unpack_into(column.numbers, numbers)
        if multiplier != 1:
            whole *= multiplier
        if exponent:
            np.divide(whole, 10.0**exponent, out=into)
        else:
            into[:] = whole
        for column, bits in zip(columns, into.view(np.uint64).reshape(-1, count), strict=True):
            if column.exception_at:
                bits[np.frombuffer(column.exception_at, "<u4")] = np.frombuffer(column.exception_bits, "<u8")
    except (RuntimeError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise CorruptData(f"a decimal column of {into.size:,} samples: {error}") from error


def _summed(columns: Sequence[Parts], row_lengths: Int64s) -> Int64s:
    """The whole numbers of columns that hold differences; of each, the lengths of its rows are these."""
    row_count, length = row_lengths.size, int(row_lengths[0])
    is_even = bool((row_lengths == length).all())
    shape = (row_count, length - 1) if is_even else (int(row_lengths.sum()) - row_count,)
    firsts = np.empty((len(columns), row_count), np.int64)
    table = np.empty((len(columns), row_count, length) if is_even else (len(columns), *shape), np.int64)
    grown = np.zeros((len(columns), row_count), np.int64)
    for i, column in enumerate(columns):
        packed.unpack_into(column.firsts, firsts[i])
        (table[i, :, 1:] if is_even else table[i])[...] = packed.unpacked(column.numbers, shape)
        if column.slopes:
            packed.unpack_into(column.slopes, grown[i])
    if grown.any():
        # Spread out first: numpy adds contiguous columns in a quarter of the time that it takes for many short rows.
        spread = np.empty_like(table)
        spread[...] = grown[:, :, None] if is_even else np.repeat(grown, row_lengths - 1, axis=1)
        table += spread
    if not is_even:
        return packed.summed(np.tile(row_lengths, len(columns)), firsts.reshape(-1), table.reshape(-1))
    table[:, :, 0] = firsts
    rows = table.reshape(-1, length)
    return np.add.accumulate(rows, axis=1, out=rows).reshape(-1)


def _whole_numbers(value: Float64s) -> tuple[Int64s, int, Bools] | None:
    """The whole numbers that the values are when multiplied by the lowest power of ten that suits nearly all of them.

    A number that is not exact is marked so, and means nothing.
    """
    probe = value[:: max(1, value.size // _PROBE_COUNT)]
    for exponent in range(EXPONENT_MAX + 1):
        if _allows(_scaled(probe, exponent)[1]):
            whole, is_exact = _scaled(value, exponent)
            if _allows(is_exact):
                return whole, exponent, is_exact
    return None


def _allows(is_exact: Bools) -> bool:
    return is_exact.size - int(np.count_nonzero(is_exact)) <= is_exact.size * _EXCEPTIONS_PER_SAMPLE_MAX


def _scaled(value: Float64s, exponent: int) -> tuple[Int64s, Bools]:
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.rint(value * 10.0**exponent)
        is_exact = np.abs(scaled) < _WHOLE_MAX
        whole = np.where(is_exact, scaled, 0.0).astype(np.int64)
    back = whole / 10.0**exponent if exponent else whole.astype(np.float64)
    is_exact &= back.view(np.uint64) == value.view(np.uint64)
    return whole, is_exact


def _filled(whole: Int64s, is_exact: Bools) -> Int64s:
    """Each number that is not exact replaced by the last exact one before it, which costs next to nothing."""
    last = np.maximum.accumulate(np.where(is_exact, np.arange(whole.size), -1))
    first_exact = int(np.argmax(is_exact))
    return whole[np.where(last < 0, first_exact, last)]


def _common_divisor(whole: Int64s) -> int:
    """What divides all numbers, such as 4,096 for memory counted in pages."""
    divisor = int(np.gcd.reduce(whole[:64]))
    if divisor != 1:
        divisor = int(np.gcd.reduce(whole))
    return max(1, divisor)

"""Values that are decimals, as whole numbers: exact, and near their entropy. One codec of tiles.

Devices report 21.37 or 1,048,576, not reals: times a power of ten such a value is a whole number, and dividing again
gives the same double bit for bit. Along a series the differences are small, and pcodec is at its best on integers.
Values that are no such decimals (NaN, infinities, -0.0) are kept beside, if they are few. Layout: docs/format/block.md.
"""

from __future__ import annotations

import itertools
import struct

import numpy as np
import numpy.typing as npt
from pcodec import ChunkConfig, DeltaSpec, ModeSpec, standalone

from tsdb.errors import CorruptData
from tsdb.sample import Float64s, Int64s

# exponent of ten u8 · 1 if differences along rows, else 0 u8 · zero u16 · bytes of the row lengths, of the first
# numbers, of the numbers 3 × u32 · exceptions u32 · multiplier i64
_HEADER = struct.Struct("<BBHIIIIq")

EXPONENT_MAX = 6
# A whole number below 2^53 and its quotient by a power of ten up to 10^22 are each one correctly rounded double.
_WHOLE_MAX = float(1 << 53)
# Exceptions cost 12 B each; at one in fifty that is 0.24 B a sample, where pcodec on doubles begins to be better.
_EXCEPTIONS_PER_SAMPLE_MAX = 1 / 50
_PROBE_COUNT = 256  # Values that rule out most exponents before a whole tile is tried.
_PLAIN = ChunkConfig(compression_level=4, mode_spec=ModeSpec.classic(), delta_spec=DeltaSpec.no_op())

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
    starts = np.cumsum(row_lengths) - row_lengths
    steps = np.delete(np.diff(whole, prepend=0), starts)
    plain = _packed(whole)
    firsts, numbers = _packed(whole[starts]), _packed(steps)
    lengths = _packed(row_lengths)
    is_difference = len(lengths) + len(firsts) + len(numbers) < len(plain)
    if not is_difference:
        lengths, firsts, numbers = b"", b"", plain
    header = _HEADER.pack(
        exponent, is_difference, 0, len(lengths), len(firsts), len(numbers), exceptions.size, multiplier
    )
    kept = value.view(np.uint64)[exceptions]
    return b"".join((header, lengths, firsts, numbers, exceptions.astype("<u4").tobytes(), kept.tobytes()))


def decode(data: bytes, into: Float64s) -> None:
    """Undo encode(). Raises: CorruptData."""
    try:
        exponent, is_difference, _, *lengths, exception_count, multiplier = _HEADER.unpack_from(data)
        ends = np.cumsum([_HEADER.size, *lengths, 4 * exception_count, 8 * exception_count]).tolist()
        if ends[-1] != len(data) or exponent > EXPONENT_MAX:
            raise CorruptData(f"a decimal column of {len(data):,} bytes, {ends[-1]:,} by its header")
        rows, firsts, numbers, at, bits = (data[start:end] for start, end in itertools.pairwise(ends))
        if is_difference:
            whole = _summed(_unpacked(rows), _unpacked(firsts), _unpacked(numbers), into.size)
        else:
            whole = _unpacked(numbers)
        if multiplier != 1:
            whole = whole * multiplier
        if exponent:
            np.divide(whole, 10.0**exponent, out=into)
        else:
            into[:] = whole
        into.view(np.uint64)[np.frombuffer(at, "<u4")] = np.frombuffer(bits, "<u8")
    except (RuntimeError, TypeError, ValueError, IndexError, struct.error) as error:
        raise CorruptData(f"a decimal column of {len(data):,} bytes: {error}") from error


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


def _packed(numbers: Int64s) -> bytes:
    if not numbers.size:
        return b""
    packed: bytes = standalone.simple_compress(np.ascontiguousarray(numbers), _PLAIN)
    return packed


def _unpacked(data: bytes) -> Int64s:
    if not data:
        return np.empty(0, np.int64)
    numbers = standalone.simple_decompress(data)
    if numbers is None or numbers.dtype != np.int64:
        raise ValueError("numbers of another type")
    unpacked: Int64s = numbers
    return unpacked


def _summed(row_lengths: Int64s, firsts: Int64s, steps: Int64s, count: int) -> Int64s:
    if int(row_lengths.sum()) != count:
        raise ValueError(f"rows of {int(row_lengths.sum()):,} samples for {count:,}")
    starts = np.cumsum(row_lengths) - row_lengths
    is_step = np.ones(count, np.bool_)
    is_step[starts] = False
    summed = np.zeros(count, np.int64)
    summed[is_step] = steps
    np.cumsum(summed, out=summed)
    # Within a row the sum has grown from what it was at the row's start, where the first number stands.
    summed += np.repeat(firsts - summed[starts], row_lengths)
    return summed

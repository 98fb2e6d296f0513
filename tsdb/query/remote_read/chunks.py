"""Prometheus' XOR chunks, made from columns: each sample becomes four groups of bits, which are joined all at once.

Layout: tsdb/docs/format/chunks.md and tsdb/chunkenc/xor.go of Prometheus 3. A chunk is the number of samples (2 bytes,
big-endian), the first time as a zigzag varint, the first value, the second time's distance as a varint, and from there
on bits: the change of the distance, and the value as a XOR with the one before. The window of significant bits is
written with each value that changes; readers allow it, and only then no value depends on more than the one before.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tsdb.sample import Float64s, Int64s
from tsdb.wire import varint_bytes

SAMPLE_COUNT = 120  # As in Prometheus' own chunks.
BATCH_CHUNK_COUNT = 400  # Of 48,000 samples: some 30 MiB of single bits.

Uint64s = npt.NDArray[np.uint64]

# (largest change, its prefix, bits of the prefix, bits of the change), by size; the smallest is no change at all.
_CHANGES = ((14, 0b10, 2), (17, 0b110, 3), (20, 0b1110, 4), (64, 0b1111, 4))


def chunks_of(edges: Int64s, timestamp_ms: Int64s, value: Float64s) -> Iterator[tuple[int, int, bytes]]:
    """(first time, last time, bytes) of each chunk; chunk i holds the samples edges[i]:edges[i + 1], at least one."""
    for start in range(0, edges.size - 1, BATCH_CHUNK_COUNT):
        part = edges[start : start + BATCH_CHUNK_COUNT + 1]
        samples = slice(int(part[0]), int(part[-1]))
        yield from _batch(part - part[0], timestamp_ms[samples], value[samples])


def _batch(edges: Int64s, timestamp_ms: Int64s, value: Float64s) -> Iterator[tuple[int, int, bytes]]:
    code, size = _codes(edges, timestamp_ms, value)
    chunk_bits = np.add.reduceat(size.sum(axis=1), edges[:-1])
    packed = _packed(edges, code, size, chunk_bits)
    ends = np.cumsum(-(-chunk_bits // 8)).tolist()
    bits = value.view(np.uint64)
    first = edges[:-1].tolist()
    last = (edges[1:] - 1).tolist()
    at = 0
    for start, stop, end in zip(first, last, ends, strict=True):
        head = bytearray((stop - start + 1).to_bytes(2, "big"))
        head += _zigzag(int(timestamp_ms[start])) + int(bits[start]).to_bytes(8, "big")
        if stop > start:
            head += varint_bytes(int(timestamp_ms[start + 1] - timestamp_ms[start]))
        yield int(timestamp_ms[start]), int(timestamp_ms[stop]), bytes(head) + packed[at:end].tobytes()
        at = end


def _codes(edges: Int64s, timestamp_ms: Int64s, value: Float64s) -> tuple[Uint64s, Int64s]:
    """(code, bits of it), both [samples, 4]: prefix and change of the time, control and significant bits of the value.

    Nothing for the first of a chunk, no time for the second: these stand in its head.
    """
    count = timestamp_ms.size
    place = np.arange(count) - np.repeat(edges[:-1], np.diff(edges))
    code, size = np.zeros((count, 4), np.uint64), np.zeros((count, 4), np.int64)
    distance = np.diff(timestamp_ms, prepend=timestamp_ms[:1])
    change = np.diff(distance, prepend=distance[:1])
    _time_codes(change, place >= 2, code, size)
    bits = value.view(np.uint64)
    xor = np.zeros(count, np.uint64)
    xor[1:] = bits[1:] ^ bits[:-1]
    _value_codes(xor, place >= 1, code, size)
    return code, size


def _time_codes(change: Int64s, has_change: npt.NDArray[np.bool_], code: Uint64s, size: Int64s) -> None:
    size[has_change, 0] = 1  # A single 0: the distance stays.
    left = has_change & (change != 0)
    for width, prefix, prefix_size in _CHANGES:
        half = 1 << (width - 1)
        fits = left if width == 64 else left & (change >= 1 - half) & (change <= half)
        code[fits, 0], size[fits, 0] = prefix, prefix_size
        mask = np.uint64(2**width - 1)
        code[fits, 1], size[fits, 1] = change[fits].view(np.uint64) & mask, width
        left = left & ~fits


def _value_codes(xor: Uint64s, has_value: npt.NDArray[np.bool_], code: Uint64s, size: Int64s) -> None:
    size[has_value, 2] = 1  # A single 0: the value stays.
    rows = np.flatnonzero(has_value & (xor != 0))
    changed = xor[rows]
    leading = np.minimum(_leading_zeros(changed), 31)
    lowest = changed & (~changed + np.uint64(1))
    trailing = 63 - _leading_zeros(lowest)
    width = 64 - leading - trailing
    code[rows, 2] = (0b11 << 11 | leading << 6 | (width & 63)).astype(np.uint64)
    size[rows, 2] = 13
    code[rows, 3] = changed >> trailing.astype(np.uint64)
    size[rows, 3] = width


def _leading_zeros(number: Uint64s) -> Int64s:
    """Of 64 bits; the numbers are not 0."""
    left = np.zeros(number.size, np.int64)
    rest = number.copy()
    for step in (32, 16, 8, 4, 2, 1):
        is_small = rest < np.uint64(1 << (64 - step))
        left[is_small] += step
        rest[is_small] <<= np.uint64(step)
    return left


def _packed(edges: Int64s, code: Uint64s, size: Int64s, chunk_bits: Int64s) -> npt.NDArray[np.uint8]:
    """The bits of all chunks, each from a byte of its own on."""
    flat_code, flat_size = code.ravel(), size.ravel()
    total = int(chunk_bits.sum())
    ends = np.cumsum(flat_size)
    owner = np.repeat(np.arange(flat_size.size, dtype=np.int32), flat_size)
    shift = (ends[owner] - 1 - np.arange(total)).astype(np.uint64)
    bit = ((flat_code[owner] >> shift) & np.uint64(1)).astype(np.uint8)
    whole_bits = -(-chunk_bits // 8) * 8
    gap = np.concatenate((np.zeros(1, np.int64), np.cumsum(whole_bits - chunk_bits)[:-1]))
    out = np.zeros(int(whole_bits.sum()), np.uint8)
    out[np.arange(total) + np.repeat(gap, chunk_bits)] = bit
    return np.packbits(out)


def _zigzag(number: int) -> bytes:
    return varint_bytes((number << 1) ^ (number >> 63))

"""Protobuf's wire format, one field at a time; for whatever the vectorised path does not take.

Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_VARINT_BYTES_MAX = 10
_INT64_SIGN = 1 << 63


class BadWire(Exception):
    """Bytes that no protobuf writer makes."""


def fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(field number, wire type, start, end) of each field's payload in data[start:end]. Raises: BadWire."""
    at = start
    while at < end:
        tag, at = varint(data, at, end)
        kind = tag & 7
        if kind == BYTES:
            size, at = varint(data, at, end)
        elif kind == FIXED64:
            size = 8
        elif kind == FIXED32:
            size = 4
        elif kind == VARINT:
            size = varint(data, at, end)[1] - at
        else:
            raise BadWire(f"wire type {kind} at byte {at:,}")
        if tag >> 3 == 0:
            raise BadWire(f"field number 0 at byte {at:,}")
        if size > end - at:
            raise BadWire(f"a field of {size:,} bytes at byte {at:,}, of which {end - at:,} are there")
        yield tag >> 3, kind, at, at + size
        at += size


def varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The number at a place, as 64 unsigned bits, and where it ends. Raises: BadWire."""
    number = shift = 0
    for index in range(at, min(end, at + _VARINT_BYTES_MAX)):
        byte = data[index]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, index + 1
        shift += 7
    raise BadWire(f"a number at byte {at:,} that does not end")


def int64(number: int) -> int:
    """Undo the two's complement in which protobuf writes negative numbers."""
    return number - (1 << 64) if number & _INT64_SIGN else number

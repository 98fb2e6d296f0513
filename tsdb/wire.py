"""Protobuf's wire format, one field at a time; for whatever the vectorised paths do not take.

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


def varint_bytes(number: int) -> bytes:
    """The number as a varint; negative ones as 64 bits of two's complement."""
    number &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field_of_bytes(number: int, *parts: bytes | memoryview) -> bytes:
    """A field with a length: bytes, text or a message in parts."""
    return b"".join((varint_bytes(number << 3 | BYTES), varint_bytes(sum(map(len, parts))), *parts))


def field_of_number(number: int, value: int) -> bytes:
    """A field with a number; zero is not written, as proto3 has it."""
    return varint_bytes(number << 3 | VARINT) + varint_bytes(value) if value else b""

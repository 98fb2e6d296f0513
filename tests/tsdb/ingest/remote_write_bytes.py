"""A second, dumb writer of remote-write bodies: any field order, with what senders add, and with faults."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import cramjam

Pair = tuple[str | bytes, str | bytes]
Sample = tuple[int, float]


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def text(number: int, value: str | bytes) -> bytes:
    return field(number, value.encode() if isinstance(value, str) else value)


def label(name: str | bytes, value: str | bytes) -> bytes:
    return field(1, text(1, name) + text(2, value))


def sample(timestamp_ms: int, value: float | bytes, *, always: bool = False) -> bytes:
    """As Go writes it: a value whose bits are those of 0 (and -0.0 == 0, but we keep its sign) is left out."""
    bits = value if isinstance(value, bytes) else struct.pack("<d", value)
    parts = b"\x09" + bits if always or bits != bytes(8) else b""
    if always or timestamp_ms:
        parts += b"\x10" + varint(timestamp_ms)
    return field(2, parts)


def series(labels: Iterable[Pair], samples: Iterable[Sample]) -> bytes:
    """One TimeSeries as Prometheus writes it."""
    parts = [label(name, value) for name, value in labels] + [sample(at_ms, value) for at_ms, value in samples]
    return b"".join(parts)


def request(all_series: Sequence[bytes]) -> bytes:
    return b"".join(field(1, one) for one in all_series)


def snappy(raw: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(raw))


def zstd(raw: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(raw))


def request_2(all_series: Sequence[tuple[Iterable[Pair], Iterable[bytes]]], *, is_packed: bool = True) -> bytes:
    """A Request of remote-write 2.0: of each series its labels and its other fields, as they are to be written."""
    number_of: dict[bytes, int] = {b"": 0}
    body = b""
    for labels, rest in all_series:
        words = [word.encode() if isinstance(word, str) else word for pair in labels for word in pair]
        refs = [number_of.setdefault(word, len(number_of)) for word in words]
        body += field(5, b"".join((refs_field(refs, is_packed=is_packed), *rest)))
    return b"".join(field(4, symbol) for symbol in number_of) + body


def refs_field(refs: Iterable[int], *, is_packed: bool = True) -> bytes:
    if is_packed:
        return field(1, b"".join(map(varint, refs)))
    return b"".join(b"\x08" + varint(ref) for ref in refs)

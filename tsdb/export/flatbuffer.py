"""Just enough of FlatBuffers to write Arrow's metadata: tables of scalars, texts, tables and vectors.

Layout (flatbuffers.dev, "Internals"): a table is an offset back to its vtable, then its fields; whatever a field points
to stands behind it. Every table here begins 4 B before a multiple of 8, so that fields in falling order of size lie
as their sizes want.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ALIGNMENT = 8
_OFFSET = "I"


@dataclass(frozen=True, slots=True)
class Scalar:
    """format: of struct."""

    format: str
    value: int


@dataclass(frozen=True, slots=True)
class Structs:
    """A vector of structs of 8-byte integers, each as a tuple."""

    items: Sequence[tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Table:
    """Fields by the number of their slot."""

    fields: Mapping[int, Scalar | Structs | Table | Sequence[Table] | str]


def encoded(root: Table) -> bytes:
    """A whole buffer, padded to a multiple of 8."""
    buffer = bytearray(4)
    struct.pack_into("<I", buffer, 0, _put_table(buffer, root))
    _pad(buffer, 0)
    return bytes(buffer)


def _put_table(buffer: bytearray, table: Table) -> int:
    sizes = {slot: struct.calcsize(_format(field)) for slot, field in table.fields.items()}
    places, end = {}, 4
    for slot in sorted(sizes, key=lambda slot: -sizes[slot]):
        places[slot] = end
        end += sizes[slot]
    vtable = struct.pack("<HH", 4 + 2 * (max(places, default=-1) + 1), end)
    vtable += b"".join(struct.pack("<H", places.get(slot, 0)) for slot in range(max(places, default=-1) + 1))
    _pad(buffer, 4 - len(vtable))
    buffer += vtable
    start = len(buffer)
    buffer += struct.pack("<i", len(vtable)) + bytes(end - 4)
    for slot, field in table.fields.items():
        at = start + places[slot]
        if isinstance(field, Scalar):
            struct.pack_into("<" + field.format, buffer, at, field.value)
        else:
            struct.pack_into("<I", buffer, at, _put(buffer, field) - at)
    return start


def _format(field: object) -> str:
    return field.format if isinstance(field, Scalar) else _OFFSET


def _put(buffer: bytearray, field: Structs | Table | Sequence[Table] | str) -> int:
    if isinstance(field, Table):
        return _put_table(buffer, field)
    _pad(buffer, 4)
    start = len(buffer)
    if isinstance(field, str):
        data = field.encode()
        buffer += struct.pack("<I", len(data)) + data + b"\0"
    elif isinstance(field, Structs):
        buffer += struct.pack("<I", len(field.items))
        for item in field.items:
            buffer += struct.pack(f"<{len(item)}q", *item)
    else:
        buffer += struct.pack("<I", len(field)) + bytes(4 * len(field))
        for number, table in enumerate(field):
            at = start + 4 + 4 * number
            struct.pack_into("<I", buffer, at, _put_table(buffer, table) - at)
    return start


def _pad(buffer: bytearray, rest: int) -> None:
    """To a length that is `rest` more than a multiple of 8."""
    buffer += bytes((rest - len(buffer)) % _ALIGNMENT)

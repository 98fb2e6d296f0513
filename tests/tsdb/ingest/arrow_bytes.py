"""A second, dumb writer of Arrow IPC streams, which can also write what no sane one would.

Tables are written front to back: a vtable, its table, then what the table refers to.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cramjam

CONTINUES = b"\xff\xff\xff\xff"
END = CONTINUES + bytes(4)
UTF8, LARGE_UTF8, VIEW = 5, 20, 24
INDEX_TYPES = {f"{sign}{bits}": (bits, sign == "i") for sign in "iu" for bits in (8, 16, 32, 64)}


@dataclass
class Table:
    """fields: number → (struct code, number), or a Table, a Vector, a text."""

    fields: dict[int, Any]


@dataclass
class Vector:
    """Of tables, or of structs of int64."""

    items: Sequence[Any]


class _Writer:
    def __init__(self) -> None:
        self.data = bytearray(4)

    def align(self, size: int) -> None:
        self.data += bytes(-len(self.data) % size)

    def table(self, table: Table) -> int:
        count = max(table.fields, default=-1) + 1
        self.align(2)
        vtable_at = len(self.data)
        self.data += struct.pack("<HH", 4 + 2 * count, 0) + bytes(2 * count)
        self.align(8)
        at = len(self.data)
        self.data += struct.pack("<i", at - vtable_at)
        later = []
        for number, value in table.fields.items():
            code, plain = value if isinstance(value, tuple) else ("I", 0)
            self.align(struct.calcsize("<" + code))
            struct.pack_into("<H", self.data, vtable_at + 4 + 2 * number, len(self.data) - at)
            if not isinstance(value, tuple):
                later.append((len(self.data), value))
            self.data += struct.pack("<" + code, plain)
        struct.pack_into("<H", self.data, vtable_at + 2, len(self.data) - at)
        for place, value in later:
            self.refer(place, value)
        return at

    def refer(self, place: int, value: Any) -> None:
        if isinstance(value, Table):
            at = self.table(value)
        elif isinstance(value, str):
            self.align(4)
            at = len(self.data)
            self.data += struct.pack("<I", len(value.encode())) + value.encode() + b"\0"
        else:
            at = self.vector(value)
        struct.pack_into("<I", self.data, place, at - place)

    def vector(self, vector: Vector) -> int:
        self.data += bytes((4 - len(self.data)) % 8)  # Its items are aligned to 8 then.
        at = len(self.data)
        self.data += struct.pack("<I", len(vector.items))
        if vector.items and isinstance(vector.items[0], Table):
            first = len(self.data)
            self.data += bytes(4 * len(vector.items))
            for number, item in enumerate(vector.items):
                self.refer(first + 4 * number, item)
        else:
            for item in vector.items:
                self.data += struct.pack(f"<{len(item)}q", *item)
        return at


def message(kind: int, header: Table, body: bytes = b"", *, version: int = 4, body_size: int | None = None) -> bytes:
    writer = _Writer()
    size = len(body) if body_size is None else body_size
    root = writer.table(Table({0: ("h", version), 1: ("B", kind), 2: header, 3: ("q", size)}))
    struct.pack_into("<I", writer.data, 0, root)
    writer.align(8)
    return CONTINUES + struct.pack("<I", len(writer.data)) + bytes(writer.data) + body


def integer(bits: int, *, signed: bool = True) -> Table:
    return Table({0: ("i", bits), 1: ("B", int(signed))})


def column(name: str, kind: int, details: Table | None = None, **more: Any) -> Table:
    fields: dict[int, Any] = {0: name, 2: ("B", kind), 3: details or Table({})}
    if "index" in more:
        bits, signed = INDEX_TYPES[more["index"]]
        fields[4] = Table({0: ("q", more.get("dictionary_id", 0)), 1: integer(bits, signed=signed)})
    if "children" in more:
        fields[5] = Vector(more["children"])
    return Table(fields)


def times_column(name: str = "timestamp_ms") -> Table:
    return column(name, 2, integer(64))


def values_column(name: str = "value") -> Table:
    return column(name, 3, Table({0: ("h", 2)}))


def schema(*columns: Table, endianness: int = 0, version: int = 4) -> bytes:
    return message(1, Table({0: ("h", endianness), 1: Vector(columns)}), version=version)


@dataclass
class Body:
    """The buffers of one batch, put one after the other; codec: None, "lz4" or "zstd"."""

    codec: str | None = None
    data: bytearray = field(default_factory=bytearray)
    buffers: list[tuple[int, int]] = field(default_factory=list)
    nodes: list[tuple[int, int]] = field(default_factory=list)
    variadic: list[tuple[int]] = field(default_factory=list)

    def add(self, buffer: bytes, *, plain: bool = False, told: int | None = None) -> None:
        """plain: marked as not compressed after all; told: a size that is not true."""
        if self.codec and buffer:
            packed = buffer if plain else getattr(cramjam, self.codec).compress(buffer)
            size = -1 if plain else len(buffer) if told is None else told
            buffer = struct.pack("<q", size) + bytes(packed)
        self.data += bytes(-len(self.data) % 8)
        self.buffers.append((len(self.data), len(buffer)))
        self.data += buffer

    def column(self, length: int, nulls: Sequence[bool] | None, *buffers: bytes) -> None:
        self.nodes.append((length, sum(nulls) if nulls else 0))
        self.add(bits([not null for null in nulls]) if nulls and any(nulls) else b"")
        for buffer in buffers:
            self.add(buffer)

    def numbers(self, code: str, numbers: Sequence[float], nulls: Sequence[bool] | None = None) -> None:
        self.column(len(numbers), nulls, struct.pack(f"<{len(numbers)}{code}", *numbers))

    def texts(self, kind: int, texts: Sequence[bytes], nulls: Sequence[bool] | None = None) -> None:
        if kind == VIEW:
            self._views(texts, nulls)
            return
        offsets = [0]
        for one in texts:
            offsets.append(offsets[-1] + len(one))
        code = "i" if kind == UTF8 else "q"
        self.column(len(texts), nulls, struct.pack(f"<{len(offsets)}{code}", *offsets), b"".join(texts))

    def _views(self, texts: Sequence[bytes], nulls: Sequence[bool] | None) -> None:
        views, data = b"", [bytearray(b"front"), bytearray()]
        for number, one in enumerate(texts):
            views += struct.pack("<i", len(one))
            if len(one) <= 12:
                views += one.ljust(12, b"\0")
            else:
                views += one[:4] + struct.pack("<ii", number % 2, len(data[number % 2]))
                data[number % 2] += one
        self.column(len(texts), nulls, views, *map(bytes, data))
        self.variadic.append((2,))

    def table(self, length: int) -> Table:
        fields: dict[int, Any] = {0: ("q", length), 1: Vector(self.nodes), 2: Vector(self.buffers)}
        if self.codec:
            fields[3] = Table({0: ("B", ("lz4", "zstd").index(self.codec))})
        if self.variadic:
            fields[4] = Vector(self.variadic)
        return Table(fields)

    def records(self, length: int) -> bytes:
        self.data += bytes(-len(self.data) % 8)
        return message(3, self.table(length), bytes(self.data))

    def dictionary(self, length: int, *, dictionary_id: int = 0, delta: bool = False) -> bytes:
        self.data += bytes(-len(self.data) % 8)
        header = Table({0: ("q", dictionary_id), 1: self.table(length), 2: ("B", int(delta))})
        return message(2, header, bytes(self.data))


def bits(flags: Sequence[bool]) -> bytes:
    data = bytearray(-(-len(flags) // 8))
    for number, flag in enumerate(flags):
        data[number // 8] |= flag << number % 8
    return bytes(data)

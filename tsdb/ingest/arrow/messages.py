"""A stream cut into messages, and what the metadata of each says, as plain objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from tsdb.errors import RefusedSample
from tsdb.ingest.arrow.flatbuffer import BadArrow, Table

FILE_MAGIC: Final = b"ARROW1"
_CONTINUES: Final = b"\xff\xff\xff\xff"
_METADATA_BYTES_MAX: Final = 2**20  # A schema of a thousand columns has about 100 KiB.
_MESSAGES_COUNT_MAX: Final = 10_000  # About 50 µs each: half a second for a body of nothing but heads.
FIELDS_COUNT_MAX: Final = 1_000  # Of all levels.
_DEPTH_MAX: Final = 16
_VERSION: Final = 4  # V5 of the metadata, which Arrow 1.0 (2020) and later write; before it unions lay otherwise.
SCHEMA, DICTIONARY, RECORDS = 1, 2, 3

# Numbers of the union `Type` in Schema.fbs, and how many buffers a column of each has beside its children's.
_NULL, INT, FLOAT, _BINARY, UTF8, _BOOL, _DECIMAL, _DATE, _TIME, _TIMESTAMP, _INTERVAL, _LIST, _STRUCT = range(1, 14)
_UNION, _FIXED_BINARY, _FIXED_LIST, _MAP, _DURATION, _LARGE_BINARY, LARGE_UTF8, _LARGE_LIST = range(14, 22)
_RUN_ENDS, _BINARY_VIEW, UTF8_VIEW, _LIST_VIEW, _LARGE_LIST_VIEW = range(22, 27)
_VIEWS: Final = (_BINARY_VIEW, UTF8_VIEW)
_BUFFERS_COUNT: Final = (
    {_NULL: 0, _RUN_ENDS: 0, _STRUCT: 1, _FIXED_LIST: 1}
    | dict.fromkeys((INT, FLOAT, _BOOL, _DECIMAL, _DATE, _TIME, _TIMESTAMP, _INTERVAL, _DURATION, _FIXED_BINARY), 2)
    | dict.fromkeys((_LIST, _LARGE_LIST, _MAP, *_VIEWS), 2)
    | dict.fromkeys((_BINARY, UTF8, _LARGE_BINARY, LARGE_UTF8, _LIST_VIEW, _LARGE_LIST_VIEW), 3)
)
_DENSE: Final = 1
_DOUBLE: Final = 2


@dataclass(frozen=True, slots=True)
class Field:
    """A top-level column. index_dtype, dictionary_id: of a dictionary's index, else None.

    nodes, buffers, views: how many of each the column has in a record batch, with all its children; a view has as many
    further buffers as the batch's next variadic count says.
    """

    name: str
    kind: int
    dtype: np.dtype[np.generic] | None  # of integers, and of doubles
    index_dtype: np.dtype[np.generic] | None
    dictionary_id: int | None
    nodes: int
    buffers: int
    views: int

    @property
    def buffers_of_values(self) -> int:
        """How many buffers a dictionary of this column's texts has, at least."""
        return _BUFFERS_COUNT[self.kind]


@dataclass(frozen=True, slots=True)
class Batch:
    """The metadata of a record batch: nodes (length, nulls), buffers (offset, length) in body, codec of the buffers."""

    length: int
    nodes: list[tuple[int, ...]]
    buffers: list[tuple[int, ...]]
    variadic_counts: list[int]
    codec: int | None
    body: memoryview


@dataclass(frozen=True, slots=True)
class Message:
    kind: int
    header: Table
    body: memoryview


def messages(data: memoryview) -> Iterator[Message]:
    """The messages of a stream, up to its end mark or its last byte. Raises: BadArrow; RefusedSample arrow_file."""
    if bytes(data[: len(FILE_MAGIC)]) == FILE_MAGIC:
        raise RefusedSample("arrow_file", "this is Arrow's file format; send the stream format (ipc.new_stream)")
    at = count = 0
    while at < len(data):
        if bytes(data[at : at + 4]) != _CONTINUES or at + 8 > len(data):
            raise BadArrow(f"no message begins at byte {at:,}")
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8
        if size == 0:
            return
        count += 1
        if size > min(len(data) - at, _METADATA_BYTES_MAX) or count > _MESSAGES_COUNT_MAX:
            raise BadArrow(f"message {count:,} with {size:,} bytes of metadata at byte {at:,}")
        message = Table.root(bytes(data[at : at + size]))
        at += size
        body_size, header, version = message.int64(3), message.table(2), message.int16(0)
        if not 0 <= body_size <= len(data) - at:
            raise BadArrow(f"a body of {body_size:,} bytes at byte {at:,}, of which {len(data) - at:,} are there")
        if header is None or version != _VERSION:
            raise BadArrow(f"a message of metadata version V{version + 1}, {'with' if header else 'without'} a head")
        yield Message(message.uint8(1), header, data[at : at + body_size])
        at += body_size


def fields_of(schema: Table) -> list[Field]:
    """Raises: BadArrow."""
    if schema.int16(0):
        raise BadArrow("numbers are big-endian; send them little-endian")
    seen = [0]
    return [_field(table, seen) for table in schema.tables(1, FIELDS_COUNT_MAX)]


def batch_of(header: Table, body: memoryview) -> Batch:
    compression = header.table(3)
    return Batch(
        length=header.int64(0),
        nodes=header.int64s(1, 2),
        buffers=header.int64s(2, 2),
        variadic_counts=[count for (count,) in header.int64s(4)],
        codec=None if compression is None else compression.uint8(0),
        body=body,
    )


def _field(table: Table, seen: list[int]) -> Field:
    kind, encoding = table.uint8(2), table.table(4)
    if encoding is None:
        nodes, buffers, views = _layout(table, seen, 0)
        index_dtype = dictionary_id = None
    else:
        index = encoding.table(1)
        index_dtype = np.dtype(np.int32) if index is None else _integer(index)
        dictionary_id, nodes, buffers, views = encoding.int64(0), 1, 2, 0
    details = table.table(3)
    dtype: np.dtype[np.generic] | None = None
    if kind == INT and details is not None:
        dtype = _integer(details)
    elif kind == FLOAT and details is not None:
        dtype = np.dtype("<f8") if details.int16(0) == _DOUBLE else None
    return Field(table.text(0), kind, dtype, index_dtype, dictionary_id, nodes, buffers, views)


def _integer(table: Table) -> np.dtype[np.generic]:
    bits, is_signed = table.int32(0), bool(table.uint8(1))
    if bits not in (8, 16, 32, 64):
        raise BadArrow(f"integers of {bits} bits")
    return np.dtype(f"<{'i' if is_signed else 'u'}{bits // 8}")


def _layout(table: Table, seen: list[int], depth: int) -> tuple[int, int, int]:
    """Nodes, buffers and views of a column and its children. A cunning schema may name one child a thousand times."""
    seen[0] += 1
    if seen[0] > FIELDS_COUNT_MAX or depth > _DEPTH_MAX:
        raise BadArrow(f"more than {FIELDS_COUNT_MAX:,} columns, or nested deeper than {_DEPTH_MAX}")
    kind = table.uint8(2)
    if depth and table.table(4) is not None:
        return 1, 2, 0
    if kind == _UNION:
        details = table.table(3)
        buffers = 2 if details is not None and details.int16(0) == _DENSE else 1
    elif kind in _BUFFERS_COUNT:
        buffers = _BUFFERS_COUNT[kind]
    else:
        raise BadArrow(f"a column of type {kind}, which is not known here")
    nodes, views = 1, int(kind in _VIEWS)
    for child in table.tables(5, FIELDS_COUNT_MAX):
        further = _layout(child, seen, depth + 1)
        nodes, buffers, views = nodes + further[0], buffers + further[1], views + further[2]
    return nodes, buffers, views

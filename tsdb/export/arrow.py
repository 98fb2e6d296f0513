"""An Arrow IPC stream: `series` (dictionary of large_utf8, int32), `timestamp_ms` int64, `value` float64, bit for bit.

Each piece is a dictionary, which takes the place of the one before, and a record batch: what is held is bounded by the
piece, whatever the stream. Source: Apache Arrow, "Columnar format", IPC streaming; Schema.fbs and Message.fbs, V5.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

import cramjam
import numpy as np
import numpy.typing as npt

from tsdb.export.flatbuffer import Scalar, Structs, Table, encoded
from tsdb.export.piece import Piece
from tsdb.sample import Float64s, Int64s

_VERSION = 4  # V5
_SCHEMA, _DICTIONARY, _RECORDS = 1, 2, 3  # of the union MessageHeader
_INT, _FLOAT, _LARGE_UTF8 = 2, 3, 20  # of the union Type
_DOUBLE = 2
_ZSTD = 1
_ZSTD_LEVEL = 1
_END = struct.pack("<II", 0xFFFFFFFF, 0)
Column = npt.NDArray[Any]


class ArrowWriter:
    """compresses: buffers as zstd frames, which the stream says of each of its batches."""

    def __init__(self, out: BinaryIO, *, compresses: bool = True) -> None:
        self._out = out
        self._compresses = compresses
        self._put(_SCHEMA, Table({1: [_series_field(), _int64_field("timestamp_ms"), _float64_field("value")]}), b"")

    def write(self, piece: Piece) -> None:
        self.write_columns(piece.texts, piece.index, piece.timestamp_ms, piece.value)

    def write_columns(self, names: Sequence[str], index: Int64s, timestamp_ms: Int64s, value: Float64s) -> None:
        """index: by sample, which of the names it is of."""
        texts = [text.encode() for text in names]
        ends = np.concatenate((np.zeros(1, np.int64), np.cumsum([len(text) for text in texts], dtype=np.int64)))
        text = np.frombuffer(b"".join(texts), np.uint8)
        dictionary, body = self._batch(len(texts), [[ends, text]])
        self._put(_DICTIONARY, Table({0: Scalar("q", 0), 1: dictionary}), body)
        columns: list[list[Column]] = [[index.astype(np.int32)], [timestamp_ms], [value]]
        records, body = self._batch(value.size, columns)
        self._put(_RECORDS, records, body)

    def finish(self) -> None:
        self._out.write(_END)

    def _batch(self, row_count: int, columns: Sequence[Sequence[Column]]) -> tuple[Table, bytes]:
        """columns: the buffers of each behind its validity, which is empty: there are no nulls."""
        body = bytearray()
        buffers = []
        for column in columns:
            buffers.append((len(body), 0))
            for values in column:
                data = self._packed(values)
                buffers.append((len(body), len(data)))
                body += data + bytes(-len(data) % 8)
        fields: dict[int, Any] = {
            0: Scalar("q", row_count),
            1: Structs([(row_count, 0) for _ in columns]),
            2: Structs(buffers),
        }
        if self._compresses:
            fields[3] = Table({0: Scalar("b", _ZSTD)})
        return Table(fields), bytes(body)

    def _packed(self, values: Column) -> bytes:
        data = np.ascontiguousarray(values).tobytes()
        if not self._compresses or not data:
            return data
        return struct.pack("<q", len(data)) + bytes(cramjam.zstd.compress(data, level=_ZSTD_LEVEL))

    def _put(self, kind: int, header: Table, body: bytes) -> None:
        message = Table({0: Scalar("h", _VERSION), 1: Scalar("B", kind), 2: header, 3: Scalar("q", len(body))})
        metadata = encoded(message)
        self._out.write(struct.pack("<II", 0xFFFFFFFF, len(metadata)) + metadata)
        self._out.write(body)


def _series_field() -> Table:
    index = Table({0: Scalar("i", 32), 1: Scalar("?", 1)})
    return _field("series", _LARGE_UTF8, Table({}), {4: Table({0: Scalar("q", 0), 1: index})})


def _int64_field(name: str) -> Table:
    return _field(name, _INT, Table({0: Scalar("i", 64), 1: Scalar("?", 1)}))


def _float64_field(name: str) -> Table:
    return _field(name, _FLOAT, Table({0: Scalar("h", _DOUBLE)}))


def _field(name: str, kind: int, type_: Table, more: dict[int, Any] | None = None) -> Table:
    return Table({0: name, 2: Scalar("B", kind), 3: type_, 5: [], **(more or {})})

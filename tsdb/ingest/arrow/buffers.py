"""The buffers of one record batch: each inside of its body, made whole within a budget, and as long as it must be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tsdb.compression import LZ4, ZSTD, BadCompression, decompress_to
from tsdb.errors import BodyTooLarge
from tsdb.ingest.arrow.flatbuffer import BadArrow
from tsdb.ingest.arrow.messages import Batch, Field

_CODECS = {0: LZ4, 1: ZSTD}
_SIZE_BYTES = 8  # In front of each compressed buffer; -1: it is not compressed after all.


class Budget:
    """How many bytes all buffers of a body may still become."""

    def __init__(self, bytes_max: int) -> None:
        self._left_bytes = self._bytes_max = bytes_max

    def take(self, count: int) -> None:
        """Raises: BodyTooLarge, before anything of that size is made."""
        self._left_bytes -= count
        if self._left_bytes < 0:
            raise BodyTooLarge(f"the columns take more than {self._bytes_max:,} bytes decompressed; split the body")


class Column:
    """One column of a batch: its length, its nulls, and its buffers in the order of the format."""

    def __init__(self, batch: Batch, node: int, buffers: range, budget: Budget) -> None:
        self._batch, self._buffers, self._budget = batch, buffers, budget
        self.length, self.null_count = batch.nodes[node]

    @property
    def extra_count(self) -> int:
        """How many buffers there are beyond the two that every column of ours has."""
        return len(self._buffers) - 2

    def valid(self) -> npt.NDArray[np.bool_] | None:
        """Which rows are not null; None: all."""
        if self.null_count == 0:
            return None
        bits = self.array(0, np.dtype(np.uint8), -(-self.length // 8))
        return np.unpackbits(bits, count=self.length, bitorder="little").view(np.bool_)

    def array(self, number: int, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
        """The first count values of a buffer; aligned, so that nobody need care. Raises: BadArrow, if it is shorter."""
        data = self.data(number)
        if len(data) < count * dtype.itemsize:
            raise BadArrow(f"a buffer of {len(data):,} bytes where {count:,} values of {dtype} are announced")
        return np.require(np.frombuffer(data, dtype, count), requirements="A")

    def data(self, number: int) -> memoryview:
        """The whole of a buffer."""
        offset, size = self._batch.buffers[self._buffers[number]]
        if offset < 0 or size < 0 or offset + size > len(self._batch.body):
            raise BadArrow(f"a buffer of {size:,} bytes at {offset:,} of a body of {len(self._batch.body):,}")
        data = self._batch.body[offset : offset + size]
        if self._batch.codec is None or not size:
            return data
        return self._whole(data)

    def _whole(self, data: memoryview) -> memoryview:
        if self._batch.codec not in _CODECS or len(data) < _SIZE_BYTES:
            raise BadArrow(f"a buffer of {len(data)} bytes, compressed with codec {self._batch.codec}")
        size = int.from_bytes(data[:_SIZE_BYTES], "little", signed=True)
        if size == -1:
            return data[_SIZE_BYTES:]
        if size < 0:
            raise BadArrow(f"a buffer that becomes {size:,} bytes")
        self._budget.take(size)
        try:
            return decompress_to(size, data[_SIZE_BYTES:], _CODECS[self._batch.codec])
        except BadCompression as error:
            raise BadArrow(f"a buffer that should become {size:,} bytes: {error}") from error


def columns(batch: Batch, fields: Sequence[Field], wanted: Sequence[str], budget: Budget) -> dict[str, Column]:
    """The wanted columns by name. Raises: BadArrow."""
    if batch.length < 0:
        raise BadArrow(f"a batch of {batch.length:,} rows")
    found = {}
    node = buffer = 0
    counts = iter(batch.variadic_counts)
    for field in fields:
        end = buffer + field.buffers + _further(counts, field.views, len(batch.buffers))
        if node + field.nodes > len(batch.nodes) or end > len(batch.buffers):
            raise BadArrow(f"{len(batch.nodes)} nodes, {len(batch.buffers)} buffers: too few for the columns")
        if field.name in wanted:
            found[field.name] = column = Column(batch, node, range(buffer, end), budget)
            if column.length != batch.length:
                raise BadArrow(f"column {field.name} has {column.length:,} rows, its batch {batch.length:,}")
        node, buffer = node + field.nodes, end
    return found


def _further(counts: Iterator[int], views: int, count_max: int) -> int:
    """How many data buffers the next views have."""
    total = 0
    for _ in range(views):
        count = next(counts, -1)
        if not 0 <= count <= count_max:
            raise BadArrow(f"a view with {count} data buffers")
        total += count
    return total

"""The columns of a tile as bytes and back, bit for bit. The codec is stored beside each column.

Codec numbers are part of the format: docs/format/block.md.
"""

from __future__ import annotations

import functools

import numpy as np
from pcodec import ChunkConfig, DeltaSpec, standalone

from tsdb.errors import CorruptData
from tsdb.sample import Float64s, Int64s
from tsdb.store.block import decimals, grid

RAW = 0  # The column itself, little-endian.
PCODEC = 1  # A standalone pcodec file of int64 times, of float64 values.
CONSTANT = 2  # Eight bytes: the one time or the one value, by its bits.
DECIMAL = 3  # Values as whole numbers, see decimals.
GRID = 4  # Times in steps of one interval, see grid.

# Samples in a tile: about TARGET, cut where a series ends if one does between MIN and MAX. A tile of 8 Ki samples
# decodes in 60 µs; its own bins and headers, about 150 B, are 0.02 B a sample.
SAMPLE_COUNT_MIN = 4_096
SAMPLE_COUNT_TARGET = 8_192
SAMPLE_COUNT_MAX = 12_288

# Times that shrink to so little, a sixteenth of a byte each, are regular. 64 columns of 96 KiB are 6 MiB.
_KEPT_TIME_BYTES_MAX = 512
_KEPT_TIMES_MAX = 64

_TIMES = ChunkConfig(compression_level=4, delta_spec=DeltaSpec.try_consecutive(1))
_VALUES = ChunkConfig(compression_level=6)


def encode_times(timestamp_ms: Int64s, row_lengths: Int64s) -> tuple[int, bytes]:
    """row_lengths: how many samples each series has in the tile; their sum is the size of the tile."""
    if not (timestamp_ms == timestamp_ms[0]).all():
        encoded = grid.encode(timestamp_ms, row_lengths)
        if encoded is not None:
            return GRID, encoded
    return _encode(timestamp_ms, timestamp_ms, _TIMES)


def encode_values(value: Float64s, row_lengths: Int64s) -> tuple[int, bytes]:
    """row_lengths: as of encode_times()."""
    bits = value.view(np.int64)
    if not (bits == bits[0]).all():
        encoded = decimals.encode(value, row_lengths)
        if encoded is not None:
            return DECIMAL, encoded
    return _encode(value, bits, _VALUES)


def _encode(column: Int64s | Float64s, bits: Int64s, config: ChunkConfig) -> tuple[int, bytes]:
    assert column.size
    if (bits == bits[0]).all():
        return CONSTANT, column[:1].tobytes()
    encoded: bytes = standalone.simple_compress(np.ascontiguousarray(column), config)
    return (PCODEC, encoded) if len(encoded) < column.nbytes else (RAW, column.tobytes())


def decode_times(codec: int, data: bytes, into: Int64s) -> None:
    """Fill `into`, as long as the tile, with its times. Raises: CorruptData."""
    if codec == GRID:
        grid.decode(data, into)
    else:
        _decode(codec, data, into, into.view(np.int64))


def times(codec: int, data: bytes, count: int) -> Int64s:
    """The times of a tile of so many samples, not to be changed. Raises: CorruptData.

    Series that are sampled together have the same times again and again; those of the last tiles are kept.
    """
    if len(data) <= _KEPT_TIME_BYTES_MAX:
        return _kept_times(codec, data, count)
    column = np.empty(count, np.int64)
    decode_times(codec, data, column)
    return column


@functools.lru_cache(maxsize=_KEPT_TIMES_MAX)
def _kept_times(codec: int, data: bytes, count: int) -> Int64s:
    column = np.empty(count, np.int64)
    decode_times(codec, data, column)
    column.setflags(write=False)
    return column


def decode_values(codec: int, data: bytes, into: Float64s) -> None:
    """Fill `into`, as long as the tile, with its values. Raises: CorruptData."""
    if codec == DECIMAL:
        decimals.decode(data, into)
    else:
        _decode(codec, data, into, into.view(np.int64))


def _decode(codec: int, data: bytes, into: Int64s | Float64s, bits: Int64s) -> None:
    if codec == CONSTANT:
        if len(data) != 8:
            raise CorruptData(f"a constant column of {len(data)} bytes, not 8")
        bits[:] = np.frombuffer(data, "<i8")[0]
    elif codec == RAW:
        if len(data) != into.nbytes:
            raise CorruptData(f"a raw column of {len(data):,} bytes for {into.size:,} samples")
        bits[:] = np.frombuffer(data, "<i8")
    elif codec == PCODEC:
        try:
            progress = standalone.simple_decompress_into(data, into)
        except (RuntimeError, TypeError) as error:
            raise CorruptData(f"a pcodec column of {len(data):,} bytes: {error}") from error
        if progress.n_processed != into.size or not progress.finished:
            raise CorruptData(f"a pcodec column of {progress.n_processed:,} numbers for {into.size:,} samples")
    else:
        raise CorruptData(f"codec {codec} is not known to this program")

"""Bodies and buffers made whole again, never beyond a bound that is known before the first byte is written.

cramjam is one wheel with Rust's snappy, lz4 and zstd; each of its calls below writes into memory of a size of ours, or
of the size that the data's own header tells and that was compared with the bound.
"""

from __future__ import annotations

import cramjam
import numpy as np

from tsdb.errors import BodyTooLarge, RefusedSample

Body = bytes | memoryview
LZ4, ZSTD = "lz4", "zstd"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)  # By the two top bits of a zstd frame's descriptor.
_DICTIONARY_ID_BYTES = (0, 1, 2, 4)  # By its two lowest bits.
_WINDOW_BYTES_MIN_LOG2 = 10


class BadCompression(Exception):
    """Bytes that do not become what they should."""


def decompress_to(size: int, data: memoryview, codec: str) -> memoryview:
    """Undo frames of lz4 or zstd that are known to become so many bytes. Raises: BadCompression, if they do not."""
    whole = np.empty(size, np.uint8).data  # Not bytearray: nobody need write zeros first.
    try:
        if codec == ZSTD:
            _zstd_size(data, size)
            found = cramjam.zstd.decompress_into(data, whole)
        else:
            found = cramjam.lz4.decompress_into(data, whole)
    except (cramjam.DecompressionError, RefusedSample) as error:
        raise BadCompression(f"{codec}: {error}") from error
    if found != size:
        raise BadCompression(f"{codec}: {found:,} bytes came out")
    return whole


def snappy_block(data: Body, bytes_max: int, padding: bytes = b"") -> bytes:
    """Undo snappy's block format, and append the padding in the same copy.

    Raises: RefusedSample bad_snappy; BodyTooLarge, before anything is decompressed.
    """
    size = _snappy_size(data)
    if size > bytes_max:
        raise _too_large("decompressed by snappy", size, bytes_max)
    try:
        return b"".join((cramjam.snappy.decompress_raw(data), padding))
    except cramjam.DecompressionError as error:
        raise RefusedSample("bad_snappy", f"the body is not snappy's block format: {error}") from error


def _snappy_size(data: Body) -> int:
    """The varint in front of every block: how large it becomes, below 2^32."""
    size = 0
    for index, byte in enumerate(data[:5]):
        size |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return size
    raise RefusedSample("bad_snappy", "the body is not snappy's block format: it does not begin with its size")


def zstd_frames(data: Body, bytes_max: int, padding: bytes = b"") -> bytes:
    """Undo zstd, and append the padding. Raises: RefusedSample bad_zstd; BodyTooLarge.

    What a frame does not tell of itself in advance is bounded by the memory it is written to.
    """
    told = _zstd_size(data, bytes_max)
    if told is not None and told > bytes_max:
        raise _too_large("decompressed by zstd", told, bytes_max)
    whole = bytearray(bytes_max if told is None else told)
    try:
        size = cramjam.zstd.decompress_into(data, whole)
    except cramjam.DecompressionError as error:
        if told is None and "whole buffer" in str(error):
            raise BodyTooLarge(f"the body has more than {bytes_max:,} bytes decompressed by zstd; split it") from error
        raise RefusedSample("bad_zstd", f"the body is not a zstd frame: {error}") from error
    return b"".join((memoryview(whole)[:size], padding))


def _zstd_size(data: Body, bytes_max: int) -> int | None:
    """The size that the frame announces, if it does. Raises: RefusedSample, if it wants a window beyond the bound.

    Layout: RFC 8878, section 3.1.1.1.
    """
    if data[:4] != _ZSTD_MAGIC or len(data) < 6:
        raise RefusedSample("bad_zstd", "the body is not a zstd frame: it does not begin like one")
    descriptor, at = data[4], 5
    is_single_segment = bool(descriptor & 0x20)
    if not is_single_segment:
        exponent, mantissa = data[at] >> 3, data[at] & 7
        window_bytes = (1 << (_WINDOW_BYTES_MIN_LOG2 + exponent)) * (8 + mantissa) // 8
        if window_bytes > max(bytes_max, 8 * 2**20):
            raise _too_large("of zstd window", window_bytes, bytes_max)
        at += 1
    at += _DICTIONARY_ID_BYTES[descriptor & 3]
    count = _CONTENT_SIZE_BYTES[descriptor >> 6] or (1 if is_single_segment else 0)
    if not count:
        return None
    size = int.from_bytes(data[at : at + count], "little")
    return size + 256 if count == 2 else size


def _too_large(what: str, found: int, bytes_max: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body has {found:,} bytes {what}, of at most {bytes_max:,}; split it")

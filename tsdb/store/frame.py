"""One frame of the write-ahead log: the definitions of some series and the columns of one batch, checksummed.

Layout: docs/format/wal.md. Reading never trusts a length before the checksum that covers it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import google_crc32c
import numpy as np

from tsdb.canonical import CanonicalColumn, UInt32s
from tsdb.errors import NotReady
from tsdb.sample import Int32s
from tsdb.store import numbers
from tsdb.store.columns import Columns
from tsdb.store.disk import Bytes, Part
from tsdb.store.numbers import Coded

SEGMENT_MAGIC = b"HENGEWAL"
SEGMENT_VERSION = 2
SEGMENT_VERSIONS_READ = (1, 2)
_SEGMENT_FIXED = struct.Struct("<8sI")  # magic · crc32c of the 20 bytes that follow
_SEGMENT_BODY = struct.Struct("<IQQ")  # version · segment number · epoch
SEGMENT_HEADER_BYTES = _SEGMENT_FIXED.size + _SEGMENT_BODY.size
assert SEGMENT_HEADER_BYTES == 32

_FRAME_NAME = b"HWF"
FRAME_MAGIC = _FRAME_NAME + b"\x02"  # The last byte is the version of the frame.
# A frame of version 1 is one of version 2 with fewer codecs: zeros stand for that of the ids.
_FRAME_MAGICS = (_FRAME_NAME + b"\x01", FRAME_MAGIC)
_FRAME_FIXED = struct.Struct("<4sI")  # magic · crc32c of the 48 bytes that follow
# sequence u64 · definitions: bytes u32, crc32c u32 · columns: bytes u32, crc32c u32 · series u32 · samples u32 ·
# time base i64 · time codec u8 · id codec u8 · 2 zero · id base i32
_FRAME_BODY = struct.Struct("<QIIIIIIqBB2xi")
FRAME_HEADER_BYTES = _FRAME_FIXED.size + _FRAME_BODY.size
assert FRAME_HEADER_BYTES == 56

FRAME_SAMPLE_COUNT_MAX = 1 << 20  # × (4 + 8 + 8) B = 20 MiB of columns, when they are read.
# A frame's definitions end after the series that passes 16 MiB; one series is at most 295,040 B.
DEFINITION_BYTES_MAX = 16 << 20
# The most that a length in a frame can be; a larger one is damage, whatever its checksum says.
PAYLOAD_BYTES_MAX = 32 << 20

_ID, _TIME = np.dtype(np.int32), np.dtype(np.int64)
_ALIGN = 8
_ID_SPREAD = np.uint32(0x9E3779B1)  # Odd: another id gives another product, so an id cannot change unnoticed.


@dataclass(frozen=True, slots=True)
class Definitions:
    """Series that a frame makes known to its segment: local ids and canonical label bytes."""

    ids: Int32s
    canonical: Sequence[bytes]


NO_DEFINITIONS = Definitions(np.empty(0, np.int32), ())


@dataclass(frozen=True, slots=True)
class Frame:
    sequence: int
    definitions: Definitions
    samples: Columns  # series: ids of the segment's epoch
    end: int  # The offset behind the frame in its segment.


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a segment that are no frame. `is_tail`: nothing readable follows, as after a torn write.

    frame: what could still be read of it, if one of its two parts is whole.
    """

    start: int
    end: int
    what: str
    is_tail: bool
    frame: Frame | None = None


def segment_header(number: int, epoch: int) -> bytes:
    body = _SEGMENT_BODY.pack(SEGMENT_VERSION, number, epoch)
    return _SEGMENT_FIXED.pack(SEGMENT_MAGIC, google_crc32c.value(body)) + body


def check_segment_header(data: Bytes) -> str:
    """What is wrong with the header of a segment; empty if nothing is.

    Raises: NotReady, if the segment is whole, but of a later version than this program reads.
    """
    raw = data[:SEGMENT_HEADER_BYTES].tobytes()
    if len(raw) < SEGMENT_HEADER_BYTES:
        return f"{len(raw)} bytes; the header of a segment has {SEGMENT_HEADER_BYTES}"
    magic, crc = _SEGMENT_FIXED.unpack_from(raw)
    if magic != SEGMENT_MAGIC:
        return f"magic {magic!r}, not {SEGMENT_MAGIC!r}"
    if crc != google_crc32c.value(raw[_SEGMENT_FIXED.size :]):
        return "checksum of the segment's header"
    version, number, _ = _SEGMENT_BODY.unpack_from(raw, _SEGMENT_FIXED.size)
    if version not in SEGMENT_VERSIONS_READ:
        raise NotReady(
            f"segment {number} of the write-ahead log has version {version}, this program reads versions "
            f"{SEGMENT_VERSIONS_READ[0]} to {SEGMENT_VERSION}; start the program that wrote it"
        )
    return ""


def segment_version(data: Bytes) -> int:
    """The version of a segment whose header is right."""
    version, _, _ = _SEGMENT_BODY.unpack_from(data[:SEGMENT_HEADER_BYTES].tobytes(), _SEGMENT_FIXED.size)
    return int(version)


def segment_epoch(data: Bytes) -> int:
    """The epoch of a segment whose header is right."""
    _, _, epoch = _SEGMENT_BODY.unpack_from(data[:SEGMENT_HEADER_BYTES].tobytes(), _SEGMENT_FIXED.size)
    return int(epoch)


def coded_ids(series: Int32s) -> Coded:
    return numbers.coded(series, *((int(series.min()), int(series.max())) if series.size else (0, 0)))


def frame_parts(
    sequence: int,
    definitions: Definitions,
    samples: Columns,
    time_min_ms: int,
    time_max_ms: int,
    ids: Coded | None = None,
) -> list[Part]:
    """The bytes of a frame as parts for one write, the columns uncopied where their coding allows.

    ids: the samples' ids as coded_ids() gives them, if the caller has them.
    """
    assert samples.series.size <= FRAME_SAMPLE_COUNT_MAX, samples.series.size
    defined: list[Part] = []
    if definitions.ids.size:
        column = CanonicalColumn.of(definitions.canonical)
        checks = _definition_checks(definitions.ids, column.to_list())
        padding = _padding(12 * len(column) + column.text.size)
        defined = [definitions.ids, column.lengths, checks, column.text, padding]
    if ids is None:
        ids = coded_ids(samples.series)
    times = numbers.coded(samples.timestamp_ms, time_min_ms, time_max_ms)
    columns = [*_padded(ids.parts), *_padded(times.parts), samples.value]
    body = _FRAME_BODY.pack(
        sequence,
        *_length_and_crc(defined),
        *_length_and_crc(columns),
        definitions.ids.size,
        samples.series.size,
        times.base,
        times.codec,
        ids.codec,
        ids.base,
    )
    return [_FRAME_FIXED.pack(FRAME_MAGIC, google_crc32c.value(body)) + body, *defined, *columns]


def _padded(parts: list[Part]) -> list[Part]:
    size_bytes = sum(memoryview(part).nbytes for part in parts)
    return [*parts, _padding(size_bytes)] if size_bytes % _ALIGN else parts


def _padding(size_bytes: int) -> bytes:
    return bytes(-size_bytes % _ALIGN)


def _length_and_crc(parts: Sequence[Part]) -> tuple[int, int]:
    length, crc = 0, 0
    for part in parts:
        length += memoryview(part).nbytes
        if len(part):
            crc = google_crc32c.extend(crc, part)
    return length, crc


def read_frames(data: Bytes) -> Iterator[Frame | Damage]:
    """Every frame of a segment in order, and every stretch that is none; the header of the segment is skipped."""
    at = SEGMENT_HEADER_BYTES
    while at < data.size:
        header = _read_header(data, at)
        if isinstance(header, str):
            after = _next_header(data, at + 1)
            yield Damage(at, after, header, is_tail=after == data.size)
            at = after
            continue
        end = at + FRAME_HEADER_BYTES + header.definition_bytes + header.column_bytes
        if end > data.size:
            what = f"the frame ends at {end:,}, the file at {data.size:,}"
            after = _next_header(data, at + FRAME_HEADER_BYTES)
            yield Damage(at, after, what, is_tail=after == data.size)
            at = after
            continue
        yield _read_frame(data, at, end, header)
        at = end


@dataclass(frozen=True, slots=True)
class _Header:
    sequence: int
    definition_bytes: int
    definition_crc: int
    column_bytes: int
    column_crc: int
    series_count: int
    sample_count: int
    time_base_ms: int
    time_codec: int
    id_codec: int
    id_base: int


def _read_header(data: Bytes, at: int) -> _Header | str:
    raw = data[at : at + FRAME_HEADER_BYTES].tobytes()
    if len(raw) < FRAME_HEADER_BYTES:
        return f"{len(raw)} bytes, the header of a frame has {FRAME_HEADER_BYTES}"
    magic, crc = _FRAME_FIXED.unpack_from(raw)
    if magic not in _FRAME_MAGICS:
        return f"magic {magic!r}, not {FRAME_MAGIC!r}"
    if crc != google_crc32c.value(raw[_FRAME_FIXED.size :]):
        return "checksum of the frame's header"
    header = _Header(*_FRAME_BODY.unpack_from(raw, _FRAME_FIXED.size))
    if header.definition_bytes > PAYLOAD_BYTES_MAX or header.column_bytes > PAYLOAD_BYTES_MAX:
        return f"{header.definition_bytes:,} + {header.column_bytes:,} bytes of payload"
    if header.sample_count > FRAME_SAMPLE_COUNT_MAX:  # Few bytes may say many samples: before memory is asked for.
        return f"{header.sample_count:,} samples in one frame"
    return header


def _next_header(data: Bytes, at: int) -> int:
    """The offset of the next readable frame header from `at` on; the size of the data if there is none."""
    piece_bytes = 1 << 20
    while at < data.size:
        piece = data[at : at + piece_bytes + len(_FRAME_NAME) - 1].tobytes()
        found = piece.find(_FRAME_NAME)
        while found >= 0:
            if not isinstance(_read_header(data, at + found), str):
                return at + found
            found = piece.find(_FRAME_NAME, found + 1)
        at += piece_bytes
    return int(data.size)


def _read_frame(data: Bytes, at: int, end: int, header: _Header) -> Frame | Damage:
    columns_at = at + FRAME_HEADER_BYTES + header.definition_bytes
    defined, columns = data[at + FRAME_HEADER_BYTES : columns_at], data[columns_at:end]
    wrong = []
    samples = Columns.empty()
    definitions = NO_DEFINITIONS
    try:
        if _crc_of(defined) == header.definition_crc:
            definitions = _read_definitions(defined, header.series_count)
        else:
            definitions = _salvaged(defined, header.series_count)
            wrong.append(f"checksum of the series ({definitions.ids.size} of {header.series_count} are whole)")
    except ValueError as error:
        wrong.append(f"series that cannot be read ({error})")
    if _crc_of(columns) == header.column_crc:
        try:
            samples = _read_columns(columns, header)
        except ValueError as error:
            wrong.append(f"columns that cannot be read ({error})")
    else:
        wrong.append("checksum of the samples")
    frame = Frame(header.sequence, definitions, samples, end)
    if not wrong:
        return frame
    return Damage(at, end, " and ".join(wrong), is_tail=end == data.size, frame=frame)


def _crc_of(data: Bytes) -> int:
    crc: int = google_crc32c.value(data) if data.size else 0
    return crc


def _read_definitions(data: Bytes, series_count: int) -> Definitions:
    """The definitions whose common checksum is right. Raises: ValueError, if they are more than the bytes."""
    ids, lengths, _ = _definition_columns(data, series_count)
    size_bytes = int(lengths.sum(dtype=np.int64))
    return Definitions(
        ids, CanonicalColumn.from_lengths(data[12 * series_count : 12 * series_count + size_bytes], lengths)
    )


def _salvaged(data: Bytes, series_count: int) -> Definitions:
    """The definitions that are whole, of those whose common checksum is wrong: a length may be any number then.

    Raises: ValueError, if they are more than the bytes.
    """
    ids, lengths, checks = _definition_columns(data, series_count)
    ends = np.cumsum(lengths, dtype=np.int64).tolist()
    blob = data[12 * series_count :].tobytes()
    canonical = [blob[end - length : end] for end, length in zip(ends, lengths.tolist(), strict=True)]
    whole = np.flatnonzero(_definition_checks(ids, canonical) == checks)
    return Definitions(ids[whole], [canonical[at] for at in whole.tolist()])


def _definition_columns(data: Bytes, series_count: int) -> tuple[Int32s, UInt32s, UInt32s]:
    """Ids, lengths and checks. Raises: ValueError, if they are more than the bytes."""
    if data.size < 12 * series_count:
        raise ValueError(f"{data.size:,} bytes where {series_count:,} series are announced")
    return (
        data[: 4 * series_count].view("<i4"),
        data[4 * series_count : 8 * series_count].view("<u4"),
        data[8 * series_count : 12 * series_count].view("<u4"),
    )


def _definition_checks(ids: Int32s, canonical: Sequence[bytes]) -> UInt32s:
    """A check of each id with its canonical bytes, so that damage to one definition costs one series."""
    crcs = np.fromiter(map(google_crc32c.value, canonical), np.uint32, len(canonical))
    checks: UInt32s = crcs ^ (ids.astype(np.uint32) * _ID_SPREAD)
    return checks


def _read_columns(data: Bytes, header: _Header) -> Columns:
    """Raises: ValueError, if the bytes are no columns of so many samples."""
    count = header.sample_count
    values_at = data.size - 8 * count
    if values_at < 0:
        raise ValueError(f"{data.size:,} bytes where {count:,} values are announced")
    before = data[:values_at]
    series, used = numbers.decoded(before, header.id_codec, header.id_base, count, _ID)
    rest = before[used + -used % _ALIGN :]
    timestamp_ms, used = numbers.decoded(rest, header.time_codec, header.time_base_ms, count, _TIME)
    if used + -used % _ALIGN != rest.size:
        raise ValueError(f"{rest.size:,} bytes of times where {count:,} take {used:,}")
    return Columns(series, timestamp_ms, data[values_at:].view("<f8"))

"""The answers: one message of samples, or a stream of frames with chunks. Columns become bytes without a loop over
samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import google_crc32c
import numpy as np
import numpy.typing as npt

from tsdb.query.remote_read.chunks import SAMPLE_COUNT, chunks_of
from tsdb.sample import Float64s, Int64s, Labels, Selection
from tsdb.wire import field_of_bytes, field_of_number, varint_bytes

Bytes = npt.NDArray[np.uint8]

FRAME_BYTES_MAX = 1024 * 1024  # As Prometheus' own default of storage.remote.read-max-bytes-in-frame.
_XOR = 1


def samples_message(selections: Sequence[Selection]) -> bytes:
    """prometheus.ReadResponse, not yet compressed: a result for each selection, in their order."""
    return b"".join(field_of_bytes(1, _query_result(selection)) for selection in selections)


def _query_result(selection: Selection) -> bytes:
    samples, ends = sample_fields(selection.timestamp_ms, selection.value)
    edges = np.concatenate((np.zeros(1, np.int64), ends))[selection.offsets].tolist()
    text = samples.data
    parts = []
    for index, labels in enumerate(selection.labels):
        parts.append(field_of_bytes(1, label_fields(labels), text[edges[index] : edges[index + 1]]))
    return b"".join(parts)


def label_fields(labels: Labels) -> bytes:
    return b"".join(
        field_of_bytes(1, field_of_bytes(1, name.encode()), field_of_bytes(2, value.encode())) for name, value in labels
    )


def sample_fields(timestamp_ms: Int64s, value: Float64s) -> tuple[Bytes, Int64s]:
    """The field `samples` of each sample: their bytes one after the other, and where each ends."""
    times = timestamp_ms.view(np.uint64)
    time_size = varint_sizes(times)
    size = 12 + time_size  # Tag, length, tag and 8 bytes of the value, tag of the time.
    ends = np.cumsum(size)
    start = ends - size
    out = np.empty(int(ends[-1]) if ends.size else 0, np.uint8)
    out[start] = 0x12
    out[start + 1] = size - 2
    out[start + 2] = 0x09
    raw = np.ascontiguousarray(value).view(np.uint8).reshape(-1, 8)
    for place in range(8):
        out[start + 3 + place] = raw[:, place]
    out[start + 11] = 0x10
    for place in range(int(time_size.max()) if time_size.size else 0):
        rows = np.flatnonzero(time_size > place)
        septet = (times[rows] >> np.uint64(7 * place)) & np.uint64(0x7F)
        more = (time_size[rows] > place + 1).astype(np.uint64) << np.uint64(7)
        out[start[rows] + 12 + place] = septet | more
    return out, ends


def varint_sizes(number: npt.NDArray[np.uint64]) -> Int64s:
    """How many bytes each takes as a varint: 1 to 10."""
    size = np.ones(number.size, np.int64)
    for place in range(1, 10):
        size += number >= np.uint64(1 << (7 * place))
    return size


def frames_of(selections: Sequence[Selection]) -> Iterator[bytes]:
    """The stream: for each series frames of prometheus.ChunkedReadResponse, none much larger than FRAME_BYTES_MAX.

    A frame is its length as a varint, the CRC-32C of the message (4 bytes, big-endian), and the message.
    """
    for query_index, selection in enumerate(selections):
        tail = field_of_number(2, query_index)
        for labels, chunks in _series_chunks(selection):
            head = label_fields(labels)
            waiting: list[bytes] = []
            size = len(head)
            for chunk in chunks:
                if waiting and size + len(chunk) > FRAME_BYTES_MAX:
                    yield _frame(field_of_bytes(1, head, *waiting) + tail)
                    waiting, size = [], len(head)
                waiting.append(chunk)
                size += len(chunk)
            yield _frame(field_of_bytes(1, head, *waiting) + tail)


def _series_chunks(selection: Selection) -> Iterator[tuple[Labels, list[bytes]]]:
    """Each series with its field `chunks`."""
    counts = np.diff(selection.offsets)
    chunk_counts = -(-counts // SAMPLE_COUNT)
    firsts = [
        offset + start
        for offset, count in zip(selection.offsets[:-1].tolist(), counts.tolist(), strict=True)
        for start in range(0, count, SAMPLE_COUNT)
    ]
    edges = np.array([*firsts, selection.timestamp_ms.size], np.int64)
    data = chunks_of(edges, selection.timestamp_ms, selection.value)
    for labels, count in zip(selection.labels, chunk_counts.tolist(), strict=True):
        found = [next(data) for _ in range(count)]
        yield (
            labels,
            [
                field_of_bytes(
                    2,
                    field_of_number(1, min_ms),
                    field_of_number(2, max_ms),
                    field_of_number(3, _XOR),
                    field_of_bytes(4, chunk),
                )
                for min_ms, max_ms, chunk in found
            ],
        )


def _frame(message: bytes) -> bytes:
    return varint_bytes(len(message)) + int(google_crc32c.value(message)).to_bytes(4, "big") + message

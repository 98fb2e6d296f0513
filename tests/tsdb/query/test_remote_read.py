"""Remote read: the bytes of samples and of chunks, against readers that know nothing of columns."""

from __future__ import annotations

import contextlib
import json
import struct

import cramjam
import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.shared import shared
from tsdb.errors import RefusedQuery
from tsdb.query.remote_read import frames_of, read_request, samples_message
from tsdb.query.remote_read.answer import FRAME_BYTES_MAX
from tsdb.query.remote_read.chunks import SAMPLE_COUNT, chunks_of
from tsdb.sample import Matcher, MatchOp, Selection
from tsdb.wire import BYTES, FIXED64, VARINT, field_of_bytes, field_of_number, fields, int64, varint

BASE_MS = 1_700_000_000_000
Samples = list[tuple[int, int]]
"""(time, bits of the value)."""


class Bits:
    """A stream of bits, read one by one."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> int:
        found = 0
        for _ in range(count):
            found = found << 1 | (self.data[self.at // 8] >> (7 - self.at % 8) & 1)
            self.at += 1
        return found


def unpacked(chunk: bytes) -> Samples:
    """A chunk read as Prometheus reads it: window of significant bits and all."""
    count = int.from_bytes(chunk[:2], "big")
    zigzag, at = varint(chunk, 2, len(chunk))
    time_ms = (zigzag >> 1) ^ -(zigzag & 1)
    value = int.from_bytes(chunk[at : at + 8], "big")
    found = [(time_ms, value)]
    if count == 1:
        return found
    distance, at = varint(chunk, at + 8, len(chunk))
    bits = Bits(chunk[at:])
    time_ms += distance
    leading = trailing = 0
    for place in range(1, count):
        if place > 1:
            distance += _change(bits)
            time_ms += distance
        if bits.take(1):
            if bits.take(1):
                leading, width = bits.take(5), bits.take(6) or 64
                trailing = 64 - leading - width
            value ^= bits.take(64 - leading - trailing) << trailing
        found.append((time_ms, value))
    return found


def _change(bits: Bits) -> int:
    for width in (0, 14, 17, 20):
        if not bits.take(1):
            number = bits.take(width) if width else 0
            return number - (1 << width) if width and number > 1 << (width - 1) else number
    return int64(bits.take(64))


def chunk_samples(samples: Samples, count: int) -> list[Samples]:
    times = np.array([time for time, _ in samples], np.int64)
    values = np.array([bits for _, bits in samples], np.uint64).view(np.float64)
    edges = np.array([*range(0, len(samples), count), len(samples)], np.int64)
    found = []
    for first_ms, last_ms, data in chunks_of(edges, times, values):
        found.append(unpacked(data))
        assert (first_ms, last_ms) == (found[-1][0][0], found[-1][-1][0])
    return found


VALUES = st.integers(0, 2**64 - 1) | st.floats(width=32).map(lambda x: struct.unpack("Q", struct.pack("d", x))[0])
# Changes of the distance at both ends of each width, and any other.
STEPS = st.sampled_from([1, 2, 8_192, 8_193, 8_194, 16_384, 65_537, 131_073, 524_289, 1_048_577, 2**33]) | st.integers(
    1, 2**40
)


@given(st.lists(st.tuples(STEPS, VALUES), min_size=1, max_size=40), st.integers(-(2**42), 2**42), st.integers(1, 50))
def test_chunks_read_back_to_the_same_bits(steps: list[tuple[int, int]], start_ms: int, count: int) -> None:
    times = np.cumsum([start_ms, *(step for step, _ in steps[1:])]).tolist()
    samples = list(zip(times, (bits for _, bits in steps), strict=True))
    found = chunk_samples(samples, count)
    assert [sample for chunk in found for sample in chunk] == samples
    assert {len(chunk) for chunk in found[:-1]} <= {count}


def test_many_chunks_are_the_same_as_one_by_one() -> None:
    random = np.random.default_rng(5)
    samples = [(BASE_MS + 10_000 * i, int(random.integers(0, 2**63))) for i in range(60_000)]
    found = chunk_samples(samples, SAMPLE_COUNT)
    assert len(found) == 500
    assert [sample for chunk in found for sample in chunk] == samples


def selection(*series: list[tuple[int, float]]) -> Selection:
    return Selection(
        labels=[(("__name__", "m"), ("number", str(index))) for index in range(len(series))],
        offsets=np.cumsum([0, *map(len, series)]).astype(np.int64),
        times_ms=np.array([at_ms for samples in series for at_ms, _ in samples], np.int64),
        value=np.array([value for samples in series for _, value in samples], np.float64),
    )


def read_samples(message: bytes) -> list[list[tuple[list[tuple[str, str]], Samples]]]:
    """prometheus.ReadResponse, field by field."""
    return [
        [_read_series(message, *span) for _, _, *span in fields(message, start, end)]
        for _, _, start, end in fields(message, 0, len(message))
    ]


def _read_series(data: bytes, start: int, end: int) -> tuple[list[tuple[str, str]], Samples]:
    labels, samples = [], []
    for number, kind, at, stop in fields(data, start, end):
        assert kind == BYTES
        if number == 1:
            labels.append(tuple(data[a:b].decode() for _, _, a, b in fields(data, at, stop)))
        else:
            (_, value_kind, a, _), (_, time_kind, b, c) = fields(data, at, stop)
            assert (value_kind, time_kind) == (FIXED64, VARINT)
            samples.append((int64(varint(data, b, c)[0]), struct.unpack_from("<Q", data, a)[0]))
    return labels, samples


@given(st.lists(st.lists(st.tuples(st.integers(-(2**53), 2**53), st.floats()), max_size=5), max_size=4))
def test_samples_read_back_to_the_same_bits(series: list[list[tuple[int, float]]]) -> None:
    message = samples_message([selection(*series), selection()])
    found, nothing = read_samples(message)
    assert nothing == []
    assert [samples for _, samples in found] == [
        [(at_ms, struct.unpack("Q", struct.pack("d", value))[0]) for at_ms, value in samples] for samples in series
    ]
    assert [dict(labels)["number"] for labels, _ in found] == [str(index) for index in range(len(series))]


def read_frames(stream: bytes) -> list[bytes]:
    messages, at = [], 0
    while at < len(stream):
        size, at = varint(stream, at, len(stream))
        checksum, message = stream[at : at + 4], stream[at + 4 : at + 4 + size]
        assert int.from_bytes(checksum, "big") == google_crc32c.value(message)
        messages.append(message)
        at += 4 + size
    return messages


def test_a_long_series_takes_several_frames() -> None:
    count = 200_000
    random = np.random.default_rng(3).normal(size=count)
    long = selection([(BASE_MS + i, float(value)) for i, value in enumerate(random)], [(BASE_MS, 1.0)])
    messages = read_frames(b"".join(frames_of([selection([(1, 2.0)]), long])))
    assert max(map(len, messages)) < FRAME_BYTES_MAX + 4_096
    found: dict[tuple[int, str], Samples] = {}
    for message in messages:
        query_index = 0
        for number, _, start, end in fields(message, 0, len(message)):
            if number == 2:
                query_index = varint(message, start, end)[0]
        _, _, start, end = next(fields(message, 0, len(message)))
        name, samples = "", []
        for number, _, at, stop in fields(message, start, end):
            if number == 1:
                name = [message[a:b].decode() for _, _, a, b in fields(message, at, stop)][1]
            else:
                chunk = {n: (kind, a, b) for n, kind, a, b in fields(message, at, stop)}
                samples += unpacked(message[chunk[4][1] : chunk[4][2]])
        found.setdefault((query_index, name), []).extend(samples)
    assert {key: len(samples) for key, samples in found.items()} == {(0, "0"): 1, (1, "0"): count, (1, "1"): 1}
    assert [bits for _, bits in found[1, "0"]] == random.view(np.uint64).tolist()


def test_the_bytes_are_those_of_prometheus() -> None:
    """The recorded answers, but for the external label that server had."""
    requests = json.loads(shared("conformance/prometheus/http.json").read_text())["requests"]
    by_id = {request["id"]: request for request in requests}
    recorded = read_samples(cramjam.snappy.decompress_raw(bytes.fromhex(by_id[214]["expect"]["body_hex"])).read())
    found = Selection(
        labels=[tuple(label for label in labels if label[0] != "region") for labels, _ in recorded[0]],
        offsets=np.cumsum([0, *(len(samples) for _, samples in recorded[0])]).astype(np.int64),
        times_ms=np.array([time for _, samples in recorded[0] for time, _ in samples], np.int64),
        value=np.array([bits for _, samples in recorded[0] for _, bits in samples], np.uint64).view(np.float64),
    )
    assert [samples for _, samples in read_samples(samples_message([found]))[0]] == [s for _, s in recorded[0]]
    theirs = read_frames(bytes.fromhex(by_id[215]["expect"]["body_hex"]))
    ours = read_frames(b"".join(frames_of([found])))
    assert [_chunk_fields(message) for message in ours] == [_chunk_fields(message) for message in theirs]


def _chunk_fields(message: bytes) -> list[bytes]:
    _, _, start, end = next(fields(message, 0, len(message)))
    return [message[at:stop] for number, _, at, stop in fields(message, start, end) if number == 2]


def request_body(*matchers: tuple[int, str, str], types: bytes = b"", start_ms: int = 1, end_ms: int = 2) -> bytes:
    query = field_of_number(1, start_ms) + field_of_number(2, end_ms)
    for kind, name, value in matchers:
        query += field_of_bytes(
            3, field_of_number(1, kind), field_of_bytes(2, name.encode()), field_of_bytes(3, value.encode())
        )
    return bytes(cramjam.snappy.compress_raw(field_of_bytes(1, query) + types))


def test_a_request_is_read() -> None:
    body = request_body((0, "a", "b"), (1, "c", "d"), (2, "e", "f.*"), (3, "g", "h|i"), start_ms=-5, end_ms=BASE_MS)
    found = read_request(body)
    assert not found.is_streamed
    (query,) = found.queries
    assert (query.start_ms, query.end_ms) == (-5, BASE_MS)
    assert query.matchers == [
        Matcher("a", MatchOp.EQUAL, "b"),
        Matcher("c", MatchOp.NOT_EQUAL, "d"),
        Matcher("e", MatchOp.REGEX, "f.*"),
        Matcher("g", MatchOp.NOT_REGEX, "h|i"),
    ]


@pytest.mark.parametrize(
    ("types", "is_streamed"),
    [
        (b"", False),
        (field_of_number(2, 1), True),
        (b"\x10\x00", False),
        (b"\x12\x02\x01\x00", True),  # Packed; the first that is known counts.
        (b"\x12\x02\x00\x01", False),
        (field_of_number(2, 7) + field_of_number(2, 1), True),
    ],
)
def test_the_first_known_type_of_answer_counts(types: bytes, is_streamed: bool) -> None:
    assert read_request(request_body((0, "a", "b"), types=types)).is_streamed is is_streamed


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"garbage", "snappy: corrupt input"),
        (b"", "snappy: corrupt input"),
        (bytes(cramjam.snappy.compress_raw(b"\x08\xff\xff")), "not a prometheus.ReadRequest"),
        (bytes(cramjam.snappy.compress_raw(b"\x0a\x7fx")), "not a prometheus.ReadRequest"),
        (bytes(cramjam.snappy.compress_raw(bytes(2_000_000))), "of at most"),
        (request_body((4, "a", "b")), "is not a kind of matcher"),
        (request_body((2, "a", "(")), "missing"),
        (bytes(cramjam.snappy.compress_raw(field_of_bytes(1, b"") * 101)), "of at most 100"),
    ],
)
def test_a_bad_request_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(RefusedQuery, match=reason):
        read_request(body)


@given(st.binary(max_size=60))
def test_noise_is_refused_and_nothing_breaks(noise: bytes) -> None:
    for body in (noise, bytes(cramjam.snappy.compress_raw(noise))):
        with contextlib.suppress(RefusedQuery):
            read_request(body)

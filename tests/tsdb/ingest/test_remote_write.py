"""Remote-write bodies against a dumb twin, with faults, and cut and flipped at every place."""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tsdb.ingest import remote_write_bytes as wire
from tsdb.errors import BodyTooLarge, RefusedSample
from tsdb.ingest.decoded import Decoded
from tsdb.ingest.limits import IntakeLimits
from tsdb.ingest.register import SeriesRegister
from tsdb.ingest.remote_write import body as door
from tsdb.ingest.remote_write.straight import Straight, straight
from tsdb.sample import STALE_NAN_BITS, canonical_bytes, labels_from

LIMITS = IntakeLimits()
NOW_MS = 1_795_438_240_000
Stored = Counter[tuple[bytes, int, int]]


def stored(decoded: Decoded) -> tuple[Stored, dict[str, int]]:
    """(canonical labels, ms, bits of the value) of each sample, and how many were refused by reason."""
    register = SeriesRegister()
    register.begin(1)
    resolved = register.resolve(decoded)
    batch = resolved.batch
    assert (batch.series < 0).all()
    refusals = Counter(decoded.refusals.count_by_reason) + Counter(resolved.refusals.count_by_reason)
    rows = zip(
        (-1 - batch.series).tolist(), batch.timestamp_ms.tolist(), batch.value.view(np.uint64).tolist(), strict=True
    )
    return Counter((resolved.new_series[at], ms, bits) for at, ms, bits in rows), dict(refusals)


def decoded(raw: bytes, limits: IntakeLimits = LIMITS) -> Decoded:
    return door.decode_snappy(wire.snappy(raw), limits)


def bits_of(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


def double(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])


def all_crooked(data: bytes, starts: np.ndarray, ends: np.ndarray) -> Straight:
    """Stands in for `straight`: nothing is trusted to the fast path."""
    found = straight(data, starts, ends)
    empty = np.empty(0, np.int64)
    return Straight(found.labels_end, np.ones(starts.size, np.bool_), empty, empty, np.empty(0))


WORDS = st.text("abcé_", min_size=1, max_size=6) | st.sampled_from(["x" * 127, "x" * 128, "x" * 300])
TIMES = st.integers(NOW_MS - 10**9, NOW_MS) | st.sampled_from([0, 1, -1, -(2**63), 2**63 - 1, 2**35 - 1, 2**35, 2**42])
BITS = st.integers(0, 2**64 - 1) | st.sampled_from(
    [
        0,
        1,
        1 << 63,
        STALE_NAN_BITS,
        STALE_NAN_BITS - 1,
        0x7FF8000000000001,
        bits_of(np.inf),
        bits_of(-np.inf),
        bits_of(1.5),
    ]
)
SAMPLES = st.lists(st.tuples(TIMES, BITS), max_size=4)
SERIES = st.tuples(st.dictionaries(WORDS, WORDS, min_size=1, max_size=5), SAMPLES)
OTHER_FIELDS = st.sampled_from([b"", wire.field(9, b"later"), b"\x50\x07", b"\x51" + bytes(8), b"\x55" + bytes(4)])


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, Stored]:
    """A body in one of the many ways to write it, and what is in it."""
    raw, wanted = draw(OTHER_FIELDS), Stored()
    for labels, samples in draw(st.lists(SERIES, max_size=6)):
        parts = [wire.label(name, value) for name, value in sorted(labels.items(), key=lambda pair: pair[0].encode())]
        always = draw(st.booleans())
        rest = [wire.sample(at_ms, struct.pack("<Q", bits), always=always) for at_ms, bits in samples]
        in_order, mixed = [*parts, *rest], st.permutations([*parts, *rest, draw(OTHER_FIELDS)])
        parts = draw(mixed) if draw(st.booleans()) else in_order
        raw += wire.field(1, b"".join(parts)) + draw(OTHER_FIELDS)
        canonical = canonical_bytes(labels_from(labels))
        wanted.update((canonical, at_ms, bits) for at_ms, bits in samples)
    return raw, wanted


@given(bodies())
def test_what_was_written_is_read_bit_for_bit(body_and_wanted: tuple[bytes, Stored]) -> None:
    raw, wanted = body_and_wanted
    assert stored(decoded(raw)) == (wanted, {})
    assert stored(door.decode_zstd(wire.zstd(raw), LIMITS)) == (wanted, {})


@settings(max_examples=300)
@given(bodies(), st.randoms(use_true_random=False))
def test_the_fast_path_agrees_with_the_exact_one_on_any_bytes(
    body_and_wanted: tuple[bytes, Stored], rng: random.Random
) -> None:
    raw = bytearray(body_and_wanted[0])
    for _ in range(rng.randrange(4)):
        if raw:
            raw[rng.randrange(len(raw))] = rng.choice((0, 1, 9, 10, 16, 18, 0x7F, 0x80, 0xFF, rng.randrange(256)))

    def outcome() -> object:
        try:
            return stored(decoded(bytes(raw)))
        except RefusedSample as error:
            return error.reason

    fast = outcome()
    with mock.patch.object(door, "straight", all_crooked):
        assert fast == outcome()


def test_a_body_as_prometheus_writes_it_takes_the_fast_path() -> None:
    labels = [("__name__", "up"), ("instance", "h:9100"), ("job", "node")]
    raw = wire.request([wire.series(labels, [(NOW_MS, value)]) for value in (1.5, 0.0, -2.0)])
    with mock.patch.object(door, "read_series", side_effect=AssertionError("the slow path was taken")):
        found, refused = stored(decoded(raw))
    name = canonical_bytes(tuple(labels))
    assert (found, refused) == (Counter({(name, NOW_MS, bits_of(value)): 1 for value in (1.5, 0.0, -2.0)}), {})


def test_many_samples_of_one_series_with_zeros_among_them_take_the_fast_path() -> None:
    samples = [(NOW_MS + at, float(at % 3)) for at in range(5_000)]
    raw = wire.request([wire.series([("__name__", "m")], samples), wire.series([("__name__", "n")], samples[:4])])
    with mock.patch.object(door, "read_series", side_effect=AssertionError("the slow path was taken")):
        found, refused = stored(decoded(raw))
    m, n = (canonical_bytes((("__name__", name),)) for name in "mn")
    wanted = [(m, at, bits_of(value)) for at, value in samples] + [(n, at, bits_of(value)) for at, value in samples[:4]]
    assert (found, refused) == (Counter(wanted), {})


GOOD = wire.series([("__name__", "good")], [(NOW_MS, 1.0)])
SAMPLES_2 = wire.sample(NOW_MS, 1.0) + wire.sample(NOW_MS + 1, 2.0)
NAME = wire.label("__name__", "bad")
BAD_SERIES = {  # name: (one series; refused by reason)
    "no labels": (SAMPLES_2, {"empty_labels": 2}),
    "only empty values": (wire.label("a", "") + SAMPLES_2, {"empty_labels": 2}),
    "an empty name": (NAME + wire.label("", "v") + SAMPLES_2, {"empty_label_name": 2}),
    "a label twice": (NAME + wire.label("a", "1") + wire.label("a", "2") + SAMPLES_2, {"duplicate_label": 2}),
    "a value that is no UTF-8": (NAME + wire.label("a", b"\xff") + SAMPLES_2, {"invalid_utf8": 2}),
    "a name that is no UTF-8": (NAME + wire.label(b"a\xc3", "\x28") + SAMPLES_2, {"invalid_utf8": 2}),
    "UTF-8 cut between name and value": (NAME + wire.label(b"a\xc3", b"\xa9") + SAMPLES_2, {"invalid_utf8": 2}),
    "half a surrogate": (NAME + wire.label("a", b"\xed\xa0\x80") + SAMPLES_2, {"invalid_utf8": 2}),
    "a value of 1 MB": (NAME + wire.label("a", "v" * 2**20) + SAMPLES_2, {"label_too_long": 2}),
    "a name of 1 MB": (NAME + wire.label("a" * 2**20, "v") + SAMPLES_2, {"label_too_long": 2}),
    "10,000 labels": (
        b"".join(wire.label(f"l{at:05}", "v") for at in range(10_000)) + SAMPLES_2,
        {"too_many_labels": 2},
    ),
    "65 labels": (b"".join(wire.label(f"l{at:05}", "v") for at in range(65)) + SAMPLES_2, {"too_many_labels": 2}),
    "a label that runs over": (b"\x0a\x30\x0a\x01a" + SAMPLES_2, {"bad_protobuf": 1}),
    "a group": (NAME + b"\x0b" + SAMPLES_2, {"bad_protobuf": 1}),
    "field number 0": (NAME + b"\x02\x00" + SAMPLES_2, {"bad_protobuf": 1}),
    "a time that does not end": (NAME + wire.field(2, b"\x10" + b"\xff" * 11), {"bad_protobuf": 1}),
    "native histograms": (NAME + wire.field(4, b"") + wire.field(4, b"\x08\x01"), {"native_histogram": 2}),
}


@pytest.mark.parametrize(("series", "refused"), BAD_SERIES.values(), ids=BAD_SERIES.keys())
def test_a_bad_series_costs_only_itself(series: bytes, refused: dict[str, int]) -> None:
    found, counts = stored(decoded(wire.request([GOOD, series, GOOD])))
    assert counts == refused
    assert found == Counter({(canonical_bytes((("__name__", "good"),)), NOW_MS, bits_of(1.0)): 2})


def test_exemplars_and_metadata_without_a_name_are_counted_and_no_fault() -> None:
    raw = wire.request([GOOD + wire.field(3, b"\x11" + bytes(8)), NAME + wire.field(3, b"")]) + wire.field(
        3, b"\x08\x01"
    )
    found = decoded(raw)
    assert found.refusals.ignored_count_by_kind == {"exemplars": 2, "metadata": 1}
    assert stored(found) == (Counter({(canonical_bytes((("__name__", "good"),)), NOW_MS, bits_of(1.0)): 1}), {})
    assert len(found.names) == 1, "a series that brings no samples does not become one"


def test_labels_out_of_order_and_empty_ones_are_the_same_series() -> None:
    sorted_, shuffled = (
        [("__name__", "m"), ("a", "1"), ("b", "2")],
        [("b", "2"), ("empty", ""), ("__name__", "m"), ("a", "1")],
    )
    found, _ = stored(decoded(wire.request([wire.series(one, [(NOW_MS, 1.0)]) for one in (sorted_, shuffled)])))
    assert found == Counter({(canonical_bytes(tuple(sorted_)), NOW_MS, bits_of(1.0)): 2})


BAD_BODIES = {  # name: (the body; reason)
    "empty": (b"", "bad_snappy"),
    "no snappy": (b"\xff" * 100, "bad_snappy"),
    "plain text": (b"up 1\n", "bad_snappy"),
    "snappy's frame format": (b"\xff\x06\x00\x00sNaPpY", "bad_snappy"),
    "a size of 4 GiB": (b"\xff\xff\xff\xff\x0f" + bytes(100), "body_too_large"),
    "a size just over the limit": (wire.varint(LIMITS.remote_write_bytes_max + 1) + bytes(100), "body_too_large"),
    "less than its size": (wire.varint(1000) + b"\x00a", "bad_snappy"),
    "noise in snappy": (wire.snappy(random.Random(1).randbytes(5_000)), "bad_protobuf"),
    "a series that runs over": (wire.snappy(b"\x0a\x7f" + GOOD), "bad_protobuf"),
    "a truncated tag": (wire.snappy(wire.request([GOOD]) + b"\x80"), "bad_protobuf"),
    "more series than allowed": (
        wire.snappy(b"\x0a\x00" * (LIMITS.remote_write_series_count_max + 1)),
        "body_too_large",
    ),
}


@pytest.mark.parametrize(("body", "reason"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_body_that_cannot_be_read_is_refused_with_a_reason(body: bytes, reason: str) -> None:
    with pytest.raises(RefusedSample) as refused:
        door.decode_snappy(body, LIMITS)
    assert refused.value.reason == reason


def test_more_samples_one_by_one_than_allowed_are_refused() -> None:
    raw = wire.request([NAME + b"\x12\x00" * 101])
    with pytest.raises(BodyTooLarge):
        decoded(raw, replace(LIMITS, remote_write_samples_count_max=100))


ZSTD_BOMB = wire.zstd(bytes(100_000))
BAD_ZSTD = {
    "empty": (b"", "bad_zstd"),
    "snappy": (wire.snappy(GOOD), "bad_zstd"),
    "cut": (wire.zstd(wire.request([GOOD]) * 50)[:-3], "bad_zstd"),
    "larger than allowed, and says so": (ZSTD_BOMB, "body_too_large"),
    "larger than allowed, and does not say": (ZSTD_BOMB[:4] + b"\x00\x48" + ZSTD_BOMB[9:], "body_too_large"),
    "a window of 2 GiB": (b"\x28\xb5\x2f\xfd\x00\xa8" + bytes(20), "body_too_large"),
}


@pytest.mark.parametrize(("body", "reason"), BAD_ZSTD.values(), ids=BAD_ZSTD.keys())
def test_zstd_that_cannot_be_read_is_refused_with_a_reason(body: bytes, reason: str) -> None:
    with pytest.raises(RefusedSample) as refused:
        door.decode_zstd(body, replace(LIMITS, remote_write_bytes_max=50_000))
    assert refused.value.reason == reason


def test_a_body_cut_or_flipped_at_any_byte_is_read_or_refused() -> None:
    raw = wire.request(
        [GOOD, wire.series([("__name__", "two"), ("a", "b")], [(NOW_MS, 2.0), (0, 0.0)]), NAME + wire.field(4, b"")]
    )
    rng = random.Random(7)
    for encode, decode in ((wire.snappy, door.decode_snappy), (wire.zstd, door.decode_zstd)):
        whole = encode(raw)
        damaged = [whole[:at] for at in range(len(whole))]
        damaged += [encode(raw[:at]) for at in range(len(raw))]
        for data, wrap in ((whole, bytes), (raw, encode)):
            for at in range(len(data)):
                for byte in (0, 0xFF, data[at] ^ 1 << rng.randrange(8)):
                    damaged.append(wrap(data[:at] + bytes([byte]) + data[at + 1 :]))
        for body in damaged:
            assert reason_of(decode, body) in {"", "bad_snappy", "bad_zstd", "bad_protobuf", "body_too_large"}


def reason_of(decode: Callable[[bytes, IntakeLimits], Decoded], body: bytes) -> str:
    try:
        stored(decode(body, LIMITS))
    except RefusedSample as error:
        return error.reason
    return ""

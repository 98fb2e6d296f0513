"""Bodies of remote-write 2.0: recorded ones, our own against those of 1.0, and hostile ones."""

from __future__ import annotations

import base64
import json
import random
import struct
from collections import Counter
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.shared import shared
from tests.tsdb.ingest import remote_write_bytes as wire
from tests.tsdb.ingest.test_remote_write import LIMITS, NOW_MS, SAMPLES, WORDS, Stored, bits_of, stored
from tsdb.errors import BodyTooLarge, RefusedSample
from tsdb.ingest.decoded import Decoded
from tsdb.ingest.limits import IntakeLimits
from tsdb.ingest.remote_write import body as version_1
from tsdb.ingest.remote_write import symbols as door
from tsdb.ingest.remote_write.references import Referring
from tsdb.sample import STALE_NAN_BITS, canonical_bytes, labels_from

NAME = ("__name__", "m")
METADATA = wire.field(5, b"\x08\x01\x18\x01")
CREATED = b"\x30" + wire.varint(NOW_MS)
NANS = {"stale": STALE_NAN_BITS, "NaN": 0x7FF8000000000001, "nan": 0x7FF8000000000001}  # As Go has them.
GOOD = ([NAME], [wire.sample(NOW_MS, 1.0)])
GOOD_STORED = Counter({(canonical_bytes((NAME,)), NOW_MS, bits_of(1.0)): 1})


def decoded(raw: bytes, limits: IntakeLimits = LIMITS) -> Decoded:
    return door.decode_snappy(wire.snappy(raw), limits)


SERIES = st.tuples(st.dictionaries(WORDS, WORDS, max_size=4), SAMPLES)


@settings(max_examples=60)
@given(st.lists(SERIES, max_size=5), st.booleans(), st.randoms(use_true_random=False))
def test_what_was_written_is_read_bit_for_bit(series: list[Any], is_packed: bool, rng: random.Random) -> None:
    wanted, written = Stored(), []
    for labels, samples in series:
        named = {**labels, "__name__": "m"}
        always = rng.random() < 0.5
        fields = [wire.sample(at_ms, struct.pack("<Q", bits), always=always) for at_ms, bits in samples]
        rest = [*fields, *rng.sample([METADATA, CREATED, wire.field(9, b"later")], rng.randrange(4))]
        rng.shuffle(rest)
        written.append((sorted(named.items()), rest))
        wanted.update((canonical_bytes(labels_from(named)), at_ms, bits) for at_ms, bits in samples)
    raw = wire.request_2(written, is_packed=is_packed)
    assert stored(decoded(raw)) == (wanted, {})
    assert stored(door.decode_zstd(wire.zstd(raw), LIMITS)) == (wanted, {})


def all_crooked(data: bytes, starts: np.ndarray, ends: np.ndarray, is_name: np.ndarray, _: np.ndarray) -> Referring:
    """Stands in for `referring`: nothing is trusted to the fast path."""
    none = np.empty(0, np.int64)
    return Referring(np.zeros(starts.size, np.bool_), none, none, none, np.empty(0), none, none, none)


REFS = st.lists(st.sampled_from([0, 1, 2, 3, 127, 128, 500, 2**14, 2**21, 2**40]) | st.integers(0, 5), max_size=5)


@st.composite
def bent_bodies(draw: st.DrawFn) -> bytes:
    """Series much as Prometheus writes them, some of them with a byte changed; symbol 1 is __name__."""
    raw = b"".join(wire.field(4, symbol) for symbol in (b"", b"__name__", b"m"))
    raw += wire.field(4, b"s") * draw(st.sampled_from((2, 200, 200, 20_000)))
    for refs in draw(st.lists(REFS, max_size=6)):
        head = draw(st.sampled_from(([1, 2], [1, 2], [2, 1], [1, 0], [])))
        sample = wire.sample(NOW_MS, draw(st.sampled_from((0.0, 1.5))))
        rest = draw(st.sampled_from((b"", METADATA, METADATA + CREATED, CREATED, wire.field(9, b"x"), sample)))
        one = bytearray(wire.refs_field([*head, *refs]) + sample + rest)
        if draw(st.booleans()):
            one[draw(st.integers(0, len(one) - 1))] = draw(st.sampled_from((0, 1, 7, 9, 10, 16, 18, 42, 48, 127, 128)))
        raw += wire.field(5, bytes(one))
    return raw


@settings(max_examples=100)
@given(bent_bodies())
def test_the_fast_path_agrees_with_the_exact_one(raw: bytes) -> None:
    fast = told(raw)
    with mock.patch.object(door, "referring", all_crooked):
        assert fast == told(raw)


def told(raw: bytes) -> object:
    try:
        found = decoded(raw)
    except RefusedSample as error:
        return error.reason
    return stored(found), found.refusals.ignored_count_by_kind


def test_a_body_as_prometheus_writes_it_takes_the_fast_path() -> None:
    labels = [[NAME, *((f"l{at}", f"v{at % 300}") for at in range(number % 12))] for number in range(400)]
    values = [float(at % 3) for at in range(400)]
    rows = zip(labels, values, strict=True)
    more = ([], [METADATA], [CREATED], [METADATA, CREATED])
    raw = wire.request_2([(one, [wire.sample(NOW_MS, value), *more[len(one) % 4]]) for one, value in rows])
    with mock.patch.object(door, "_read_series", side_effect=AssertionError("the slow path was taken")):
        found, refused = stored(decoded(raw))
    wanted = [
        (canonical_bytes(labels_from(dict(one))), NOW_MS, bits_of(value))
        for one, value in zip(labels, values, strict=True)
    ]
    assert (found, refused) == (Counter(wanted), {})


def test_what_prometheus_sent_is_read() -> None:
    captures = json.loads(shared("conformance/clients/programs.json").read_text())["captures"]
    bodies = [one for one in captures if one["program"] == "/rw-v2"]
    assert bodies
    for one in bodies:
        found, refused = stored(door.decode_snappy(base64.b64decode(one["body"]["base64"]), LIMITS))
        wanted = Stored()
        for series in one["decoded"]["timeseries"]:
            name = canonical_bytes(labels_from(series["labels"]))
            wanted.update(
                (name, at_ms, NANS.get(value) or bits_of(float(value))) for value, at_ms in series.get("samples", [])
            )
        assert (found, refused) == (wanted, {})


def test_a_series_has_one_name_in_both_versions() -> None:
    labels = [NAME, ("job", "x" * 200)]
    one = version_1.decode_snappy(wire.snappy(wire.request([wire.series(labels, [(NOW_MS, 1.0)])])), LIMITS)
    two = decoded(wire.request_2([(labels, [wire.sample(NOW_MS, 1.0)])]))
    assert list(one.names) == list(two.names)


TWO = [wire.sample(NOW_MS, 1.0), wire.sample(NOW_MS + 1, 2.0)]


def of_refs(*refs: int) -> bytes:
    return wire.field(5, wire.refs_field(refs) + TWO[0])


BAD_SERIES = {  # name: (fields of the body; refused by reason). Symbols 0, 1 and 2 are "", __name__ and m.
    "an odd number of references": (of_refs(1, 2, 1), {"bad_symbols": 1}),
    "a reference out of range": (of_refs(1, 3), {"bad_symbols": 1}),
    "a reference of 64 bits": (of_refs(1, 2**64 - 1), {"bad_symbols": 1}),
    "no references": (wire.field(5, b"".join(TWO)), {"no_metric_name": 2}),
    "no metric's name": (of_refs(2, 2), {"no_metric_name": 1}),
    "an empty metric's name": (of_refs(1, 0), {"no_metric_name": 1}),
    "an empty label name": (of_refs(1, 2, 0, 2), {"empty_label_name": 1}),
    "a label twice": (of_refs(1, 2, 1, 2), {"duplicate_label": 1}),
    "65 labels": (of_refs(*[1, 2] * 65), {"too_many_labels": 1}),
    "100,000 labels": (of_refs(*[1, 2] * 100_000), {"too_many_labels": 1}),
    "a reference of four bytes": (of_refs(1, 2, 2**21 + 1, 2), {"bad_symbols": 1}),
    "a last reference that does not end": (wire.field(5, b"\x0a\x04\x01\x02\x02\x82" + TWO[0]), {"bad_protobuf": 1}),
    "a reference that does not end": (wire.field(5, wire.field(1, b"\xff") + TWO[0]), {"bad_protobuf": 1}),
    "a time that does not end": (
        wire.field(5, wire.refs_field((1, 2)) + wire.field(2, b"\x10" + b"\xff" * 11)),
        {"bad_protobuf": 1},
    ),
    "native histograms": (
        wire.field(5, wire.refs_field((1, 2)) + wire.field(3, b"") + wire.field(3, b"\x08\x01")),
        {"native_histogram": 2},
    ),
}


@pytest.mark.parametrize(("series", "refused"), BAD_SERIES.values(), ids=BAD_SERIES.keys())
def test_a_bad_series_costs_only_itself(series: bytes, refused: dict[str, int]) -> None:
    assert stored(decoded(wire.request_2([GOOD]) + series)) == (GOOD_STORED, refused)


def test_exemplars_are_counted_and_metadata_are_no_fault() -> None:
    raw = wire.request_2([([NAME], [wire.sample(NOW_MS, 1.0), METADATA, CREATED, wire.field(4, b"")]), ([NAME], [])])
    found = decoded(raw)
    assert found.refusals.ignored_count_by_kind == {"exemplars": 1}
    assert stored(found) == (GOOD_STORED, {})


LONG = [(NAME, ("a", "v" * 4_000)), (NAME, ("b", "v" * 4_000))]
BAD_BODIES = {  # name: (the body, its limits; reason)
    "no protobuf": (b"\x08\xff\xff", {}, "bad_protobuf"),
    "a body of 1.0": (wire.request([wire.series([NAME], [(NOW_MS, 1.0)])]), {}, "bad_protobuf"),
    "a series that runs over": (wire.request_2([GOOD]) + b"\x2a\x7f", {}, "bad_protobuf"),
    "more symbols than allowed": (b"\x22\x00" * 101, {}, "body_too_large"),
    "more series than allowed": (b"\x2a\x00" * 11, {"remote_write_series_count_max": 10}, "body_too_large"),
    "more samples than allowed": (
        wire.request_2([([NAME], [b"\x12\x00"] * 11)]),
        {"remote_write_samples_count_max": 10},
        "body_too_large",
    ),
    "long symbols again and again": (
        wire.request_2([(labels, TWO) for labels in LONG * 20]),
        {"remote_write_bytes_max": 32_000},
        "body_too_large",
    ),
}


@pytest.mark.parametrize(("raw", "limits", "reason"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_body_that_cannot_be_read_is_refused_with_a_reason(raw: bytes, limits: dict[str, int], reason: str) -> None:
    with mock.patch.object(door, "SYMBOLS_COUNT_MAX", 100), pytest.raises(RefusedSample) as refused:
        decoded(raw, replace(LIMITS, **limits))
    assert refused.value.reason == reason
    assert isinstance(refused.value, BodyTooLarge) == (reason == "body_too_large")


def test_a_body_cut_or_flipped_at_any_byte_is_read_or_refused() -> None:
    raw = wire.request_2([GOOD, ([NAME, ("a", "b")], [*TWO, METADATA, wire.field(3, b"")])])
    rng = random.Random(7)
    damaged = [raw[:at] for at in range(len(raw))]
    for at in range(len(raw)):
        damaged += [raw[:at] + bytes([byte]) + raw[at + 1 :] for byte in (0, 0xFF, raw[at] ^ 1 << rng.randrange(8))]
    for one in damaged:
        assert reason_of(one) in {"", "bad_protobuf", "body_too_large"}


def reason_of(raw: bytes) -> str:
    try:
        stored(decoded(raw))
    except RefusedSample as error:
        return error.reason
    return ""

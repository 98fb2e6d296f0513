"""Graphite plaintext: what carbon stored, and the fast path against a deliberately dumb twin."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.shared import shared
from tsdb.errors import RefusedSample
from tsdb.ingest.decoded import Decoded
from tsdb.ingest.graphite import lines as graphite_lines
from tsdb.ingest.graphite.exact import LINE_BYTES_MAX
from tsdb.ingest.graphite.lines import decode
from tsdb.ingest.graphite.names import canonical_of
from tsdb.sample import labels_of

NOW_MS = 1_700_000_000_123
REFUSED_HERE_STORED_BY_CARBON = {
    b"a.b 1_000 1700000000\n",
    b"a.b 1 -1700000000\n",
    b"a.b 1 9999999999999\n",
}


def dumb(data: bytes) -> tuple[list[tuple[str, int, bytes]], Counter[str]]:
    """Line by line, field by field, character by character; written apart from the product's own slow path."""
    kept, refused = [], Counter[str]()
    for line in data.split(b"\n")[:-1]:
        fields = [field for field in re.split(rb"[ \t\r\v\f]+", line) if field]
        if len(line) > 65536:
            refused["line_too_long"] += 1
            continue
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            refused["invalid_utf8"] += 1
            continue
        if len(fields) != 3:
            refused["fields_missing" if len(fields) < 3 else "too_many_fields"] += 1
            continue
        value, seconds = number(fields[1]), number(fields[2])
        if value is None:
            refused["not_a_number"] += 1
        elif math.isnan(value):
            refused["nan"] += 1
        elif seconds is None or (not math.isfinite(seconds) and b"n" in fields[2].lower()):
            refused["bad_timestamp"] += 1
        elif seconds > 253402300799:
            refused["too_far_in_future"] += 1
        elif -2 < seconds <= -1:
            kept.append((fields[0].decode(), NOW_MS, bits(value)))
        elif seconds < 0:
            refused["bad_timestamp"] += 1
        else:
            kept.append((fields[0].decode(), round(seconds * 1000), bits(value)))
    return kept, refused


def number(text: bytes) -> float | None:
    """What Python's float reads, without its underscores and without digits of other scripts."""
    if not text.isascii() or b"_" in text or text.strip() != text or any(byte < 33 for byte in text):
        return None
    try:
        return float(text)
    except ValueError:
        return None


def bits(value: float) -> bytes:
    return np.float64(value).tobytes()


def rows(decoded: Decoded) -> list[tuple[str, int, bytes]]:
    values = [bits(value) for value in decoded.value]
    return list(zip(decoded.names.to_list(), decoded.timestamp_ms.tolist(), values, strict=True))


def assert_same_as_dumb(data: bytes) -> None:
    kept, refused = dumb(data)
    decoded = decode(data, NOW_MS)
    assert Counter(rows(decoded)) == Counter(kept)
    assert Counter(decoded.refusals.count_by_reason) == refused


plain = st.tuples(
    st.sampled_from([b"a", b"servers.web1.cpu", b"m;a=b", b"\xc3\xa9.x", b'"q"', b"#c", b"null", b"\xef\xbb\xbfbom"]),
    st.sampled_from([b"1", b"-2.5", b".5", b"5.", b"+7", b"1e3", b"0.1", b"-0", b"123456789012345678", b"4.9e-324"])
    | st.floats(allow_nan=False).map(lambda value: repr(value).encode())
    | st.integers(-(10**25), 10**25).map(lambda value: str(value).encode()),
    st.sampled_from([b"1700000000", b"-1", b"-1.5", b"0", b"1700000000.0625", b"1.7e9", b"253402300799"])
    | st.floats(0, 4e9).map(lambda value: repr(value).encode()),
).map(b" ".join)

nasty_field = st.sampled_from(
    [
        *b"nan NaN -nan inf -Infinity +Inf infinit 1e400 1e-400 1e+5 1E5 +.5 1.e5 1e19 -1e30 -0.5 -1e-3 00 -2".split(),
        *b'0x10 1_0 1,5 - + . e5 .e5 1e --1 +-1 1.2.3 true N 1d 1f " "a 253402300800 9999999999999'.split(),
        *(b"", b"\xff", b"\xc2\xa0", b"1\xc2\xa0", b"\x00", b"1\x00", b"\x1c1", b"1\x85", b"\xef\xbb\xbf"),
        *(b"9" * 30, "٣".encode()),
    ]
)
gap = st.sampled_from([b" ", b" ", b" ", b"  ", b"\t", b" \t ", b"\r", b"\v", b""])
nasty = st.lists(st.tuples(nasty_field | st.sampled_from([b"a", b"1", b"17"]), gap).map(b"".join), max_size=5).map(
    b"".join
)
line = plain | plain.map(lambda text: text + b"\r") | nasty | st.binary(max_size=40)
lines = st.lists(line, max_size=30).map(lambda parts: b"".join(part + b"\n" for part in parts))


@given(lines)
@example(b"\xef\xbb\xbfa 1 2\nb 1 2\n")
@example(b"a 1\nb 1 2 3\n")
@example(b"a 1 2 3\nb 1\n")
@example(b"a 1 2\nb 1 2 3\nc 1\n")
@example(b"\n\n\na 1 2\n")
@example(b"a 1 2\n\nb  1 2\n")
@example(b"a nan x\nb x nan\n")
@example(b"a\x00b 1 2\n")
@example(b" 1 2\na 1 2\n")
@example(b"a 1 2\n 1 2\nb 1 2 \n")
def test_fast_path_and_dumb_twin_agree(data: bytes) -> None:
    assert_same_as_dumb(data)


@given(lines)
def test_many_lines_left_out_by_a_mask_or_few_by_slices_give_the_same(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphite_lines, "_SLICES_COUNT_MAX", 0)
        assert_same_as_dumb(data)


@given(st.lists(plain, min_size=1, max_size=200))
def test_batches_of_good_lines_agree(parts: list[bytes]) -> None:
    assert_same_as_dumb(b"".join(part + b"\n" for part in parts))


@given(st.binary(max_size=5_000))
def test_binary_noise_never_raises(noise: bytes) -> None:
    assert_same_as_dumb(noise + b"\n")


@given(plain, nasty_field, st.integers(0, 2), st.lists(plain, max_size=4), st.lists(plain, max_size=4))
def test_the_neighbours_of_a_bad_line_are_kept(
    text: bytes, bad: bytes, where: int, before: list[bytes], after: list[bytes]
) -> None:
    fields = text.split(b" ")
    fields[where] = bad
    data = b"".join(part + b"\n" for part in [*before, b" ".join(fields), *after])
    assert_same_as_dumb(data)
    assert len(decode(data, NOW_MS)) >= len(before) + len(after)


LENGTHS = {  # name: (bytes in the path, kept)
    "as long as a line may be": (LINE_BYTES_MAX - 4, True),
    "one byte over": (LINE_BYTES_MAX - 3, False),
    "a megabyte": (1_000_000, False),
}


@pytest.mark.parametrize(("path_bytes", "is_kept"), LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("place", [0, 1, 2])
def test_long_lines(path_bytes: int, is_kept: bool, place: int) -> None:
    parts = [b"a 1 1", b"b 2 2"]
    parts.insert(place, b"x" * path_bytes + b" 1 1")
    data = b"".join(part + b"\n" for part in parts)
    assert_same_as_dumb(data)
    assert len(decode(data, NOW_MS)) == 2 + is_kept


def test_an_empty_batch_decodes_to_nothing() -> None:
    assert len(decode(b"", NOW_MS)) == 0


def test_an_example_of_a_refused_line_tells_where_and_why() -> None:
    decoded = decode(b"a 1 1\nb\t0x10   2\nc 1 1\n", NOW_MS)
    (refused,) = decoded.refusals.examples
    assert refused.text == b"b\t0x10   2"
    assert refused.offset == 6
    assert refused.message == "the value is not a number"


def test_examples_are_few_and_short_however_many_lines_are_refused() -> None:
    decoded = decode(b"x" * 1_000 + b"\n" + b"y\n" * 10_000, NOW_MS)
    assert decoded.refusals.count_by_reason == {"fields_missing": 10_001}
    assert len(decoded.refusals.examples) == 3
    assert len(decoded.refusals.examples[0].text) == 200


def carbon_cases() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(shared("conformance/graphite/carbon.json").read_bytes())["line"]
    return cases


def carbon_name(labels: tuple[tuple[str, str], ...]) -> str:
    """Labels in carbon's spelling: the metric, then the tags in order."""
    tags = [f"{name}={value}" for name, value in labels if name != "__name__"]
    return ";".join([dict(labels)["__name__"], *tags])


def test_lines_are_stored_as_carbon_stores_them() -> None:
    differing = set()
    for case in carbon_cases():
        data = str(case["input"]).encode("latin-1" if case.get("note", "").startswith("invalid utf-8") else "utf-8")
        if not data.endswith(b"\n"):
            continue  # Half a line: the listener's business.
        want = [(s["name"], s["time"], s["value"]) for s in case["stored"] if "name" in s]
        if "exception_closes_connection" not in case and stored(data) != want:
            differing.add(data)
    assert differing == REFUSED_HERE_STORED_BY_CARBON


def stored(data: bytes) -> list[tuple[str, object, float]]:
    decoded = decode(data, NOW_MS)
    found: list[tuple[str, object, float]] = []
    for name, timestamp_ms, value in zip(decoded.names, decoded.timestamp_ms, decoded.value, strict=True):
        try:
            labels = labels_of(canonical_of(name))
        except RefusedSample:
            continue
        found.append((carbon_name(labels), "now" if timestamp_ms == NOW_MS else timestamp_ms / 1000, value))
    return found


BAD_PATHS = {
    "a;b=": "bad_tag",
    "a;=1": "bad_tag",
    "a;": "bad_tag",
    "a;b": "bad_tag",
    "": "empty_name",
    ";b=c": "empty_name",
    "~~": "empty_name",
    "a;b!c=1": "bad_tag",
    "a;b=~c": "bad_tag",
    "a;__name__=c": "bad_tag",
    'm{a="b",c}x"}': "bad_tag",
    '{a="b"}': "empty_name",
    "a" * 4_097: "label_too_long",
    "a;b=" + "c" * 4_097: "label_too_long",
    "a" + "".join(f";t{i}=v" for i in range(64)): "too_many_labels",
}


@pytest.mark.parametrize(("path", "reason"), BAD_PATHS.items(), ids=lambda text: text[:20])
def test_a_path_with_bad_tags_is_refused(path: str, reason: str) -> None:
    with pytest.raises(RefusedSample) as caught:
        canonical_of(path)
    assert caught.value.reason == reason


GOOD_PATHS = {
    "a.b": "a.b",
    "a;z=1;b=2": "a;b=2;z=1",
    "a;b=1;b=2": "a;b=2",
    'm{z="1",a="x\\"y"}': 'm;a=x"y;z=1',
    "m{a=b}": "m{a=b}",
    "~a": "~a",
    "a" * 4_096: "a" * 4_096,
}


@pytest.mark.parametrize(("path", "want"), GOOD_PATHS.items(), ids=lambda text: text[:20])
def test_a_path_becomes_labels(path: str, want: str) -> None:
    assert carbon_name(labels_of(canonical_of(path))) == want

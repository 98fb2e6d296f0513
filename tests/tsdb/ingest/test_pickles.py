"""Graphite's pickle protocol: what the real pickler writes comes back, and nothing that it could write runs."""

from __future__ import annotations

import collections
import os
import pickle
import struct
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.ingest.decoded import Decoded
from tsdb.ingest.graphite.frames import FrameCutter, frames_of
from tsdb.ingest.graphite.opcodes import read_pickle
from tsdb.ingest.graphite.pickles import decode

NOW_MS = 1_750_000_000_000
PROTOCOLS = range(6)


def frame(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


def decoded(found: object, protocol: int = 2) -> Decoded:
    return decode(frame(pickle.dumps(found, protocol)), NOW_MS)


def rows_of(found: Decoded) -> list[tuple[str, int, float]]:
    return list(zip(found.names.to_list(), found.timestamp_ms.tolist(), found.value.tolist(), strict=True))


numbers = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.booleans()
plain = st.recursive(
    numbers | st.text() | st.none(),
    lambda inner: st.lists(inner, max_size=5) | st.lists(inner, max_size=5).map(tuple),
    max_leaves=20,
)


@given(plain, st.sampled_from(PROTOCOLS))
def test_plain_data_come_back_from_every_protocol(found: object, protocol: int) -> None:
    assert read_pickle(pickle.dumps(found, protocol)) == found


@given(st.lists(st.tuples(st.text(min_size=1), st.tuples(st.integers(0, 2**33), numbers)), max_size=30))
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_rows_that_are_alike_become_what_each_by_itself_becomes(protocol: int, rows: list[Any]) -> None:
    together, apart = decoded(rows, protocol), [decoded([row], protocol) for row in rows]
    assert rows_of(together) == [one for each in apart for one in rows_of(each)]
    assert not together.refusals.total
    # One odd row sends all of them the slow way.
    assert rows_of(decoded([*rows, ("odd", None)], protocol)) == rows_of(together)


class Runs:
    """A pickle of it runs what it is told."""

    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.how = (call, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.how


UNSAFE = {
    "a command": Runs(os.system, "touch /tmp/henge-was-here"),
    "an evaluation": Runs(eval, "1 + 1"),
    "a class of the library": collections.OrderedDict(a=1),
    "a class": Runs,
    "a command beside metrics": [("a", (1, 1)), Runs(os.getcwd)],
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", UNSAFE)
def test_a_pickle_that_wants_to_run_code_is_refused_whole(name: str, protocol: int) -> None:
    found = decoded(UNSAFE[name], protocol)
    assert not len(found)
    assert found.refusals.count_by_reason == {"unsafe_pickle": 1}
    assert "the pickle wants to run code" in found.refusals.examples[0].message


BAD_TEXTS = {  # name: (a pickle, what is said of it)
    "nothing": (b"", "it ends too early"),
    "words": (b"a.b 1 1700000000\n", "byte 1"),
    "a dictionary": (pickle.dumps({}, 2), "opcode 0x7d"),
    "a set": (pickle.dumps({1}, 4), "opcode 0x8f"),
    "protocol 6": (b"\x80\x06].", "protocol 6 of at most 5"),
    "nothing on the stack": (b"\x80\x02.", "0 objects"),
    "a memo that nobody wrote": (b"\x80\x02h\x07.", "refers to what is not there"),
    "an append to a number": (b"K\x01K\x01a.", "no list"),
    "a text beyond the end": (b"X\xff\xff\xff\x7fabc.", "it ends too early"),
    "a text of 2^62 bytes": (b"\x8d" + struct.pack("<Q", 2**62) + b"abc.", "it ends too early"),
    "a number of 60,000 digits": (b"L" + b"7" * 60_000 + b"L\n.", "byte"),
    "lists within lists": (b"(" * 1_000 + b"l" * 1_000 + b".", "lists within lists"),
    "a number": (pickle.dumps(5), "the pickle is a int"),
    "a text": (pickle.dumps("abc"), "the pickle is a str"),
}


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_what_is_no_list_of_metrics_is_refused_in_words(name: str) -> None:
    text, words = BAD_TEXTS[name]
    found = decode(frame(text) + frame(pickle.dumps([("a", (1, 2))])), NOW_MS)
    assert found.refusals.count_by_reason == {"bad_pickle": 1}
    assert words in found.refusals.examples[0].message
    assert rows_of(found) == [("a", 1_000, 2.0)]  # The next frame is not concerned.


GREEDY_BYTES = 2**17
GREEDY = {
    "empty lists": b"]" * (GREEDY_BYTES - 1) + b".",
    "tuples within tuples": b"N" + b"\x85" * (GREEDY_BYTES - 2) + b".",
    "tuples that double": b"N" + b"q\x00h\x00\x86" * (GREEDY_BYTES // 6) + b".",
    "entries of the memo": b"N" + b"\x94" * (GREEDY_BYTES - 2) + b".",
    "a great place in the memo": b"Nr\xff\xff\xff\xff.",
    "one long path in many rows": b"(X\0\0\1\0" + b"a" * 2**16 + b"q\0K\1K\1\x86q\1\x86q\2" + b"h\2" * 2**15 + b"l.",
    "one long number in many rows": b"(X\1\0\0\0aX\0\0\1\0" + b"7" * 2**16 + b"K\1\x86\x86q\2" + b"h\2" * 2**15 + b"l.",
    "a list that holds itself": b"]q\x00h\x00a.",
}


@pytest.mark.parametrize("name", GREEDY)
def test_no_frame_costs_more_than_150_times_its_size(name: str) -> None:
    tracemalloc.start()
    try:
        found = decode(frame(GREEDY[name]), NOW_MS)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not len(found)
    assert found.refusals.total >= 1
    assert peak_bytes < 150 * max(len(GREEDY[name]), 2**16)


BAD_ROWS = {  # name: (a row, the reason under which it is counted)
    "no pair": (("a",), "bad_item"),
    "three": (("a", 1, 2), "bad_item"),
    "a number": (7, "bad_item"),
    "no point": (("a", 5), "bad_item"),
    "a number for a path": ((5, (1, 2)), "bad_item"),
    "a list for a path": (([[]], (1, 2)), "bad_item"),
    "no value": (("a", (1, None)), "not_a_number"),
    "a word": (("a", (1, "x")), "not_a_number"),
    "not a number": (("a", (1, float("nan"))), "nan"),
    "no time": (("a", (None, 1)), "bad_timestamp"),
    "a time before 1970": (("a", (-5, 1)), "bad_timestamp"),
    "an infinite time": (("a", (float("inf"), 1)), "bad_timestamp"),
    "milliseconds": (("a", (1_700_000_000_000, 1)), "too_far_in_future"),
    "a value beyond all floats": (("a", (1, 10**400)), "not_a_number"),
    "bytes that are no text": ((b"\xff\xfe", (1, 1)), "invalid_utf8"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_counted_by_its_reason_and_its_neighbours_are_kept(name: str) -> None:
    row, reason = BAD_ROWS[name]
    if name == "bytes that are no text":
        parts = (b"X\5\0\0\0firstK\1K\1\x86\x86", b"U\2\xff\xfeK\1K\1\x86\x86", b"X\4\0\0\0lastK\2K\2\x86\x86")
        found = decode(frame(b"](" + b"".join(parts) + b"e."), NOW_MS)
    else:
        found = decoded([("first", (1, 1)), row, ("last", (2, 2))])
    assert found.refusals.count_by_reason == {reason: 1}
    assert rows_of(found) == [("first", 1_000, 1.0), ("last", 2_000, 2.0)]


def test_minus_one_is_now_and_fractions_of_seconds_stay() -> None:
    found = decoded([("a", (-1, 1)), ("b", (1_700_000_000.25, "2.5"))])
    assert rows_of(found) == [("a", NOW_MS, 1.0), ("b", 1_700_000_000_250, 2.5)]


REASONS = {"bad_pickle", "unsafe_pickle", "bad_item", "not_a_number", "nan", "bad_timestamp", "invalid_utf8"} | {
    "too_far_in_future"
}
GOOD = pickle.dumps([("a.b", (1_700_000_000, 1.5)), ("c", ("1", True))], 2)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.integers(0, len(GOOD)))
def test_a_changed_or_cut_pickle_is_read_or_refused(at: int, byte: int, end: int) -> None:
    changed = bytearray(GOOD)
    changed[at] = byte
    for text in (bytes(changed), GOOD[:end], bytes(changed[:end])):
        found = decode(frame(text), NOW_MS)
        assert found.refusals.count_by_reason.keys() <= REASONS
        assert len(found) <= 2


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(0, 200), max_size=6))
def test_frames_are_cut_alike_in_whatever_pieces_they_come(texts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(frame, texts)) + b"\0\0\0\5half"
    cutter = FrameCutter(lambda _: pytest.fail("no frame is too long"))
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    found = b"".join(cutter.cut(stream[start:end]) for start, end in pairwise(places))
    assert [text for _, text in frames_of(found)] == texts
    assert cutter.end() == b"\0\0\0\5half"


def test_a_frame_that_is_too_long_is_told_once_and_ends_the_stream() -> None:
    told: list[bytes] = []
    cutter = FrameCutter(told.append)
    assert cutter.cut(frame(b"ok") + b"servers.web1 1 1700000000\n") == frame(b"ok")
    assert told == [b"servers.web1 1 1700000000\n"]
    assert cutter.is_lost
    assert cutter.cut(frame(b"ok")) == b""
    assert cutter.half_bytes == 0

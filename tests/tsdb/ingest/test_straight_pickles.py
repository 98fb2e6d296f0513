"""Frames read in columns give what they give opcode by opcode. A byte behind a pickle's end sends it the slow way."""

from __future__ import annotations

import pickle
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.ingest.graphite.frames import LENGTH_BYTES, frames_of
from tsdb.ingest.graphite.pickles import decode
from tsdb.ingest.graphite.straight import Straight, read_straight

NOW_MS = 1_750_000_000_000
SLOW = b"\0"
Row = tuple[str, tuple[float, float]]


def batch(*texts: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(text)) + text for text in texts)


def straight(data: bytes) -> Straight | None:
    places = [(at + LENGTH_BYTES, at + LENGTH_BYTES + len(text)) for at, text in frames_of(data)]
    return read_straight(data, places)


def rows_of(data: bytes) -> tuple[list[tuple[str, int, float]], dict[str, int]]:
    found = decode(data, NOW_MS)
    rows = zip(found.names.to_list(), found.timestamp_ms.tolist(), found.value.tolist(), strict=True)
    return sorted(rows), found.refusals.count_by_reason


def many(count: int, seed: int) -> list[Row]:
    """Times and values of every width, whose bytes look like the beginnings of rows."""
    rng = random.Random(seed)
    values = (7, 300, 70_000, -1.5, 0x58555855, float.fromhex("0x1.5585558555855p+0"))
    return [(f"Xq.U{rng.randrange(10**6)}r\x86", (1_700_000_000 + i, rng.choice(values))) for i in range(count)]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_frames_of_relays_are_straight(protocol: int) -> None:
    data = batch(*(pickle.dumps(many(500, seed), protocol) for seed in range(20)))
    found = straight(data)
    assert found is not None
    assert set(found.frame.tolist()) == set(range(20))
    rows = [row for seed in range(20) for row in many(500, seed)]
    assert found.names.to_list() == [name for name, _ in rows]
    assert found.seconds.tolist() == [at_s for _, (at_s, _) in rows]
    assert found.value.tolist() == [value for _, (_, value) in rows]


def test_a_frame_that_is_not_straight_leaves_the_others_so() -> None:
    good, odd = pickle.dumps(many(5, 1), 2), pickle.dumps([*many(5, 2), ("none", None)], 2)
    found = straight(batch(odd, good, b"", good, odd))
    assert found is not None
    assert found.frame.tolist() == [1] * 5 + [3] * 5
    rows, refused = rows_of(batch(odd, good, b"", good, odd))
    assert len(rows) == 20
    assert refused == {"bad_item": 2, "bad_pickle": 1}


WHOLE = [pickle.dumps(many(6, seed), protocol) for seed, protocol in enumerate((2, 2, 3, 4, 5))]


@given(st.sampled_from(WHOLE), st.integers(0, 10**6), st.integers(0, 255), st.integers(0, 3))
def test_a_changed_frame_is_read_as_it_is_opcode_by_opcode(text: bytes, at: int, byte: int, cut: int) -> None:
    changed = bytearray(text)
    changed[at % len(changed)] = byte
    del changed[at % len(changed) : at % len(changed) + cut]
    assert rows_of(batch(bytes(changed), WHOLE[0])) == rows_of(batch(bytes(changed) + SLOW, WHOLE[0] + SLOW))


@given(st.lists(st.tuples(st.text(), st.tuples(st.integers(-2, 2**33) | st.floats(), st.integers() | st.floats()))))
def test_any_rows_are_read_as_they_are_opcode_by_opcode(rows: list[Row]) -> None:
    text = pickle.dumps(rows, 2)
    assert rows_of(batch(text)) == rows_of(batch(text + SLOW))

"""Bodies of series that came before: what is known of them must change nothing but the time that reading takes."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tsdb.ingest import remote_write_bytes as wire
from tests.tsdb.ingest.test_remote_write import LIMITS, NOW_MS, bodies, stored
from tsdb.errors import BodyTooLarge, RefusedSample
from tsdb.ingest.raw_names import PADDING, RawNames
from tsdb.ingest.remote_write import body as door
from tsdb.ingest.remote_write.known import KnownSeries

SEEDS = (5, 6)


def body_of(numbers: list[int], values: list[float], at_ms: int = NOW_MS) -> bytes:
    """One sample of each numbered series; their labels have sizes of one byte and of two."""
    series = []
    for number, value in zip(numbers, values, strict=True):
        labels = [("__name__", f"m{number}"), ("pad", "x" * (number * 37 % 150 + 1))]
        series.append(wire.series(labels, [(at_ms, value)]))
    return wire.request(series)


def outcome(raw: bytes, known: KnownSeries | None) -> object:
    """What is stored of a body, and which hashes its names have; or why it is refused."""
    try:
        found = door.decode_snappy(wire.snappy(raw), LIMITS, known)
    except RefusedSample as error:
        return error.reason, str(error)
    assert isinstance(found.names, RawNames)
    hashed = found.names.hashes(SEEDS)
    anew = RawNames.of(found.names.to_list()).hashes(SEEDS)
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(hashed, anew, strict=True))
    return stored(found), found.refusals.ignored_count_by_kind


def is_known(raw: bytes, known: KnownSeries) -> bool:
    return known.read(raw + PADDING, LIMITS.remote_write_series_count_max) is not None


ORDERS = st.lists(st.lists(st.integers(0, 30), max_size=20), min_size=1, max_size=6)


@given(ORDERS, st.randoms(use_true_random=False))
def test_the_same_is_read_whatever_came_before(orders: list[list[int]], rng: random.Random) -> None:
    known = KnownSeries(SEEDS)
    for numbers in orders:
        for _ in range(2):
            values = [rng.choice((0.0, 1.5, float("nan"), 2.0**-1074)) for _ in numbers]
            raw = body_of(numbers, values, NOW_MS + rng.randrange(10**9))
            assert outcome(raw, known) == outcome(raw, None)


@given(bodies(), st.randoms(use_true_random=False))
def test_a_body_that_is_nearly_known_is_read_as_any_other(
    body_and_wanted: tuple[bytes, object], rng: random.Random
) -> None:
    usual = body_of(rng.sample(range(40), 10), [rng.choice((0.0, 1.5)) for _ in range(10)])
    for whole in (body_and_wanted[0], usual):
        known = KnownSeries(SEEDS)
        outcome(whole, known)
        raw = bytearray(whole)
        for _ in range(rng.randrange(1, 3)):
            if raw:
                raw[rng.randrange(len(raw))] = rng.choice((0, 1, 7, 9, 10, 16, 18, 0x7F, 0x80, rng.randrange(256)))
        cut = rng.randrange(len(raw) + 1)
        for changed in (bytes(raw), bytes(raw[:cut]), whole + bytes(raw[cut:])):
            assert outcome(changed, known) == outcome(changed, None)


def test_every_flipped_bit_of_a_known_body_counts() -> None:
    known, whole = KnownSeries(SEEDS), body_of([1, 2, 3], [1.5, 0.0, 2.5])
    outcome(whole, known)
    for bit in range(8 * len(whole)):
        raw = bytearray(whole)
        raw[bit // 8] ^= 1 << bit % 8
        assert outcome(bytes(raw), known) == outcome(bytes(raw), None), bit


def test_the_next_bodies_of_a_sender_are_known_wherever_they_are_cut() -> None:
    known, numbers = KnownSeries(SEEDS), list(range(6_000))
    for start in range(0, 6_000, 2_000):
        outcome(body_of(numbers[start : start + 2_000], [1.0] * 2_000), known)
    assert len(known) == 6_000
    again = [*numbers[700:], *numbers[:700]]
    assert is_known(body_of(again, [2.0] * 6_000, NOW_MS + 15_000), known)
    assert not is_known(body_of([*again[:50], 7_000, *again[50:]], [2.0] * 6_001), known)
    assert not is_known(body_of(numbers[:10], [2.0] * 9 + [0.0]), known), "that one's size is another"


def test_short_stretches_are_given_up() -> None:
    """Each costs as much as hundreds of series: a body of them must not cost a multiple of what it did."""
    known, numbers = KnownSeries(SEEDS), list(range(500))
    outcome(body_of(numbers, [1.0] * 500), known)
    shuffled = random.Random(1).sample(numbers, 500)
    assert not is_known(body_of(shuffled, [1.0] * 500), known)


def test_what_is_known_has_a_bound_and_what_is_out_of_use_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.ingest.remote_write.known._STRANGE_COUNT_MIN", 1_000)
    old, new = body_of(list(range(100)), [1.0] * 100), body_of(list(range(100, 200)), [1.0] * 100)
    known = KnownSeries(SEEDS, bytes_max=len(old) + 40 * 100)
    for _ in range(30):
        outcome(old, known)
    assert len(known) == 100, "of use, and not forgotten"
    outcome(new, known)
    assert is_known(old, known), "no room: the first ones stay"
    for _ in range(20):
        outcome(new, known)
    assert is_known(new, known)
    assert not is_known(old, known)


def test_a_known_body_of_too_many_series_is_refused() -> None:
    known, raw = KnownSeries(SEEDS), body_of(list(range(20)), [1.0] * 20)
    outcome(raw, known)
    with pytest.raises(BodyTooLarge, match="more than 19 series"):
        door.decode_snappy(wire.snappy(raw), replace(LIMITS, remote_write_series_count_max=19), known)

"""Bodies of series that came before: what is known of them must change nothing but the time that reading takes."""

from __future__ import annotations

import random
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tsdb.ingest import remote_write_bytes as wire
from tests.tsdb.ingest.test_remote_write import LIMITS, NOW_MS, bodies, stored
from tsdb.errors import BodyTooLarge, RefusedSample
from tsdb.ingest.raw_names import PADDING, RawNames
from tsdb.ingest.remote_write import block
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


def test_a_series_is_known_in_the_form_that_came_last() -> None:
    known, numbers = KnownSeries(SEEDS), list(range(50))
    outcome(body_of(numbers, [1.0] * 50), known)
    changed = body_of(numbers, [1.0] * 20 + [0.0] + [1.0] * 29)
    assert is_known(changed, known)
    with mock.patch.object(block.Block, "_in_either_form", side_effect=AssertionError("it changed again")):
        assert is_known(changed, known)


@settings(max_examples=25)
@given(st.sampled_from((1, 7, 4_096)), st.sampled_from((0.05, 0.3, 1.0)), st.randoms(use_true_random=False))
def test_values_that_go_to_or_from_zero_cost_only_themselves(count_max: int, share: float, rng: random.Random) -> None:
    known, numbers = KnownSeries(SEEDS), rng.sample(range(150), 30)
    values = [rng.choice((0.0, 1.5)) for _ in numbers]
    with mock.patch.object(block, "SERIES_COUNT_MAX", count_max):
        outcome(body_of(numbers, values), known)
        for at in range(3):
            values = [(1.5 if value == 0 else 0.0) if rng.random() < share else value for value in values]
            raw = body_of(numbers, values, NOW_MS + at)
            bent = bytearray(raw)
            bent[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            assert outcome(bytes(bent), None) == outcome(bytes(bent), known)
            assert outcome(raw, None) == outcome(raw, known)
            assert is_known(raw, known)


@pytest.mark.parametrize("name_bytes", [*range(104, 121), *range(16_355, 16_380)])
def test_a_size_of_more_bytes_because_of_a_value_is_read_right(name_bytes: int) -> None:
    """From 127 on a size takes two bytes, from 16,383 on three: such a series is not kept."""
    name = [("a" * 80, "v" * (name_bytes - 80))]
    known = KnownSeries(SEEDS)
    for value in (1.5, 0.0, 0.0, 2.5):
        raw = wire.request([wire.series(name, [(NOW_MS, value)])])
        assert outcome(raw, known) == outcome(raw, None)


def test_names_that_look_like_samples_do_not_cost_a_try_each() -> None:
    names = [[("__name__", f"m{at}"), ("a", "b" if at % 6 else "\x12\x10\x09")] for at in range(2_000)]
    raw, zeros = (
        wire.request([wire.series(one, [(NOW_MS, value * (at % 2))]) for at, one in enumerate(names)])
        for value in (1.0, 0.0)
    )
    known = KnownSeries(SEEDS)
    outcome(raw, known)
    assert is_known(raw, known)
    with mock.patch.object(block.Block, "read", autospec=True, side_effect=block.Block.read) as read:
        assert outcome(zeros, known) == outcome(zeros, None)
    assert read.call_count < 40


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


def test_short_stretches_are_given_up() -> None:
    """Each costs as much as hundreds of series: a body of them must not cost a multiple of what it did."""
    known, numbers = KnownSeries(SEEDS), list(range(500))
    outcome(body_of(numbers, [1.0] * 500), known)
    shuffled = random.Random(1).sample(numbers, 500)
    assert not is_known(body_of(shuffled, [1.0] * 500), known)


def test_what_is_known_has_a_bound_and_what_is_out_of_use_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.ingest.remote_write.known._STRANGE_COUNT_MIN", 1_000)
    old, new = body_of(list(range(100)), [1.0] * 100), body_of(list(range(100, 200)), [1.0] * 100)
    known = KnownSeries(SEEDS, bytes_max=len(old) + 50 * 100)
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

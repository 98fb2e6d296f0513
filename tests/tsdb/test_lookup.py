"""The vectorised lookup against a dict."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.lookup import HashLookup

# Few distinct hashes and checks, so that keys share hashes, checks and slots all the time.
small_keys = st.tuples(st.sampled_from([0, 1, 2, 2**63, 2**64 - 1]), st.sampled_from([0, 1, 2**64 - 1]))
any_keys = st.one_of(small_keys, st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)))


def columns(keys: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([k[0] for k in keys], np.uint64), np.array([k[1] for k in keys], np.uint64)


@given(st.lists(st.lists(any_keys, max_size=40), max_size=10), st.lists(any_keys, max_size=40))
def test_it_answers_as_a_dict_does(batches: list[list[tuple[int, int]]], asked: list[tuple[int, int]]) -> None:
    lookup, twin = HashLookup(), {}
    for batch in batches:
        new = list(dict.fromkeys(key for key in batch if key not in twin))
        ids = np.arange(len(twin), len(twin) + len(new), dtype=np.int32) * 3
        lookup.insert(*columns(new), ids)
        twin.update(zip(new, ids.tolist(), strict=True))
        asked_now = asked + batch
        assert lookup.find(*columns(asked_now)).tolist() == [twin.get(key, -1) for key in asked_now]
    assert len(lookup) == len(twin)


def test_it_grows_and_finds_every_one_of_many_keys() -> None:
    random = np.random.default_rng(7)
    hashes, checks = random.integers(0, 2**64, (2, 100_000), dtype=np.uint64)
    lookup = HashLookup()
    for start in range(0, 100_000, 7_777):
        piece = slice(start, start + 7_777)
        lookup.insert(hashes[piece], checks[piece], np.arange(100_000, dtype=np.int32)[piece])
    np.testing.assert_array_equal(lookup.find(hashes, checks), np.arange(100_000))
    assert (lookup.find(hashes, checks + np.uint64(1)) == -1).all(), "the check value must agree too"
    assert lookup.size_bytes < 100_000 * 60


def test_keys_that_are_there_and_keys_given_twice_are_refused() -> None:
    lookup = HashLookup()
    lookup.insert(*columns([(1, 1)]), np.array([0], np.int32))
    with pytest.raises(ValueError, match="there already, with id 0"):
        lookup.insert(*columns([(2, 2), (1, 1)]), np.array([1, 2], np.int32))
    with pytest.raises(ValueError, match="twice"):
        lookup.insert(*columns([(2, 2), (2, 3), (2, 2)]), np.array([1, 2, 3], np.int32))
    with pytest.raises(ValueError, match="negative"):
        lookup.insert(*columns([(2, 2)]), np.array([-1], np.int32))
    assert len(lookup) == 1
    assert lookup.find(*columns([(1, 1), (2, 2)])).tolist() == [0, -1]


def test_everything_can_be_forgotten() -> None:
    lookup = HashLookup()
    lookup.insert(*columns([(1, 1), (2, 2)]), np.array([0, 1], np.int32))
    lookup.clear()
    assert len(lookup) == 0
    assert lookup.find(*columns([(2, 2)])).tolist() == [-1]


@pytest.mark.parametrize("has_ids", [True, False])
def test_keys_in_the_order_of_insertion_are_found_whatever_lies_between_them(has_ids: bool) -> None:
    generator = np.random.default_rng(3)
    count = 20_000
    hashes, checks = (generator.integers(0, 2**64, count, np.uint64) for _ in range(2))
    ids = generator.permutation(count).astype(np.int32) if has_ids else np.arange(count, dtype=np.int32)
    lookup = HashLookup(has_ids=has_ids)
    lookup.insert(hashes, checks, ids if has_ids else None)
    for _ in range(40):
        # Stretches of all lengths, also such that end where the keys or a piece end, with strangers between them.
        lengths = generator.choice([1, 2, 255, 256, 257, 1_280, 1_281, 6_000, count], generator.integers(1, 9))
        starts = generator.integers(0, count, lengths.size)
        at = np.concatenate([np.arange(a, min(a + n, count)) for a, n in zip(starts, lengths, strict=True)])
        asked_hashes, asked_checks = hashes[at].copy(), checks[at].copy()
        is_strange = generator.random(at.size) < generator.choice([0, 0.0005, 0.5])
        column = asked_hashes if generator.random() < 0.5 else asked_checks
        column[is_strange] += np.uint64(1)
        np.testing.assert_array_equal(lookup.find(asked_hashes, asked_checks), np.where(is_strange, -1, ids[at]))

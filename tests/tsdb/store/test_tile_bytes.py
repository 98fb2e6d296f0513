"""Tiles decoded with their neighbours have the values that each has alone; those that are damaged are named."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.store.block import decimals, tile, tile_bytes
from tsdb.store.block.tile_bytes import PackedTile, decode_neighbours

LENGTHS = {  # Of the rows of a tile.
    "even": np.full(12, 100),
    "a short first and last": np.array([40, *([100] * 8), 7]),
    "of all lengths": np.array([3, 400, 1, 50, 200]),
    "of one sample": np.ones(300, np.int64),
}


def column(kind: str, lengths: np.ndarray, seed: int) -> np.ndarray:
    """Rows of one kind, one behind the other."""
    random = np.random.default_rng(seed)
    count = int(lengths.sum())
    if kind == "random":
        return random.integers(0, 2**62, count).view(np.float64)
    if kind == "small":
        return random.integers(0, 10, count).astype(float)
    rates = np.repeat(random.uniform(1, 5_000, lengths.size), lengths)
    value = np.cumsum(np.floor(rates * random.uniform(0.8, 1.2, count)))
    if kind == "pages":
        return 4_096.0 * value
    value = value / 100 if kind == "decimals" else value
    if kind == "odd":
        value[[0, count // 2, count - 1]] = np.nan, -0.0, 0.1
    return value


def packed(kind: str, lengths: np.ndarray, seed: int) -> tuple[PackedTile, np.ndarray]:
    value = column(kind, lengths, seed)
    codec, data = tile.encode_values(value, lengths)
    return PackedTile("a block", seed, value.size, tile.CONSTANT, bytes(8), codec, data), value


KINDS = ("counters", "pages", "decimals", "odd", "small", "random")


@given(
    st.lists(
        st.tuples(st.sampled_from(KINDS), st.sampled_from(sorted(LENGTHS)), st.integers(1, 4), st.integers(0, 99)),
        min_size=1,
        max_size=4,
    )
)
def test_neighbours_have_the_values_that_each_has_alone(stretches: list[tuple[str, str, int, int]]) -> None:
    tiles = [packed(kind, LENGTHS[name], seed + at) for kind, name, count, seed in stretches for at in range(count)]
    into = np.full(sum(value.size for _, value in tiles), 7.0)
    assert decode_neighbours([one for one, _ in tiles], into) == []
    wanted = np.concatenate([value for _, value in tiles])
    np.testing.assert_array_equal(into.view(np.uint64), wanted.view(np.uint64))


def test_tiles_that_are_alike_are_decoded_together_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    together: list[int] = []
    decode_alike = decimals.decode_alike

    def counted(columns: list[decimals.Parts], into: np.ndarray) -> None:
        together.append(len(columns))
        decode_alike(columns, into)

    monkeypatch.setattr(decimals, "decode_alike", counted)
    monkeypatch.setattr(tile_bytes, "_TOGETHER_SAMPLE_COUNT", 3 * 1_200)
    tiles = [packed("counters", LENGTHS["even"], seed)[0] for seed in range(5)]
    tiles += [packed("pages", LENGTHS["even"], 1)[0]]
    assert decode_neighbours(tiles, np.empty(6 * 1_200)) == []
    assert together == [3, 2, 1]


def test_tiles_that_differ_in_their_length_alone_are_not_decoded_together() -> None:
    """Their numbers are one constant, and so of any length; the exception tells where each begins."""
    tiles, wanted = [], []
    for sample_count in (1_200, 400):
        value = np.full(sample_count, 5.0)
        value[3] = np.nan
        codec, data = tile.encode_values(value, np.full(sample_count // 100, 100))
        tiles.append(PackedTile("a block", 1, sample_count, tile.CONSTANT, bytes(8), codec, data))
        wanted.append(value)
    parts = [one.decimal_parts() for one in tiles]
    assert len({one.alike for one in parts if one is not None}) == 1
    into = np.empty(1_600)
    assert decode_neighbours(tiles, into) == []
    np.testing.assert_array_equal(into.view(np.uint64), np.concatenate(wanted).view(np.uint64))


DAMAGE = {
    "cut short": lambda data: data[:-1],
    "numbers that are none": lambda data: data[:-200] + bytes(200),
    "numbers of another tile": lambda _: packed("counters", np.full(13, 100), 1)[0].values,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_tile_is_named_and_its_neighbours_are_whole(damage: Callable[[bytes], bytes]) -> None:
    tiles = [packed("counters", LENGTHS["even"], seed) for seed in range(5)]
    hurt = [one for one, _ in tiles]
    hurt[2] = dataclasses.replace(hurt[2], values=damage(hurt[2].values))
    into = np.empty(5 * 1_200)
    ((place, error),) = decode_neighbours(hurt, into)
    assert place == 2
    assert str(error).startswith("a block: tile 2: a decimal column")
    for at in (0, 1, 3, 4):
        np.testing.assert_array_equal(into[1_200 * at : 1_200 * (at + 1)], tiles[at][1])

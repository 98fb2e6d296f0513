"""What a reader keeps decoded: columns of tiles, within their bound."""

from __future__ import annotations

import numpy as np

from tsdb.store.tiles import TileCache, TileColumns

COUNT = 1_000
COLUMN_BYTES = 8 * COUNT


def columns(times: np.ndarray | None = None) -> TileColumns:
    return np.arange(COUNT) if times is None else times, np.zeros(COUNT)


def held(cache: TileCache, count: int) -> list[int]:
    return [number for number in range(count) if cache.get((0, number)) is not None]


def test_tiles_with_times_of_their_own_take_two_columns_each() -> None:
    cache = TileCache(6 * COLUMN_BYTES)
    for number in range(5):
        cache.put((0, number), columns())
    assert held(cache, 5) == [2, 3, 4]


def test_times_that_tiles_share_are_counted_once() -> None:
    cache, times = TileCache(6 * COLUMN_BYTES), np.arange(COUNT)
    for number in range(7):
        cache.put((0, number), columns(times))
    assert held(cache, 7) == [2, 3, 4, 5, 6]


def test_shared_times_count_until_the_last_tile_that_has_them_leaves() -> None:
    cache, times = TileCache(4 * COLUMN_BYTES), np.arange(COUNT)
    for number, own in enumerate((times, times, None, times, None, None)):
        cache.put((0, number), columns(own))
    assert held(cache, 6) == [4, 5]
    cache.put((0, 6), columns(times))  # A column and its times leave for two.
    assert held(cache, 7) == [5, 6]


def test_a_tile_that_is_put_twice_is_kept_once() -> None:
    cache = TileCache(4 * COLUMN_BYTES)
    for number in (0, 0, 0, 1):
        cache.put((0, number), columns())
    assert held(cache, 2) == [0, 1]


def test_the_tile_that_nobody_asked_for_longest_leaves_first() -> None:
    cache = TileCache(4 * COLUMN_BYTES)
    cache.put((0, 0), columns())
    cache.put((0, 1), columns())
    assert cache.get((0, 0)) is not None
    cache.put((0, 2), columns())
    assert held(cache, 3) == [0, 2]


def test_a_cache_that_was_cleared_has_its_whole_room_again() -> None:
    cache = TileCache(4 * COLUMN_BYTES)
    cache.put((0, 0), columns())
    cache.clear()
    for number in (1, 2):
        cache.put((0, number), columns())
    assert held(cache, 3) == [1, 2]

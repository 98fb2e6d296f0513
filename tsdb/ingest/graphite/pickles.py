"""Graphite's pickle protocol: frames of `[(path, (timestamp, value)), …]` → columns.

Frames of one usual form, as relays send them, become columns at once (`straight`). What any other pickle holds is read
by `opcodes`, which can make nothing but plain data; rows that are all alike become columns, of others each is kept or
refused by itself, as a line would be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tsdb.errors import RefusedSample
from tsdb.ingest.decoded import EXAMPLE_BYTES_MAX, Decoded, Refusals
from tsdb.ingest.graphite.exact import SECONDS_MAX, read_timestamp_ms, read_value, refused
from tsdb.ingest.graphite.frames import LENGTH_BYTES, frames_of
from tsdb.ingest.graphite.names import canonical_of
from tsdb.ingest.graphite.opcodes import read_pickle
from tsdb.ingest.graphite.straight import Straight, read_straight
from tsdb.sample import Float64s, Int64s

_NUMBERS = {int, float, bool}
_PAIRS = {tuple, list}
_PAIR_COUNT = 2
# A path may stand in many rows by reference: columns of it may be so many times longer than their frame. 300 characters
# in rows of 20 bytes are 15 times; of a batch of 4 MiB, 128 MiB of paths at most.
PATHS_TIMES_MAX = 32
_NUMBER_LENGTH_MAX = 64  # Of a number that is written as a text.

Columns = tuple[Sequence[str], Int64s, Float64s]


def decode(data: bytes, now_ms: int) -> Decoded:
    """Decode whole frames; now_ms stands in for the timestamp -1. The rows of straight frames come first."""
    refusals = Refusals()
    frames = list(frames_of(data))
    places = [(offset + LENGTH_BYTES, offset + LENGTH_BYTES + len(text)) for offset, text in frames]
    is_done, parts = _straight(read_straight(data, places), len(frames), now_ms)
    for number in np.flatnonzero(~is_done).tolist():
        offset, text = frames[number]
        try:
            rows = read_pickle(text)
            if type(rows) not in _PAIRS:
                raise RefusedSample("bad_pickle", f"the pickle is a {type(rows).__name__}, not a list of metrics")
            assert isinstance(rows, list | tuple)
            found = _alike(rows, now_ms) or _one_by_one(rows, offset, now_ms, refusals)
            if sum(map(len, found[0])) > PATHS_TIMES_MAX * len(text):
                raise RefusedSample("bad_pickle", f"its paths are more than {PATHS_TIMES_MAX} times as long as itself")
        except RefusedSample as error:
            refusals.add(error.reason, text[:EXAMPLE_BYTES_MAX], offset, message=str(error))
        else:
            parts.append((pl.Series("name", found[0], pl.String), *found[1:]))
    return Decoded(
        names=pl.concat([pl.Series("name", [], pl.String), *(part[0] for part in parts)]),
        name_index=None,
        timestamp_ms=np.concatenate([np.empty(0, np.int64), *(part[1] for part in parts)]),
        value=np.concatenate([np.empty(0), *(part[2] for part in parts)]),
        canonical_of=canonical_of,
        refusals=refusals,
    )


def _straight(
    found: Straight | None, frames_count: int, now_ms: int
) -> tuple[npt.NDArray[np.bool_], list[tuple[pl.Series, Int64s, Float64s]]]:
    """Which frames are done with, and their columns; a frame with any row that is doubtful is not."""
    is_done = np.zeros(frames_count, np.bool_)
    if found is None:
        return is_done, []
    is_good, timestamp_ms = _timely(found.seconds, now_ms)
    is_done[found.frame] = True
    is_done[found.frame[~is_good | np.isnan(found.value)]] = False
    kept = is_done[found.frame]
    if kept.all():
        return is_done, [(found.names, timestamp_ms, found.value)]
    return is_done, [(found.names.filter(pl.Series(kept)), timestamp_ms[kept], found.value[kept])]


def _timely(seconds: Float64s, now_ms: int) -> tuple[npt.NDArray[np.bool_], Int64s]:
    """Which times can be kept, and the milliseconds of those."""
    is_now = (seconds > -2) & (seconds <= -1)
    is_good = is_now | ((seconds >= 0) & (seconds <= SECONDS_MAX))
    return is_good, np.where(is_now, now_ms, np.rint(np.where(is_good, seconds, 0) * 1000)).astype(np.int64)


def _alike(rows: Sequence[Any], now_ms: int) -> Columns | None:
    """The columns of rows that are all of texts and numbers in range; None if any is not."""
    if not _are_pairs(rows):
        return None
    names, points = zip(*rows, strict=True)
    if set(map(type, names)) != {str} or not _are_pairs(points):
        return None
    seconds_column, value_column = zip(*points, strict=True)
    if not (set(map(type, seconds_column)) | set(map(type, value_column))) <= _NUMBERS:
        return None
    try:
        seconds, value = np.array(seconds_column, np.float64), np.array(value_column, np.float64)
    except OverflowError:
        return None
    is_good, timestamp_ms = _timely(seconds, now_ms)
    return (names, timestamp_ms, value) if is_good.all() and not np.isnan(value).any() else None


def _are_pairs(found: Sequence[Any]) -> bool:
    return set(map(type, found)) <= _PAIRS and set(map(len, found)) == {_PAIR_COUNT}


def _one_by_one(rows: Sequence[Any], offset: int, now_ms: int, refusals: Refusals) -> Columns:
    names, timestamps_ms, values = [], [], []
    for row in rows:
        try:
            name, timestamp_ms, value = _row(row, now_ms)
        except RefusedSample as error:
            refusals.add(error.reason, _shown(row), offset, message=str(error))
            continue
        names.append(name)
        timestamps_ms.append(timestamp_ms)
        values.append(value)
    return names, np.array(timestamps_ms, np.int64), np.array(values, np.float64)


def _row(row: Any, now_ms: int) -> tuple[str, int, float]:
    """Raises: RefusedSample."""
    if not _are_pairs([row]) or not _are_pairs([row[1]]):
        raise RefusedSample("bad_item", "an item is not (path, (timestamp, value))")
    name, (timestamp, value) = row
    if isinstance(name, bytes):
        raise refused("invalid_utf8")
    if not isinstance(name, str):
        raise RefusedSample("bad_item", f"the path of an item is a {type(name).__name__}, not a text")
    return (
        name,
        read_timestamp_ms(_plain(timestamp, "bad_timestamp"), now_ms),
        read_value(_plain(value, "not_a_number")),
    )


def _plain(found: Any, reason: str) -> bytes:
    """A number as a line would spell it. Raises: RefusedSample."""
    if isinstance(found, str) and len(found) <= _NUMBER_LENGTH_MAX:
        return found.encode(errors="replace")
    if not isinstance(found, int | float):
        raise refused(reason)
    try:
        number = float(found)
    except OverflowError as error:
        raise refused(reason) from error
    return b"nan" if math.isnan(number) else repr(number).encode()


def _shown(row: Any) -> bytes:
    """The path of a refused row, or what stands in its place; never more of a row, which may be anything."""
    while type(row) in _PAIRS and row and row[0] is not row:
        row = row[0]
        if type(row) in _PAIRS:
            return b"a list in place of a path"
    if isinstance(row, str | bytes):
        cut = row[:EXAMPLE_BYTES_MAX]
        return cut.encode() if isinstance(cut, str) else cut
    return type(row).__name__.encode()

"""Which of many byte strings in one array hold a literal, or end with one: by comparing words of it as they lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tsdb.sample import Int64s
from tsdb.store.disk import Bytes
from tsdb.store.text_order import Texts

# Compared at once: the answers stay in the cache.
_PIECE_BYTES = 1 << 17
# What lies between the strings is searched, too; so many times their own length may it be.
_SPAN_TIMES_MAX = 16
_SPAN_BYTES_MIN = 1 << 16


def holding(text: Bytes, values: Texts, numbers: Int64s, literals: Sequence[bytes]) -> Int64s | None:
    """Those of the numbered values that hold one of some literals, none of them empty; None, if it is not worth it."""
    if not numbers.size:
        return numbers
    starts, lengths = values.starts[numbers], values.lengths[numbers].astype(np.int64)
    low, high = int(starts.min()), int((starts + lengths).max())
    if high - low > max(_SPAN_BYTES_MIN, _SPAN_TIMES_MAX * int(lengths.sum())):
        return None
    is_holding = np.zeros(numbers.size, np.bool_)
    for literal in literals:
        places = _places(text, low, high, literal)
        if places.size:
            next_one = np.searchsorted(places, starts)
            there = places[np.minimum(next_one, places.size - 1)]
            is_holding |= (there >= starts) & (there + len(literal) <= starts + lengths)
    return numbers[is_holding]


def ending(text: Bytes, values: Texts, numbers: Int64s, literal: bytes) -> Int64s:
    """Those of the numbered values that end with a literal."""
    for back, byte in enumerate(reversed(literal), start=1):
        lengths = values.lengths[numbers].astype(np.int64)
        there = text[np.maximum(values.starts[numbers] + lengths - back, 0)]
        numbers = numbers[(lengths >= back) & (there == byte)]
    return numbers


def _places(text: Bytes, low: int, high: int, literal: bytes) -> Int64s:
    """Where a literal begins between two places, rising. Needs the slack of text_order behind the text."""
    width = next(width for width in (8, 4, 2, 1) if width <= len(literal))
    dtype = np.dtype(f"<u{width}")
    word = np.frombuffer(literal, dtype, 1)[0]
    found: list[npt.NDArray[np.int64]] = []
    for at in range(low, high - len(literal) + 1, _PIECE_BYTES):
        count = min(_PIECE_BYTES, high - len(literal) + 1 - at)
        words = np.ndarray((count,), dtype, text, offset=at, strides=(1,))
        places = at + np.flatnonzero(words == word)
        for further in range(width, len(literal)):
            if not places.size:
                break
            places = places[text[places + further] == literal[further]]
        if places.size:
            found.append(places)
    return np.concatenate(found) if found else np.empty(0, np.int64)

"""Sorting many byte strings that lie in one array, without a Python object for any of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tsdb.sample import Int64s
from tsdb.store.disk import Bytes

UInt64s = npt.NDArray[np.uint64]

SLACK_BYTES = 8  # What may be read behind the last string: an array of text has to be so much longer.
_WORD_BYTES = 8
_ONES = np.uint64(0x0101010101010101)
# By the number of bytes that are still part of the string: which bytes of a word count.
_MASKS = np.array([(0xFFFFFFFFFFFFFFFF << (8 * (8 - kept))) & 0xFFFFFFFFFFFFFFFF for kept in range(9)], np.uint64)


class Texts(NamedTuple):
    """Byte strings by their places in an array that holds the byte 0xFF in none of them."""

    starts: Int64s
    lengths: npt.NDArray[np.uint32]

    def taken(self, where: npt.NDArray[np.integer] | npt.NDArray[np.bool_] | slice) -> Texts:
        return Texts(self.starts[where], self.lengths[where])

    def at(self, text: Bytes, number: int) -> bytes:
        start = int(self.starts[number])
        return text[start : start + int(self.lengths[number])].tobytes()

    @staticmethod
    def joined(parts: Sequence[Texts]) -> Texts:
        return Texts(np.concatenate([part.starts for part in parts]), np.concatenate([part.lengths for part in parts]))


def ordered_texts(text: Bytes, texts: Texts) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """The order in which the strings rise, and for each place in it whether its string differs from the one before.

    Equal strings stand in the order in which they came. Works from left to right, a word at a time: what is told apart
    already is not looked at again.
    """
    count = texts.starts.size
    order = np.arange(count)
    is_first = np.zeros(count, np.bool_)
    is_first[:1] = True
    words = np.ndarray((text.size - SLACK_BYTES + 1,), "<u8", buffer=text, strides=(1,))
    places = np.arange(
        count
    )  # In the order, of the strings that are not told apart yet; those of a group side by side.
    at = 0
    while places.size:
        group = np.cumsum(is_first[places]) - 1
        width = (64 - int(group[-1]).bit_length()) // 8
        left = texts.lengths[order[places]].astype(np.int64) - at
        key = _words(words, texts.starts[order[places]] + at, np.minimum(left, width))
        if width < _WORD_BYTES:
            key = (key >> np.uint64(8 * (_WORD_BYTES - width))) | (group.astype(np.uint64) << np.uint64(8 * width))
        if not (key[1:] >= key[:-1]).all():
            by_key = np.argsort(key)
            key, left = key[by_key], left[by_key]
            order[places] = order[places[by_key]]
        is_first[places[1:]] |= key[1:] != key[:-1]
        # A string that ended inside this word differs from every other that did not, so all of a group go on, or none.
        same = key[1:] == key[:-1]
        is_tied = np.zeros(places.size, np.bool_)
        is_tied[1:] = same
        is_tied[:-1] |= same
        places = places[is_tied & (left >= width)]
        at += width
    if not is_first.all():
        number = np.cumsum(is_first)
        order = order[np.lexsort((order, number))]
    return order, is_first


def _words(words: npt.NDArray[np.uint64], starts: Int64s, kept: Int64s) -> UInt64s:
    """The next bytes of strings as numbers that sort as they do: a byte counts one more than it is, an end counts 0."""
    mask = _MASKS[kept]
    key: UInt64s = words[starts].byteswap()  # Big-endian; 0xFF, to which one more cannot be added, is behind the mask.
    key &= mask
    key += _ONES & mask
    return key

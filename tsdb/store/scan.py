"""Finding series by the text of a label, without an index: for those that came a moment ago."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tsdb.sample import SEPARATOR, Int32s, Int64s, Matcher, MatchOp
from tsdb.store.disk import Bytes
from tsdb.store.postings import value_test

# Looked through at once; a copy of them is made, of about 5 MB.
_PIECE_COUNT = 50_000
# Series that hold the text and are looked at one by one, at about 5 µs each; with more the index is worth its while.
_FOUND_COUNT_MAX = 2_000


def scanned(text: Bytes, ends: Int64s, first: int, end: int, matchers: Sequence[Matcher]) -> Int32s | None:
    """The ids of the series first … end - 1 that satisfy every matcher, rising; None where an index is better.

    One matcher has to say what a label is. Memory is searched at some GB a second: 20 ms for a million series.
    Raises: RefusedQuery, if a regex is wrong.
    """
    needle = max((_needle(matcher) for matcher in matchers), key=len, default=b"")
    if not needle:
        return None
    tests = [(matcher.name.encode(), value_test(matcher)) for matcher in matchers]
    found: list[int] = []
    looked_at_count = 0
    for start in range(first, end, _PIECE_COUNT):
        edges = ends[start : min(end, start + _PIECE_COUNT) + 1]
        data = text[int(edges[0]) : int(edges[-1])].tobytes()
        at = data.find(needle)
        while at >= 0:
            looked_at_count += 1
            if looked_at_count > _FOUND_COUNT_MAX:
                return None
            number = int(np.searchsorted(edges, int(edges[0]) + at, side="right")) - 1
            low, high = (int(edge) - int(edges[0]) for edge in edges[number : number + 2])
            value_of = _value_of(data[low:high])
            if all(test(value_of.get(name, b"")) for name, test in tests):
                found.append(start + number)
            at = data.find(needle, high)
    return np.array(found, np.int32)


def _needle(matcher: Matcher) -> bytes:
    """The bytes that each series has which satisfies the matcher; empty, if there are none."""
    if matcher.op is not MatchOp.EQUAL or not matcher.value:
        return b""
    return matcher.name.encode() + SEPARATOR + matcher.value.encode() + SEPARATOR


def _value_of(canonical: bytes) -> dict[bytes, bytes]:
    parts: Iterable[bytes] = canonical.split(SEPARATOR)[:-1]
    parts = iter(parts)
    return dict(zip(parts, parts, strict=True))

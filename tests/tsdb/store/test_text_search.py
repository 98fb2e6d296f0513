"""Literals in many strings at once, against `in` and endswith()."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tsdb.store.stores import labels
from tests.tsdb.store.test_postings import index_of
from tsdb.sample import Matcher, MatchOp
from tsdb.store.text_order import SLACK_BYTES, Texts
from tsdb.store.text_search import ending, holding

strings = st.text("abü", max_size=12).map(str.encode)
literals = st.text("abü", min_size=1, max_size=12).map(str.encode)


@given(st.lists(strings, max_size=8), st.lists(literals, min_size=1, max_size=3), st.integers(1, 9), st.data())
def test_strings_that_hold_a_literal_or_end_with_one_are_found(
    texts: list[bytes], wanted: list[bytes], piece_bytes: int, data: st.DataObject
) -> None:
    # The strings lie in the order of other ones, with text between them, and the first and last byte may be theirs.
    lying = data.draw(st.permutations(range(len(texts))))
    array = b"".join(texts[number] + data.draw(strings) for number in lying)
    starts = np.array([array.find(text) for text in texts], np.int64)
    values = Texts(starts, np.array([len(text) for text in texts], np.uint32))
    numbers = np.array(data.draw(st.lists(st.integers(0, len(texts) - 1), unique=True)) if texts else [], np.int64)
    text = np.frombuffer(array + bytes(SLACK_BYTES), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsdb.store.text_search._PIECE_BYTES", piece_bytes)
        found = holding(text, values, numbers, wanted)
    assert found is not None
    assert found.tolist() == [at for at in numbers.tolist() if any(literal in texts[at] for literal in wanted)]
    ends = ending(text, values, numbers, wanted[0])
    assert ends.tolist() == [at for at in numbers.tolist() if texts[at].endswith(wanted[0])]


def test_strings_that_lie_far_apart_are_not_looked_for_so() -> None:
    text = np.zeros(1 << 20, np.uint8)
    far = Texts(np.array([0, (1 << 20) - 100], np.int64), np.array([3, 3], np.uint32))
    assert holding(text, far, np.arange(2), [b"a"]) is None


OVERLAPS = [  # (pattern, values, those of them that match)
    ("ab.*ba", ["aba", "abba", "abxba"], [1, 2]),
    (".*ab.*", ["a", "b", "ab", "xabx", "ba"], [2, 3]),
    (".*ab", ["b", "ab", "aba", "bab"], [1, 3]),
    ("b.*ab.*", ["ab", "bab", "bb"], [1]),
    (".*ab.*b", ["ab", "abb"], [1]),
]


@pytest.mark.parametrize(("pattern", "values", "matching"), OVERLAPS, ids=[row[0] for row in OVERLAPS])
def test_literals_of_a_pattern_do_not_overlap(pattern: str, values: list[str], matching: list[int]) -> None:
    index = index_of(*(labels(job=value) for value in values))
    assert index.match([Matcher("job", MatchOp.REGEX, pattern)]).tolist() == matching

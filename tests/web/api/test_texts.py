"""Columns of texts are put together as a loop over bytes objects would."""

from __future__ import annotations

from itertools import chain

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from web.api.texts import Texts, joined_in_pairs

TEXT = st.binary(max_size=30).map(lambda text: text.replace(b"\n", b" "))


@given(st.lists(st.tuples(TEXT, TEXT), max_size=20))
def test_pairs_are_joined_as_by_a_loop(pairs: list[tuple[bytes, bytes]]) -> None:
    left, right = (Texts.of([pair[side] for pair in pairs]) for side in (0, 1))
    joined, ends = joined_in_pairs(left, right)
    assert joined.tobytes() == b"".join(chain.from_iterable(pairs))
    assert ends.tolist() == np.cumsum([len(a) + len(b) for a, b in pairs], dtype=np.int64).tolist()
    assert left.listed() == [a for a, _ in pairs]


def test_pairs_over_several_stages_are_whole() -> None:
    """Goal: nothing that is copied too much stays. Method: short texts behind long ones, 20,000 of each."""
    random = np.random.default_rng(11)
    left, right = (
        [bytes([65 + number % 26]) * int(length) for number, length in enumerate(random.choice([0, 1, 2, 40], 20_000))]
        for _ in range(2)
    )
    joined, _ = joined_in_pairs(Texts.of(left), Texts.of(right))
    assert joined.tobytes() == b"".join(chain.from_iterable(zip(left, right, strict=True)))


def test_some_texts_are_replaced_and_some_taken() -> None:
    texts = Texts.between_commas(b"[1,22.5,-3]").with_texts(np.array([1]), [b"+Inf"])
    assert texts.listed() == [b"1", b"+Inf", b"-3"]
    assert texts.taken(np.array([2, 2, 0])).listed() == [b"-3", b"-3", b"1"]

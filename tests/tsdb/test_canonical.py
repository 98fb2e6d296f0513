"""A column of canonical bytes against a list of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.canonical import CanonicalColumn, series_keys
from tsdb.sample import series_key

any_series = st.lists(
    st.binary(max_size=5) | st.text("a\u00fc", max_size=4).map(lambda text: text.encode() + b"\xffv\xff")
)


@given(any_series, any_series, st.integers(-9, 9), st.integers(-9, 9), st.data())
def test_it_is_the_list_that_it_was_made_of(
    series: list[bytes], others: list[bytes], start: int, stop: int, data: st.DataObject
) -> None:
    column = CanonicalColumn.of(series)
    assert CanonicalColumn.of(column) is column
    assert (len(column), list(column)) == (len(series), series)
    assert [column[at] for at in range(-len(series), len(series))] == series * 2
    assert list(column[start:stop]) == series[start:stop]
    assert list(column[start:stop][1:]) == series[start:stop][1:]
    assert list(CanonicalColumn.joined((column[:start], CanonicalColumn.of(others)))) == series[:start] + others
    assert list(CanonicalColumn.from_lengths(column.text, column.lengths)) == series
    where = np.array(data.draw(st.lists(st.booleans(), min_size=len(series), max_size=len(series))), np.bool_)
    kept = [one for one, is_kept in zip(series, where, strict=True) if is_kept]
    assert list(column.kept(where)) == kept
    assert series_keys(column) == series_keys(series) == b"".join(map(series_key, series))
    with pytest.raises(IndexError):
        column[len(series)]


def is_canonical(one: bytes) -> bool:
    return one.endswith(b"\xff") and one.count(b"\xff") % 2 == 0


@given(
    st.lists(st.sampled_from([b"", b"a", b"a\xff", b"a\xffb\xff", b"a\xffb\xffc", b"\xff", b"\xff\xff"]), max_size=6)
)
def test_the_first_series_that_is_not_canonical_is_found(series: list[bytes]) -> None:
    wrong = [at for at, one in enumerate(series) if not is_canonical(one)]
    assert CanonicalColumn.of(series).fault() == (wrong[0] if wrong else None)


@pytest.mark.parametrize("lengths", [[2, 2], [5], [2**32 - 1, 4], []])
def test_lengths_that_are_not_those_of_the_text_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="3 bytes of series"):
        CanonicalColumn.from_lengths(np.zeros(3, np.uint8), np.array(lengths, np.uint32))

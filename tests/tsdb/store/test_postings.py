"""Matchers on the inverted index, against the plain meaning of a matcher."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tsdb.matching import satisfies
from tests.tsdb.store.stores import labels
from tests.tsdb.store.test_model import SERIES, matchers
from tsdb.errors import QueryTooLarge, RefusedQuery
from tsdb.sample import Matcher, MatchOp, canonical_bytes
from tsdb.store.index import Keys, SeriesIndex


def index_of(*series: object) -> SeriesIndex:
    index = SeriesIndex()
    index.add([canonical_bytes(one) for one in series])  # type: ignore[arg-type]
    return index


@given(st.lists(matchers, max_size=4), st.lists(st.sampled_from(SERIES), unique=True), st.integers(0, 8))
def test_matching_is_what_each_matcher_says_of_each_series(wanted: list[Matcher], series: list, cut: int) -> None:
    index = index_of(*series[:cut])
    index.match([])  # The second part is indexed later than the first.
    index.add([canonical_bytes(one) for one in series])
    expected = [number for number, one in enumerate(series) if satisfies(one, wanted)]
    assert index.match(wanted).tolist() == expected


def test_ids_keys_and_bytes_come_back() -> None:
    index = index_of(*SERIES)
    canonical = [canonical_bytes(one) for one in SERIES]
    ids = np.arange(len(SERIES))
    assert index.canonical_of(ids) == canonical
    assert index.labels_of(ids[::-1]) == SERIES[::-1]
    assert index.keys_of(ids).to_bytes() == Keys.of(canonical).to_bytes()
    assert index.add(canonical[::-1]).tolist() == ids[::-1].tolist()


def test_many_series_keep_their_bytes_while_the_arrays_grow() -> None:
    canonical = [canonical_bytes(labels(name="x" * (number % 50), host=str(number))) for number in range(5_000)]
    index = SeriesIndex()
    for start in range(0, len(canonical), 700):
        index.add(canonical[start : start + 700])
    assert index.canonical_of(np.arange(5_000)) == canonical
    assert index.canonical_of(np.array([4_999, 3])) == [canonical[4_999], canonical[3]]


def test_series_of_one_shape_share_a_rank() -> None:
    index = index_of(
        labels(name="servers.host1.cpu.user"),
        labels(name="servers.host1.mem.free"),
        labels(name="servers.host22.cpu.user"),
        labels(name="http_requests_total", code="200"),
        labels(name="http_requests_total", code="500"),
    )
    rank = index.shape_rank(np.arange(5)).tolist()
    assert rank[0] == rank[2] != rank[1]
    assert rank[3] == rank[4] != rank[0]
    assert sorted(set(rank)) == [0, 1, 2]


def test_a_wrong_regex_is_refused() -> None:
    with pytest.raises(RefusedQuery, match="label a: the regular expression"):
        index_of(SERIES[0]).match([Matcher("a", MatchOp.NOT_REGEX, "*")])


def test_a_regex_that_takes_too_long_for_the_values_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.store.postings._LOOKING_S_MAX", -1.0)
    with pytest.raises(QueryTooLarge, match=r"label job: 'a\.\+' has not been compared with all 2 values within"):
        index_of(labels(job="a"), labels(job="b")).match([Matcher("job", MatchOp.REGEX, "a.+")])

"""Matchers on the inverted index, against the plain meaning of a matcher."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tsdb.matching import satisfies
from tests.tsdb.store.stores import labels
from tests.tsdb.store.test_model import SERIES, matchers
from tsdb.errors import QueryTooLarge, RefusedQuery
from tsdb.sample import Labels, Matcher, MatchOp, canonical_bytes, labels_from
from tsdb.store.index import Keys, SeriesIndex
from tsdb.store.text_order import SLACK_BYTES, Texts, ordered_texts


def index_of(*series: object) -> SeriesIndex:
    index = SeriesIndex()
    index.add([canonical_bytes(one) for one in series])  # type: ignore[arg-type]
    return index


@pytest.fixture(scope="module")
def _small_parts() -> Iterator[None]:
    """Segments of two series, and sets where three series share a value: a few series meet every border there is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsdb.store.index._INDEX_STEP_COUNT", 2)
        patch.setattr("tsdb.store.postings._SET_SERIES_COUNT_MIN", 3)
        yield


@pytest.mark.usefixtures("_small_parts")
@given(st.lists(matchers, max_size=4), st.lists(st.sampled_from(SERIES), unique=True), st.integers(0, 8))
def test_matching_is_what_each_matcher_says_of_each_series(wanted: list[Matcher], series: list, cut: int) -> None:
    index = index_of(*series[:cut])
    index.match([])  # The second part is indexed later than the first.
    index.add([canonical_bytes(one) for one in series])
    expected = [number for number, one in enumerate(series) if satisfies(one, wanted)]
    assert index.match(wanted).tolist() == expected


@given(st.lists(matchers, max_size=4), st.lists(st.sampled_from(SERIES), unique=True), st.integers(0, 8))
def test_series_without_postings_are_found_as_those_with(wanted: list[Matcher], series: list, cut: int) -> None:
    index = index_of(*series[:cut])
    index.match([])
    index.add([canonical_bytes(one) for one in series])
    expected = [number for number, one in enumerate(series) if satisfies(one, wanted)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsdb.store.index._SCAN_COUNT_MIN", 1)
        patch.setattr("tsdb.store.scan._PIECE_COUNT", 2)
        patch.setattr("tsdb.store.scan._FOUND_COUNT_MAX", 3)
        assert index.match(wanted).tolist() == expected


def test_many_new_series_are_looked_through_and_leave_the_postings_for_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: the first query after a million new series does not wait for postings of them, where it needs none."""
    monkeypatch.setattr("tsdb.store.index._SCAN_COUNT_MIN", 300)
    monkeypatch.setattr("tsdb.store.scan._FOUND_COUNT_MAX", 299)
    index = index_of(*(labels(name="m", host=f"h{number}") for number in range(300)))
    assert index.match([Matcher("host", MatchOp.EQUAL, "h77")]).tolist() == [77]
    assert index.match([Matcher("host", MatchOp.EQUAL, "h7")]).tolist() == [7]
    assert index.match([Matcher("ost", MatchOp.EQUAL, "h77")]).tolist() == []
    assert not index._segments
    assert len(index.match([Matcher("__name__", MatchOp.EQUAL, "m")])) == 300
    assert index._segments


def test_series_that_are_looked_through_again_and_again_get_postings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a service whose queries all name a label's value does not search through the text for ever."""
    monkeypatch.setattr("tsdb.store.index._SCAN_COUNT_MIN", 300)
    monkeypatch.setattr("tsdb.store.index._SCANS_MAX", 3)
    index = index_of(*(labels(name="m", host=f"h{number}") for number in range(300)))
    had_postings = []
    for _ in range(5):
        had_postings.append(bool(index._segments))
        assert index.match([Matcher("host", MatchOp.EQUAL, "h77")]).tolist() == [77]
    assert had_postings == [False, False, False, False, True]
    index.add([canonical_bytes(labels(name="n", host=f"h{number}")) for number in range(300)])
    segments = index._segments
    assert index.match([Matcher("host", MatchOp.EQUAL, "h77")]).tolist() == [77, 377]
    assert index._segments == segments, "what came a moment ago is looked through again"


texts = st.text("ab\x00ü", max_size=20)
label_sets = st.dictionaries(st.sampled_from(["__name__", "job", "a", "ab"]), texts, min_size=1, max_size=4).filter(
    lambda pairs: any(pairs.values())
)


@pytest.mark.usefixtures("_small_parts")
@given(st.lists(label_sets.map(labels_from), unique=True, max_size=12), st.lists(st.booleans(), min_size=12), texts)
def test_names_values_and_counts_are_those_of_the_series(series: list[Labels], wanted: list[bool], value: str) -> None:
    index = index_of(*series)
    is_wanted = np.array(wanted[: len(series)], np.bool_)
    chosen = [one for one, is_in in zip(series, wanted, strict=False) if is_in]
    ids = np.flatnonzero(is_wanted).astype(np.int32)
    assert sorted(index.label_names(ids)) == sorted({name for one in chosen for name, _ in one})
    for name in ("__name__", "job", "a", "ab", "b"):
        values = [dict(one)[name] for one in chosen if name in dict(one)]
        assert sorted(index.label_values(name, ids)) == sorted(set(values))
        assert index.count_by_value(name, is_wanted) == {k.encode(): n for k, n in Counter(values).items()}
        for op in MatchOp:
            wants = [Matcher(name, op, re.escape(value) if op in (MatchOp.REGEX, MatchOp.NOT_REGEX) else value)]
            assert index.match(wants).tolist() == [at for at, one in enumerate(series) if satisfies(one, wants)]


@given(st.lists(st.text("ab\x00", max_size=20).flatmap(lambda text: st.sampled_from([text, text + "cccccccc"]))))
def test_texts_are_ordered_as_bytes_are(texts: list[str]) -> None:
    encoded = [text.encode() for text in texts]
    array = np.frombuffer(b"\xff".join([b"", *encoded, b""]) + bytes(SLACK_BYTES), np.uint8)
    lengths = np.array([len(text) for text in encoded], np.uint32)
    starts = np.cumsum([1, *(len(text) + 1 for text in encoded)])[:-1]
    order, is_first = ordered_texts(array, Texts(starts, lengths))
    expected = sorted(range(len(encoded)), key=lambda at: (encoded[at], at))
    assert order.tolist() == expected
    assert is_first.tolist() == [not at or encoded[one] != encoded[expected[at - 1]] for at, one in enumerate(expected)]


@given(st.lists(st.text("aü.b", max_size=5), unique=True, max_size=12), st.text("aü.b", max_size=5))
def test_dots_that_stand_for_any_character_find_what_the_pattern_says(texts: list[str], pattern: str) -> None:
    series = [labels(job=text, n=str(number)) for number, text in enumerate(texts)]
    for more in ("", ".*", "+"):
        wants = [Matcher("job", MatchOp.REGEX, (pattern or "a") + more)]
        assert index_of(*series).match(wants).tolist() == [at for at, one in enumerate(series) if satisfies(one, wants)]


literals = st.sampled_from(["a", "b", "ab", "aab", "abababab", "ababababab", "ü"])
parts_of_patterns = st.lists(literals | st.sampled_from([".*", ".+", ".", "(a|bb)", "[ab]", "(ab)?"]), max_size=5)


@pytest.mark.parametrize("span_bytes", [0, 1 << 16], ids=["one by one", "as they lie"])
@given(
    st.lists(st.lists(literals, max_size=4).map("".join), unique=True, max_size=12),
    parts_of_patterns.map("".join),
    st.integers(1, 40),
)
def test_patterns_find_what_they_say_of_each_value_and_remember_it(
    span_bytes: int, texts: list[str], pattern: str, piece_bytes: int
) -> None:
    series = [labels(name="m", job=text, pad="ab" * (number % 7)) for number, text in enumerate(texts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsdb.store.postings._KNOWN_VALUES_COUNT_MIN", 1)
        patch.setattr("tsdb.store.postings._KNOWN_COUNT_MAX", 1)
        patch.setattr("tsdb.store.text_search._SPAN_BYTES_MIN", span_bytes)
        patch.setattr("tsdb.store.text_search._SPAN_TIMES_MAX", span_bytes)
        patch.setattr("tsdb.store.text_search._PIECE_BYTES", piece_bytes)
        index = index_of(*series)
        for one in (pattern, f".*{pattern}", f"{pattern}.*", f"(.*{pattern}|b)", pattern):
            for op in (MatchOp.REGEX, MatchOp.NOT_REGEX, MatchOp.REGEX):
                wants = [Matcher("job", op, one)]
                assert index.match(wants).tolist() == [at for at, has in enumerate(series) if satisfies(has, wants)]


def test_the_segments_of_an_index_stay_few() -> None:
    index = SeriesIndex()
    for number in range(300):
        index.add([canonical_bytes(labels(name=f"m{number}"))])
        assert index.match([Matcher("__name__", MatchOp.EQUAL, f"m{number // 2}")]).tolist() == [number // 2]
    assert len(index._segments) <= 9


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


@given(st.lists(st.text("a.1é9", min_size=1, max_size=12), unique=True), st.integers(1, 60), st.integers(1, 9))
def test_shapes_are_what_is_left_without_parts_that_hold_digits(names: list[str], piece_bytes: int, cut: int) -> None:
    index = SeriesIndex()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsdb.store.shapes._PIECE_BYTES", piece_bytes)
        for start in range(0, len(names), cut):
            index.add([canonical_bytes((("a1", name), ("b.2.c", name))) for name in names[start : start + cut]])
            index.shape_rank(np.arange(0))
        shapes = [re.sub(rb"[^.\xff0-9]*[0-9][^.\xff]*", b"", one) for one in index.canonical_of(np.arange(len(names)))]
        by_text = sorted(set(shapes))
        assert index.shape_rank(np.arange(len(names))).tolist() == [by_text.index(shape) for shape in shapes]


def test_shapes_beyond_their_bound_share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.store.shapes._SHAPES_COUNT_MAX", 2)
    assert index_of(*(labels(name=name) for name in "cabd")).shape_rank(np.arange(4)).tolist() == [1, 0, 0, 0]


def test_a_wrong_regex_is_refused() -> None:
    with pytest.raises(RefusedQuery, match="label a: the regular expression"):
        index_of(SERIES[0]).match([Matcher("a", MatchOp.NOT_REGEX, "*")])


def test_a_regex_that_takes_too_long_for_the_values_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.store.postings._LOOKING_S_MAX", -1.0)
    with pytest.raises(QueryTooLarge, match=r"label job: '\.a\+' has not been compared with all 2 values within"):
        index_of(labels(job="a"), labels(job="b")).match([Matcher("job", MatchOp.REGEX, ".a+")])

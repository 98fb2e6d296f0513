"""Samples as they came, at the steps that a reader of Graphite expects."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.tsdb.query.fixed_source import FixedSource
from tsdb.query.graphite.errors import BadTarget
from tsdb.query.graphite.fetch import StoredSeries, tag_matcher
from tsdb.query.rules.memory import MemorySeries
from tsdb.sample import STALE_NAN, MatchOp, Selection, SharedTimes

AT_S = 1_700_000_000 // 3_600 * 3_600


def source_of(**names: list[tuple[float, float]]) -> MemorySeries:
    source = MemorySeries()
    for name, samples in names.items():
        source.add({"__name__": name}, [(round((AT_S + at_s) * 1_000), value) for at_s, value in samples])
    return source


def test_a_range_begins_after_its_start_and_ends_with_its_end() -> None:
    storage = StoredSeries(source_of(a=[(at_s, float(at_s)) for at_s in range(0, 100, 10)]), now_s=AT_S + 100)
    (series,) = storage.fetch("a", AT_S + 20, AT_S + 50)
    assert (series.start_s, series.end_s, series.step_s) == (AT_S + 30, AT_S + 60, 10)
    assert series.values.tolist() == [30, 40, 50]


@pytest.mark.parametrize("now_s", [130, 100_000])
def test_the_last_step_has_what_came_after_the_end_within_it(now_s: int) -> None:
    source = source_of(a=[(0, 1.0), (60, 2.0), (125, 3.0), (180, 4.0)])
    (series,) = StoredSeries(source, now_s=AT_S + now_s).fetch("a", AT_S - 60, AT_S + 122)
    assert series.values.tolist() == [1, 2, 3]


def test_a_series_that_lives_is_shown_though_the_range_has_nothing_of_it() -> None:
    storage = StoredSeries(source_of(a=[(7_200, 1.0), (7_210, 1.0)]), now_s=AT_S + 7_300)
    (series,) = storage.fetch("a", AT_S, AT_S + 120)
    assert np.isnan(series.values).all()


def test_the_end_of_a_series_is_no_value() -> None:
    storage = StoredSeries(source_of(a=[(0, 1.0), (10, 2.0), (20, float(STALE_NAN))]), now_s=AT_S + 30)
    (series,) = storage.fetch("a", AT_S - 10, AT_S + 20)
    np.testing.assert_array_equal(series.values, [1, 2, math.nan])


def test_a_path_finds_names_without_labels_and_a_tagged_name_those_with_them() -> None:
    source = source_of(a=[(0, 1.0)])
    source.add({"__name__": "a", "dc": "lon"}, [(AT_S * 1_000, 2.0)])
    storage = StoredSeries(source, now_s=AT_S)
    assert [one.name for one in storage.fetch("a", AT_S - 60, AT_S)] == ["a"]
    assert [one.name for one in storage.fetch("a;dc=lon", AT_S - 60, AT_S)] == ["a;dc=lon"]
    assert [one.name for one in storage.fetch_tagged(["name=a"], AT_S - 60, AT_S)] == ["a", "a;dc=lon"]


def test_series_that_share_their_times_have_the_step_that_each_has_alone() -> None:
    times_ms = 1_000 * np.array([AT_S, AT_S + 10, AT_S + 20, AT_S + 30], np.int64)
    value = np.array([1, 2, 3, 4, 5, STALE_NAN, 6, STALE_NAN], np.float64)
    labels = [(("__name__", name),) for name in ("a", "b")]
    for count, steps_s in ((1, [10]), (2, [10, 20])):
        found = Selection(
            labels=labels[:count],
            offsets=np.arange(count + 1) * 4,
            times_ms=SharedTimes(times_ms, count),
            value=value[: count * 4],
        )
        storage = StoredSeries(FixedSource(found), now_s=AT_S + 30)
        assert [one.step_s for one in storage.fetch("*", AT_S, AT_S + 30)] == steps_s


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("dc=lon", ("dc", MatchOp.EQUAL, "lon")),
        ("name!=a", ("__name__", MatchOp.NOT_EQUAL, "a")),
        ("dc=~l.*", ("dc", MatchOp.REGEX, "(?:l.*).*")),
        ("dc!=~^l$", ("dc", MatchOp.NOT_REGEX, "l")),
        ("dc=a=b", ("dc", MatchOp.EQUAL, "a=b")),
    ],
)
def test_a_tag_expression_is_a_matcher(text: str, wanted: tuple[str, MatchOp, str]) -> None:
    matcher = tag_matcher(text)
    assert (matcher.name, matcher.op, matcher.value) == wanted


@pytest.mark.parametrize("text", ["", "dc", "=lon", "d;c=lon"])
def test_a_wrong_tag_expression_is_refused(text: str) -> None:
    with pytest.raises(BadTarget, match="is not of the form tag=value"):
        tag_matcher(text)

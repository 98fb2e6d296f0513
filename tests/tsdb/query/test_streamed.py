"""Aggregations in pieces and labels in coded form give what all cells at once and decoded labels give."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.tsdb.query.coded_source import CodedSource
from tsdb.answer import QueryAnswer
from tsdb.errors import QueryFailed
from tsdb.query import promql
from tsdb.query.promql import Options, streamed
from tsdb.query.promql.label_rows import CodedRows
from tsdb.query.rules.memory import MemorySeries
from tsdb.sample import canonical_bytes, labels_from
from tsdb.store.index import SeriesIndex
from tsdb.store.labels import LabelColumn

LATE = Options(late_name_removal=True)  # Then nothing is streamed: the name is still there.
AGGREGATIONS = ("sum", "avg", "min", "max", "count", "group", "stddev")
GROUPINGS = ("", "by (dc)", "by (dc, host)", "by (none)", "without (host)", "by (dc, __name__)")


@pytest.fixture(scope="module")
def plain() -> MemorySeries:
    """40 series of gauges with both signs, holes, NaN and infinities; one of them has no dc."""
    rng = np.random.default_rng(7)
    source = MemorySeries()
    for number in range(40):
        labels = {"__name__": "m", "host": f"h{number}", "dc": f"dc{number % 3}" if number else ""}
        values = rng.normal(0, 10.0 ** (number % 20), 60)
        values[rng.random(60) < 0.05] = np.nan
        if number == 5:
            values[:30] = np.inf
        times = [time for time in range(60) if rng.random() < 0.8]
        source.add(labels, [(time * 10_000, float(values[time])) for time in times])
    return source


def rows(answer: QueryAnswer) -> dict[tuple[tuple[str, str], ...], dict[int, float]]:
    bounds = answer.offsets.tolist()
    samples = list(zip(answer.timestamp_ms.tolist(), answer.value.tolist(), strict=True))
    return {
        tuple(sorted(labels.items())): dict(samples[bounds[i] : bounds[i + 1]])
        for i, labels in enumerate(answer.labels)
    }


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-12)


@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_pieces_give_what_all_cells_give(
    aggregation: str, grouping: str, plain: MemorySeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: no difference. Method: pieces of few rows, coded labels; against decoded labels, nothing streamed."""
    monkeypatch.setattr(streamed, "PIECE_CELLS", 100)
    for function in ("delta", "sum_over_time", "max_over_time"):
        inner = f"{aggregation} {grouping} ({function}(m[1m]))"
        asked = (0, 590_000, 20_000)
        pieces = rows(promql.range_(inner, *asked, CodedSource(plain)))
        if "__name__" in grouping:
            inner = inner.replace(", __name__", "")  # The function has dropped it.
        whole = rows(promql.range_(inner, *asked, plain, options=LATE))
        assert pieces.keys() == whole.keys()
        for labels, samples in whole.items():
            assert pieces[labels].keys() == samples.keys()
            assert all(same(pieces[labels][time], value) for time, value in samples.items()), (inner, labels)


def test_a_mean_of_sums_beyond_a_float_is_right() -> None:
    source = MemorySeries()
    for number in range(4):
        source.add({"__name__": "m", "a": str(number)}, [(0, 1.5e308)])
    assert promql.instant("avg(last_over_time(m[1m]))", 0, source).value.tolist() == [1.5e308]


def test_two_metrics_that_become_equal_are_refused_or_summed_as_their_values_say() -> None:
    source = MemorySeries()
    source.add({"__name__": "m_total", "a": "1"}, [(0, 1.0), (60_000, 2.0)])
    source.add({"__name__": "n_total", "a": "1"}, [(120_000, 1.0), (180_000, 4.0)])
    expression = 'sum by (a) (delta({__name__=~".+_total"}[1m1s]))'
    for asked in (source, CodedSource(source)):
        answer = promql.range_(expression, 60_000, 180_000, 60_000, asked)
        assert answer.labels == [{"a": "1"}]
        assert answer.value.size == 2
    source.add({"__name__": "n_total", "a": "1"}, [(0, 1.0), (60_000, 4.0)])
    for asked in (source, CodedSource(source)):
        with pytest.raises(QueryFailed, match="same labelset"):
            promql.range_(expression, 60_000, 180_000, 60_000, asked)


FETCHED = {  # expression: what is fetched, in order
    "m / m": ["m"],
    "rate(m[1m]) / rate(m[1m])": ["m"],
    "max_over_time(m[1m]) - min_over_time(m[1m]) + avg_over_time(m[1m])": ["m"],
    "m / sum(m) + n": ["m", "n"],
    "m + m offset 1m": ["m", "m"],
    "rate(m[1m]) + rate(m[2m])": ["m", "m"],
    'm{host="h1"} + m': ["m", "m"],
    "m + max_over_time(m[5m:1m])": ["m", "m"],
}


@pytest.mark.parametrize(("expression", "fetched"), FETCHED.items(), ids=FETCHED)
def test_equal_selectors_of_one_query_are_fetched_once(
    expression: str, fetched: list[str], plain: MemorySeries
) -> None:
    source = CodedSource(plain)
    shared = promql.range_(expression, 300_000, 500_000, 20_000, source)
    assert source.fetched == fetched
    assert rows(shared).keys() == rows(promql.range_(expression, 300_000, 500_000, 20_000, plain)).keys()


def column() -> CodedRows:
    index = SeriesIndex()
    labels = [{"__name__": "m", "a": str(i % 3), "b": f"v{i}"} for i in range(600)] + [{"__name__": "n", "c": "ü"}]
    ids = index.add([canonical_bytes(labels_from(one)) for one in labels])
    return CodedRows(LabelColumn(index, ids[::-1].copy()), ids.size)


def test_codes_say_what_the_decoded_labels_say() -> None:
    labels = column()
    for name in ("__name__", "a", "b", "c", "none"):
        codes, values = labels.codes(name)
        assert [values[code] if code >= 0 else "" for code in codes.tolist()] == [
            dict(row).get(name, "") for row in labels
        ]
        assert sorted(set(values)) == sorted({dict(row)[name] for row in labels if name in dict(row)})
    assert sorted(labels.names()) == ["__name__", "a", "b", "c"]


def test_labels_are_hidden_only_where_no_two_rows_become_equal() -> None:
    labels = column()
    assert labels.without(frozenset({"__name__"})) is None
    one_metric = labels.taken(np.arange(1, 601))
    bare = one_metric.without(frozenset({"__name__"}))
    assert bare is not None
    assert bare[0] == (("a", "2"), ("b", "v599"))
    assert bare.codes("__name__")[1] == []

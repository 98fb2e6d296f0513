"""Aggregations against their dumb twins: groups, absent cells, ties and odd values."""

from __future__ import annotations

import math
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tsdb.query import dumb
from tests.tsdb.query.strategies import GAUGES, NUMBERS, Example, examples
from tests.tsdb.query.test_windows import assert_same, by_series
from tsdb.answer import QueryAnswer
from tsdb.errors import QueryFailed
from tsdb.query import promql
from tsdb.query.promql import Options
from tsdb.query.rules.memory import MemorySeries

LOOKBACK_MS = 5_000
OPTIONS = Options(lookback_ms=LOOKBACK_MS)


def columns(example: Example, *, grouped: bool) -> dict[tuple[str, int], dict[int, float]]:
    """The present values of every (group, step), by series."""
    found: dict[tuple[str, int], dict[int, float]] = defaultdict(dict)
    for i, samples in enumerate(example.series):
        for at_ms in example.times_ms():
            value = dumb.instant(samples, at_ms, LOOKBACK_MS)
            if value is not None:
                found["ab"[i % 2] if grouped else "", at_ms][i] = value
    return found


def ask(example: Example, expression: str) -> QueryAnswer:
    return promql.range_(
        expression, example.start_ms, example.end_ms, example.step_ms, example.source(), options=OPTIONS
    )


def by_group(answer: QueryAnswer) -> dict[tuple[str, int], float]:
    bounds = answer.offsets.tolist()
    return {
        (labels.get("g", ""), int(answer.timestamp_ms[at])): float(answer.value[at])
        for i, labels in enumerate(answer.labels)
        for at in range(bounds[i], bounds[i + 1])
    }


@pytest.mark.parametrize("clause", ["", "by (g)", "without (i)"])
@pytest.mark.parametrize("name", dumb.AGGREGATIONS)
@given(example=examples(NUMBERS))
def test_aggregations_agree_with_the_twin(name: str, clause: str, example: Example) -> None:
    cells = columns(example, grouped=bool(clause))
    wanted = {key: dumb.AGGREGATIONS[name](list(values.values())) for key, values in cells.items()}
    assert_same(wanted, by_group(ask(example, f"{name} {clause} (m)")))


@pytest.mark.parametrize("name", ["min", "max", "count", "group"])
@given(example=examples(GAUGES))
def test_aggregations_that_do_not_add_agree_on_odd_values_too(name: str, example: Example) -> None:
    cells = columns(example, grouped=True)
    wanted = {key: dumb.AGGREGATIONS[name](list(values.values())) for key, values in cells.items()}
    assert_same(wanted, by_group(ask(example, f"{name} by (g) (m)")))


@given(example=examples(GAUGES), phi=st.sampled_from([-0.5, 0.0, 0.3, 0.5, 1.0, 1.5]))
def test_quantile_agrees_with_the_twin(example: Example, phi: float) -> None:
    wanted = {key: dumb.quantile(phi, list(v.values())) for key, v in columns(example, grouped=True).items()}
    assert_same(wanted, by_group(ask(example, f"quantile by (g) ({phi}, m)")))


@pytest.mark.parametrize(("name", "sign"), [("topk", -1), ("bottomk", 1)])
@given(example=examples(GAUGES), k=st.integers(0, 4))
def test_the_k_best_of_each_group_are_chosen_earlier_series_first(
    name: str, sign: int, example: Example, k: int
) -> None:
    wanted = {}
    for (_, at_ms), values in columns(example, grouped=True).items():
        ranked = sorted(
            values, key=lambda i: (math.isnan(values[i]), sign * values[i] if values[i] == values[i] else 0)
        )
        wanted |= {(str(i), at_ms): values[i] for i in ranked[:k]}
    assert_same(wanted, by_series(ask(example, f"{name} by (g) ({k}, m)")))


def test_an_instant_answer_of_topk_comes_best_first() -> None:
    source = MemorySeries()
    for i, value in enumerate([3.0, math.nan, 9.0, 5.0]):
        source.add({"__name__": "m", "i": str(i)}, [(0, value)])
    assert [labels["i"] for labels in promql.instant("topk(4, m)", 0, source).labels] == ["2", "3", "0", "1"]
    assert [labels["i"] for labels in promql.instant("bottomk(2, m)", 0, source).labels] == ["0", "3"]
    assert [labels["i"] for labels in promql.instant("sort_desc(m)", 0, source).labels] == ["2", "3", "0", "1"]


def test_a_k_that_is_no_number_is_refused_even_where_nothing_is_selected() -> None:
    with pytest.raises(QueryFailed, match="Parameter value is NaN"):
        promql.instant("topk(NaN, nothing)", 0, MemorySeries())


def test_count_values_writes_values_as_prometheus_does() -> None:
    source = MemorySeries()
    for i, value in enumerate([1.0, 1.0, 0.1, 1e21, math.nan, -math.inf]):
        source.add({"__name__": "m", "i": str(i)}, [(0, value)])
    answer = promql.instant('count_values("v", m)', 0, source)
    counts = dict(zip([labels["v"] for labels in answer.labels], answer.value.tolist(), strict=True))
    assert counts == {"-Inf": 1, "0.1": 1, "1": 2, "1000000000000000000000": 1, "NaN": 1}

"""What an answer tells beside its values: each text once, with its place, and not too many of them."""

from __future__ import annotations

import pytest

from tsdb.answer import QueryAnswer
from tsdb.query import promql
from tsdb.query.promql.annotations import MONOTONICITY, TOLD_COUNT_MAX
from tsdb.query.promql.parse import parse
from tsdb.query.rules.memory import MemorySeries

QUANTILE = "PromQL warning: quantile value should be between 0 and 1, got"
COUNTER = "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket:"


@pytest.fixture(scope="module")
def source() -> MemorySeries:
    source = MemorySeries()
    for name, value in (("m", "1"), ("m_total", "1"), ("n", "2")):
        source.add({"__name__": name, "a": value}, [(0, 1.0), (10_000, 2.0), (20_000, 4.0)])
    for bound, count in (("0.1", 5.0), ("1", 3.0), ("+Inf", 9.0)):
        source.add({"__name__": "falling_bucket", "le": bound}, [(20_000, count)])
    for number in range(TOLD_COUNT_MAX + 5):
        source.add({"__name__": f"bad_bucket_{number}", "le": "much"}, [(20_000, 1.0)])
    return source


def ask(expression: str, source: MemorySeries) -> QueryAnswer:
    return promql.range_(expression, 10_000, 20_000, 10_000, source)


TOLD = {  # expression: (warnings, infos)
    "quantile(0.5, m)": ([], []),
    "quantile(1.5, m)": ([f"{QUANTILE} 1.5 (1:10)"], []),
    "quantile(1.5, nothing)": ([f"{QUANTILE} 1.5 (1:10)"], []),
    "quantile by (a) (NaN, m)": ([f"{QUANTILE} NaN (1:18)"], []),
    "QUANTILE without (a) (\n  -1,\n m)": ([f"{QUANTILE} -1 (2:3)"], []),
    "sum(m) + quantile(2, m) + quantile(3, m)": ([f"{QUANTILE} 2 (1:19)", f"{QUANTILE} 3 (1:36)"], []),
    "quantile(scalar(m), m)": ([f"{QUANTILE} 2 (1:10)", f"{QUANTILE} 4 (1:10)"], []),
    "quantile_over_time(2, m[20s])": ([f"{QUANTILE} 2 (1:20)"], []),
    "quantile_over_time(2, nothing[20s])": ([], []),
    "histogram_quantile(-0.5, nothing)": ([f"{QUANTILE} -0.5 (1:20)"], []),
    "limit_ratio(-1e7, m)": (
        ["PromQL warning: ratio value should be between -1 and 1, got -1e+07, capping to -1 (1:13)"],
        [],
    ),
    "rate(m[20s])": ([], [f'{COUNTER} "m" (1:6)']),
    "rate(m_total[20s])": ([], []),
    "increase(nothing[20s])": ([], []),
    "delta(m[20s])": ([], []),
    'rate({__name__=~"m|n"}[20s])': ([], [f'{COUNTER} "m" (1:6)', f'{COUNTER} "n" (1:6)']),
    "rate(m[20s]) / rate(m[20s])": ([], [f'{COUNTER} "m" (1:6)', f'{COUNTER} "m" (1:21)']),
    "sum by (rate) (rate(m[20s]))": ([], [f'{COUNTER} "m" (1:21)']),
    "max_over_time(rate(m[20s])[20s:10s])": ([], [f'{COUNTER} "m" (1:20)']),
    "histogram_quantile(0.5, falling_bucket)": ([], [f"PromQL info: {MONOTONICITY} (1:25)"]),
    "histogram_quantile(0.5, m)": (
        ['PromQL warning: bucket label "le" is missing or has a malformed value of "" for metric name "m" (1:25)'],
        [],
    ),
}


@pytest.mark.parametrize(("expression", "told"), TOLD.items(), ids=TOLD)
def test_an_answer_tells_what_is_odd_about_it(
    expression: str, told: tuple[list[str], list[str]], source: MemorySeries
) -> None:
    answer = ask(expression, source)
    assert (answer.warnings, answer.infos) == told


def test_of_many_texts_the_first_are_told_and_the_others_counted(source: MemorySeries) -> None:
    warnings = ask('histogram_quantile(0.5, {__name__=~"bad_bucket_.+"})', source).warnings
    assert len(warnings) == TOLD_COUNT_MAX + 1
    assert warnings[-1] == "5 more warning annotations omitted"


def test_where_a_call_stands_does_not_make_it_another() -> None:
    assert parse("rate(m[1m])") == parse("  rate( m[1m] )")

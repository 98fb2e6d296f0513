"""Explore: what may follow at a place, where a mistake is, what an answer shows and costs, and that a link shows it."""

from __future__ import annotations

import html
import json
import re
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest

from tests.tsdb.ingest import remote_write_bytes as wire
from tests.tsdb.ingest.test_metadata import described_1
from tests.web.house import House
from tsdb.query.promql.functions import FUNCTIONS
from tsdb.query.promql.locate import AGGREGATIONS
from tsdb.sample import METRIC_NAME, Matcher, MatchOp
from web.pages.explore.complete import Wanted, metrics_of, place_of
from web.pages.explore.mistake import mistake_of
from web.pages.explore.reading import costs, exact, short_names
from web.pages.explore.vocabulary import WORDS, used_in

CODES = ("200", "404")


def is_(name: str, value: str) -> Matcher:
    return Matcher(name, MatchOp.EQUAL, value)


UP = is_(METRIC_NAME, "up")
PLACES: dict[str, tuple[Wanted, str, dict[str, Any]]] = {  # text before the cursor, |, text after it: what is wanted
    "|": (Wanted.OPERAND, "", {}),
    "ra|": (Wanted.OPERAND, "ra", {}),
    "sum(shop.north|": (Wanted.OPERAND, "shop.north", {}),
    "sum(rate(|": (Wanted.OPERAND, "", {}),
    "up + |": (Wanted.OPERAND, "", {}),
    "up and |": (Wanted.OPERAND, "", {}),
    "clamp(up, |": (Wanted.OPERAND, "", {}),
    "sum b|": (Wanted.KEYWORD, "b", {}),
    "rate(x[5m]) |": (Wanted.KEYWORD, "", {}),
    "up{|": (Wanted.MATCHED_LABEL, "", {"selectors": [[UP]]}),
    'up{job="a", inst|': (Wanted.MATCHED_LABEL, "inst", {"selectors": [[UP, is_("job", "a")]]}),
    '{"a.b", j|': (Wanted.MATCHED_LABEL, "j", {"selectors": [[is_(METRIC_NAME, "a.b")]]}),
    'up{job="|': (Wanted.VALUE, "", {"label": "job", "quote": '"', "selectors": [[UP]]}),
    "up{job!~'sh|op'}": (Wanted.VALUE, "sh", {"label": "job", "quote": "'", "selectors": [[UP]]}),
    '{"a.b", "l.m"="x", j|': (Wanted.MATCHED_LABEL, "j", {"selectors": [[is_(METRIC_NAME, "a.b"), is_("l.m", "x")]]}),
    '{"l.m"="|': (Wanted.VALUE, "", {"label": "l.m", "selectors": []}),
    "up{job=|": (Wanted.VALUE, "", {"label": "job", "quote": "", "selectors": [[UP]]}),
    r'up{a=~"x\"y", b="|': (
        Wanted.VALUE,
        "",
        {"label": "b", "selectors": [[UP, Matcher("a", MatchOp.REGEX, 'x"y')]]},
    ),
    "sum by (|) (up)": (Wanted.LABEL, "", {"selectors": [[UP]]}),
    "sum by (a, j|) (rate(up{b='c'}[5m]))": (Wanted.LABEL, "j", {"selectors": [[UP]]}),
    "a / on (|) b": (Wanted.LABEL, "", {"selectors": [[is_(METRIC_NAME, "a")], [is_(METRIC_NAME, "b")]]}),
    "rate(up[|": (Wanted.DURATION, "", {}),
    "rate(up[5|": (Wanted.DURATION, "5", {}),
    'label_replace(up, "|': (Wanted.NOTHING, "", {}),
    'up{job="a"|': (Wanted.NOTHING, "", {}),
    "up # a comm|": (Wanted.NOTHING, "", {}),
    "12|": (Wanted.NOTHING, "", {}),
}


@pytest.mark.parametrize("text", PLACES)
def test_what_may_follow(text: str) -> None:
    head, _, tail = text.partition("|")
    wanted, word, further = PLACES[text]
    place = place_of(head, tail)
    assert (place.wanted, place.word) == (wanted, word if wanted is not Wanted.NOTHING else place.word)
    assert {name: getattr(place, name) for name in further} == further


def test_every_function_and_aggregation_of_the_engine_is_explained() -> None:
    assert set(WORDS) == set(FUNCTIONS) | AGGREGATIONS
    for word in WORDS.values():
        assert word.sentence.endswith("."), word
        assert len(word.sentence) <= 110, word


def test_the_functions_of_an_expression_are_found_but_not_in_texts() -> None:
    expression = """sum by (min) (rate({__name__="a.count (b)"}[5m])) # avg(x)
        + on (max) a.floor(x) + max(sum without (job) (up))"""
    assert [word.name for word in used_in(expression)] == ["sum", "rate", "max"]


MISTAKES = {  # expression, message: (before, there, after)
    ("up{job=}", '1:8: parse error: unexpected "}"'): ("up{job=", "}", ""),
    ("rate(up[5m]", "1:12: parse error: unclosed left parenthesis"): ("rate(up[5m]", "", ""),
    ("a +\n  foo(b)", "2:3: parse error: unknown function"): ("a +\n  ", "foo", "(b)"),
    ("up", "unknown position: parse error: x"): None,
    ("up", "7:1: parse error: of another text"): None,
    ("up", "1:4: parse error: of another text"): None,
    ("up", "the query took too long"): None,
}


@pytest.mark.parametrize(("asked", "pieces"), MISTAKES.items())
def test_the_place_of_a_mistake(asked: tuple[str, str], pieces: tuple[str, str, str] | None) -> None:
    mistake = mistake_of(*asked)
    assert (mistake and (mistake.before, mistake.there, mistake.after)) == pieces


def test_a_mark_is_counted_as_a_script_counts() -> None:
    mistake = mistake_of('a{b="😀"} c', '1:10: parse error: unexpected identifier "c"')
    assert mistake is not None
    assert (mistake.start, mistake.end) == (10, 11)


def test_names_are_short_by_what_they_share() -> None:
    one, two = ({METRIC_NAME: "m", "job": "a", "code": code} for code in CODES)
    assert short_names([one, two]) == ('m{job="a"}', ['code="200"', 'code="404"'])
    assert short_names([one]) == ("", ['m{code="200", job="a"}'])
    assert short_names([{METRIC_NAME: "m"}, {METRIC_NAME: "n"}]) == ("", ["m", "n"])
    assert short_names([{"a": "1"}, {"a": "1", "b": "2"}]) == ('{a="1"}', ["{}", 'b="2"'])


def test_values_keep_their_digits_and_stages_make_the_whole() -> None:
    assert [exact(value) for value in (3.0, 0.1, float("nan"), float("-inf"))] == ["3", "0.1", "NaN", "-Inf"]
    found = costs({"queue_ms": 1, "parse_ms": 2, "select_ms": 3, "evaluate_ms": 4, "total_ms": 10}, 20.0)
    assert [cost.spent_ms for cost in found] == [1, 2, 3, 4, 10]
    assert sum(cost.share for cost in found) == pytest.approx(1)


@pytest.fixture(scope="module")
def explored(house: House) -> House:
    now_ms = house.services.clock.now_ms()
    samples = [[now_ms - 60_000 + 1_000 * index, index] for index in range(60)]
    labels = [{METRIC_NAME: "explored.metric"}]
    labels += [{METRIC_NAME: "explored_total", "job": "a<b>", "code": code} for code in CODES]
    house.call("POST", "/api/v1/series", [{"labels": entry, "samples": samples} for entry in labels])
    return house


def shown(house: House, **arguments: str | list[str]) -> str:
    answer = house.client("viewer").get("/explore", query_string=arguments)
    assert answer.status_code == 200
    return answer.text


def test_explore_shows_numbers_as_a_table_and_leads_to_an_alert(explored: House) -> None:
    assert "/explore?expression=%7B__name__%3D%22explored.metric%22%7D" in shown(explored)
    page = shown(explored, expression='{__name__="explored.metric"}', range="1h")
    assert "1 series" in page
    assert "data-chart" in page
    assert "Nothing in this time" in shown(explored, expression="no_such_metric")
    old = shown(explored, expression="explored_total", **{"from": "2020-01-01T00:00", "until": "2020-01-02T00:00"})
    assert "Nothing in this time" in old
    editor = explored.client("editor").get("/explore?expression=explored_total").text
    assert "/checks/new/query?options.expression=explored_total" in editor
    prefilled = explored.client("editor").get("/checks/new/query?options.expression=explored_total").text
    assert "explored_total</textarea>" in prefilled


def completions(house: House, expression: str, cursor: int | None = None) -> tuple[list[str], list[tuple[str, str]]]:
    """(what would be written, the units that it replaces)"""
    arguments = {"expression": expression} | ({} if cursor is None else {"cursor": str(cursor)})
    page = house.client("viewer").get("/explore/complete", query_string=arguments).text
    found = re.findall(r'data-start="(\d+)" data-end="(\d+)" data-written="([^"]*)"', page)
    return [html.unescape(written) for _, _, written in found], [(start, end) for start, end, _ in found]


def test_metrics_labels_and_values_are_completed(explored: House) -> None:
    written, places = completions(explored, "sum(explored")
    assert written == ['{__name__="explored.metric"}', "explored_total"]
    assert set(places) == {("4", "12")}
    assert completions(explored, "pred")[0][0] == "predict_linear("
    assert completions(explored, "pi")[0][0] == "pi()"
    assert completions(explored, "sum ")[0] == ["by (", "without ("]
    assert "by (" in completions(explored, "sum(up) ")[0]
    assert completions(explored, "explored_total ")[0] == ["and", "or", "unless", "offset "]
    assert completions(explored, "a / i")[0][0] == "ignoring ("
    assert "group_left (" in completions(explored, "a / on (job) g")[0]
    assert completions(explored, "explored_total{")[0] == ["code=", "job="]
    assert completions(explored, "sum by (c) (explored_total)", 9)[0] == ["code"]
    assert completions(explored, "explored_total{code=")[0] == ['"200"', '"404"']
    assert completions(explored, 'explored_total{job="a')[0] == ['a<b>"']
    assert completions(explored, 'explored_total{code="40"}', 23) == (["404"], [("21", "23")])
    assert completions(explored, 'explored_total{job="nobody", code="')[0] == []
    assert completions(explored, 'explored_total{job=~"((", code="')[0] == [], "a regex that is half written"
    assert set(completions(explored, "{a='😀'} + explored_t", 20)[1]) == {("11", "21")}, "counted as a script counts"


def test_a_mistake_is_marked_where_it_is(explored: House) -> None:
    page = shown(explored, expression="sum(explored_total)\r\n  / up{job=}")
    assert 'role="alert"' in page
    assert "Line 2, column 12:" in page
    assert '<mark data-field="expression" data-start="31" data-end="32">' in page
    assert 'aria-invalid="true"' in page
    assert 'aria-describedby="problem-A ' in page
    told = shown(explored, expression="explored_total * on (job) explored_total")
    assert "many-to-many" in told
    assert "<mark" not in told


def test_the_inspector_tells_what_the_query_cost(explored: House) -> None:
    page = shown(explored, expression="explored_total[1h]", view="table")
    assert "<dt>Series read</dt><dd>2</dd>" in page
    assert "<dt>Samples read</dt><dd>120</dd>" in page
    assert "Steps from the cache" not in page
    chart = shown(explored, expression="explored_total", view="chart")
    assert re.search(r"<dt>Steps from the cache</dt><dd>[\d,]+ of [\d,]+</dd>", chart)
    for stage in ("Waiting for its turn", "Reading the expression", "Selecting samples", "Evaluating", "All of it"):
        assert f'<th scope="row">{stage}</th>' in page
    hinted = html.unescape(shown(explored, expression="rate({__name__='explored.metric'}[5m])"))
    assert "might not be a counter" in hinted
    assert "How fast a counter rises" in hinted


def test_one_time_is_a_table_of_whatever_the_expression_gives(explored: House) -> None:
    page = html.unescape(shown(explored, expression="explored_total * 1.5", view="table"))
    assert 'All of</span> <span class="mono">{job="a<b>"}' in page
    assert page.count(">88.5<") == 2
    assert "data-chart" not in page
    assert ">3.25<" in shown(explored, expression="3.25", view="table")
    assert ">hello<" in shown(explored, expression='"hello"', view="table")
    ranged = shown(explored, expression="explored_total[1h]", view="table")
    assert "48 older samples" in ranged
    assert "Nothing at this time" in shown(explored, expression="no_such_metric", view="table")


def test_the_link_shows_the_same_again(explored: House) -> None:
    page = shown(explored, expression="explored_total", view="table", range="6h", step="20s")
    link = html.unescape(re.search(r'id="share-link" readonly value="([^"]*)"', page)[1])
    arguments = {name: texts[0] for name, texts in parse_qs(urlsplit(link).query).items()}
    assert {name: arguments[name] for name in ("expression", "view", "step")} == {
        "expression": "explored_total",
        "view": "table",
        "step": "20s",
    }
    again = shown(explored, **arguments)
    assert html.unescape(re.search(r'id="share-link" readonly value="([^"]*)"', again)[1]) == link
    assert 'aria-current="true">At one time' in again
    moment = re.search(r'at <time datetime="[^"]*"', page)
    assert moment is not None
    assert moment[0] in again, "the very time"
    chart = shown(explored, **(arguments | {"view": ""}))
    assert 'data-step-ms="20000"' in chart
    assert "data-start-ms=" in chart


@pytest.mark.parametrize(
    ("step", "words"),
    [("soon", "not a duration"), ("0s", "the shortest"), ("1s", "choose a longer step"), ("forever", "the shortest")],
)
def test_a_step_that_does_not_serve_is_refused_in_words(explored: House, step: str, words: str) -> None:
    page = shown(explored, expression="explored_total", range="30d", step=step)
    assert words in page
    assert "data-chart" not in page


def test_a_metric_is_completed_with_what_its_sender_said_of_it(explored: House) -> None:
    headers = explored.token("editor") | {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    at_ms = explored.services.clock.now_ms()
    raw = wire.request([wire.series([("__name__", "explained_size_count")], [(at_ms, 1.0)])])
    raw += described_1("explained_size", 3, "Sizes of <things>.")
    assert (
        explored.app.test_client().post("/prometheus/api/v1/write", data=wire.snappy(raw), headers=headers).text == ""
    )
    page = explored.client("viewer").get("/explore/complete", query_string={"expression": "explained"}).text
    assert "histogram: Sizes of &lt;things&gt;." in page
    for expression in ("rate(explained_size_count[5m])", '{"explained_size_count"} * 2'):
        assert "<dd>histogram: Sizes of &lt;things&gt;.</dd>" in shown(explored, expression=expression)
    assert '<span class="about">histogram: Sizes of' in shown(explored), "beside its name in the list of metrics"


METRICS = {  # expression: the metrics in it
    "sum by (job) (rate(a_total[5m:1m] offset 1h)) / on (x) b": ["a_total", "b"],
    '{"a.b", c="d"} + {__name__="e", "f g"="h"}': ["a.b", "e"],
    'label_replace(a, "b", "$1", "c", "(.*)") or a': ["a"],
}


@pytest.mark.parametrize("expression", METRICS)
def test_the_metrics_of_an_expression_are_found(expression: str) -> None:
    assert [name for name in metrics_of(expression) if not name.startswith(":")] == METRICS[expression]


def address(house: House, *pairs: tuple[str, str]) -> list[tuple[str, str]]:
    """Where such a request is led to, as pairs."""
    answer = house.client("viewer").get("/explore?" + urlencode(pairs))
    assert answer.status_code == 303
    return parse_qsl(urlsplit(answer.location).query, keep_blank_values=True)


def test_rows_are_added_switched_off_and_removed_by_the_address(explored: House) -> None:
    rows = [("expression", "explored_total"), ("expression", "1 + 1")]
    times = [("range", "6h")]
    assert address(explored, *rows, *times, ("do", "add")) == [*rows, ("expression", ""), *times]
    assert address(explored, *rows, *times, ("do", "off-2")) == [*rows, ("off", "2"), *times]
    assert address(explored, *rows, ("off", "2"), *times, ("do", "on-2")) == [*rows, *times]
    assert address(explored, *rows, ("off", "2"), *times, ("do", "remove-1")) == [rows[1], ("off", "1"), *times]
    assert address(explored, rows[0], *times, ("do", "remove-1")) == times
    for nonsense in ("off-3", "off-9", "remove", "<b>"):
        assert address(explored, *rows, *times, ("do", nonsense)) == [*rows, *times]
    full = [("expression", str(number)) for number in range(8)]
    assert address(explored, *full, ("expression", "9"), *times, ("do", "add")) == [*full, *times]


def test_several_expressions_are_shown_each_with_its_colour_its_mistake_and_its_cost(explored: House) -> None:
    expressions = ["explored_total", "explored_total{", "explored_total * 2", "{'explored.metric'}"]
    page = html.unescape(shown(explored, expression=expressions, off="3"))
    assert "A: <strong>" not in page
    assert "B: <strong>Line 1, column 16" in page
    assert 'data-field="expression-2"' in page
    assert page.count("<template") == 1
    assert [entry["row"] for entry in drawn(page)] == [0, 3], "one is wrong, one is switched off"
    assert [row for row, _ in re.findall(r'data-row="(\d)" data-series="([^"]*)', page)] == ["0", "0", "3"]
    assert 'class="key series-0 shade-1 dash-0"' in page
    assert 'class="key series-3 shade-0 dash-0"' in page
    for letter, count in zip("ABCD", (1, 0, 0, 1), strict=True):
        assert page.count(f"Query inspector of {letter}") == count
    table = shown(explored, expression=expressions[:3], view="table")
    assert ">118<" in table, "of the third"
    assert ">59<" in table, "of the first"
    link = parse_qsl(urlsplit(re.search(r'id="share-link" readonly value="([^"]*)"', page)[1]).query)
    assert [pair for pair in link if pair[0] in ("expression", "off")] == [
        *(("expression", text) for text in expressions),
        ("off", "3"),
    ]
    assert "Every expression is switched off" in shown(explored, expression="explored_total", off="1")


def drawn(page: str) -> Any:
    """What the page brings along for its chart."""
    return json.loads(html.unescape(re.search(r'<template id="drawn">(.*?)</template>', page)[1]))


def test_the_chart_draws_the_answer_of_the_table_which_is_asked_for_once(
    explored: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    tsdb = explored.services.tsdb
    asked: list[str] = []
    query_range = tsdb.query_range

    def counted(expression: str, *times: int, **further: Any) -> Any:
        asked.append(expression)
        return query_range(expression, *times, **further)

    monkeypatch.setattr(tsdb, "query_range", counted)
    (entry,) = drawn(html.unescape(shown(explored, expression="explored_total * 3", step="1s")))
    assert asked == ["explored_total * 3"]
    grid = {name: entry["answer"][name] for name in ("start_ms", "end_ms", "step_ms")}
    same = explored.call("GET", "/api/v1/chart?" + urlencode({"expression": entry["expression"], **grid})).json
    assert same == entry["answer"]
    assert any(series["values"][-60:].count(None) < 60 for series in same["series"])

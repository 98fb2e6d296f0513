"""Prometheus' HTTP API: shapes, numbers, errors."""

from __future__ import annotations

import json
import math
import struct
from decimal import Decimal
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tsdb.ingest import remote_write_bytes as wire
from tests.tsdb.ingest.test_metadata import described_1, request_2
from tests.web.house import House
from tsdb.answer import AnswerKind, QueryAnswer
from tsdb.metadata import KINDS
from web.api.prometheus import matrix
from web.api.prometheus.numbers import number_text, number_texts, pair_heads, time_text
from web.api.prometheus.shape import _result

NUMBERS = {  # As Go's strconv.FormatFloat writes them in Prometheus' JSON.
    0.0: "0",
    1.0: "1",
    -2.5: "-2.5",
    100000.0: "100000",
    1e15: "1000000000000000",
    1e16: "10000000000000000",
    1.2345678901234568e17: "123456789012345680",
    1e20: "100000000000000000000",
    1e21: "1e+21",
    1.5e300: "1.5e+300",
    0.1: "0.1",
    0.00001: "0.00001",
    0.000001: "0.000001",
    1e-7: "1e-07",
    1.25e-10: "1.25e-10",
    5e-324: "5e-324",
    math.inf: "+Inf",
    -math.inf: "-Inf",
    math.nan: "NaN",
    0.30000000000000004: "0.30000000000000004",
}
VALUES = st.floats() | st.integers(-(2**53), 2**53).map(float) | st.sampled_from([*NUMBERS, -0.0])
NUMBERS_AND_MINUS_ZERO = [*NUMBERS.items(), (-0.0, "-0")]


@pytest.mark.parametrize(("value", "text"), NUMBERS_AND_MINUS_ZERO)
def test_a_number_is_written_as_prometheus_writes_it(value: float, text: str) -> None:
    assert number_text(value).decode() == text


@given(st.lists(VALUES, max_size=60))
def test_a_column_is_written_as_its_numbers_are(values: list[float]) -> None:
    texts = number_texts(np.array(values, np.float64)).listed()
    assert texts == [number_text(value) for value in values]
    for value, text in zip(values, texts, strict=True):
        if math.isfinite(value):
            assert struct.pack("d", float(text)) == struct.pack("d", value)
            assert Decimal(text.decode()) == Decimal(repr(value))


@given(st.integers(-(2**45), 2**45))
def test_a_time_is_written_in_seconds_without_loss(timestamp_ms: int) -> None:
    assert Decimal(time_text(timestamp_ms).decode()) * 1_000 == timestamp_ms


HEADS = {
    "none": [],
    "whole seconds": [0, 10_000, 20_000],
    "milliseconds among them": [-500, 0, 1_250, 2_000],
    "the same again": [10_000, 20_000, 10_000, 20_000, 500],
    "before the epoch": [-3_000, -2_000],
}


@pytest.mark.parametrize("times_ms", HEADS.values(), ids=HEADS.keys())
def test_the_text_before_each_value_has_its_time(times_ms: list[int]) -> None:
    heads = pair_heads(np.array(times_ms, np.int64)).listed()
    assert heads == [b'"],[' + time_text(time_ms) + b',"' for time_ms in times_ms]


def test_series_of_the_same_times_are_written_as_others_are() -> None:
    def written(offsets: list[int], times_ms: list[int]) -> list[list[float]]:
        answer = QueryAnswer(
            kind=AnswerKind.MATRIX,
            labels=[{"n": str(number)} for number in range(len(offsets) - 1)],
            offsets=np.array(offsets),
            timestamp_ms=np.array(times_ms),
            value=np.arange(len(times_ms)) / 2,
        )
        return [[at for at, _ in one["values"]] for one in json.loads(b"".join(_result(answer)))]

    assert written([0, 2, 4], [1_000, 2_000, 1_000, 2_000]) == [[1, 2], [1, 2]]
    assert written([0, 2, 4], [1_000, 2_000, 1_000, 3_000]) == [[1, 2], [1, 3]]
    assert written([0, 1, 4], [1_000, 1_000, 2_000, 3_000]) == [[1], [1, 2, 3]]


TIMES_OF_ONE_LENGTH_MS = st.integers(10**9, 10**10 - 1).map(lambda seconds: 1_000 * seconds)


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 10**13), st.floats()), max_size=5), max_size=5)
    | st.lists(st.lists(st.tuples(TIMES_OF_ONE_LENGTH_MS, VALUES), max_size=5), max_size=5),
    st.integers(1, 8),
)
def test_a_matrix_is_the_same_as_by_a_slow_loop(series: list[list[tuple[int, float]]], batch_count: int) -> None:
    labels = [{"name": f'série "{index}"'} for index in range(len(series))]
    answer = QueryAnswer(
        kind="matrix",
        labels=labels,
        offsets=np.cumsum([0, *(len(samples) for samples in series)]).astype(np.int64),
        timestamp_ms=np.array([at_ms for samples in series for at_ms, _ in samples], np.int64),
        value=np.array([value for samples in series for _, value in samples], np.float64),
    )
    want = [
        {"metric": names, "values": [[at_ms / 1_000, number_text(value).decode()] for at_ms, value in samples]}
        for names, samples in zip(labels, series, strict=True)
        if samples
    ]
    with mock.patch.object(matrix, "BATCH_COUNT", batch_count):
        assert json.loads(b"".join(_result(answer))) == want


@pytest.fixture(scope="module")
def now_s(house: House) -> int:
    """Two series of a counter, a sample every 10 s for 5 minutes."""
    now_s = house.services.clock.now_ms() // 10_000 * 10
    series = [
        {
            "labels": {"__name__": "http_requests_total", "job": job},
            "samples": [[(now_s - 300 + 10 * i) * 1_000, i * step] for i in range(31)],
        }
        for job, step in (("api", 1), ("web", 0.5))
    ]
    assert house.call("POST", "/api/v1/series", series).status_code == 200
    return now_s


def test_warnings_and_infos_come_with_an_answer_that_has_some(house: House, now_s: int) -> None:
    expressions = (
        "http_requests_total",
        "quantile(2, http_requests_total)",
        'rate(label_replace(http_requests_total, "__name__", "up", "", "")[5m:1m])',
    )
    path, headers = "/prometheus/api/v1/query", house.token("viewer")
    client = house.app.test_client()
    plain, warned, informed = (
        client.get(path, query_string={"query": expression, "time": str(now_s)}, headers=headers).json
        for expression in expressions
    )
    assert set(plain) == {"status", "data"}
    assert warned["warnings"] == ["PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"]
    assert set(warned) == {"status", "data", "warnings"}
    assert informed["infos"] == [
        'PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "up" (1:6)'
    ]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_query_answers_a_vector(house: House, now_s: int, method: str) -> None:
    arguments = {"query": "http_requests_total", "time": str(now_s)}
    client = house.app.test_client()
    path = "/prometheus/api/v1/query"
    if method == "GET":
        answer = client.get(path, query_string=arguments, headers=house.token("viewer"))
    else:
        answer = client.post(path, data=arguments, headers=house.token("viewer"))
    assert answer.status_code == 200
    assert answer.json == {
        "status": "success",
        "data": {
            "resultType": "vector",
            "result": [
                {"metric": {"__name__": "http_requests_total", "job": job}, "value": [now_s, value]}
                for job, value in (("api", "30"), ("web", "15"))
            ],
        },
    }


def test_query_range_answers_a_matrix_scalars_and_strings(house: House, now_s: int) -> None:
    path = "/prometheus/api/v1/query_range"
    arguments = f"query=sum(http_requests_total)&start={now_s - 20}&end={now_s}&step=10s"
    found = house.call("GET", f"{path}?{arguments}").json["data"]
    assert found["resultType"] == "matrix"
    assert found["result"][0]["values"] == [[now_s - 20, "42"], [now_s - 10, "43.5"], [now_s, "45"]]
    scalar = house.call("GET", f"/prometheus/api/v1/query?query=1.5&time={now_s}.25").json["data"]
    assert scalar == {"resultType": "scalar", "result": [now_s + 0.25, "1.5"]}
    text = house.call("GET", f"/prometheus/api/v1/query?query=%22a%22&time={now_s}").json["data"]
    assert text == {"resultType": "string", "result": [now_s, "a"]}
    rfc = house.call("GET", "/prometheus/api/v1/query?query=1&time=2023-11-14T22:13:20Z").json["data"]["result"][0]
    assert rfc == 1_700_000_000


def test_series_labels_and_values(house: House, now_s: int) -> None:
    found = house.call("GET", "/prometheus/api/v1/series?match[]=http_requests_total").json["data"]
    assert sorted(row["job"] for row in found) == ["api", "web"]
    posted = house.app.test_client().post(
        "/prometheus/api/v1/series", data={"match[]": '{__name__=~"http_.*",job!="web"}'}, headers=house.token("viewer")
    )
    assert [row["job"] for row in posted.json["data"]] == ["api"]
    assert {"__name__", "job"} <= set(house.call("GET", "/prometheus/api/v1/labels").json["data"])
    of_metric = "/prometheus/api/v1/label/job/values?match[]=http_requests_total"  # Other tests write series, too.
    assert house.call("GET", of_metric).json["data"] == ["api", "web"]
    limited = house.call("GET", f"{of_metric}&limit=1").json["data"]
    assert limited == ["api"]
    none = house.call("GET", "/prometheus/api/v1/labels?start=1&end=2").json
    assert none["status"] == "success"


@pytest.mark.parametrize(
    ("path", "status", "error_type"),
    [
        ("query", 400, "bad_data"),
        ("query?query=foo(", 400, "bad_data"),
        ("query?query=up&time=yesterday", 400, "bad_data"),
        ("query?query=up&timeout=1x", 400, "bad_data"),
        ("query?query=up&lookback_delta=soon", 400, "bad_data"),
        ("query?query=up&limit=1.5", 400, "bad_data"),
        ("query_range?query=up&start=0&end=5&step=1e300", 400, "bad_data"),
        (
            "query?query=vector(1)%2Bon()(vector(1)or+label_replace(vector(2),%22a%22,%22b%22,%22%22,%22%22))",
            422,
            "execution",
        ),
        ("query_range?query=up", 400, "bad_data"),
        ("query_range?query=up&start=10&end=5&step=1", 400, "bad_data"),
        ("query_range?query=up&start=0&end=5&step=0", 400, "bad_data"),
        ("query_range?query=up&start=0&end=5&step=soon", 400, "bad_data"),
        ("query_range?query=up&start=0&end=100000&step=1", 400, "bad_data"),
        ("series", 400, "bad_data"),
        ("series?match[]={", 400, "bad_data"),
        ("labels?limit=-1", 400, "bad_data"),
    ],
)
def test_an_error_has_prometheus_shape(house: House, path: str, status: int, error_type: str) -> None:
    answer = house.call("GET", f"/prometheus/api/v1/{path}")
    assert answer.status_code == status, answer.text
    assert answer.json["status"] == "error"
    assert answer.json["errorType"] == error_type
    assert answer.json["error"]


def test_a_limit_cuts_series_and_says_so(house: House, now_s: int) -> None:
    cut = house.call("GET", f"/prometheus/api/v1/query?query=http_requests_total&time={now_s}&limit=1").json
    assert [row["metric"]["job"] for row in cut["data"]["result"]] == ["api"]
    assert cut["warnings"] == ["results truncated due to limit"]
    whole = house.call("GET", f"/prometheus/api/v1/query?query=http_requests_total&time={now_s}&limit=2").json
    assert len(whole["data"]["result"]) == 2
    assert "warnings" not in whole
    matrix = house.call("GET", f"/prometheus/api/v1/query?query=http_requests_total[1m]&time={now_s}&limit=1").json
    assert [len(row["values"]) for row in matrix["data"]["result"]] == [6]


def test_a_look_back_and_figures_are_given_when_asked_for(house: House, now_s: int) -> None:
    path = f"/prometheus/api/v1/query?query=http_requests_total&time={now_s + 9}"
    assert len(house.call("GET", path).json["data"]["result"]) == 2
    assert house.call("GET", path + "&lookback_delta=5s").json["data"]["result"] == []
    stats = house.call("GET", path + "&stats=all").json["data"]["stats"]
    assert stats["samples"]["totalQueryableSamples"] >= 2
    assert stats["timings"]["execTotalTime"] > 0
    assert "stats" not in house.call("GET", path).json["data"]


def test_kept_steps_are_told_and_can_be_declined(house: House) -> None:
    path = "/prometheus/api/v1/query_range?query=vector(time())&start=1000&end=1500&step=5&stats=all"
    first, again, anew = (house.call("GET", path + more).json["data"] for more in ("", "", "&nocache=1"))
    assert first["result"] == again["result"] == anew["result"]
    assert [one["stats"].get("cache") for one in (first, again, anew)] == [
        {"steps": 101, "keptSteps": 0},
        {"steps": 101, "keptSteps": 101},
        None,
    ]


def test_a_tree_that_is_too_deep_is_refused(house: House) -> None:
    chain = " + ".join(["up"] * 900)
    answer = house.app.test_client().post(
        "/prometheus/api/v1/parse_query", data={"query": chain}, headers=house.token("viewer")
    )
    assert answer.status_code in (200, 400)
    assert house.call("GET", "/prometheus/api/v1/parse_query?query=up").json["data"]["name"] == "up"


def test_thirty_kilobytes_of_nesting_are_refused_and_nobody_crashes(house: House, now_s: int) -> None:
    for expression in ("(" * 15_000 + "1" + ")" * 15_000, " or ".join(["up"] * 6_000)):
        answer = house.app.test_client().post(
            "/prometheus/api/v1/query", data={"query": expression}, headers=house.token("viewer")
        )
        assert (answer.status_code, answer.json["errorType"]) == (400, "bad_data")
    assert house.call("GET", "/prometheus/api/v1/query?query=1").status_code == 200


def test_a_million_points_are_written_without_a_loop_over_them() -> None:
    import time

    count, points = 100, 1_440
    answer = QueryAnswer(
        kind="matrix",
        labels=[{"n": str(index)} for index in range(count)],
        offsets=np.arange(0, count * points + 1, points, dtype=np.int64),
        timestamp_ms=np.tile(np.arange(points, dtype=np.int64) * 60_000, count),
        value=np.random.default_rng(1).normal(size=count * points),
    )
    began_s = time.thread_time()
    body = b"".join(_result(answer))
    assert len(body) > count * points * 20
    assert time.thread_time() - began_s < 0.5, "144,000 points take about 40 ms; a loop takes 160 ms and more"


def test_methods_that_nobody_asked_for_are_answered_as_by_prometheus(house: House) -> None:
    asked = house.app.test_client()
    options = asked.options("/prometheus/api/v1/query", headers=house.token("viewer"))
    assert (options.status_code, options.data, options.headers["Allow"]) == (204, b"", "GET, OPTIONS, POST")
    head = asked.head("/prometheus/api/v1/labels", headers=house.token("viewer"))
    assert (head.status_code, head.headers["Allow"]) == (405, "GET, OPTIONS, POST")
    assert asked.options("/prometheus/api/v1/query").status_code == 401
    assert asked.head("/prometheus/api/v1/nothing", headers=house.token("viewer")).status_code == 404


def test_metadata_are_what_senders_said(house: House) -> None:
    def send(raw: bytes, **more: str) -> int:
        headers = house.token("editor") | {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        asked = house.app.test_client()
        return asked.post("/prometheus/api/v1/write", data=wire.snappy(raw), headers=headers | more).status_code

    told = {"told_seconds_total": ("counter", "Seconds that were told.", "seconds"), "told_now": ("gauge", "Now.", "")}
    assert send(b"".join(described_1(name, KINDS.index(kind), *rest) for name, (kind, *rest) in told.items())) == 204
    type_2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
    assert send(request_2([("told_size_bucket", 3, "Sizes.", "")]), **{"Content-Type": type_2}) in (204, 400)
    path = "/prometheus/api/v1/metadata"
    found = house.call("GET", path).json["data"]
    assert found["told_now"] == [{"type": "gauge", "help": "Now.", "unit": ""}]
    assert found["told_size"] == [{"type": "histogram", "help": "Sizes.", "unit": ""}]
    one = house.call("GET", f"{path}?metric=told_seconds_total&limit_per_metric=1").json["data"]
    assert one == {"told_seconds_total": [{"type": "counter", "help": "Seconds that were told.", "unit": "seconds"}]}
    assert len(house.call("GET", f"{path}?limit=2").json["data"]) == 2
    targets = house.call("GET", "/prometheus/api/v1/targets/metadata?metric=told_now").json["data"]
    assert targets == [{"target": {}, "type": "gauge", "help": "Now.", "unit": ""}]
    for matcher, count in (('{job="x"}', 0), ('{job=""}', 1), ('{job!~"x|y"}', 1), ('{job=~".+"}', 0)):
        narrowed = house.call("GET", f"/prometheus/api/v1/targets/metadata?metric=told_now&match_target={matcher}")
        assert (narrowed.status_code, len(narrowed.json.get("data", ()))) in ((200, count), (400, 0)), matcher

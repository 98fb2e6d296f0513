"""Prometheus' HTTP API on a real appliance: as recorded from Prometheus, and as its own tools use it."""

from __future__ import annotations

import gzip
import http.client
import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import cramjam
import pytest
from prometheus_api_client import PrometheusApiClientException, PrometheusConnect

from tests.running import Appliance
from tests.scripts.prometheus import KNOWN
from tests.scripts.prometheus_http import holding_demo, load, report_of
from tests.scripts.report import judged, known_exceptions
from tests.shared import shared
from tests.waiting import wait_until
from web.pages.explore.asked import field_time

DEMO_S = 1_700_004_200
# Half a minute of work, in pieces of some seconds.
SLOW = " + ".join(["quantile_over_time(0.5, sum by (instance) (rate(demo_cpu_usage_seconds_total[5m]))[1h:1s])"] * 15)


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with holding_demo(tmp_path_factory.mktemp("prometheus")) as running:
        load(running)
        yield running


def test_every_recorded_request_is_answered_as_by_prometheus(appliance: Appliance) -> None:
    content = json.loads(shared("conformance/prometheus/http.json").read_text())
    report = report_of(content, "http.json", appliance)
    assert report.passed > 190
    verdict = judged([report], known_exceptions(KNOWN))
    assert verdict.unknown == set(), [failure for failure in report.failures if failure["case"] in verdict.unknown]
    assert verdict.outlived == set(), "these pass now: take them off the list"


def ask(appliance: Appliance, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    address = urllib.parse.urlsplit(appliance.url)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    connection.request("GET", path, headers={"Authorization": f"Bearer {appliance.token}", **headers})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "gzip;q=0, zstd;q=0.5", "gzip;q=0", "br"])
def test_an_answer_is_compressed_as_the_client_takes_it(appliance: Appliance, encoding: str) -> None:
    path = (
        f"/prometheus/api/v1/query_range?query=demo_cpu_usage_seconds_total&start={DEMO_S}&end={DEMO_S + 600}&step=10"
    )
    _, plain = ask(appliance, path)
    answer, body = ask(appliance, path, **{"Accept-Encoding": encoding})
    used = answer.getheader("Content-Encoding")
    assert used == {"gzip": "gzip", "zstd": "zstd", "gzip;q=0, zstd;q=0.5": "zstd"}.get(encoding)
    if used is not None:
        assert len(body) < len(plain) / 3
        body = gzip.decompress(body) if used == "gzip" else cramjam.zstd.decompress(body).read()
    assert body == plain
    assert "Accept-Encoding" in str(answer.getheader("Vary"))


def cancelled_count(appliance: Appliance) -> float:
    _, text = appliance.call("GET", "/metrics")
    lines = [line for line in text.splitlines() if "henge_query_refused_total" in line and 'reason="canceled"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


FROM_MS, UNTIL_MS = (DEMO_S - 3_000) * 1_000, (DEMO_S + 1_800) * 1_000
SLOW_PATHS = {  # what asks for it: the address
    "the API": ("/prometheus/api/v1/query_range", {"query": SLOW, "start": DEMO_S - 3_600, "end": DEMO_S + 1_800}),
    "a chart": ("/api/v1/chart", {"expression": SLOW, "start_ms": FROM_MS, "end_ms": UNTIL_MS, "step_ms": 1_000}),
    "Explore": ("/explore", {"expression": SLOW, "from": field_time(FROM_MS), "until": field_time(UNTIL_MS)}),
}


@pytest.mark.parametrize(("path", "asked"), SLOW_PATHS.values(), ids=SLOW_PATHS.keys())
def test_a_query_whose_client_leaves_is_cancelled(appliance: Appliance, path: str, asked: dict[str, Any]) -> None:
    before = cancelled_count(appliance)
    address = urllib.parse.urlsplit(appliance.url)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    arguments = urllib.parse.urlencode({"step": "1s"} | asked)
    headers = {"Authorization": f"Bearer {appliance.token}"}
    connection.request("GET", f"{path}?{arguments}", headers=headers)

    def running() -> bool:
        _, text = appliance.call("GET", "/metrics")
        return any(line.startswith("henge_query_running") and line.endswith(" 1") for line in text.splitlines())

    wait_until(running, timeout_s=10, what="the query to run")
    connection.close()
    wait_until(lambda: cancelled_count(appliance) > before, timeout_s=10, what="the query to be cancelled")


def test_a_token_that_another_process_revokes_ends_also_after_the_state_process_died(appliance: Appliance) -> None:
    _, created = appliance.call("POST", "/api/v1/tokens", {"name": "short lived", "role": "viewer"})

    def status() -> int:
        return appliance.call("GET", "/prometheus/api/v1/query?query=1", token=created["token"])[0]

    assert status() == 200
    appliance.wait_restarted("state", appliance.kill("state"))
    assert status() == 200
    appliance.henge("token", "revoke", created["id"])
    wait_until(lambda: status() == 401, timeout_s=5, what="the token to be refused")
    assert status() == 401


def told(*arguments: str, fails: bool = False) -> str:
    """What Debian's promtool prints of a query."""
    program = shutil.which("promtool")
    assert program, "promtool is missing: `make test-tools` installs Debian's prometheus"
    done = subprocess.run([program, "query", *arguments], capture_output=True, text=True, timeout=20)
    assert (done.returncode != 0) is fails, (arguments, done.stdout, done.stderr)
    return done.stderr if fails else done.stdout


def test_promtool_reads_instant_range_series_and_labels(appliance: Appliance) -> None:
    url = f"{appliance.url}/prometheus".replace("://", f"://henge:{appliance.token}@")
    instant = told("instant", url, "sum by (job) (demo_num_cpus)", f"--time={DEMO_S}")
    assert instant == f'{{job="demo"}} => 12 @[{DEMO_S}]\n'
    ranged = told("range", url, "sum(demo_num_cpus)", f"--start={DEMO_S}", f"--end={DEMO_S + 60}", "--step=30s")
    assert ranged.splitlines() == ["{} =>", *(f"12 @[{DEMO_S + after}]" for after in (0, 30, 60))]
    times = (f"--start={DEMO_S - 600}", f"--end={DEMO_S + 600}")
    series = told("series", url, "--match=demo_num_cpus", *times)
    assert len(series.splitlines()) == 3
    assert told("labels", url, "job", *times).split() == ["demo"]
    assert "1:5: parse error: unclosed left parenthesis" in told("instant", url, "sum(", fails=True)


def test_the_python_client_reads_metrics_values_and_ranges(appliance: Appliance) -> None:
    client = PrometheusConnect(
        url=f"{appliance.url}/prometheus", headers={"Authorization": f"Bearer {appliance.token}"}
    )
    assert client.check_prometheus_connection()
    start, end = (datetime.fromtimestamp(DEMO_S + after_s, UTC) for after_s in (0, 60))
    assert "demo_num_cpus" in client.all_metrics()
    assert "demo" in client.get_label_values("job")
    instant = client.custom_query("sum(demo_num_cpus)", params={"time": DEMO_S})
    assert instant == [{"metric": {}, "value": [DEMO_S, "12"]}]
    ranged = client.custom_query_range("sum(demo_num_cpus)", start_time=start, end_time=end, step="30s")
    assert ranged[0]["values"] == [[DEMO_S + after, "12"] for after in (0, 30, 60)]
    raw = client.get_metric_range_data("demo_num_cpus", {"job": "demo"}, start_time=start, end_time=end)
    assert {row["metric"]["instance"][-5:] for row in raw} == {"10000", "10001", "10002"}
    with pytest.raises(PrometheusApiClientException, match="parse error"):
        client.custom_query("sum(")


GRAFANA = [  # What its Prometheus data source asks: at "save and test", in the builder, in a panel, for a variable.
    ("GET", "status/buildinfo", {}),
    ("GET", "query", {"query": "1+1", "time": "4"}),
    ("POST", "query", {"query": "1+1", "time": "4"}),
    ("GET", "label/__name__/values", {"start": "1700004000", "end": "1700004600"}),
    ("GET", "label/job/values", {"match[]": "up", "start": "1700004000", "end": "1700004600", "limit": "40000"}),
    ("POST", "labels", {"match[]": '{__name__="up"}', "start": "1700004000", "end": "1700004600"}),
    ("POST", "series", {"match[]": 'up{job="demo"}', "start": "1700004000", "end": "1700004600"}),
    ("GET", "metadata", {"limit": "40000"}),
    ("GET", "rules", {}),
    (
        "POST",
        "query_range",
        {"query": "rate(demo_cpu_usage_seconds_total[1m])", "start": "1700004000", "end": "1700004600", "step": "15"},
    ),
    ("POST", "query_exemplars", {"query": "up", "start": "1700004000", "end": "1700004600"}),
    ("GET", "query", {"query": "count(up) by (job)", "time": "1700004200.000"}),
]


@pytest.mark.parametrize(("method", "path", "arguments"), GRAFANA)
def test_what_grafana_asks_is_answered(appliance: Appliance, method: str, path: str, arguments: dict[str, str]) -> None:
    data = urllib.parse.urlencode(arguments)
    request = urllib.request.Request(
        f"{appliance.url}/prometheus/api/v1/{path}" + (f"?{data}" if method == "GET" and data else ""),
        method=method,
        data=data.encode() if method == "POST" else None,
        headers={"Authorization": f"Bearer {appliance.token}", "X-Grafana-Org-Id": "1"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        body = json.loads(answer.read())
    assert body["status"] == "success"
    assert "data" in body


def test_metadata_and_federation_tell_what_is_there(appliance: Appliance) -> None:
    _, metadata = appliance.call("GET", "/prometheus/api/v1/metadata?metric=henge_query_total")
    assert metadata["data"]["henge_query_total"][0]["type"] == "counter"
    now_ms = int(_number(appliance, "time()") * 1_000) - 1_000
    rows: list[dict[str, Any]] = [
        {"labels": {"__name__": name, "job": 'a"b\\c'}, "samples": [[now_ms - 5_000, 1.5], [now_ms, value]]}
        for name, value in (("fed_b", 2.5), ("fed_a", 7.0), ("fed.dotted", -0.5))
    ]
    assert appliance.call("POST", "/api/v1/series", rows)[0] == 200
    answer, body = ask(appliance, "/prometheus/federate?" + urllib.parse.urlencode({"match[]": '{job=~"a.*"}'}))
    assert str(answer.getheader("Content-Type")).startswith("text/plain; version=0.0.4")
    label = '{job="a\\"b\\\\c"}'
    assert body.decode().splitlines() == [
        f"# TYPE {name} untyped" if is_type else f"{name}{label} {value} {now_ms}"
        for name, value in (("fed_dotted", "-0.5"), ("fed_a", "7"), ("fed_b", "2.5"))
        for is_type in (True, False)
    ]


def _number(appliance: Appliance, expression: str) -> float:
    arguments = urllib.parse.urlencode({"query": expression})
    status, answer = appliance.call("GET", f"/prometheus/api/v1/query?{arguments}")
    assert status == 200, answer
    return float(json.loads(json.dumps(answer["data"]["result"]))[1])

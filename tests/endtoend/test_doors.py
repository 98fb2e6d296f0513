"""The acknowledged doors of a real appliance: Arrow streams and remote-write, also from Debian's own Prometheus."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import random
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.endtoend.looking import pids
from tests.running import Appliance
from tests.tsdb.ingest import remote_write_bytes as wire
from tests.waiting import wait_until

ARROW, WRITE = "/api/v1/write/arrow", "/prometheus/api/v1/write"
ARROW_TYPE = "application/vnd.apache.arrow.stream"


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with Appliance(tmp_path_factory.mktemp("doors")) as running:
        before = pids(running)
        yield running
        assert pids(running) == before, "a process was restarted by a body"


Connect = Callable[[], http.client.HTTPConnection]


@pytest.fixture
def connect(appliance: Appliance) -> Iterator[Connect]:
    with contextlib.ExitStack() as stack:

        def connected() -> http.client.HTTPConnection:
            where = urllib.parse.urlsplit(appliance.url)
            connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=30)
            connection.connect()
            stack.callback(connection.close)
            return connection

        yield connected


def headers(appliance: Appliance, content_type: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {appliance.token}", "Content-Type": content_type, "Content-Encoding": "identity"}


def arrow(name: str, samples_count: int, series_count: int = 100) -> bytes:
    """samples_count samples of the last minutes, with the values 0, 1, 2, …"""
    now_ms = time.time_ns() // 1_000_000
    labels = [f'{name}{{number="{number}"}}' for number in range(series_count)]
    number = np.arange(samples_count)
    frame = pl.DataFrame(
        {
            "series": pl.Series(labels, dtype=pl.Enum(labels)).gather(number % series_count),
            "timestamp_ms": now_ms - samples_count // series_count + number // series_count,
            "value": number.astype(np.float64),
        }
    )
    out = io.BytesIO()
    frame.write_ipc_stream(out)
    return out.getvalue()


def stored(appliance: Appliance, name: str) -> tuple[int, float]:
    """How many samples there are of all series of a name, and their sum."""
    answers = [appliance.query(f"sum({function}_over_time({name}[10m]))") for function in ("count", "sum")]
    count, total = (float(answer[0]["value"][1]) if answer else 0.0 for answer in answers)
    return int(count), total


def test_a_body_in_many_pieces_is_stored_to_the_last_sample(appliance: Appliance, connect: Connect) -> None:
    """5 MB, cut anywhere, with pauses where the sender's buffer is full."""
    body, rng = arrow("pieces", 250_000), random.Random(3)
    connection = connect()
    connection.putrequest("POST", ARROW)
    for name, value in headers(appliance, ARROW_TYPE).items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    at = 0
    while at < len(body):
        size = rng.choice((1, 100, 10_000, 300_000, 2_000_000))
        connection.send(body[at : at + size])
        at += size
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["accepted_count"]) == (200, 250_000)
    assert stored(appliance, "pieces") == (250_000, 250_000 * 249_999 / 2)


def test_several_large_bodies_on_one_connection_and_several_connections_at_once(
    appliance: Appliance, connect: Connect
) -> None:
    connections = [connect() for _ in range(3)]
    for round_number in range(3):
        for number, connection in enumerate(connections):
            connection.request(
                "POST", ARROW, arrow(f"at_once_{number}_{round_number}", 50_000), headers(appliance, ARROW_TYPE)
            )
        for connection in connections:
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())["accepted_count"]) == (200, 50_000)
    assert stored(appliance, "at_once_2_1")[0] == 50_000


def test_a_body_of_unknown_length_and_one_that_waits_to_be_asked(appliance: Appliance, connect: Connect) -> None:
    body = arrow("chunked", 20_000)
    chunked = connect()
    chunked.request("POST", ARROW, iter([body[:7], body[7:100_000], body[100_000:]]), headers(appliance, ARROW_TYPE))
    answer = chunked.getresponse()
    assert (answer.status, json.loads(answer.read())["accepted_count"]) == (200, 20_000)
    where = urllib.parse.urlsplit(appliance.url)
    with socket.create_connection((str(where.hostname), where.port or 0), timeout=30) as asked:
        lines = [f"{name}: {value}" for name, value in headers(appliance, ARROW_TYPE).items()]
        head = "\r\n".join([f"POST {ARROW} HTTP/1.1", "Host: localhost", *lines, f"Content-Length: {len(body)}"])
        asked.sendall(head.encode() + b"\r\nExpect: 100-continue\r\n\r\n")
        assert asked.recv(100).startswith(b"HTTP/1.1 100")
        asked.sendall(body)
        assert asked.recv(1_000).startswith(b"HTTP/1.1 200")


def test_senders_that_leave_in_the_middle_cost_nothing(appliance: Appliance, connect: Connect) -> None:
    body = arrow("left", 100_000)
    for size in (1, 1_000, 100_000, len(body) - 1):
        connection = connect()
        connection.putrequest("POST", ARROW)
        for name, value in (headers(appliance, ARROW_TYPE) | {"Content-Length": str(len(body))}).items():
            connection.putheader(name, value)
        connection.endheaders()
        connection.send(body[:size])
        connection.close()
    assert stored(appliance, "left")[0] == 0
    assert appliance.call("GET", "/health/ready")[0] == 200


def test_remote_write_keeps_its_connection(appliance: Appliance, connect: Connect) -> None:
    connection = connect()
    sock = connection.sock
    now_ms = time.time_ns() // 1_000_000
    sent = headers(appliance, "application/x-protobuf") | {"Content-Encoding": "snappy"}
    for number in range(5):
        rows = [
            wire.series([("__name__", "kept_open"), ("n", f"{at:04}")], [(now_ms + number, 1.0)]) for at in range(500)
        ]
        connection.request("POST", WRITE, wire.snappy(wire.request(rows)), sent)
        answer = connection.getresponse()
        assert (answer.status, answer.read(), answer.headers.get("Connection")) == (204, b"", None)
        assert connection.sock is sock, "an answer without a body is no reason to connect anew"
    assert stored(appliance, "kept_open") == (2_500, 2_500.0)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def test_debians_prometheus_writes_what_it_scrapes(appliance: Appliance, tmp_path: Path) -> None:
    port = free_port()
    config = {
        "global": {"scrape_interval": "1s", "external_labels": {"site": "north"}},
        "scrape_configs": [{"job_name": "itself", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}],
        "remote_write": [
            {
                "url": appliance.url + WRITE,
                "authorization": {"credentials": appliance.token},
                "queue_config": {"batch_send_deadline": "200ms"},
                "metadata_config": {"send_interval": "1s"},
            }
        ],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML.
    argv = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    log = (tmp_path / "prometheus.out").open("wb")
    prometheus = subprocess.Popen([*argv, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        wait_until(
            lambda: bool(appliance.query('prometheus_build_info{job="itself",site="north"}')),
            timeout_s=30,
            what="a sample from prometheus",
        )
        wait_until(lambda: len(appliance.query('{job="itself"}')) > 300, what="all of its series")
        wait_until(lambda: described(appliance, "prometheus_build_info") == "gauge", what="metadata")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            own = answer.read().decode()
    finally:
        prometheus.terminate()
        prometheus.wait(20)
        log.close()
    failed = [line for line in own.splitlines() if line.startswith("prometheus_remote_storage_samples_failed_total")]
    assert failed
    assert all(line.endswith(" 0") for line in failed), failed
    assert counted(appliance, "henge_ingest_refused_total", 'protocol="remote_write"') == 0


def described(appliance: Appliance, metric: str) -> str | None:
    """The type of a metric, as its sender said."""
    _, answer = appliance.call("GET", f"/prometheus/api/v1/metadata?metric={metric}")
    entries = answer["data"].get(metric, [])
    return str(entries[0]["type"]) if entries else None


def counted(appliance: Appliance, metric: str, label: str) -> float:
    """The sum of a counter of the appliance's own over all series with a label."""
    status, text = appliance.call("GET", "/metrics")
    assert status == 200
    lines = [line for line in str(text).splitlines() if line.startswith(metric) and label in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

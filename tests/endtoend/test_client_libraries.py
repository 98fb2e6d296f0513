"""Client libraries of Graphite and StatsD as programs use them send for real; what they sent is asked for by query.

Those of PyPI are among our test tools; those of npm stand where `make test-tools` has put them, if there is a Node.js.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import graphyte  # type: ignore[import-untyped]
import pytest
from datadog.dogstatsd import DogStatsd
from statsd import StatsClient, TCPStatsClient  # type: ignore[import-untyped]

from tests.bench import haggar
from tests.endtoend.looking import metric
from tests.graphite_web import CACHE
from tests.running import Appliance
from tests.waiting import wait_until

NODE_MODULES = CACHE.parent / "node" / "node_modules"
LINES_COUNT = 3_000
STATSD_CLIENT = """
const Client = require("statsd-client");
const [host, port, kind] = process.argv.slice(1);
const client = new Client({host, port: +port, tcp: kind === "tcp", prefix: "npm." + kind});
client.increment("orders", 3); client.decrement("orders", 1); client.gauge("fuel", 7); client.gaugeDelta("fuel", -2);
client.timing("reply", 250); client.set("users", "alice"); client.set("users", "bob");
"""
HOT_SHOTS = """
const StatsD = require("hot-shots");
const client = new StatsD({host: process.argv[1], port: +process.argv[2], prefix: "hot.", globalTags: {env: "prod"}});
client.increment("orders", 3, ["web:1"]); client.gauge("fuel", 5); client.timing("reply", 250);
client.distribution("size", 12.5); client.set("users", "alice");
"""


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    settings = ("statsd.listen=127.0.0.1:0", "statsd.flush_interval=1s", "statsd.dogstatsd=true")
    with Appliance(tmp_path_factory.mktemp("clients"), settings=settings) as running:
        yield running


def address(appliance: Appliance, door: str) -> tuple[str, int]:
    host, port = appliance.ready[door].rsplit(":", 1)
    return host, int(port)


def total(appliance: Appliance, name: str, labels: str = "") -> float:
    """Of all flushes, and of all series of the name."""
    found = appliance.query(f'sum(sum_over_time({{"{name}"{labels}}}[10m]))')
    return float(found[0]["value"][1]) if found else 0.0


def highest(appliance: Appliance, name: str, labels: str = "") -> float | None:
    found = appliance.query(f'max(max_over_time({{"{name}"{labels}}}[10m]))')
    return float(found[0]["value"][1]) if found else None


def latest(appliance: Appliance, name: str, labels: str = "") -> float | None:
    found = appliance.query(f'max({{"{name}"{labels}}})')
    return float(found[0]["value"][1]) if found else None


def check_usual(appliance: Appliance, prefix: str) -> None:
    """Two orders, fuel at 5, one reply after 250 ms and two users, however they were sent."""
    wait_until(lambda: total(appliance, f"stats_counts.{prefix}.orders") == 2, what="the counter")
    wait_until(lambda: latest(appliance, f"stats.gauges.{prefix}.fuel") == 5, what="the gauge")
    wait_until(lambda: highest(appliance, f"stats.timers.{prefix}.reply.upper") == 250, what="the timer")
    wait_until(lambda: highest(appliance, f"stats.sets.{prefix}.users.count") == 2, what="the set")
    assert total(appliance, f"stats.timers.{prefix}.reply.count") == 1


@pytest.mark.parametrize("kind", [StatsClient, TCPStatsClient])
def test_statsd_of_pypi(appliance: Appliance, kind: type[StatsClient]) -> None:
    prefix = f"pypi.{kind.__name__}"
    host, port = address(appliance, "statsd")
    client = kind(host=host, port=port, prefix=prefix)
    with client.pipeline() as pipe:  # One packet of several lines.
        pipe.incr("orders", 3)
        pipe.decr("orders")
        pipe.gauge("fuel", 7)
        pipe.gauge("fuel", -2, delta=True)
    client.timing("reply", 250)
    client.set("users", "alice")
    client.set("users", "bob")
    client.close()
    check_usual(appliance, prefix)


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_statsd_client_of_npm(appliance: Appliance, kind: str) -> None:
    with in_node(STATSD_CLIENT, *address(appliance, "statsd"), kind):
        check_usual(appliance, f"npm.{kind}")


def test_hot_shots_of_npm_with_its_tags(appliance: Appliance) -> None:
    tags = ',env="prod"'
    with in_node(HOT_SHOTS, *address(appliance, "statsd")):
        wait_until(lambda: total(appliance, "stats_counts.hot.orders", f'{tags},web="1"') == 3, what="the counter")
        wait_until(lambda: latest(appliance, "stats.gauges.hot.fuel", tags) == 5, what="the gauge")
        wait_until(lambda: highest(appliance, "stats.timers.hot.reply.upper", tags) == 250, what="the timer")
        wait_until(lambda: highest(appliance, "stats.timers.hot.size.upper", tags) == 12.5, what="the distribution")
        wait_until(lambda: highest(appliance, "stats.sets.hot.users.count", tags) == 1, what="the set")


@contextmanager
def in_node(program: str, *arguments: object) -> Iterator[None]:
    """While it runs: clients send what they have gathered when their own clocks say so, and stay connected."""
    if shutil.which("node") is None:
        pytest.skip("there is no Node.js: its StatsD clients cannot send")
    if not NODE_MODULES.exists():
        pytest.skip(f"npm's StatsD clients are not in {NODE_MODULES}: run make test-tools where npm can be reached")
    argv = ["node", "-e", program, *map(str, arguments)]
    with subprocess.Popen(argv, env={**os.environ, "NODE_PATH": str(NODE_MODULES)}) as process:
        try:
            yield
        finally:
            process.kill()


def test_datadog_of_pypi_with_its_tags(appliance: Appliance) -> None:
    host, port = address(appliance, "statsd")
    client = DogStatsd(host=host, port=port, namespace="dog", constant_tags=["env:prod"], disable_telemetry=True)
    client.increment("orders", 3, tags=["web:1"])
    client.increment("orders", 4, tags=["web:2"])
    client.gauge("fuel", 5)
    client.histogram("reply", 250)
    client.distribution("size", 12.5)
    client.timing("wait", 40)
    client.set("users", "alice")
    client.flush()
    client.close_socket()
    tags = ',env="prod"'
    wait_until(lambda: total(appliance, "stats_counts.dog.orders", f'{tags},web="1"') == 3, what="the counter")
    wait_until(lambda: total(appliance, "stats_counts.dog.orders", tags) == 7, what="both counters")
    wait_until(lambda: latest(appliance, "stats.gauges.dog.fuel", tags) == 5, what="the gauge")
    for name, value in (("reply", 250), ("size", 12.5), ("wait", 40)):
        wait_until(lambda: highest(appliance, f"stats.timers.dog.{name}.upper", tags) == value, what=name)  # noqa: B023
    wait_until(lambda: highest(appliance, "stats.sets.dog.users.count", tags) == 1, what="the set")


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_graphyte_of_pypi(appliance: Appliance, protocol: str) -> None:
    host, port = address(appliance, "graphite")
    now_s = int(time.time())
    sender = graphyte.Sender(host, port=port, prefix=f"pypi.{protocol}", protocol=protocol, raise_send_errors=True)
    for step in range(3):
        sender.send("load", 1.5 + step, timestamp=now_s - 10 * step)
        sender.send("load", 10.0 * step, timestamp=now_s - 10 * step, tags={"dc": "lon"})
    sender.stop()
    name = f"pypi.{protocol}.load"
    wait_until(lambda: total(appliance, name, ',dc="lon"') == 30, what="the tagged series")
    wait_until(lambda: total(appliance, name, ',dc=""') == 7.5, what="the plain series")


def test_every_line_of_thousands_of_short_connections_is_stored(appliance: Appliance) -> None:
    """Hundreds are open at a time, each for one line; some lines come in two halves."""
    sent = haggar.send(address(appliance, "graphite"), float("inf"), lambda sent: sent.lines_count < LINES_COUNT)
    assert sent.lines_count == LINES_COUNT
    wait_until(lambda: haggar.stored(appliance) == LINES_COUNT, what="all lines")
    assert metric(appliance, "henge_ingest_refused_total", protocol="graphite", reason="incomplete_line") == 0

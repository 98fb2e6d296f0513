"""Graphite's render API on a real appliance: lines in over TCP, targets out as JSON."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.running import Appliance
from tests.waiting import wait_until

HOSTS = ("db", "web1", "web2")
SCHEMAS = json.dumps([{"pattern": r"^slow\.", "retention": "raw:1h,5m:1d", "resolution": "1m"}])


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with Appliance(tmp_path_factory.mktemp("graphite"), settings=(f"store.schemas={SCHEMAS}",)) as running:
        host, port = running.ready["graphite"].rsplit(":", 1)
        now_s = int(time.time()) // 10 * 10
        lines = [
            f"servers.{name}.load {10 * number + step % 7} {now_s - 10 * step}\n"
            for number, name in enumerate(HOSTS)
            for step in range(60)
        ]
        with socket.create_connection((host, int(port))) as sender:
            sender.sendall("".join(lines).encode())
        wait_until(lambda: len(rendered(running, "servers.*.load")) == len(HOSTS), what="the series")
        yield running


def asked(appliance: Appliance, *targets: str, **more: str) -> tuple[int, Any]:
    arguments = [("target", target) for target in targets] + list({"from": "-5min", "format": "json", **more}.items())
    status, body = appliance.call("GET", f"/graphite/render?{urlencode(arguments)}")
    return status, body


def rendered(appliance: Appliance, *targets: str, **more: str) -> list[dict[str, object]]:
    status, body = asked(appliance, *targets, **more)
    assert status == 200, body
    assert isinstance(body, list), body
    return body


def test_a_path_with_globs_gives_its_series_at_their_own_step(appliance: Appliance) -> None:
    found = rendered(appliance, "servers.web*.load")
    assert [one["target"] for one in found] == ["servers.web1.load", "servers.web2.load"]
    points = found[0]["datapoints"]
    assert isinstance(points, list)
    times = [at_s for _, at_s in points]
    assert {second - first for first, second in pairwise(times)} == {10}
    assert len(times) == 30


def test_a_series_has_the_step_of_its_schema(appliance: Appliance) -> None:
    """However few samples it has; and that of a rollup where the range is older than the raw samples are kept."""
    appliance.send_graphite(f"slow.clock 7 {int(time.time())}\n")
    wait_until(lambda: rendered(appliance, "slow.clock"), what="the series")
    for start, step_s in (("-30min", 60), ("-2h", 300)):
        (found,) = rendered(appliance, "slow.clock", **{"from": start})
        points = found["datapoints"]
        assert isinstance(points, list)
        assert {second - first for (_, first), (_, second) in pairwise(points)} == {step_s}
        assert [value for value, _ in points if value is not None] == [7]


def test_targets_are_answered_in_their_order(appliance: Appliance) -> None:
    found = rendered(appliance, "sumSeries(servers.*.load)", "servers.db.load|alias('the database')")
    assert [one["target"] for one in found] == ["sumSeries(servers.*.load)", "the database"]


def test_no_more_points_than_asked_for(appliance: Appliance) -> None:
    (found,) = rendered(appliance, "servers.db.load", maxDataPoints="7")
    points = found["datapoints"]
    assert isinstance(points, list)
    assert 0 < len(points) <= 7


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("sumSeriez(servers.*.load)", "unknown function sumSeriez(); did you mean sumSeries?"),
        ("scale(servers.db.load,'x')", "scale(): argument factor is 'x', but must be a number"),
        ("movingAverage(servers.db.load,'x')", "movingAverage(): argument windowSize: the interval 'x' cannot be read"),
        ("summarize(servers.db.load,'1foo')", "summarize(): argument intervalString: the interval '1foo': the unit"),
        ("scale(servers.db.load", "expected ')' that ends scale( at the end"),
        ("f(" * 1_000 + "a" + ")" * 1_000, "nested more than 64 deep"),
        ("summarize(servers.db.load,'-5min')", "the interval '-5min' must be longer than 0"),
        ("timeFunction('a',1)|movingAverage('3000d')", "more than 1,000,000 points"),
        ("timeStack(servers.*.load,'1d',0,10000)", "timeStack(): 10,000 shifts are more than 400"),
    ],
)
def test_a_wrong_target_is_refused_in_plain_words(appliance: Appliance, target: str, words: str) -> None:
    status, body = asked(appliance, target)
    assert (status, words in body) == (400, True), body


@pytest.mark.parametrize("form", [{"format": "json"}, {"format": "json", "maxDataPoints": "1000"}, {"format": "svg"}])
def test_a_billion_points_are_refused_with_the_limit(appliance: Appliance, form: dict[str, str]) -> None:
    """Thirty ranges of three years each, at the steps of the series: far more points than they have samples."""
    target = "timeStack(timeStack(servers.*.load,'1y',0,10),'10y',0,3)"
    status, body = asked(appliance, target, **{"from": "-3y", **form})
    assert (status, "points or more, of at most 50,000,000" in body) == (400, True), body[:500]
    assert "query.samples_count_max" in body


def test_a_time_that_is_none_is_refused(appliance: Appliance) -> None:
    status, body = asked(appliance, "servers.db.load", until="nevermore")
    assert status == 400
    assert "the time 'nevermore' is none: write -1h" in body


def test_who_has_no_token_gets_nothing(appliance: Appliance) -> None:
    status, _ = appliance.call("GET", "/graphite/render?target=servers.db.load", token="wrong")
    assert status == 401

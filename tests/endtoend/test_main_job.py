"""The main job, with real parts: a fault is noticed, told within the contract's time, and its end is told as well."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.receiver import Received, Receiver
from tests.running import Appliance
from tests.waiting import busy, wait_until

SECRET = "a shared secret"


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with Appliance(tmp_path_factory.mktemp("main-job")) as running:
        yield running


@pytest.fixture(scope="module")
def phone(appliance: Appliance) -> Iterator[Receiver]:
    """The on-call person's end of a webhook channel named `hook`."""
    with Receiver() as receiver:
        status, answer = appliance.call(
            "POST",
            "/api/v1/channels",
            {"kind": "webhook", "name": "hook", "options": {"url": receiver.url + "/hook", "secret": SECRET}},
        )
        assert status == 201, answer
        yield receiver


def message(phone: Receiver, event: str, check_id: str, *, timeout_s: float) -> tuple[Received, dict[str, Any]]:
    """The first signed message of that event about that check."""

    def find() -> tuple[Received, dict[str, Any]] | None:
        for received in list(phone.received):
            body = json.loads(received.body)
            if body["event"] == event and body["check"]["id"] == check_id:
                return received, body
        return None

    received, body = wait_until(find, timeout_s=timeout_s, what=f"the {event} message")
    signature = hmac.new(SECRET.encode(), received.body, hashlib.sha256).hexdigest()
    assert received.headers["X-Henge-Signature"] == f"sha256={signature}"
    assert received.headers["Idempotency-Key"]
    return received, body


def state_of(appliance: Appliance, check_id: str) -> tuple[str, str]:
    _, check = appliance.call("GET", f"/api/v1/checks/{check_id}")
    return check["state"], check["state_type"]


def test_a_web_server_that_breaks_is_told_and_its_repair_too(appliance: Appliance, phone: Receiver) -> None:
    check = {
        "kind": "http",
        "name": "web",
        "interval_s": 2,
        "timeout_s": 2,
        "retry_interval_s": 1,
        "max_check_attempts": 3,
        "channels": ["hook"],
    }
    limit_s = 2 + 2 + (3 - 1) * 1 + 2
    with Receiver() as server:
        status, created = appliance.call("POST", "/api/v1/checks", check | {"options": {"url": server.url}})
        assert status == 201, created
        wait_until(lambda: state_of(appliance, created["id"]) == ("ok", "hard"), what="the check to be OK")

        server.status = 500
        broken_s = time.time()
        received, alert = message(phone, "alert", created["id"], timeout_s=busy(limit_s) + 2)
        assert received.at_s - broken_s <= busy(limit_s)
        assert alert["state"] == "critical"
        assert "500" in alert["output"]
        assert alert["incident"]["resolved_at_ms"] is None
        assert state_of(appliance, created["id"]) == ("critical", "hard")

        server.status = 200
        _, resolved = message(phone, "resolved", created["id"], timeout_s=busy(limit_s) + 2)
        assert resolved["incident"]["id"] == alert["incident"]["id"]
        assert resolved["incident"]["resolved_at_ms"] >= alert["incident"]["started_at_ms"]

    up = wait_until(lambda: appliance.query('henge_check_up{check="web"}'), what="the series of the check")
    assert up[0]["metric"]["kind"] == "http"


def test_a_metric_that_crosses_its_threshold_is_told_and_its_return_too(appliance: Appliance, phone: Receiver) -> None:
    level = [10]
    stop = threading.Event()

    def send() -> None:
        while not stop.wait(0.3):
            appliance.send_graphite(f"shop.orders.waiting {level[0]} {int(time.time())}\n")

    sender = threading.Thread(target=send)
    sender.start()
    try:
        status, created = appliance.call(
            "POST",
            "/api/v1/checks",
            {
                "kind": "query",
                "name": "orders waiting",
                "options": {"expression": '{__name__="shop.orders.waiting"}', "critical": "> 90"},
                "interval_s": 1,
                "timeout_s": 2,
                "retry_interval_s": 1,
                "max_check_attempts": 2,
                "channels": ["hook"],
            },
        )
        assert status == 201, created
        wait_until(lambda: state_of(appliance, created["id"])[0] == "ok", what="the metric to be seen")
        level[0] = 95
        _, alert = message(phone, "alert", created["id"], timeout_s=10)
        assert alert["state"] == "critical"
        assert "95" in alert["output"]
        level[0] = 12
        _, resolved = message(phone, "resolved", created["id"], timeout_s=10)
        assert resolved["incident"]["id"] == alert["incident"]["id"]
    finally:
        stop.set()
        sender.join()


def test_every_graphite_line_is_there_and_the_bad_ones_are_counted(appliance: Appliance) -> None:
    now_s = int(time.time()) // 10 * 10
    lines = [f"count.of.lines {i} {now_s - 10 * i}\n" for i in range(100)]
    lines[40:40] = ["count.of.lines not-a-number 1\n", "only.two.fields 3\n"]
    appliance.send_graphite("".join(lines))

    def count() -> int:
        found = appliance.query('count_over_time({__name__="count.of.lines"}[2000s])', time_s=now_s)
        return int(found[0]["value"][1]) if found else 0

    wait_until(lambda: count() == 100, what="100 samples")
    _, metrics = appliance.call("GET", "/metrics")
    assert 'henge_ingest_refused_total{protocol="graphite",reason="not_a_number"} 1' in metrics
    assert 'henge_ingest_refused_total{protocol="graphite",reason="fields_missing"} 1' in metrics


def test_the_acknowledged_way_in_answers_after_the_log(appliance: Appliance) -> None:
    now_ms = int(time.time() * 1000)
    body = [{"labels": {"__name__": "orders_total", "shop": "north"}, "samples": [[now_ms - 1000, 1], [now_ms, 2.5]]}]
    status, answer = appliance.call("POST", "/api/v1/series", body)
    assert status == 200, answer
    assert [s["value"][1] for s in appliance.query('orders_total{shop="north"}')] == ["2.5"]


def test_a_killed_child_is_back_within_two_seconds_and_the_page_says_so(appliance: Appliance, tmp_path: Path) -> None:
    for name in ("store", "intake", "query", "scheduler", "web", "state"):
        before = appliance.ready["processes"]
        killed_s = time.monotonic()
        appliance.wait_restarted(name, appliance.kill(name))
        assert time.monotonic() - killed_s < busy(2.0), f"{name} took {time.monotonic() - killed_s:.1f} s"
        after = appliance.ready["processes"]
        assert {n: p for n, p in after.items() if n != name} == {n: p for n, p in before.items() if n != name}
        _, system = wait_until(
            lambda: (answer := appliance.call("GET", "/api/v1/system"))[0] == 200 and answer, what="the system answer"
        )
        process = next(p for p in system["processes"] if p["name"] == name)
        assert process["restarts"] == 1
        assert "SIGKILL" in process["last_exit"]

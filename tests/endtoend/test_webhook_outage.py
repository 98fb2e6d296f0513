"""A webhook that answers 500 for a while, and a scheduler killed meanwhile: every message comes, once, in order.

The outbox tries again after 5, 10, 20 … s. Ten minutes of it, and more, pass in virtual time in tests/scheduler.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.endtoend.looking import log, metric, page
from tests.receiver import Received, Receiver
from tests.running import Appliance
from tests.waiting import busy, wait_until


def messages(hook: Receiver, check_id: str) -> list[tuple[Received, dict[str, Any]]]:
    """What came about one check, failed attempts included."""
    found = [(received, json.loads(received.body)) for received in list(hook.received)]
    return [(received, body) for received, body in found if body["check"]["id"] == check_id]


def test_an_outage_of_the_receiver_delays_messages_and_loses_none(tmp_path: Path) -> None:
    with Appliance(tmp_path) as appliance, Receiver() as target, Receiver(status=500, body=b"out of order") as hook:
        channel = {"kind": "webhook", "name": "hook", "options": {"url": hook.url, "secret": "s"}}
        status, channel = appliance.call("POST", "/api/v1/channels", channel)
        assert status == 201, channel
        check = {
            "kind": "http",
            "name": "web",
            "options": {"url": target.url},
            "interval_s": 1,
            "max_check_attempts": 1,
            "channels": ["hook"],
        }
        status, check = appliance.call("POST", "/api/v1/checks", check)
        assert status == 201, check
        check_id = check["id"]
        wait_until(
            lambda: appliance.call("GET", f"/api/v1/checks/{check_id}")[1]["state"] == "ok", what="the check to be OK"
        )

        target.status = 503
        wait_until(lambda: len(messages(hook, check_id)) == 1, timeout_s=busy(5), what="the first attempt")
        first = messages(hook, check_id)[0][0]
        target.status = 200  # Repaired while nobody could be told: the recovery has to wait behind the alert.

        def delivery() -> dict[str, Any] | None:
            _, answer = appliance.call("GET", f"/api/v1/channels/{channel['id']}/deliveries")
            return next((one for one in answer["items"] if one["attempt_count"] == 1), None)

        waiting = wait_until(delivery, what="the record of the failed attempt")
        assert waiting is not None
        assert waiting["status"] == "pending"
        assert "500" in waiting["last_error"]
        assert "out of order" in waiting["last_error"]
        assert metric(appliance, "henge_notifications_total", outcome="failed") == 1
        wait_until(lambda: metric(appliance, "henge_outbox_pending") == 2, what="alert and recovery in the outbox")
        assert "was not delivered (attempt 1)" in log(appliance)
        assert "HTTP 500" in page(appliance, "/channels")

        appliance.wait_restarted("scheduler", appliance.kill("scheduler"))
        hook.status = 200
        wait_until(lambda: len(messages(hook, check_id)) == 3, timeout_s=busy(8), what="alert and recovery")
        assert 4.5 < messages(hook, check_id)[1][0].at_s - first.at_s < busy(7), "the back-off goes on where it was"
        wait_until(lambda: metric(appliance, "henge_outbox_pending") == 0, what="an empty outbox")

        attempts = messages(hook, check_id)
        assert [body["event"] for _, body in attempts] == ["alert", "alert", "resolved"]
        keys = [received.headers["Idempotency-Key"] for received, _ in attempts]
        assert keys[0] == keys[1] != keys[2], "one message keeps its key over all attempts"
        assert attempts[0][1]["incident"]["id"] == attempts[2][1]["incident"]["id"]
        _, answer = appliance.call("GET", f"/api/v1/channels/{channel['id']}/deliveries")
        assert {one["status"] for one in answer["items"]} == {"delivered"}
        assert sorted(one["attempt_count"] for one in answer["items"]) == [1, 2]

"""The wall clock goes back an hour and then forward a day under a running appliance.

Every check runs again within one interval, once; nobody is told of anything; what comes in is stored at the new time.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.endtoend.faketime import SteppingClock
from tests.endtoend.looking import log, pids
from tests.receiver import Receiver
from tests.running import Appliance
from tests.waiting import busy, wait_until

CHECK_COUNT = 30
INTERVAL_S = 2.0
LEEWAY_S = 0.7  # For a machine with other things to do.
STEPS_S = (-3_600, 86_400)


def make(appliance: Appliance, path: str, body: dict[str, Any]) -> dict[str, Any]:
    status, answer = appliance.call("POST", path, body)
    assert status == 201, answer
    created: dict[str, Any] = answer
    return created


def settled(target: Receiver) -> bool:
    """Every check has run twice: it has come to its place in the plan."""
    runs = Counter(received.path for received in list(target.received))
    return len(runs) == CHECK_COUNT and min(runs.values()) >= 2


def step_and_look(appliance: Appliance, clock: SteppingClock, target: Receiver, step_s: int) -> None:
    """Step, and see that within one interval each check has run once, and that its result is stored at the new time."""
    target.received.clear()
    clock.step(step_s)
    stepped_s = time.time()
    _, system = appliance.call("GET", "/api/v1/system")
    assert abs(system["now_ms"] / 1000 - time.time() - clock.offset_s) < 5, "the appliance's clock has stepped"

    wait_until(
        lambda: len({received.path for received in list(target.received)}) == CHECK_COUNT,
        timeout_s=busy(INTERVAL_S + LEEWAY_S),
        what=f"a run of every check within one interval after {step_s:+d} s",
    )
    wait_until(lambda: time.time() > stepped_s + INTERVAL_S - LEEWAY_S, what="most of an interval to pass")
    came = [(received.path, received.at_s - stepped_s) for received in list(target.received)]
    runs = Counter(path for path, at_s in came if at_s < INTERVAL_S - LEEWAY_S)
    assert max(runs.values()) == 1, f"after {step_s:+d} s some ran more than once: {sorted(came)}"

    def stored_count() -> int:
        since_s = round(stepped_s + clock.offset_s)
        found = appliance.query(f'count(timestamp(henge_check_state{{kind="http"}}) >= {since_s})')
        return int(found[0]["value"][1]) if found else 0

    wait_until(lambda: stored_count() == CHECK_COUNT, what="results stored at the new time")
    sample = [{"labels": {"__name__": "sent"}, "samples": [[round((time.time() + clock.offset_s) * 1000), 1]]}]
    status, answer = appliance.call("POST", "/api/v1/series", sample)
    assert (status, answer["accepted_count"]) == (200, 1), answer


def test_every_check_runs_again_within_one_interval_once_and_nobody_is_told(tmp_path: Path) -> None:
    clock = SteppingClock(tmp_path)
    with (
        Receiver() as target,
        Receiver() as phone,
        Appliance(tmp_path, environ=clock.environ) as appliance,
    ):
        make(appliance, "/api/v1/channels", {"kind": "webhook", "name": "hook", "options": {"url": phone.url}})
        pace = {"interval_s": INTERVAL_S, "timeout_s": 2, "retry_interval_s": 1, "channels": ["hook"]}
        for number in range(CHECK_COUNT):
            options = {"url": f"{target.url}/{number}"}
            make(
                appliance,
                "/api/v1/checks",
                {"kind": "http", "name": f"web {number}", "options": options, "max_check_attempts": 1} | pace,
            )
        push = make(
            appliance,
            "/api/v1/checks",
            {"kind": "push", "name": "job", "options": {"period_s": 60, "grace_s": 60}, "max_check_attempts": 1} | pace,
        )
        assert appliance.call("GET", f"/push/{push['options']['secret']}")[0] == 200
        expression = 'max(henge_check_state{kind="http"})'
        make(
            appliance,
            "/api/v1/checks",
            {"kind": "query", "name": "worst", "options": {"expression": expression, "critical": "> 1"}} | pace,
        )
        before = pids(appliance)
        wait_until(lambda: settled(target), timeout_s=15, what="two runs of every check")
        for step_s in STEPS_S:
            step_and_look(appliance, clock, target, step_s)

        assert phone.received == [], "somebody was told of the clock's steps"
        _, incidents = appliance.call("GET", "/api/v1/incidents")
        assert incidents["items"] == []
        _, system = appliance.call("GET", "/api/v1/system")
        assert system["scheduler"]["lateness_max_s"] < 30, "a step was taken for lateness"
        assert pids(appliance) == before, "a process was restarted"
        assert log(appliance).count("the wall clock stepped by") >= len(STEPS_S)

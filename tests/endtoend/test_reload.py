"""`henge reload` under load: nobody is refused, and nothing that was acknowledged is lost."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from appliance.bus import BusGone, Client
from tests.appliance.house import alive
from tests.endtoend.calling import Crowd, calling
from tests.endtoend.looking import pids
from tests.running import Appliance
from tests.waiting import wait_until


def wait_answered(crowd: Crowd) -> None:
    """Until each caller has been answered ten times more."""
    counts = [caller.answered_count for caller in crowd.callers]
    wait_until(
        lambda: all(caller.answered_count > count + 10 for caller, count in zip(crowd.callers, counts, strict=True))
    )


@pytest.mark.parametrize("how", ["--all", "--exec"])
def test_every_request_is_answered_while_each_process_is_replaced(how: str, tmp_path: Path) -> None:
    """--exec: the supervisor as well."""
    with Appliance(tmp_path) as appliance:
        before = pids(appliance)
        with calling(appliance) as crowd:
            wait_answered(crowd)
            appliance.henge("reload", how)
            wait_answered(crowd)
        print(crowd)
        assert not crowd.failures()
        assert crowd.lost(appliance) == {}
        after = pids(appliance)
        assert before.keys() == after.keys()
        assert not set(before.values()) & set(after.values())


def _supervisor_number(asking: Client) -> int:
    """How often the supervisor replaced itself; -1 while a question is lost with the one that is replaced."""
    try:
        return int(asking.call("status").body["succession"]["number"])
    except BusGone:
        return -1


@pytest.mark.parametrize("victim", ["supervisor", "store"])
def test_kill_9_in_the_middle_of_a_replacement_loses_nothing_and_leaves_nobody(victim: str, tmp_path: Path) -> None:
    with Appliance(tmp_path) as appliance:
        with calling(appliance) as crowd:
            wait_answered(crowd)
            assert appliance.process is not None
            supervisor = psutil.Process(appliance.process.pid)
            asking = Client(appliance.data_dir / "run", "supervisor")
            asking.call("exec", timeout_s=30)
            wait_until(lambda: _supervisor_number(asking) == 1, what="the next supervisor")
            asking.close()
            if victim == "supervisor":
                everybody = [child.pid for child in supervisor.children()]
                supervisor.kill()
                appliance.process.wait()
                wait_until(lambda: not any(map(alive, everybody)), timeout_s=5)
                appliance.process = None
            else:
                appliance.kill(victim)
                wait_answered(crowd)
        if victim == "supervisor":
            appliance.start()
        assert crowd.lost(appliance) == {}
        assert appliance.stop(by=signal.SIGTERM) == 0

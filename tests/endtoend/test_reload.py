"""`henge reload` under load: nobody is refused, and nothing that was acknowledged is lost."""

from __future__ import annotations

from pathlib import Path

from tests.endtoend.calling import calling
from tests.endtoend.looking import pids
from tests.running import Appliance
from tests.waiting import wait_until


def test_every_request_is_answered_while_each_process_is_restarted(tmp_path: Path) -> None:
    with Appliance(tmp_path) as appliance:
        before = pids(appliance)
        with calling(appliance) as crowd:
            wait_until(lambda: all(caller.answered_count > 10 for caller in crowd.callers))
            appliance.henge("reload", "--all")
            counts = [caller.answered_count for caller in crowd.callers]
            wait_until(
                lambda: all(
                    caller.answered_count > count + 10 for caller, count in zip(crowd.callers, counts, strict=True)
                )
            )
        print(crowd)
        assert not crowd.failures()
        assert crowd.lost(appliance) == {}
        after = pids(appliance)
        assert before.keys() == after.keys()
        assert not set(before.values()) & set(after.values())

"""A snapshot of a real appliance under load, put back into another folder, and every sample compared."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

from tests.endtoend.acknowledged import METRIC, body_of, count_without, encoded, rows_of, rows_stored
from tests.running import CHECKOUT, HENGE, Appliance
from tests.waiting import wait_until
from tsdb.client import TsdbClient
from tsdb.sample import Matcher, MatchOp

BODY_COUNT = 30


class Sender(threading.Thread):
    """Posts bodies one after another until told to stop."""

    def __init__(self, appliance: Appliance, base_ms: int) -> None:
        super().__init__()
        self._client = TsdbClient(appliance.data_dir / "run")
        self._base_ms = base_ms
        self.acknowledged: list[int] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        for number in range(BODY_COUNT):
            if self.stopping.is_set():
                break
            answer = self._client.write("json", encoded(body_of(number, self._base_ms)), sender="test")
            assert not answer.refused
            self.acknowledged.append(number)
        self._client.close()


def henge(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HENGE, *arguments], capture_output=True, text=True, cwd=CHECKOUT, timeout=60, check=False)


def test_a_snapshot_under_load_holds_every_sample_that_was_acknowledged_before(tmp_path: Path) -> None:
    base_ms = time.time_ns() // 1_000_000 - 1_800_000
    taken = tmp_path / "backup" / "today"
    for name in ("backup", "first", "second"):
        (tmp_path / name).mkdir()
    with Appliance(tmp_path / "first") as appliance:
        sender = Sender(appliance, base_ms)
        sender.start()
        wait_until(lambda: len(sender.acknowledged) >= 5, timeout_s=30, what="five bodies")
        before = list(sender.acknowledged)
        assert appliance.henge("db", "snapshot", str(taken)).splitlines()[-1] == str(taken)
        sender.stopping.set()
        sender.join(60)
        refused = henge("db", "restore", str(taken), "--data", str(appliance.data_dir), "--force")
        assert (refused.returncode, "in use" in refused.stderr) == (1, True)
    second = Appliance(tmp_path / "second")
    done = henge("db", "restore", str(taken), "--data", str(second.data_dir))
    assert done.returncode == 0, done.stderr
    again = henge("db", "restore", str(taken), "--data", str(second.data_dir))
    assert (again.returncode, "--force" in again.stderr) == (1, True)
    assert "damaged" not in henge("db", "verify", "--data", str(second.data_dir)).stdout
    with second:
        client = TsdbClient(second.data_dir / "run")
        found = client.select([Matcher("__name__", MatchOp.EQUAL, METRIC)], base_ms, base_ms + 10_000_000)
        client.close()
    stored = rows_stored(found)
    wanted = rows_of(body_of(number, base_ms) for number in before)
    allowed = rows_of(body_of(number, base_ms) for number in range(BODY_COUNT))
    assert count_without(wanted, stored) == 0, "lost"
    assert count_without(stored, allowed) == 0, "invented"
    assert len(before) >= 5

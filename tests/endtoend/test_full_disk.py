"""A disk that fills up under a running appliance: writes are refused in words, reads go on, and it heals by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.endtoend.looking import log, metric, page, pids
from tests.endtoend.smalldisk import SmallDisk, small_disk
from tests.receiver import Receiver
from tests.running import Appliance
from tests.waiting import wait_until

DISK_BYTES = 16 * 2**20
BODY_SAMPLES = 10_000  # 160 KB in the log: more than the last free bytes of a page can take.


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", DISK_BYTES) as mounted:
        yield mounted


@pytest.fixture
def appliance(disk: SmallDisk, tmp_path: Path) -> Iterator[Appliance]:
    running = Appliance(tmp_path)
    running.data_dir = disk.path / "data"
    with running:
        yield running


def now_ms() -> int:
    return int(time.time() * 1000)


def series(name: str, count: int = 1) -> list[dict[str, Any]]:
    latest_ms = now_ms()
    return [{"labels": {"__name__": name}, "samples": [[latest_ms - step, step * 0.1] for step in range(count)]}]


def count_of(appliance: Appliance, expression: str) -> int:
    found = appliance.query(expression)
    return int(found[0]["value"][1]) if found else 0


def runs_of(appliance: Appliance, name: str) -> int:
    return count_of(appliance, f'count_over_time(henge_check_state{{check="{name}"}}[5m])')


def test_writes_are_refused_in_words_reads_go_on_and_freed_space_heals_it(
    appliance: Appliance, disk: SmallDisk
) -> None:
    with Receiver() as server:
        check = {"kind": "http", "name": "web", "options": {"url": server.url}, "interval_s": 1}
        status, created = appliance.call("POST", "/api/v1/checks", check)
        assert status == 201, created
        assert appliance.call("POST", "/api/v1/series", series("before", BODY_SAMPLES))[0] == 200
        wait_until(lambda: runs_of(appliance, "web") >= 1, what="a stored run")
        before = pids(appliance)

        disk.fill()
        filled_ms = now_ms()
        status, answer = appliance.call("POST", "/api/v1/series", series("refused", BODY_SAMPLES))
        assert status == 507, answer
        assert answer["error"]["code"] == "disk_full"
        assert "No space left on device" in answer["error"]["message"]
        assert "until space is free" in answer["error"]["message"]
        status, answer = appliance.call("POST", "/api/v1/checks", check | {"name": "another"})
        assert (status, answer["error"]["code"]) == (507, "disk_full"), answer
        assert "until space is freed" in answer["error"]["message"]
        assert metric(appliance, "henge_bus_refused_total", code="disk_full", service="store") >= 1
        assert metric(appliance, "henge_bus_refused_total", code="disk_full", service="state") >= 1

        names = [f"waiting.{number}" for number in range(2_000)]
        appliance.send_graphite("".join(f"{name} 1 {filled_ms // 1000}\n" for name in names))

        assert count_of(appliance, "count_over_time(before[1h])") == BODY_SAMPLES
        assert appliance.query("refused") == []
        assert "web" in page(appliance, "/")
        assert "0 B free of 16" in page(appliance, "/system")
        assert "What cannot be written is refused" in page(appliance, "/system")
        assert appliance.call("GET", f"/api/v1/checks/{created['id']}")[1]["state"] == "ok"
        wait_until(lambda: "No space left on device" in log(appliance), what="the log to say so")
        asked_before = len(server.received)
        wait_until(lambda: len(server.received) >= asked_before + 2, what="the check to be run on")

        disk.free()
        wait_until(
            lambda: count_of(appliance, 'count({__name__=~"waiting[.].*"})') == len(names),
            what="the Graphite lines that had to wait",
        )
        assert appliance.call("POST", "/api/v1/series", series("refused", BODY_SAMPLES))[0] == 200
        status, another = appliance.call("POST", "/api/v1/checks", check | {"name": "another"})
        assert status == 201, another
        wait_until(lambda: runs_of(appliance, "another") >= 1, what="the new check's runs")
        wait_until(  # Two of them may be on their way; those that met the full disk are more.
            lambda: runs_of(appliance, "web") + runs_of(appliance, "another") >= len(server.received) - 2,
            what="the numbers of every run, also of those on the full disk",
        )
        assert pids(appliance) == before, "no process was restarted"
    told = appliance.log_file.read_text()
    assert "takes no samples now" in told
    assert told.count("the state process is not ready") <= 3, "said when it begins, not at every attempt"


def test_children_that_end_on_a_full_disk_come_back_and_serve_what_there_is(
    appliance: Appliance, disk: SmallDisk
) -> None:
    """Else a crash at the wrong moment would end the appliance: a start that fails six times in a row gives up."""
    check = {"kind": "http", "name": "web", "options": {"url": "http://127.0.0.1:9"}, "paused": True}
    status, created = appliance.call("POST", "/api/v1/checks", check)
    assert status == 201, created
    assert appliance.call("POST", "/api/v1/series", series("before", BODY_SAMPLES))[0] == 200
    disk.fill()
    victims = ("store", "state", "intake", "scheduler")
    for victim in victims:
        appliance.wait_restarted(victim, appliance.kill(victim))
    wait_until(lambda: appliance.call("GET", "/health/ready")[0] == 200, what="everything to answer")
    assert count_of(appliance, "count_over_time(before[1h])") == BODY_SAMPLES
    assert appliance.call("GET", f"/api/v1/checks/{created['id']}")[1]["name"] == "web"
    status, answer = appliance.call("POST", "/api/v1/series", series("refused", BODY_SAMPLES))
    assert (status, answer["error"]["code"]) == (507, "disk_full"), answer
    _, system = appliance.call("GET", "/api/v1/system")
    assert {p["name"]: p["restarts"] for p in system["processes"] if p["restarts"]} == dict.fromkeys(victims, 1)

    disk.free()
    wait_until(
        lambda: appliance.call("POST", "/api/v1/series", series("after", BODY_SAMPLES))[0] == 200,
        what="samples to be taken again",
    )
    assert appliance.call("PATCH", f"/api/v1/checks/{created['id']}", {"name": "renamed"})[0] == 200
    assert count_of(appliance, "count_over_time(after[1h])") == BODY_SAMPLES
    assert len(appliance.log_file.read_text().splitlines()) < 60, "the terminal is not flooded"

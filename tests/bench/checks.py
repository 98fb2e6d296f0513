"""How late checks start and what they cost: HTTP checks of one interval, beside others that hang until their time-out.

The targets are another process; every check is made through the API. The first interval is let pass, because it holds
the making of the checks. CPU is that of the whole tree; lateness is the scheduler's own account; that every number
was stored is asked by query, and that every text was stored of the API.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from appliance.bus import Client
from tests.bench.figure import Figure, machine
from tests.running import CHECKOUT, Appliance


def run(*, count: int, hung_count: int, interval_s: float, seconds: float) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder, Appliance(Path(folder)) as appliance:
        targets = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.targets"], stdout=subprocess.PIPE, text=True, cwd=CHECKOUT
        )
        try:
            assert targets.stdout is not None
            quick_port, silent_port = (int(word) for word in targets.stdout.readline().split())
            _make(appliance, "steady", count, quick_port, interval_s)
            _make(appliance, "hung", hung_count, silent_port, interval_s)
            time.sleep(2 * interval_s)
            measured = _measure(appliance, seconds)
            stored = _stored(appliance, count, interval_s)
        finally:
            targets.kill()
            targets.wait()
    conditions = machine() | {
        "checks": count,
        "hung_checks": hung_count,
        "interval_s": interval_s,
        "seconds": seconds,
        **measured.pop("conditions"),
        **stored,
    }
    units = {"cpu": "cores", "lateness_p99": "ms", "lateness_p50": "ms", "memory": "MiB", "runs": "1/s"}
    names = {
        "lateness_p50": "lateness of starts, p50",
        "lateness_p99": "lateness of starts, p99",
        "cpu": "CPU of the tree",
        "memory": "memory of the tree, RSS summed",
        "runs": "runs",
    }
    for key, name in names.items():
        yield Figure(bench="checks", metric=name, value=round(measured[key], 3), unit=units[key], conditions=conditions)


def _make(appliance: Appliance, name: str, count: int, port: int, interval_s: float) -> None:
    for index in range(count):
        body = {
            "kind": "http",
            "name": f"{name} {index}",
            "options": {"url": f"http://127.0.0.1:{port}/{index}", "keyword": "well"},
            "interval_s": interval_s,
            "timeout_s": interval_s,
            "retry_interval_s": interval_s,
            "max_check_attempts": 3,
        }
        status, answer = appliance.call("POST", "/api/v1/checks", body)
        assert status == 201, answer


def _measure(appliance: Appliance, seconds: float) -> dict[str, Any]:
    with Client(appliance.data_dir / "run", "scheduler") as scheduler:
        before, started_s, cpu_s = scheduler.call("restart_stats").body, time.monotonic(), _cpu_s(appliance)
        time.sleep(seconds)
        after, took_s = scheduler.call("stats").body, time.monotonic() - started_s
        cpu_s = _cpu_s(appliance) - cpu_s
    return {
        "lateness_p50": after["lateness_p50_s"] * 1000,
        "lateness_p99": after["lateness_p99_s"] * 1000,
        "cpu": cpu_s / took_s,
        "memory": sum(process.memory_info().rss for process in _tree(appliance)) / 2**20,
        "runs": (after["run_count"] - before["run_count"]) / took_s,
        "conditions": {
            "lateness_max_ms": round(after["lateness_max_s"] * 1000, 1),
            "transactions_per_s": round((after["transaction_count"] - before["transaction_count"]) / took_s, 2),
        },
    }


def _stored(appliance: Appliance, count: int, interval_s: float) -> dict[str, Any]:
    """That numbers and texts of the healthy checks are there, and that none of them is a problem."""
    up = appliance.query('sum(henge_check_up{check=~"steady .*"})')
    samples = appliance.query(f'sum(count_over_time(henge_check_up{{check=~"steady .*"}}[{int(5 * interval_s)}s]))')
    _, listed = appliance.call("GET", "/api/v1/checks?q=steady&limit=1")
    _, problems = appliance.call("GET", "/api/v1/checks?q=steady&state=critical&limit=1")
    found = {
        "up_by_query": int(float(up[0]["value"][1])) if up else 0,
        "samples_of_5_intervals": int(float(samples[0]["value"][1])) if samples else 0,
        "critical_healthy_checks": len(problems["items"]),
        "text": listed["items"][0]["last_result"]["output"] if listed["items"] else None,
    }
    if found["up_by_query"] != count or found["critical_healthy_checks"]:
        raise SystemExit(f"healthy checks are not all up: {found}")
    return found


def _tree(appliance: Appliance) -> list[psutil.Process]:
    assert appliance.process is not None
    root = psutil.Process(appliance.process.pid)
    return [root, *root.children(recursive=True)]


def _cpu_s(appliance: Appliance) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in _tree(appliance))

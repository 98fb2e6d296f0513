"""How late checks start and what they cost: HTTP checks of one interval, beside others that hang until their time-out.

The targets are another process; every check is made through the API. The first interval is let pass, because it holds
the making of the checks. CPU is that of the whole tree; lateness is the scheduler's own account; that every number
was stored is asked by query, and that every text was stored of the API.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from appliance.bus import Client
from tests.bench.figure import Figure, machine
from tests.bench.tree import MIB, usage
from tests.endtoend.looking import metric
from tests.running import CHECKOUT, Appliance

SERIES_OF_A_CHECK = ("henge_check_up", "henge_check_state", "henge_check_duration_seconds")
LISTED_COUNT_MAX = 1_000  # One page of the API.


def run(*, count: int, hung_count: int, interval_s: float, seconds: float) -> Iterator[Figure]:
    load_before = round(os.getloadavg()[0], 2)  # Others at work on the same cores are most of the lateness.
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
            stored = _stored(appliance, count, interval_s, measured["until_s"], round(seconds))
        finally:
            targets.kill()
            targets.wait()
    conditions = machine() | {
        "checks": count,
        "hung_checks": hung_count,
        "interval_s": interval_s,
        "seconds": seconds,
        "load_1m_before": load_before,
        **measured.pop("conditions"),
        **stored,
    }
    figures = measured | stored
    for key, name, unit in (
        ("lateness_p50", "lateness of starts, p50", "ms"),
        ("lateness_p99", "lateness of starts, p99", "ms"),
        ("late", "runs that were late", "runs"),
        ("runs", "runs", "1/s"),
        ("samples", "numbers stored, counted by query", "1/s"),
        ("texts", "healthy checks whose text the API shows", "checks"),
        ("cpu", "CPU of the tree", "cores"),
        ("memory", "memory of the tree, RSS summed", "MiB"),
        ("memory_pss", "memory of the tree, PSS summed", "MiB"),
    ):
        yield Figure(bench="checks", metric=name, value=round(figures[key], 3), unit=unit, conditions=conditions)


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
    """What happens in so many seconds; nobody asks the appliance anything meanwhile."""
    pid, names = appliance.ready["pid"], appliance.ready["processes"]
    late_count = metric(appliance, "henge_check_late_total")
    with Client(appliance.data_dir / "run", "scheduler") as scheduler:
        before, started_s, used = scheduler.call("restart_stats").body, time.monotonic(), usage(pid, names)
        time.sleep(seconds)
        after, took_s, used_after = scheduler.call("stats").body, time.monotonic() - started_s, usage(pid, names)
    cores = {name: round((cpu_s - used.cpu_s[name]) / took_s, 4) for name, cpu_s in used_after.cpu_s.items()}
    return {
        "until_s": time.time(),
        "lateness_p50": after["lateness_p50_s"] * 1000,
        "lateness_p99": after["lateness_p99_s"] * 1000,
        "late": metric(appliance, "henge_check_late_total") - late_count,
        "cpu": (used_after.cpu_total_s - used.cpu_total_s) / took_s,
        "memory": used_after.rss_bytes / MIB,
        "memory_pss": used_after.pss_bytes / MIB,
        "runs": (after["run_count"] - before["run_count"]) / took_s,
        "conditions": {
            "lateness_max_ms": round(after["lateness_max_s"] * 1000, 1),
            "transactions_per_s": round((after["transaction_count"] - before["transaction_count"]) / took_s, 2),
            "cores_by_process": cores,
        },
    }


def _stored(appliance: Appliance, count: int, interval_s: float, until_s: float, seconds: int) -> dict[str, Any]:
    """That numbers and texts of the healthy checks are there, and that none of them is a problem."""
    time.sleep(2)  # Numbers go to the store once a second, texts to the state file.
    up = appliance.query('sum(henge_check_up{check=~"steady .*"})')
    samples_count = 0
    for name in SERIES_OF_A_CHECK:
        counted = f'sum(count_over_time({name}{{check=~"steady .*"}}[{seconds}s]))'
        samples_count += sum(int(one["value"][1]) for one in appliance.query(counted, time_s=until_s))
    texts = 0
    for offset in range(0, count, LISTED_COUNT_MAX):
        _, listed = appliance.call("GET", f"/api/v1/checks?q=steady&limit={LISTED_COUNT_MAX}&offset={offset}")
        texts += sum("HTTP 200" in one["last_result"]["output"] for one in listed["items"] if one["last_result"])
    _, problems = appliance.call("GET", "/api/v1/checks?q=steady&state=critical&limit=1")
    found = {
        "up_by_query": int(float(up[0]["value"][1])) if up else 0,
        "samples": samples_count / seconds,
        "texts": texts,
        "critical_healthy_checks": len(problems["items"]),
    }
    wanted_per_s = 3 * count / interval_s
    if found["up_by_query"] != count or found["texts"] != count or found["critical_healthy_checks"]:
        raise SystemExit(f"healthy checks are not all up and stored: {found}")
    if abs(found["samples"] - wanted_per_s) > 0.05 * wanted_per_s:
        raise SystemExit(f"{found['samples']:.1f} numbers a second are stored, and not {wanted_per_s:.1f}")
    return found

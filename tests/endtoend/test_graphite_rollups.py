"""Samples whose raw form has left, drawn of real rollup blocks by the configured methods."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

from tests.running import Appliance
from tests.waiting import wait_until

# Samples arrive 4.8 h late at most: later ones would stay as they came until no more of them are expected.
SCHEMAS = [{"pattern": ".", "retention": "raw:1h,1m:3h,10m:30d", "resolution": "10s"}]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


METHODS: dict[str, Callable[[list[float]], float]] = {"sum": sum, "max": max, "average": _mean}
RULES = [{"pattern": rf"\.{method}$", "method": method, "x_files_factor": "1"} for method in METHODS]
FIRST_AGO_S = 17_280
# (so long ago, its step): samples that are kept, and two tiers of rollups on both sides of the border of a window.
WANTED = [(1_800, 10), (9_000, 60), (16_800, 600), (14_000, 600)]


def _value(at_s: int) -> float:
    return float(at_s // 10 % 97)


def test_what_has_left_is_drawn_of_rollups_as_it_was_of_samples(tmp_path: Path) -> None:
    settings = (f"store.schemas={json.dumps(SCHEMAS)}", f"graphite.aggregation={json.dumps(RULES)}")
    now_s = int(time.time()) // 10 * 10
    times_s = range(now_s - FIRST_AGO_S, now_s, 10)
    with Appliance(
        tmp_path, settings=(*settings, "store.out_of_order_window=1m", "store.retention=raw:1h,1m:3h,10m:30d")
    ) as appliance:

        def store() -> dict[str, int]:
            found: dict[str, int] = appliance.call("GET", "/api/v1/system")[1]["store"]
            return found

        appliance.send_graphite("".join(f"a.{each} {_value(at)} {at + 5}\n" for at in times_s for each in METHODS))
        wait_until(lambda: store()["head_samples"] >= len(times_s) * len(METHODS), what="the samples")
        _check(appliance, now_s)
        appliance.henge("db", "compact")
        wait_until(lambda: store()["rolled_windows"] > 0, timeout_s=60, what="the rollups")
        wait_until(lambda: 0 < store()["block_samples"] < len(times_s) * len(METHODS), what="samples that leave")
        assert store()["rollup_count"] > 0
        _check(appliance, now_s)


def _check(appliance: Appliance, now_s: int) -> None:
    for method, figure in METHODS.items():
        for ago_s, step_s in WANTED:
            start_s = now_s - ago_s
            asked = {"target": f"a.{method}", "from": start_s, "until": start_s + 5 * step_s + 9, "format": "json"}
            status, found = appliance.call("GET", f"/graphite/render?{urlencode(asked)}")
            assert status == 200, found
            points = found[0]["datapoints"]
            assert [at_s % step_s for _, at_s in points] == [0] * 5
            for value, at_s in points:
                wanted = figure([_value(each) for each in range(at_s, at_s + step_s, 10)])
                assert value == wanted, (method, step_s, at_s - now_s)

"""How long `henge up` takes until everything answers, and what an idle appliance costs."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figure import Figure, machine
from tests.bench.tree import MIB, Usage, usage
from tests.running import Appliance

SETTLE_S = 5.0  # After the start: imports are done, the first upkeep too.


def run(*, runs: int, idle_s: float) -> Iterator[Figure]:
    first_s: list[float] = []
    again_s: list[float] = []
    with tempfile.TemporaryDirectory() as work:
        for number in range(runs):
            folder = Path(work) / str(number)
            folder.mkdir()
            appliance = Appliance(folder)
            for took in (first_s, again_s):
                took.append(started_s(appliance))
                if took is again_s and number == runs - 1:
                    before, after = idle(appliance, idle_s)
                appliance.stop()
    conditions = machine() | {"runs": runs, "idle_s": idle_s, "first_s": first_s, "again_s": again_s}
    cores = (after.cpu_total_s - before.cpu_total_s) / idle_s
    by_process = {name: round((cpu_s - before.cpu_s[name]) / idle_s, 4) for name, cpu_s in after.cpu_s.items()}
    for metric, value, unit in (
        ("henge up on an empty folder until the ready file", statistics.median(first_s), "s"),
        ("henge up on a folder with data until the ready file", statistics.median(again_s), "s"),
        ("memory of the idle tree, RSS summed", after.rss_bytes / MIB, "MiB"),
        ("memory of the idle tree, PSS summed", after.pss_bytes / MIB, "MiB"),
        ("CPU of the idle tree", cores, "cores"),
    ):
        told = conditions | ({"cores_by_process": by_process} if unit == "cores" else {})
        yield Figure(bench="startup", metric=metric, value=round(value, 4), unit=unit, conditions=told)


def started_s(appliance: Appliance) -> float:
    since_s = time.monotonic()
    appliance.start()
    return round(time.monotonic() - since_s, 3)


def idle(appliance: Appliance, seconds: float) -> tuple[Usage, Usage]:
    """Usage before and after so many seconds without anybody asking anything."""
    time.sleep(SETTLE_S)
    pid, names = appliance.ready["pid"], appliance.ready["processes"]
    before = usage(pid, names)
    time.sleep(seconds)
    return before, usage(pid, names)

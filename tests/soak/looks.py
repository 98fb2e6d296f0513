"""What is looked at every ten seconds, and how fast a row of looks rises."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
from numpy.typing import NDArray

from appliance.bus import BusError, Client
from tests.bench.tree import MIB

LOOK_EVERY_S = 10.0
WINDOW_S = 540.0  # Five of them in the 45 minutes behind the warm-up.
_FIELDS = {"Pss": "pss", "Pss_Anon": "anon", "Pss_Shmem": "anon"}


class Look(msgspec.Struct, kw_only=True):
    at_s: float  # Since the start of the soak.
    pss_mib: dict[str, float]  # By process, pages that are shared counted once in all.
    anon_mib: dict[str, float]  # The same without pages of files, which the kernel takes back when it wants them.
    head_mib: float
    block_count: int
    block_mib: float
    run_count: int  # Of checks, since the scheduler's start.
    late_max_ms: float  # The latest start of a check since the look before.


class Looker:
    """Looks at one appliance. To be closed."""

    def __init__(self, data_dir: Path, pid: int) -> None:
        self._pid = pid
        self._store, self._scheduler = Client(data_dir / "run", "store"), Client(data_dir / "run", "scheduler")
        self._began_s = time.monotonic()

    def close(self) -> None:
        self._store.close()
        self._scheduler.close()

    def look(self, names: dict[str, int]) -> Look | None:
        """None in the moment when a process that is asked is replaced. names: process → pid, as in the ready file."""
        try:
            store: dict[str, Any] = self._store.call("stats", timeout_s=30).body
            checks: dict[str, Any] = self._scheduler.call("restart_stats", timeout_s=30).body
        except BusError:
            return None
        pss_mib, anon_mib = _memory(self._pid, names)
        return Look(
            at_s=round(time.monotonic() - self._began_s, 1),
            pss_mib=pss_mib,
            anon_mib=anon_mib,
            head_mib=round(store["head_bytes"] / MIB, 1),
            block_count=store["block_count"],
            block_mib=round(store["block_bytes"] / MIB, 1),
            run_count=checks["run_count"],
            late_max_ms=round(1_000 * (checks["lateness_max_s"] or 0.0), 1),
        )


def _memory(pid: int, names: dict[str, int]) -> tuple[dict[str, float], dict[str, float]]:
    name_of = {process_pid: name for name, process_pid in names.items()} | {pid: "supervisor"}
    root = psutil.Process(pid)
    found: dict[str, dict[str, float]] = {"pss": {}, "anon": {}}
    for process in [root, *root.children(recursive=True)]:
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]
        except (FileNotFoundError, ProcessLookupError):
            continue  # It was replaced just now.
        name = name_of.get(process.pid, "other")
        for key, _, rest in (line.partition(":") for line in lines):
            if key in _FIELDS:
                of_name = found[_FIELDS[key]]
                of_name[name] = round(of_name.get(name, 0.0) + int(rest.split()[0]) / 1024, 1)
    return found["pss"], found["anon"]


def slope_percent_per_h(at_s: NDArray[np.float64], value: NDArray[np.float64]) -> float:
    """How much a row of values rises in an hour, in percent of its mean: least squares over medians of WINDOW_S.

    The head fills and is written out every few minutes, and for a moment of each reload two processes stand side by
    side: a window holds several of the former, and is not moved by the latter. Of less than two windows it is 0.
    """
    window = ((at_s - at_s[0]) // WINDOW_S).astype(int)
    cuts = np.flatnonzero(np.diff(window)) + 1
    parts = zip(np.split(at_s, cuts), np.split(value, cuts), strict=True)
    whole = [(at, of) for at, of in parts if at[-1] - at[0] > 0.9 * WINDOW_S]
    if len(whole) < 2:
        return 0.0
    middles_h = np.array([np.mean(at) for at, _ in whole]) / 3_600
    medians = np.array([np.median(of) for _, of in whole])
    return float(100 * np.polyfit(middles_h, medians, 1)[0] / np.mean(medians))

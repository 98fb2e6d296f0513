"""One measured figure as one line of JSON."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import subprocess
from typing import Any

import msgspec

from tests.running import CHECKOUT


class Figure(msgspec.Struct, kw_only=True):
    bench: str
    metric: str
    value: float
    unit: str
    conditions: dict[str, Any]

    def line(self) -> str:
        return json.dumps(msgspec.to_builtins(self))


def machine() -> dict[str, Any]:
    """What the figure was measured on: cores, memory, kernel, commit, day."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=CHECKOUT, check=True
    ).stdout.strip()
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "commit": commit,
        "day": dt.datetime.now(dt.UTC).date().isoformat(),
    }

"""Waiting on a condition with a limit, so that no test sleeps for a fixed time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], *, timeout_s: float = 30.0, every_s: float = 0.02, what: str = "") -> T:
    """Ask until the condition gives something true, and return it. Raises: AssertionError after timeout_s."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not so within {timeout_s} s: {what or condition}; last answer {answer!r}")
        time.sleep(every_s)


def busy(limit_s: float) -> float:
    """A limit that holds where a core is free, on the machine as it is: with twice as much to do as cores, twice."""
    return limit_s * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))

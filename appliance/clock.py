"""Time as an argument: whoever needs the time is given a Clock, so that a test can give its own."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> int:
        """Wall-clock time, epoch ms, UTC; it may step in either direction."""

    def monotonic_s(self) -> float:
        """Seconds from an arbitrary start; never steps."""


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()

"""How late runs start: the scheduler's own health, as it shows it."""

from __future__ import annotations

from collections import deque

KEEP_COUNT = 10_000  # 100 s of 1,000 checks every 10 s.


class Lateness:
    """The lateness of the latest runs, in seconds."""

    def __init__(self) -> None:
        self._latest_s: deque[float] = deque(maxlen=KEEP_COUNT)
        self.run_count = 0
        self.late_count = 0

    def add(self, seconds: float) -> None:
        self._latest_s.append(max(0.0, seconds))
        self.run_count += 1

    def clear(self) -> None:
        self._latest_s.clear()

    def percentile_s(self, share: float) -> float | None:
        """The lateness that this share of the latest runs keeps within; None before any run."""
        ordered = sorted(self._latest_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None

"""Samples that were past their time when they came, and how long they stay as they came."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsdb.sample import Int64s
from tsdb.store.departures import Window
from tsdb.store.windows import WINDOWS_MS

# While samples come that are past their time, and for so long behind the last of them, what is there of their time
# stays: who was broken off while he sent them sends them again, and where a rollup stands they would count twice.
SETTLING_S = 86_400.0
# After a start, for nobody knows what came before it.
SETTLING_AFTER_START_S = 3_600.0
# What came in time leaves before it is so long past it.
LONG_PAST_MS = 4 * 3_600_000
# Of the longest window, so that each window lies in one. From 1970 to now there are less than 4,000.
_SLOT_MS = WINDOWS_MS[-1]


class Settling:
    """By slot of time, until when more is expected. Someone whose clock is wrong delays the slots that he sends to."""

    def __init__(self, raw_keep_min_ms: int | None, now_s: float) -> None:
        """raw_keep_min_ms: of the series whose samples go first; None: all stay, and nothing is to be noted."""
        self._raw_keep_min_ms = raw_keep_min_ms
        self._started_until_s = now_s + SETTLING_AFTER_START_S
        self._until_s: dict[int, float] = {}

    def note(self, timestamp_ms: Int64s, min_ms: int, now_ms: int, now_s: float) -> None:
        """Samples have come; min_ms: the oldest of their times, which are 0 or more. From any thread."""
        long_past_ms = self._long_past_ms(now_ms)
        if min_ms >= long_past_ms:
            return
        first = min_ms // _SLOT_MS
        slots = timestamp_ms[timestamp_ms < long_past_ms] // _SLOT_MS - first
        until_s = now_s + SETTLING_S
        self._until_s.update((first + slot, until_s) for slot in np.flatnonzero(np.bincount(slots)).tolist())

    def settled(self, windows: Sequence[Window], now_ms: int, now_s: float) -> list[Window]:
        """Those that nothing past its time is expected for."""
        found = [one for one in windows if now_s >= self._until_s.get(one.start_ms // _SLOT_MS, now_s)]
        if now_s >= self._started_until_s:
            return found
        long_past_ms = self._long_past_ms(now_ms)
        return [one for one in found if one.max_ms >= long_past_ms]

    def end(self) -> None:
        """Nothing stays any longer for what may come: the disk has no room for it."""
        self._started_until_s = float("-inf")
        self._until_s = {}

    def _long_past_ms(self, now_ms: int) -> int:
        """What is older is long past its time, if it is of the series whose samples go first."""
        return 0 if self._raw_keep_min_ms is None else now_ms - self._raw_keep_min_ms - LONG_PAST_MS

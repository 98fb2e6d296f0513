"""The windows that blocks of samples cover, and which of them a flush writes: pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tsdb.sample import Int64s
from tsdb.store.block.layout import HOUR_MS, WINDOW_MS

# Shortest first, each a multiple of the one before. Joining along them writes a sample four times at most.
WINDOWS_MS = tuple(hours * HOUR_MS for hours in (2, 8, 32, 128))
assert WINDOWS_MS[0] == WINDOW_MS


class Span(NamedTuple):
    """One window, aligned to its own length."""

    start_ms: int
    window_ms: int

    @property
    def end_ms(self) -> int:
        """Not in it any more."""
        return self.start_ms + self.window_ms


def window_max_ms(retention_ms: int | None) -> int:
    """The longest window to write, so that what a block keeps past the retention is an eighth of it at most."""
    if retention_ms is None:
        return WINDOWS_MS[-1]
    return max((window_ms for window_ms in WINDOWS_MS if 8 * window_ms <= retention_ms), default=WINDOWS_MS[0])


class WindowLimits(NamedTuple):
    """closed_before_ms, longest_ms: as in compaction.plan(). past_before_ms: a window that ends at or before this time
    may be of any length, for it will leave as a whole."""

    closed_before_ms: int
    longest_ms: int
    past_before_ms: int = 0


def spans_of(windows: Int64s, limits: WindowLimits) -> list[Span]:
    """Into which windows the samples of some windows of 2 h are written, rising; no two of them overlap.

    Of five years that come at once, 343 windows of 128 h instead of 21,900 of 2 h: what the joining of closed windows
    would make of them in the end. Each is the shortest in which all of its samples lie.

    windows: numbers of windows of 2 h, distinct and rising, one at least.
    """
    assert limits.longest_ms in WINDOWS_MS, limits
    starts_ms = windows * WINDOW_MS
    longer_ms = starts_ms.copy()
    is_left = np.ones(windows.size, np.bool_)
    for window_ms in reversed(WINDOWS_MS[1:]):
        before_ms = limits.closed_before_ms if window_ms <= limits.longest_ms else limits.past_before_ms
        aligned_ms = starts_ms // window_ms * window_ms
        is_taken = is_left & (aligned_ms + window_ms <= before_ms)
        longer_ms[is_taken] = aligned_ms[is_taken]
        is_left &= ~is_taken
    firsts = np.flatnonzero(np.append(True, longer_ms[1:] != longer_ms[:-1]))
    first_ms, last_ms = starts_ms[firsts].tolist(), starts_ms[np.append(firsts[1:], windows.size) - 1].tolist()
    return [_shortest(first, last) for first, last in zip(first_ms, last_ms, strict=True)]


def _shortest(first_ms: int, last_ms: int) -> Span:
    window_ms = next(one for one in WINDOWS_MS if first_ms // one == last_ms // one)
    return Span(first_ms // window_ms * window_ms, window_ms)

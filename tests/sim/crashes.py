"""Which of the many ways in which a disk may look after a crash a run tries."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from tests.profile import IS_FULL

Seeds = Sequence[int | None]
"""See MemoryDisk.reboot(): None keeps nothing that was not synced, a number a random part of it."""


def seeds_at(crash_at: int, seeds: Seeds) -> Seeds:
    """One of the seeds for each operation, by turns; all of them in the profile `full`."""
    return seeds if IS_FULL else (seeds[crash_at % len(seeds)],)


STRIDE = 7


def first_wrong(crash: Callable[[int], tuple[str, bool]], *, step: int = 1) -> str:
    """What goes wrong when the machine stops at operation 0, step, 2 step … of a life; empty if nothing does.

    Every seventh of them comes first, then those beside them, and so on: what goes wrong late in a life is found soon.

    crash: stop the machine at this operation, if the life comes so far → (what is wrong then or "", whether it did).
    """
    end: float = float("inf")
    for first in range(STRIDE):
        for crash_at in itertools.count(first * step, STRIDE * step):
            if crash_at >= end:
                break
            wrong, has_stopped = crash(crash_at)
            if wrong:
                return wrong
            if not has_stopped:
                end = crash_at
    return ""

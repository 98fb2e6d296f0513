"""Which of the many ways in which a disk may look after a crash a run tries."""

from __future__ import annotations

from collections.abc import Sequence

from tests.profile import IS_FULL

Seeds = Sequence[int | None]
"""See MemoryDisk.reboot(): None keeps nothing that was not synced, a number a random part of it."""


def seeds_at(crash_at: int, seeds: Seeds) -> Seeds:
    """One of the seeds for each operation, by turns; all of them in the profile `full`."""
    return seeds if IS_FULL else (seeds[crash_at % len(seeds)],)

"""The bounds of the intake, each with what it costs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeLimits:
    """Defaults suit 2 cores and a tree that should stay below 1 GiB."""

    # About 100,000 lines of 42 B; the columns of a decoded batch take about as much again.
    batch_bytes_max: int = 4 * 2**20
    # The longest that a line waits for others to share its way; a fifth of what a person notices.
    batch_age_ms_max: int = 50
    # One batch decodes while one is written, and two wait for either: 4 × 2 × 4 MiB = 32 MiB.
    in_flight_count_max: int = 4
    # Of one message to the store: 256 Ki × (4 + 8 + 8) B = 5 MiB of columns.
    append_samples_count_max: int = 256 * 1024
    # Each connection keeps at most one half line of 64 KiB: 256 MiB if all were hostile, a few kB in practice.
    connections_count_max: int = 4_096
    # A sender that stops in the middle of a line for so long is taken for dead.
    half_line_age_ms_max: int = 60_000
    # Of one acknowledged request; a JSON body of 64 MiB holds about 2 M samples.
    body_bytes_max: int = 64 * 2**20
    # An acknowledged request waits so long for a store that is away, then its sender is told to try again later.
    write_wait_ms_max: int = 4_000
    # On a graceful stop, batches in memory may wait so long for the store; then they are counted as lost.
    stop_wait_ms_max: int = 3_000

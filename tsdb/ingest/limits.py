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
    # Of one remote-write body when it is decompressed; 300,000 series of 100 B with one sample each. Prometheus sends
    # 2,000 samples at once, in 0.2 MiB. With its columns such a body takes about 150 MiB of memory.
    remote_write_bytes_max: int = 32 * 2**20
    # A series is two bytes at least: without this, 32 MiB would become 16 M pairs of Python's integers (1 GiB).
    remote_write_series_count_max: int = 500_000
    # Of the samples that are read one by one: about 1 µs each. 32 MiB hold 1.9 M samples of 18 B.
    remote_write_samples_count_max: int = 2_000_000
    # What the buffers of one Arrow stream may become when they are decompressed: 6 M rows of 20 B, twice what may come
    # uncompressed. The columns of a stream are used where they lie, so little comes on top.
    arrow_bytes_max: int = 128 * 2**20
    # Of an Arrow stream, in dictionaries or row by row: about 100 B each as Python's strings, 200 MB.
    arrow_names_count_max: int = 2_000_000

"""What is asked of the spawner, and what it answers; the bodies of its bus operation `run`."""

from __future__ import annotations

import msgspec

from checks.model import OUTPUT_BYTES_MAX

SERVICE = "spawner"
ARGUMENT_COUNT_MAX = 1000


class PluginRun(msgspec.Struct, frozen=True, kw_only=True):
    """A program to run once. argv[0] is a full path; no shell is involved."""

    argv: list[str]
    env: dict[str, str] = {}
    cwd: str = "/"
    timeout_s: float = 10.0
    output_bytes_max: int = (
        4 * OUTPUT_BYTES_MAX
    )  # For each of the two streams; what comes after it is read and dropped.
    user: str | None = None  # Run as this user; needs a spawner that is root.


class PluginOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended. Exactly one of exit_status, signal, refusal and timed_out says so."""

    exit_status: int | None = None
    signal: int | None = None
    refusal: str = ""  # Why the program could not be started, in words.
    timed_out: bool = False
    flooded: bool = False  # It was ended because it wrote far too much.
    truncated: bool = False
    stdout: str = ""
    stderr: str = ""
    duration_s: float = 0.0
    waited_s: float = 0.0  # In the spawner's queue, before it started.

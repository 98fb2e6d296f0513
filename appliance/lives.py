"""A child's life, from its start to its end, and the row that people see of it."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from dataclasses import dataclass, field

from appliance.crashes import LINES_COUNT_MAX
from appliance.launch import RunningChild
from appliance.processes import Process

LAST_WORDS_CHARS_MAX = 300
TAIL_CHARS_MAX = 4_000  # Of one line or traceback: 400 KB for each process at most.


@dataclass(slots=True)
class Record:
    """One row of the process table as people see it."""

    name: str
    pid: int | None = None
    restarts: int = 0  # After an end that nobody asked for.
    last_exit: str | None = None  # "SIGKILL", "exit 1", "memory 2.1 GiB over 2.0 GiB", …
    last_words: str | None = None  # The last grave line of a process that ended by itself.
    started_ms: int | None = None
    resident_bytes: int = 0
    kept_because: str | None = None  # Why the last replacement came to nothing: the process before it goes on.


@dataclass(slots=True, eq=False)
class Life:
    """One process from start to end."""

    process: Process
    running: RunningChild | None  # None: for the moment in which it is being made.
    timers: list[asyncio.TimerHandle]
    started_ms: int
    ended_because: str | None = None  # Why we killed it, if we did.
    is_ready: bool = False
    words: str | None = None
    lines_second: int = 0
    lines_count: int = 0
    lines_left_out_count: int = 0
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=LINES_COUNT_MAX))  # For a report of its crash.

    def cancel_timers(self) -> None:
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()

    @property
    def child(self) -> RunningChild:
        assert self.running is not None
        return self.running


def exit_text_of(status: int) -> str:
    """The status of Popen.wait() as people know it: "exit 1", "SIGKILL"."""
    if status >= 0:
        return f"exit {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"

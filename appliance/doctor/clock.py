"""The clock: against the newest file of the appliance, against its own start, and against the time of others."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from appliance.doctor.finding import Finding, advice, fault, ok
from appliance.doctor.patient import Patient

SOFTWARE_MS = 1_735_689_600_000  # 2025-01-01: no clock of a machine that runs this is before it.
AHEAD_MS_MAX = 60_000  # Of the newest file before the clock: more, and somebody has set the clock back.
STEP_MS_MAX = 60_000  # A start takes seconds from the process to its note; a minute is a step.
JUMP_MS_MAX = 50  # Between two looks so near to each other, even on a busy machine.
LOOK_S = 0.2
TRIES = 3  # A machine that stops between reading two clocks looks like a jump, but not three times.
TIMEX_BYTES = 256  # struct timex of linux/timex.h has 208 on 64-bit machines.
TIME_ERROR = 5  # The answer of adjtimex(2) while nothing keeps the clock true.
MODES_NONE = bytes(TIMEX_BYTES)  # All modes 0: only look.
NEWEST_FILES = ("state.db", "state.db-wal", "log/henge.log", "samples/wal/*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    now_ms: int
    newest_file: str  # Empty: there is none yet.
    newest_ms: int
    is_synchronised: bool | None  # None: the system does not tell.
    stepped_ms: int | None  # Since the appliance has started; None: none runs.
    jumped_ms: float  # While we looked: wall clock less monotonic clock.


def examine(patient: Patient) -> Iterator[Finding]:
    return judge(read(patient))


def read(patient: Patient) -> Reading:
    data_dir = patient.config.data_dir
    newest_file, newest_ms = _newest(data_dir)
    return Reading(
        now_ms=time.time_ns() // 1_000_000,
        newest_file=newest_file,
        newest_ms=newest_ms,
        is_synchronised=_is_synchronised(),
        stepped_ms=_stepped_ms(patient),
        jumped_ms=min((_jumped_ms() for _ in range(TRIES)), key=abs),
    )


def _newest(data_dir: Path) -> tuple[str, int]:
    newest_file, newest_ms = "", 0
    for pattern in NEWEST_FILES:
        for path in data_dir.glob(pattern):
            with contextlib.suppress(OSError):
                at_ms = path.stat().st_mtime_ns // 1_000_000
                if at_ms > newest_ms:
                    newest_file, newest_ms = str(path.relative_to(data_dir)), at_ms
    return newest_file, newest_ms


def _is_synchronised() -> bool | None:
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(MODES_NONE, TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != TIME_ERROR


def _stepped_ms(patient: Patient) -> int | None:
    """How far the clock has been set since the appliance noted its start: by the kernel, which counts from its own."""
    if patient.status is None:
        return None
    try:
        fields = Path(f"/proc/{patient.status.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")  # Field 22, proc(5).
    return int((time.time() - age_s) * 1000) - patient.status.started_ms


def _jumped_ms() -> float:
    wall_s, monotonic_s = time.time(), time.monotonic()
    time.sleep(LOOK_S)
    return ((time.time() - wall_s) - (time.monotonic() - monotonic_s)) * 1000


def judge(reading: Reading) -> Iterator[Finding]:
    now = f"{datetime.fromtimestamp(reading.now_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    set_it = "set it right (timedatectl set-ntp true keeps it so)"
    if reading.now_ms < SOFTWARE_MS:
        yield fault("clock", f"{now}, before this program was made", set_it)
    elif reading.newest_ms > reading.now_ms + AHEAD_MS_MAX:
        ahead_s = (reading.newest_ms - reading.now_ms) // 1000
        value = f"{now}; {reading.newest_file} was written {ahead_s:,} s later than that"
        yield fault("clock", value, f"it was set back, or was ahead before: {set_it}; samples keep their times")
    else:
        yield ok("clock", now)
    if reading.stepped_ms is not None and abs(reading.stepped_ms) > STEP_MS_MAX:
        value = f"set by {reading.stepped_ms / 1000:+,.0f} s since the appliance started"
        yield advice("clock steps", value, "let a time service keep the clock, which changes it gently")
    if abs(reading.jumped_ms) > JUMP_MS_MAX:
        value = f"{reading.jumped_ms:+,.0f} ms within {LOOK_S:g} s"
        yield advice("clock steps", value, "end all but one of the programs that set the clock")
    if reading.is_synchronised is None:
        yield ok("time service", "the system does not tell")
    elif reading.is_synchronised:
        yield ok("time service", "keeps the clock")
    else:
        way_out = "timedatectl set-ntp true, or install chrony: samples and alerts carry this clock's time"
        yield advice("time service", "none keeps the clock", way_out)

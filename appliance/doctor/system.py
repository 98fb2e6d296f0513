"""The kernel, the C library, and what the kernel lets listeners have."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.doctor.finding import Finding, advice, fault, ok
from appliance.doctor.patient import Patient
from appliance.listeners import BACKLOG_COUNT

KERNEL_MIN = (4, 19)  # Debian 10's; older ones have never been tried.
GLIBC_MIN = (2, 36)  # Of the packages; see docs/install.md.
SOMAXCONN = Path("/proc/sys/net/core/somaxconn")


@dataclass(frozen=True, slots=True)
class Reading:
    system: str
    release: str
    glibc: str  # "glibc 2.36"; empty: another C library.
    is_64_bit: bool
    somaxconn_count: int | None


def examine(_patient: Patient) -> Iterator[Finding]:
    return judge(read())


def read() -> Reading:
    uname = os.uname()
    try:
        glibc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        glibc = ""
    try:
        somaxconn_count = int(SOMAXCONN.read_text())
    except (OSError, ValueError):
        somaxconn_count = None
    return Reading(uname.sysname, uname.release, glibc, "64" in uname.machine, somaxconn_count)


def judge(reading: Reading) -> Iterator[Finding]:
    kernel = f"{reading.system} {reading.release}"
    if reading.system != "Linux":
        yield fault("kernel", kernel, "run it on Linux")
    elif _version(reading.release) < KERNEL_MIN:
        yield advice("kernel", kernel, f"take one from {KERNEL_MIN[0]}.{KERNEL_MIN[1]} on")
    else:
        yield ok("kernel", kernel)
    if not reading.is_64_bit:
        yield fault("machine", "32 bits", "run it on a 64-bit system: blocks are mapped into memory")
    if not reading.glibc:
        yield advice("C library", "not glibc", "use a Linux with glibc, such as Debian; memory is given back late here")
    elif _version(reading.glibc) < GLIBC_MIN:
        way_out = f"the packages need {GLIBC_MIN[0]}.{GLIBC_MIN[1]} or newer, as Debian 12 has; run it from a checkout"
        yield advice("C library", reading.glibc, way_out)
    else:
        yield ok("C library", reading.glibc)
    if reading.somaxconn_count is not None and reading.somaxconn_count < BACKLOG_COUNT:
        way_out = f"sysctl -w net.core.somaxconn={BACKLOG_COUNT}: senders wait there while a process restarts"
        yield advice("connections that may wait", f"{reading.somaxconn_count:,}", way_out)


def _version(text: str) -> tuple[int, int]:
    """The first two numbers with a dot between; far in the future where there are none, so that nothing is said."""
    found = re.search(r"(\d{1,6})\.(\d{1,6})", text)
    return (int(found[1]), int(found[2])) if found else (10**6, 0)

"""Reports of crashes: one text file for each, below `crashes` in the data folder, which nobody sends anywhere.

A process that ended without being asked leaves one, made by the supervisor from what the process wrote at its end; so
does the supervisor, for an exception at once, for a signal at the next start (faulthandler writes into a file then).
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import platform
import re
import resource
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from appliance.redaction import redacted
from appliance.version import version_text

log = logging.getLogger(__name__)

FOLDER = "crashes"
REPORTS_COUNT_MAX = 20
REPORT_BYTES_MAX = 64 * 1024
LINES_COUNT_MAX = 100  # Of the log before the end; a traceback counts as one.
FAULT_NAME = "supervisor.fault"
SUPERVISOR = "supervisor"
_NAME = re.compile(r"(\d{8}T\d{6}Z)-([a-z_]{1,40})-(\d{1,10})\.txt", re.ASCII)
_LIMITS = {
    "open files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
    "address space": resource.RLIMIT_AS,
}
_NOTE = "A report of Henge on a crash. It was sent to nobody. What looked like a secret has been taken out of it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """What the supervisor knows of an end that nobody asked for."""

    process: str
    pid: int
    exit: str  # "SIGSEGV", "exit 1", "memory 2.1 GiB over 2.0 GiB", …
    at_ms: int
    lived_ms: int
    lines: tuple[str, ...] = ()  # The last ones that it wrote, its traceback among them.
    memory_bytes_max: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One file, by its name and its line that says how the process ended."""

    path: Path
    at_ms: int
    process: str
    pid: int
    exit: str


def text_of(crash: Crash) -> str:
    """The report. Too many bytes lose the oldest lines first."""
    limits = [f"{name} {_limit(which)}" for name, which in _LIMITS.items()]
    if crash.memory_bytes_max is not None:
        limits.append(f"private memory {crash.memory_bytes_max:,} bytes")
    head = "\n".join(
        (
            _NOTE,
            "",
            f"exit:     {redacted(crash.exit)}",
            f"process:  {crash.process}, number {crash.pid}, after {crash.lived_ms / 1_000:,.1f} s",
            f"at:       {datetime.fromtimestamp(crash.at_ms / 1_000, UTC):%Y-%m-%d %H:%M:%S} UTC",
            f"henge:    {version_text()}",
            f"system:   {platform.platform()}, Python {platform.python_version()}",
            f"limits:   {', '.join(limits)}",
            "",
            "Its last lines, a traceback among them if it left one:",
            "",
        )
    )
    body = redacted("\n".join(crash.lines[-LINES_COUNT_MAX:])).encode()
    room = REPORT_BYTES_MAX - len(head.encode()) - 2
    if len(body) > room:
        body = body[-room:].partition(b"\n")[2]
    return f"{head}\n{body.decode(errors='replace')}\n"


def write(data_dir: Path, crash: Crash) -> Path | None:
    """A full disk or a folder that is not ours is no reason to stop: it is logged, and there is no report then."""
    folder = data_dir / FOLDER
    moment = datetime.fromtimestamp(crash.at_ms / 1_000, UTC)
    path = folder / f"{moment:%Y%m%dT%H%M%SZ}-{crash.process}-{crash.pid}.txt"
    beside = folder / f"{path.name}.new"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        with os.fdopen(os.open(beside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as stream:
            stream.write(text_of(crash).encode())
        beside.rename(path)
        for old in [report.path for report in reports(data_dir)][REPORTS_COUNT_MAX:]:
            old.unlink(missing_ok=True)
    except OSError as error:
        log.warning("the crash of %s left no report: %s", crash.process, error)
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        return None
    return path


def reports(data_dir: Path) -> list[Report]:
    """Newest first."""
    return sorted(_found(data_dir / FOLDER), key=lambda report: (report.at_ms, report.path.name), reverse=True)


def read(data_dir: Path, name: str) -> str | None:
    """The text of one report; None where there is none of this name."""
    if not _NAME.fullmatch(name):
        return None
    try:
        return (data_dir / FOLDER / name).read_bytes()[:REPORT_BYTES_MAX].decode(errors="replace")
    except OSError:
        return None


def write_exception(data_dir: Path, error: BaseException, *, at_ms: int, started_ms: int) -> None:
    """For the supervisor itself, on its way out."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    said = f"exception {type(error).__name__}"
    write(data_dir, _of_supervisor(said, os.getpid(), at_ms, at_ms - started_ms, lines))


class FaultFile:
    """Where faulthandler writes what the supervisor did when a signal ended it; read by the next start."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FOLDER / FAULT_NAME
        self._data_dir = data_dir
        self._fd: int | None = None

    def open(self) -> None:
        """Make a report of what another start has left, and begin anew."""
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            self._report_last()
            flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC
            self._fd = os.open(self._path, flags, 0o600)
            os.write(self._fd, f"process {os.getpid()}\n".encode())
            faulthandler.enable(self._fd)
        except OSError as error:
            log.warning("a crash of the supervisor would leave no report: %s", error)

    def close(self) -> None:
        """A clean end leaves nothing to read."""
        if self._fd is not None:
            faulthandler.disable()
            os.close(self._fd)
            self._fd = None
            self._path.unlink(missing_ok=True)

    def _report_last(self) -> None:
        try:
            text = self._path.read_bytes()[:REPORT_BYTES_MAX].decode(errors="replace")
        except FileNotFoundError:
            return
        first, _, rest = text.partition("\n")
        if rest.strip():  # Ended by SIGKILL or a power cut, it says nothing.
            at_ms = self._path.stat().st_mtime_ns // 1_000_000
            pid = int(first.rpartition(" ")[2]) if first.rpartition(" ")[2].isdecimal() else 0
            said = rest.partition("\n")[0].removeprefix("Fatal Python error: ")
            write(self._data_dir, _of_supervisor(said, pid, at_ms, 0, rest.splitlines()))


def _of_supervisor(said: str, pid: int, at_ms: int, lived_ms: int, lines: Iterable[str]) -> Crash:
    return Crash(process=SUPERVISOR, pid=pid, exit=said, at_ms=at_ms, lived_ms=lived_ms, lines=tuple(lines))


def _found(folder: Path) -> Iterator[Report]:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if match := _NAME.fullmatch(path.name):
            at = datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            yield Report(path, int(at.timestamp()) * 1_000, match[2], int(match[3]), _exit_in(path))


def _exit_in(path: Path) -> str:
    with contextlib.suppress(OSError), path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream.readlines(2_000):
            if line.startswith("exit:"):
                return line.removeprefix("exit:").strip()
    return "?"


def _limit(which: int) -> str:
    soft, hard = resource.getrlimit(which)
    return " of ".join("unlimited" if one == resource.RLIM_INFINITY else f"{one:,}" for one in (soft, hard))

"""The locks on a data folder: one appliance at a time, and none before the last process of the one before is gone.

Two locks lie on one file, <data>/lock. The record lock (fcntl(2)) belongs to the supervisor's process alone: it says
whether an appliance runs. The file lock (flock(2)) goes with the open file, which the children inherit: it is held
until the last of them is gone, however their supervisor ended, and a new appliance waits for that for a moment
instead of opening a store beside a dying one. The kernel frees both with the processes: no stale lock has ever to
be removed by hand.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import CannotStart

LOCK_NAME = "lock"
# Children of a killed supervisor end within 2 s; the rest is for a loaded machine.
ORPHANS_WAIT_S = 5.0
ASKING_WAIT_S = 0.2  # running_pid() holds the record lock for an instant to ask about it.
PROBE_BYTES = 64 * 1024  # Less free space than this cannot even hold the first log lines and WAL frames.


@dataclass(frozen=True, slots=True)
class FolderLock:
    """The held lock. Nobody else in the supervisor may open the file: closing it would free the record lock."""

    path: Path
    fd: int

    def release(self) -> None:
        os.close(self.fd)


def prepare_folder(data_dir: Path) -> None:
    """Make the data folder and see that it can be written. Raises: CannotStart."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = data_dir / f".probe-{os.getpid()}"
        try:
            with probe.open("wb") as stream:
                stream.write(b"\0" * PROBE_BYTES)
                stream.flush()
                os.fsync(stream.fileno())
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()
    except OSError as error:
        raise CannotStart(
            f"the data folder {data_dir} cannot be written: {error.strerror}; free or unlock it, "
            f"or choose another with --data DIR"
        ) from error


def lock_folder(data_dir: Path, *, orphans_wait_s: float = ORPHANS_WAIT_S) -> FolderLock:
    """Take the folder for this appliance, or say who has it. Raises: CannotStart."""
    path = data_dir / LOCK_NAME
    fd = _opened(path)
    other_way = "choose another folder with --data DIR"
    if not _take_within(ASKING_WAIT_S, fcntl.lockf, fd):
        pid = _noted_pid(fd)
        os.close(fd)
        raise CannotStart(
            f"the data folder {data_dir} is in use by the appliance with pid {pid}; "
            f"stop it (kill {pid}), or {other_way}"
        )
    if not _take_within(orphans_wait_s, fcntl.flock, fd):
        os.close(fd)
        raise CannotStart(
            f"the data folder {data_dir} is still held by a process of an appliance that was killed; "
            f"end it (fuser {path} names it), or {other_way}"
        )
    _note_pid(fd)
    return FolderLock(path, fd)


def lock_process(run_dir: Path, name: str) -> None:
    """See that only one process of this name works on the folder; held until this process ends. Raises: CannotStart."""
    fd = _opened(run_dir / f"{name}.lock")
    if not _take(fcntl.lockf, fd):
        pid = _noted_pid(fd)
        os.close(fd)
        raise CannotStart(f"{name} runs already on {run_dir.parent}, as process {pid}; stop that one (kill {pid})")
    _note_pid(fd)


def wait_for_process_lock(run_dir: Path, name: str) -> None:
    """Have the same lock as soon as the one before has ended, which may work on for a moment. Raises: CannotStart."""
    fd = _opened(run_dir / f"{name}.lock")

    def take() -> None:
        fcntl.lockf(fd, fcntl.LOCK_EX)
        _note_pid(fd)

    threading.Thread(target=take, name="lock", daemon=True).start()


def running_pid(data_dir: Path) -> int | None:
    """The pid of the appliance that runs on this folder; None when none does. Not to be asked by that process."""
    try:
        fd = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return None if _take(fcntl.lockf, fd) else _noted_pid(fd)
    finally:
        os.close(fd)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotStart(f"the lock file {path} cannot be opened: {error.strerror}; see who owns it") from error


def _take(lock: Callable[[int, int], None], fd: int) -> bool:
    try:
        lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # POSIX lets fcntl say either.
        return False
    return True


def _take_within(wait_s: float, lock: Callable[[int, int], None], fd: int) -> bool:
    deadline_s = time.monotonic() + wait_s
    while not (taken := _take(lock, fd)) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    return taken


def _note_pid(fd: int) -> None:
    with contextlib.suppress(OSError):  # A full disk: the lock holds without its note.
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)


def _noted_pid(fd: int) -> int:
    """The holder as it noted itself; 0 for the moment before it has."""
    text = os.pread(fd, 20, 0)
    return int(text) if text.isdigit() else 0

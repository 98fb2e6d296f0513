"""Finding and ending whatever a plugin has left behind.

A plugin's process group ends with it, but a daemon leaves the group (setsid) and its parent (a double fork). The
spawner is a child subreaper, prctl(2), so such a process becomes the spawner's child when its parent ends; and each
plugin's environment carries a marker, which its descendants inherit. A process that also threw its environment away
is attributed to the plugins that ran when it was first seen, and ended when the last of them is over.

Only for a process that starts nothing but plugins: every unknown child of it is ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

MARKER = "HENGE_RUN_ID"
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

_log = logging.getLogger(__name__)


class Descendants:
    """The processes below this one that are not plugins themselves."""

    def __init__(self, appliance: str, *, proc: Path = Path("/proc")) -> None:
        """appliance: a word that only this data folder's markers begin with."""
        self._prefix = f"{appliance}."
        self._proc = proc
        self._run_count = 0
        self._pid_by_marker: dict[str, int] = {}  # Plugins that run; 0 until the pid is known.
        self._strays: dict[int, set[str]] = {}  # Unmarked orphans, and the plugins that may have started them.

    def adopt(self) -> None:
        """Become the parent of every orphan below this process."""
        if sys.platform == "linux":
            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def new_marker(self) -> str:
        """A marker for a plugin that is about to start; it lives until end()."""
        self._run_count += 1
        marker = f"{self._prefix}{os.getpid()}.{self._run_count}"
        self._pid_by_marker[marker] = 0
        return marker

    def started(self, marker: str, pid: int) -> None:
        self._pid_by_marker[marker] = pid

    def end(self, marker: str) -> None:
        """A plugin is over and reaped: from now on its descendants have no right to live. Call sweep() until 0."""
        self._pid_by_marker.pop(marker, None)

    def sweep(self) -> int:
        """Kill and reap orphans whose plugin is over. Returns how many are not gone yet."""
        left_count = 0
        orphans = set(self._orphans())
        for pid in list(self._strays):
            if pid not in orphans:
                del self._strays[pid]
        for pid in orphans:
            if not self._may_live(pid):
                left_count += not _ended(pid)
        return left_count

    def end_leftovers(self) -> int:
        """Kill what an earlier spawner of the same appliance left running. Returns how many processes that were."""
        count = 0
        for pid in self._pids():
            marker = self._marker(pid)
            if pid != os.getpid() and marker is not None and marker.startswith(self._prefix):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
                    count += 1
        return count

    def signal_marked(self, marker: str, number: signal.Signals) -> None:
        """Send a signal to all processes of a plugin, wherever they are in the tree."""
        for pid in self._pids():
            if self._marker(pid) == marker:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)

    def _may_live(self, pid: int) -> bool:
        marker = self._marker(pid)
        if marker is not None:
            return marker in self._pid_by_marker
        suspects = self._strays.setdefault(pid, set(self._pid_by_marker))
        suspects &= self._pid_by_marker.keys()
        return bool(suspects)

    def _orphans(self) -> Iterator[int]:
        """Children of this process that are not running plugins; dead ones, not yet reaped, among them."""
        plugins = set(self._pid_by_marker.values())
        for pid in self._children():
            if pid not in plugins:
                yield pid

    def _children(self) -> Iterator[int]:
        """Children of this process. Most kernels list them (CONFIG_PROC_CHILDREN); else all processes are asked."""
        own_pid = os.getpid()
        try:
            lists = [(task / "children").read_text() for task in (self._proc / str(own_pid) / "task").iterdir()]
        except OSError:
            yield from (pid for pid in self._pids() if self._parent(pid) == own_pid)
        else:
            yield from (int(word) for text in lists for word in text.split())

    def _pids(self) -> Iterator[int]:
        try:
            entries = list(self._proc.iterdir())
        except OSError:  # No such file system here: then there is nothing to find, and only groups are ended.
            return
        yield from (int(entry.name) for entry in entries if entry.name.isdigit())

    def _parent(self, pid: int) -> int | None:
        try:
            status = (self._proc / str(pid) / "stat").read_bytes()
        except OSError:
            return None
        # pid (name) state ppid …; the name may hold blanks and brackets.
        return int(status[status.rindex(b")") + 2 :].split()[1])

    def _marker(self, pid: int) -> str | None:
        """The marker in a process' environment, as it was when its program started."""
        try:
            environment = (self._proc / str(pid) / "environ").read_bytes()
        except OSError:
            return None
        start = f"{MARKER}=".encode()
        for entry in environment.split(b"\0"):
            if entry.startswith(start):
                return entry[len(start) :].decode("ascii", "replace")
        return None


def _ended(pid: int) -> bool:
    """Kill and reap one child. Whether it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True

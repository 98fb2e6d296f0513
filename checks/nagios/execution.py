"""One plugin from its start to the end of its process group; for the spawner's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import math
import os
import pwd
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from checks.nagios.descendants import MARKER, Descendants
from checks.nagios.plugin import PluginOutcome, PluginRun

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
READ_BYTES = 64 * 1024
FLOOD_BYTES_MAX = 8 * 2**20
"""A plugin that writes more is ended. Up to here it is read and dropped, because its exit code may still be right."""
DRAIN_COUNT_MAX = 2**20 // READ_BYTES  # A pipe holds 64 KiB, or 1 MiB by fcntl(2); more comes from a survivor.
KILL_GRACE_S = 1.0  # From SIGTERM to SIGKILL.
POLL_S = 0.02  # For kernels without pidfd_open (before 5.3).
PR_SET_PDEATHSIG = 1  # linux/prctl.h

CPU_S_MIN = 60
LIMITS = {
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_NOFILE: 1024,
    resource.RLIMIT_FSIZE: 2**30,
    # Programs reserve far more addresses than they use: Java 4 GiB and more. This stops only what runs away.
    resource.RLIMIT_AS: 16 * 2**30,
}

# Looked up before any fork: the child may call nothing that takes a lock.
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


class Execution:
    """A running plugin. on_answer is called once, as soon as there is something to say; on_end when all has ended."""

    def __init__(
        self,
        run: PluginRun,
        descendants: Descendants,
        *,
        timeout_s: float,
        waited_s: float,
        on_answer: Callable[[PluginOutcome], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._run = run
        self._descendants = descendants
        self._timeout_s = timeout_s
        self._waited_s = waited_s
        self._on_answer = on_answer
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._started_s = time.monotonic()
        self._marker = descendants.new_marker()
        self._streams: dict[int, bytearray] = {}
        self._byte_count = 0
        self._is_truncated = self._is_flooded = self._is_answered = False
        self._timer: asyncio.TimerHandle | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1

    def start(self) -> None:
        """Start the program; a refusal is answered as an outcome too."""
        try:
            self._process = self._spawn()
        except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            self._answer(PluginOutcome(refusal=refusal_text(self._run, error), waited_s=self._waited_s))
            self._on_end(self._marker)
            return
        self._descendants.started(self._marker, self._process.pid)
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            fd = pipe.fileno()
            os.set_blocking(fd, False)
            self._streams[fd] = bytearray()
            self._loop.add_reader(fd, self._read, fd)
        self._timer = self._loop.call_later(self._timeout_s, self._time_out)
        self._watch_exit(self._process.pid)

    def kill(self) -> None:
        """End it now."""
        if self._process is not None and self._process.returncode is None:
            _signal_group(self._process.pid, signal.SIGKILL)

    def _spawn(self) -> subprocess.Popen[bytes]:
        account = pwd.getpwnam(self._run.user) if self._run.user else None
        as_user: dict[str, Any] = {}
        if account is not None and account.pw_uid != os.geteuid():
            as_user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        return subprocess.Popen(
            self._run.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._run.cwd,
            env=environment(self._run, account.pw_dir if account else None) | {MARKER: self._marker},
            start_new_session=True,
            umask=0o022,
            # The process forks while no thread of ours runs Python code (appliance.child's waits in select(2)), and
            # what is called takes no lock: prctl(2), getppid(2), setrlimit(2).
            preexec_fn=functools.partial(_prepare, os.getpid(), cpu_limit_s(self._timeout_s)),
            **as_user,
        )

    def _watch_exit(self, pid: int) -> None:
        try:
            self._pidfd = os.pidfd_open(pid)
        except (AttributeError, OSError):
            self._poll_exit()
        else:
            self._loop.add_reader(self._pidfd, self._exited)

    def _poll_exit(self) -> None:
        assert self._process is not None
        if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            self._exited()
        else:
            self._loop.call_later(POLL_S, self._poll_exit)

    def _read(self, fd: int) -> bool:
        """Take what a stream has. Whether there may be more."""
        try:
            chunk = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            chunk = b""
        if not chunk:
            self._loop.remove_reader(fd)
            return False
        kept = self._streams[fd]
        space = self._run.output_bytes_max - len(kept)
        kept += chunk[: max(0, space)]
        self._is_truncated |= len(chunk) > space
        self._byte_count += len(chunk)
        if self._byte_count > FLOOD_BYTES_MAX and not self._is_flooded:
            self._is_flooded = True
            self.kill()
        return not self._is_flooded

    def _time_out(self) -> None:
        assert self._process is not None
        self._answer(self._outcome(timed_out=True))
        _signal_group(self._process.pid, signal.SIGTERM)
        self._descendants.signal_marked(self._marker, signal.SIGTERM)
        self._timer = self._loop.call_later(KILL_GRACE_S, self.kill)

    def _exited(self) -> None:
        """The program itself has ended; end its group while its pid still names it, then reap it."""
        assert self._process is not None
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        if self._timer is not None:
            self._timer.cancel()
        pid = self._process.pid
        _signal_group(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        for fd in self._streams:
            for _ in range(DRAIN_COUNT_MAX):
                if not self._read(fd):
                    break
            self._loop.remove_reader(fd)
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()
        self._answer(self._outcome(timed_out=False))
        self._on_end(self._marker)

    def _answer(self, outcome: PluginOutcome) -> None:
        if not self._is_answered:
            self._is_answered = True
            self._on_answer(outcome)

    def _outcome(self, *, timed_out: bool) -> PluginOutcome:
        assert self._process is not None
        code = self._process.returncode
        texts = [bytes(content).decode("utf-8", "replace") for content in self._streams.values()]
        return PluginOutcome(
            exit_status=code if code is not None and code >= 0 else None,
            signal=-code if code is not None and code < 0 and not self._is_flooded else None,
            timed_out=timed_out,
            flooded=self._is_flooded,
            truncated=self._is_truncated,
            stdout=texts[0],
            stderr=texts[1],
            duration_s=time.monotonic() - self._started_s,
            waited_s=self._waited_s,
        )


def environment(run: PluginRun, home: str | None) -> dict[str, str]:
    """A clean environment: nothing of the appliance's own, and what the check adds."""
    clean = {"PATH": PATH, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "HOME": home or os.environ.get("HOME", "/")}
    if "TZ" in os.environ:
        clean["TZ"] = os.environ["TZ"]
    return clean | run.env


def cpu_limit_s(timeout_s: float) -> int:
    """Twice the wall time that it has: reached only by a process that escaped from its time-out."""
    return max(CPU_S_MIN, math.ceil(2 * timeout_s))


def refusal_text(run: PluginRun, error: Exception) -> str:
    """Why a program could not be started."""
    name = run.argv[0] if run.argv else ""
    if isinstance(error, KeyError):
        return f"there is no user {run.user!r} on this machine"
    if isinstance(error, FileNotFoundError) and not Path(run.cwd).is_dir():
        return f"the folder {run.cwd} to start in does not exist"
    if isinstance(error, FileNotFoundError):
        is_there = Path(name).exists()
        return f"{name} names an interpreter that does not exist" if is_there else f"{name} does not exist"
    if isinstance(error, PermissionError):
        return f"{name} is not executable by {run.user or 'this user'}"
    if isinstance(error, OSError):
        return f"{name} cannot be started: {error.strerror or error}"
    return f"{name} cannot be started: {error}"


def _prepare(spawner_pid: int, cpu_s: int) -> None:
    """In the child, between fork and exec: end with the spawner, and stay within limits."""
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL.value)
        if os.getppid() != spawner_pid:
            os._exit(1)
    for what, limit in (*LIMITS.items(), (resource.RLIMIT_CPU, cpu_s)):
        _, hard = resource.getrlimit(what)
        lower = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(what, (lower, lower))


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)

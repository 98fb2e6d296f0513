"""One child process from the outside: started with what it inherits, listened to, ended.

It tells what happens through three callbacks on the event loop: it is ready, it wrote a line, it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from appliance.child import HANDOVER_VARIABLE, READY_MARK, Handover
from appliance.nursery import Nursery, Seed
from appliance.packaged import command
from appliance.processes import Process

OUTPUT_READ_BYTES = 64 * 1024
LINE_BYTES_MAX = 16 * 1024  # A longer line of output is cut into several.
DRAIN_READS_MAX = 64  # After the end; a stranger that holds the pipe open and writes on is not listened to for long.
# Two cores are shared by all processes: libraries that start a thread for each core in every one of them only take
# turns with one another, and each thread costs the allocator an arena of its own. Whoever sets them differently wins.
ONE_THREAD_EACH = {
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
}
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True, kw_only=True)
class Inheritance:
    """What every child gets from this supervisor. A reload changes it for those that start from then on."""

    options: Sequence[str]  # Of `henge run`: the same data folder and process table.
    sockets: Mapping[str, socket.socket]
    settings_fd: int  # See appliance.accepted.
    lock_fd: int
    lifeline_fd: int  # The reading end; only the supervisor holds the other one.
    nursery: Nursery


def new_nursery() -> Nursery:
    return Nursery(command("nursery"), _environment())


def _environment() -> dict[str, str]:
    # Unbuffered: what a library prints is in the log at once, also when the process is killed.
    return {**ONE_THREAD_EACH, **os.environ, "PYTHONUNBUFFERED": "1"}


class RunningChild:
    """A started process, until it is gone. To be made and used on the main thread's event loop.

    The main thread, because the kernel's parent-death signal is tied to the thread that forked.
    """

    def __init__(
        self,
        name: str,
        pid: int,
        output_fd: int,
        ready_fd: int | None,
        *,
        rest: bytes = b"",
        popen: subprocess.Popen[bytes] | None = None,
        on_ready: Callable[[], None],
        on_line: Callable[[str], None],
        on_exit: Callable[[int], None],
    ) -> None:
        """A child of this process that runs already. rest: of a line of its output that has begun."""
        self._loop = asyncio.get_running_loop()
        self.pid, self._popen = pid, popen
        self._on_ready, self._on_line, self._on_exit = on_ready, on_line, on_exit
        self._rest = rest
        self._is_left = False
        self._ready_fd: int | None
        self._output_fd: int | None
        self._ready_fd, self._output_fd = ready_fd, output_fd
        os.set_blocking(output_fd, False)
        self._loop.add_reader(output_fd, self._read_output)
        if ready_fd is not None:
            os.set_blocking(ready_fd, False)
            self._loop.add_reader(ready_fd, self._read_ready)
        threading.Thread(target=self._wait, name=f"wait {name}", daemon=True).start()

    @classmethod
    def start(
        cls,
        process: Process,
        inheritance: Inheritance,
        *,
        is_successor: bool,
        on_ready: Callable[[], None],
        on_line: Callable[[str], None],
        on_exit: Callable[[int], None],
    ) -> RunningChild:
        """Raises: OSError, if the system has no room for another process."""
        ready_read_fd, ready_write_fd = os.pipe()
        output_read_fd, output_write_fd = os.pipe()
        try:
            pid, popen = _started(process, inheritance, is_successor, ready_write_fd, output_write_fd)
        except BaseException:
            os.close(ready_read_fd)
            os.close(output_read_fd)
            raise
        finally:
            os.close(ready_write_fd)
            os.close(output_write_fd)
        return cls(
            process.name,
            pid,
            output_read_fd,
            ready_read_fd,
            popen=popen,
            on_ready=on_ready,
            on_line=on_line,
            on_exit=on_exit,
        )

    def leave(self) -> tuple[int, bytes]:
        """Listen and reap no more: another one will. Returns: its output's descriptor, and the line that has begun."""
        self._is_left = True
        if self._ready_fd is not None:
            self._close_ready()
        if self._output_fd is None:  # It has closed its output: the end of a pipe says so again.
            self._output_fd, write_fd = os.pipe()
            os.close(write_fd)
        else:
            self._loop.remove_reader(self._output_fd)
        return self._output_fd, self._rest

    def end_now(self) -> None:
        """Kill it and whatever it has started, and reap it. Takes the milliseconds that the kernel needs for it."""
        self._is_left = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.send(signal.SIGKILL)
        self._reaped()

    def send(self, number: signal.Signals) -> None:
        """To the process alone; its descendants are its own until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)  # Popen's own way would reap the process behind the waiting thread's back.

    def memory_bytes(self) -> tuple[int, int]:
        """(resident, private): the second without pages of files, which the kernel can take back at any time.

        From Linux's proc(5); (0, 0), and so no limit, where there is none.
        """
        try:
            resident, shared = Path(f"/proc/{self.pid}/statm").read_bytes().split()[1:3]
        except (OSError, ValueError):
            return 0, 0
        return int(resident) * PAGE_BYTES, (int(resident) - int(shared)) * PAGE_BYTES

    def _read_ready(self) -> None:
        assert self._ready_fd is not None
        try:
            is_ready = os.read(self._ready_fd, 1) == READY_MARK
        except BlockingIOError:
            is_ready = False
        self._close_ready()
        if is_ready:
            self._on_ready()

    def _read_output(self) -> bool:
        """Cut what came into lines; at the end of the pipe the rest is one too. Returns: whether there may be more."""
        assert self._output_fd is not None
        try:
            chunk = os.read(self._output_fd, OUTPUT_READ_BYTES)
        except BlockingIOError:
            return False
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX or (not chunk and self._rest):
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            if line:
                self._on_line(line.decode(errors="backslashreplace"))
        if not chunk:
            self._close_output()
        return bool(chunk)

    def _wait(self) -> None:
        """Its own thread: the one portable way to learn of one child's end without touching the others."""
        with contextlib.suppress(ChildProcessError):  # It was reaped in a hurry, and is not waited for.
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody listens any more.
            self._loop.call_soon_threadsafe(self._ended)

    def _ended(self) -> None:
        if self._is_left:
            return
        # Not yet reaped, so the number of its group cannot belong to anybody else: what the child left behind ends.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        status = self._reaped()
        if self._ready_fd is not None:  # Ready and gone in one breath is still not a failed start.
            self._read_ready()
        for _ in range(DRAIN_READS_MAX):
            if self._output_fd is None or not self._read_output():
                break
        if self._output_fd is not None:
            if self._rest:
                self._on_line(self._rest.decode(errors="backslashreplace"))
            self._close_output()
        self._on_exit(status)

    def _reaped(self) -> int:
        """The exit status; below 0 the number of a signal."""
        if self._popen is not None:
            return self._popen.wait()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _close_ready(self) -> None:
        assert self._ready_fd is not None
        self._loop.remove_reader(self._ready_fd)
        os.close(self._ready_fd)
        self._ready_fd = None

    def _close_output(self) -> None:
        assert self._output_fd is not None
        self._loop.remove_reader(self._output_fd)
        os.close(self._output_fd)
        self._output_fd = None


def _started(
    process: Process, inheritance: Inheritance, is_successor: bool, ready_fd: int, output_fd: int
) -> tuple[int, subprocess.Popen[bytes] | None]:
    """Fork the child from the nursery; execute it where there is none."""
    sockets = {name: inheritance.sockets[name].fileno() for name in process.sockets if name in inheritance.sockets}
    handover = Handover(
        *(os.getpid(), ready_fd, inheritance.lifeline_fd, inheritance.lock_fd, inheritance.settings_fd),
        sockets,
        is_successor,
    )
    arguments = ["run", process.name, *inheritance.options]
    pid = inheritance.nursery.start(Seed(arguments, handover), [output_fd, *handover.fds])
    if pid is not None:
        return pid, None
    popen = _popen(arguments, handover, output_fd)
    return popen.pid, popen


def _popen(arguments: Sequence[str], handover: Handover, output_fd: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(*arguments),
        stdin=subprocess.DEVNULL,
        stdout=output_fd,
        stderr=output_fd,
        env=_environment() | {HANDOVER_VARIABLE: msgspec.json.encode(handover).decode()},
        pass_fds=handover.fds,
        start_new_session=True,  # Ctrl-C at the terminal is for the supervisor, which stops the children in order.
    )

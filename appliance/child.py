"""The inside of a child: what it inherits, how it says that it is ready, how it learns that it shall stop.

A thread watches two pipes: signals arrive on one (written by the C level handler, so also while the main thread is
in a long call), and the end of the other, the lifeline, means that the supervisor is gone. On Linux the kernel also
sends a signal at the supervisor's death (prctl(2), PR_SET_PDEATHSIG), for a child too busy to run a thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from appliance.clock import Clock, SystemClock
from appliance.config import Config
from appliance.lock import lock_process, wait_for_process_lock
from appliance.log import child_log
from appliance.metrics import Metrics
from appliance.processes import Process, resolved
from appliance.tracing import Tracer

HANDOVER_VARIABLE = "HENGE_HANDOVER"
ORPHAN_GRACE_S = 1.0  # An orphan that does not stop by itself ends hard after this; the promise is 2 s.
READY_MARK = b"R"
PR_SET_PDEATHSIG = 1  # linux/prctl.h

STATUS_FAILED = 1


class Handover(msgspec.Struct, frozen=True):
    """What the supervisor hands to a child, as JSON in the environment; the numbers are inherited descriptors."""

    supervisor_pid: int
    ready_fd: int
    lifeline_fd: int
    lock_fd: int
    settings_fd: int  # See appliance.accepted.
    socket_fds: dict[str, int] = {}
    is_successor: bool = False  # Another process of this name runs, and is asked to stop when this one is ready.

    @property
    def fds(self) -> tuple[int, ...]:
        return (self.ready_fd, self.lifeline_fd, self.lock_fd, self.settings_fd, *self.socket_fds.values())

    def renumbered(self, fds: Sequence[int]) -> Handover:
        """The same descriptors by the numbers that another process has them under, in the order of `fds`."""
        ready_fd, lifeline_fd, lock_fd, settings_fd, *socket_fds = fds
        sockets = dict(zip(self.socket_fds, socket_fds, strict=True))
        return Handover(self.supervisor_pid, ready_fd, lifeline_fd, lock_fd, settings_fd, sockets, self.is_successor)


@dataclass(slots=True)
class ChildContext:
    """Everything a process of the appliance is given. Entry functions take it as their only argument."""

    name: str
    config: Config
    clock: Clock
    metrics: Metrics
    log: logging.Logger
    sockets: Mapping[str, socket.socket] = field(default_factory=dict)  # Listening; blocking, until the child decides.
    stopping: threading.Event = field(default_factory=threading.Event)  # Set on SIGTERM, SIGINT, supervisor gone.
    tracer: Tracer = field(init=False)  # Nothing is told as long as nobody asks.
    _ready_fd: int | None = None
    _stop_callbacks: list[Callable[[], object]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.tracer = Tracer(self.clock)

    def ready(self) -> None:
        """Tell the supervisor that this process answers now. A second call does nothing."""
        with self._lock:
            fd, self._ready_fd = self._ready_fd, None
        if fd is not None:
            with contextlib.suppress(OSError):  # The supervisor is gone; the lifeline tells.
                os.write(fd, READY_MARK)
            os.close(fd)

    def when_stopping(self, callback: Callable[[], object]) -> None:
        """Call this once when stopping is set, from another thread; at once if it is set already.

        For event loops: `context.when_stopping(lambda: loop.call_soon_threadsafe(stopped.set))`.
        """
        with self._lock:
            if not self.stopping.is_set():
                self._stop_callbacks.append(callback)
                return
        callback()

    def stop(self) -> None:
        """Ask this process to stop, as a signal would."""
        with self._lock:
            self.stopping.set()
            callbacks, self._stop_callbacks = self._stop_callbacks, []
        for callback in callbacks:
            with contextlib.suppress(RuntimeError):  # A loop that is closed already has nothing left to stop.
                callback()


def inherited() -> Handover | None:
    """What the supervisor handed down; None when this process was started alone. To be asked once."""
    text = os.environ.pop(HANDOVER_VARIABLE, None)
    if text is None:
        return None
    handover = msgspec.json.decode(text, type=Handover)
    for fd in handover.fds:
        os.set_inheritable(fd, False)  # The programs that this process starts must not keep them open.
    return handover


def run_supervised(process: Process, config: Config, handover: Handover) -> int:
    """Run one process under its supervisor, until it is told to stop. Returns the exit status."""
    end_with_parent(handover.supervisor_pid, process.orphan_signal)
    context = ChildContext(
        name=process.name,
        config=config,
        clock=SystemClock(),
        metrics=Metrics(),
        log=child_log(process.name, config.log.level, supervised=True),
        sockets={name: socket.socket(fileno=fd) for name, fd in handover.socket_fds.items()},
        _ready_fd=handover.ready_fd,
    )
    return _run(process, context, lifeline_fd=handover.lifeline_fd, is_successor=handover.is_successor)


def run_alone(process: Process, config: Config, sockets: Mapping[str, socket.socket]) -> int:
    """Run one process without a supervisor. Returns the exit status."""
    context = ChildContext(
        name=process.name,
        config=config,
        clock=SystemClock(),
        metrics=Metrics(),
        log=child_log(process.name, config.log.level, supervised=False),
        sockets=sockets,
    )
    return _run(process, context, lifeline_fd=None)


def end_with_parent(parent_pid: int, orphan_signal: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel to end this process with its parent, and end now if the parent is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(orphan_signal))
    if os.getppid() != parent_pid:
        os._exit(STATUS_FAILED)


def _run(process: Process, context: ChildContext, lifeline_fd: int | None, *, is_successor: bool = False) -> int:
    faulthandler.enable()  # The supervisor ends a start that hangs with SIGABRT: the log then says where it hung.
    _watch(context, lifeline_fd)
    try:
        run_dir = context.config.run_dir
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if is_successor:
            wait_for_process_lock(run_dir, process.name)
        else:
            lock_process(run_dir, process.name)
        resolved(process.entry)(context)
    except Exception as error:
        context.log.critical("%s: %s", type(error).__name__, error, exc_info=True)
        return STATUS_FAILED
    return 0


def _watch(context: ChildContext, lifeline_fd: int | None) -> None:
    """Turn signals and the end of the supervisor into context.stopping."""
    signal_read_fd, signal_write_fd = os.pipe()
    os.set_blocking(signal_write_fd, False)
    # The handlers do nothing themselves: Event.set() inside a handler could wait for a lock that the very thread
    # it interrupts holds.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    signal.set_wakeup_fd(signal_write_fd, warn_on_full_buffer=False)
    arguments = (context, signal_read_fd, lifeline_fd)
    threading.Thread(target=_watch_pipes, args=arguments, name="watch", daemon=True).start()


def _watch_pipes(context: ChildContext, signal_fd: int, lifeline_fd: int | None) -> None:
    watched = [signal_fd] if lifeline_fd is None else [signal_fd, lifeline_fd]
    while True:
        readable, _, _ = select.select(watched, [], [])
        if lifeline_fd is not None and lifeline_fd in readable:
            context.stop()
            time.sleep(ORPHAN_GRACE_S)
            os._exit(STATUS_FAILED)
        if any(number in (signal.SIGTERM, signal.SIGINT) for number in os.read(signal_fd, 64)):
            context.stop()

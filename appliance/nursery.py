"""Children are forked from one process that has imported what all of them need, and share its memory.

Seven interpreters with the same libraries hold the same pages seven times. The nursery is started once, imports, and
has no threads and no other task than to fork: its children begin with pages that the kernel copies only where they
are written. It forks twice, and the process between ends at once; the supervisor is the subreaper (prctl(2)) of that
moment, so a child is the supervisor's own from then on: it is waited for, tied and ended as one that was executed,
and the nursery's end harms nobody. What is forked runs the same command line as what is executed.

A child begins only when its supervisor knows its number: none that was forked for a supervisor that had given up
waiting works on a folder beside the one that took its place.

Where the kernel has no subreaper, and when the nursery is gone, children are executed (appliance/launch.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from appliance.child import Handover

log = logging.getLogger(__name__)

START_TIMEOUT_S = 10.0  # For the imports on a loaded machine; then children are executed.
# For every fork after the first, which takes milliseconds. The supervisor does nothing else meanwhile, and a killed
# child has to be back within 2 s, also when the nursery hangs.
FORK_TIMEOUT_S = 1.0
MESSAGE_BYTES_MAX = 256 * 1024
FD_COUNT_MAX = 64
BEGIN_MARK = b"B"
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Seed(msgspec.Struct, frozen=True):
    """What a child is to be. Its descriptors travel beside it, in this order: where it waits for the mark to begin,
    its output, the handover."""

    arguments: list[str]  # Of the command `henge`.
    handover: Handover


class Sprout(msgspec.Struct, frozen=True):
    """The nursery's answer: the number of a process, or of an error."""

    pid: int = 0
    error_number: int = 0


class Nursery:
    """The supervisor's handle. For its main thread alone: a child's parent-death signal is tied to that thread."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        """argv: what executes the nursery; the pid of its supervisor and the descriptor of its socket are added."""
        self._argv = argv
        self._environment = environment
        self._socket: socket.socket | None = None
        self._popen: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """Start the process, or another in its place, which then has the code that lies on disk now."""
        self.close()
        if sys.platform != "linux":
            return
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._socket = ours
                self._popen = subprocess.Popen(
                    [*self._argv, str(os.getpid()), str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    env=dict(self._environment),
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
        except OSError as error:
            log.warning("children will share no memory, the process for it cannot be started: %s", error.strerror)
            self.close()
            return
        ours.settimeout(START_TIMEOUT_S)

    def close(self) -> None:
        """End the process. Those that came out of it go on."""
        connection, self._socket = self._socket, None
        popen, self._popen = self._popen, None
        if connection is not None:
            connection.close()
        if popen is not None:
            popen.kill()  # It keeps nothing that could be lost.
            popen.wait()

    def start(self, seed: Seed, fds: Sequence[int]) -> int | None:
        """Fork a child that leads a session of its own, as Popen would. Returns: its pid; None, if there is no nursery.

        Raises: OSError, if the system has no room for another process.
        """
        if self._socket is None:
            return None
        begin_read_fd, begin_write_fd = os.pipe()
        try:
            sprout = self._ask(self._socket, seed, [begin_read_fd, *fds])
            if sprout.pid:
                with contextlib.suppress(BrokenPipeError):  # It has ended already, as whoever waits for it will see.
                    os.write(begin_write_fd, BEGIN_MARK)
        except (OSError, msgspec.DecodeError) as error:  # An empty message is the end of the process.
            log.warning("the nursery is given up (%s); from now on children share no memory, until a reload", error)
            self.close()
            return None
        finally:
            os.close(begin_read_fd)
            os.close(begin_write_fd)
        if sprout.error_number:
            raise OSError(sprout.error_number, os.strerror(sprout.error_number))
        return sprout.pid

    @staticmethod
    def _ask(connection: socket.socket, seed: Seed, fds: Sequence[int]) -> Sprout:
        """Raises: OSError, also if the child that came is not ours; msgspec.DecodeError."""
        with _subreaping():
            socket.send_fds(connection, [msgspec.json.encode(seed)], fds)
            sprout = msgspec.json.decode(connection.recv(MESSAGE_BYTES_MAX), type=Sprout)
        if sprout.pid:
            os.waitid(os.P_PID, sprout.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # As a question: is it ours?
        connection.settimeout(FORK_TIMEOUT_S)
        return sprout


@contextlib.contextmanager
def _subreaping() -> Iterator[None]:
    """Be the parent of orphans below this process, for as long as it takes.

    Not for longer: what descendants of a child leave behind belongs to init, which reaps it.

    Raises: OSError, where the kernel does not do that.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"no subreaper: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

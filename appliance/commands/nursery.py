"""`henge nursery`: the process that the children of an appliance are forked from; see appliance.nursery."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import importlib
import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click
import msgspec

from appliance.child import HANDOVER_VARIABLE, STATUS_FAILED, end_with_parent
from appliance.cli import main
from appliance.nursery import BEGIN_MARK, FD_COUNT_MAX, MESSAGE_BYTES_MAX, Seed, Sprout
from appliance.processes import SHARED_MODULES

PID_BYTES_MAX = 32
STDOUT_FD, STDERR_FD = 1, 2
PR_SET_NAME = 15  # linux/prctl.h


@click.command(hidden=True)
@click.argument("supervisor_pid", type=int)
@click.argument("socket_fd", type=int)
def nursery(supervisor_pid: int, socket_fd: int) -> None:
    """Fork the processes of a running appliance. Its supervisor starts this one.

    Exit status 0 when the appliance is gone."""
    end_with_parent(supervisor_pid)
    for name in SHARED_MODULES:
        with contextlib.suppress(ImportError):  # The process that needs it says what is wrong.
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # The collectors of the children leave these objects alone, and so their pages shared.
    gc.disable()
    with socket.socket(fileno=socket_fd) as connection:
        while True:
            message, fds, _, _ = socket.recv_fds(connection, MESSAGE_BYTES_MAX, FD_COUNT_MAX)
            if not message:
                return
            sprout = _forked(connection, msgspec.json.decode(message, type=Seed), fds)
            for fd in fds:
                os.close(fd)
            connection.sendall(msgspec.json.encode(sprout))


def _forked(connection: socket.socket, seed: Seed, fds: Sequence[int]) -> Sprout:
    """Fork twice. The grandchild tells its number, which goes to the supervisor when the process between us is gone."""
    ours, its = socket.socketpair()
    with ours:
        with its:
            try:
                between_pid = os.fork()
            except OSError as error:
                return Sprout(error_number=error.errno or errno.EAGAIN)
            if between_pid == 0:
                connection.close()
                ours.close()
                _fork_again(its, seed, fds)
            os.waitpid(between_pid, 0)
        pid = ours.recv(PID_BYTES_MAX)
        return Sprout(pid=int(pid)) if pid else Sprout(error_number=errno.EAGAIN)


def _fork_again(its: socket.socket, seed: Seed, fds: Sequence[int]) -> NoReturn:
    """In the process between, which ends at once, and in its child, which ends with its command."""
    status = STATUS_FAILED
    try:
        if os.fork() != 0:
            os._exit(0)
        with its:
            its.sendall(str(os.getpid()).encode())
        begin_fd, *fds = fds
        if os.read(begin_fd, len(BEGIN_MARK)) == BEGIN_MARK:
            os.close(begin_fd)
            _live(seed, fds)
    except SystemExit as exit_:
        status = exit_.code if isinstance(exit_.code, int) else STATUS_FAILED
    except Exception as error:
        logging.getLogger(__name__).critical("%s: %s", type(error).__name__, error, exc_info=True)
    finally:
        os._exit(status)  # Nothing of this process may go on as a second nursery.


def _live(seed: Seed, fds: Sequence[int]) -> None:
    """Become what an executed child is: a session of its own, its output in the pipe, the handover, the command."""
    os.setsid()
    output_fd, *inherited_fds = fds
    os.dup2(output_fd, STDOUT_FD)
    os.dup2(output_fd, STDERR_FD)
    os.close(output_fd)
    handover = msgspec.json.encode(seed.handover.renumbered(inherited_fds)).decode()
    os.environ[HANDOVER_VARIABLE] = handover
    sys.argv = ["henge", *seed.arguments]
    _take_name(" ".join(sys.argv))
    gc.enable()
    main()


def _take_name(text: str) -> None:
    """Have the tools of the system show this process by its command line, which proc(5) reads from our memory."""
    with contextlib.suppress(OSError, ValueError, IndexError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_NAME, text.encode()[:15], 0, 0, 0)
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = (
            int(fields[45]),
            int(fields[46]),
        )  # Fields 48 and 49, arg_start and arg_end; the third is the first.
        if 0 < start < end:
            ctypes.memmove(start, text.encode()[: end - start - 1].ljust(end - start, b"\0"), end - start)

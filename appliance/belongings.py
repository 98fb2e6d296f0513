"""What a supervisor holds for as long as it runs: the folder's lock, the listening sockets, the lifeline, the nursery.

It is opened at a start, or taken over from the executable that was this process before.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance import readyfile
from appliance.config import Address, Config
from appliance.errors import CannotStart
from appliance.estate import Estate
from appliance.launch import new_nursery
from appliance.listeners import OpenListeners, open_listeners, who_has
from appliance.lock import LOCK_NAME, FolderLock, lock_folder, prepare_folder
from appliance.log import supervisor_log
from appliance.nursery import Nursery

STDERR_FD = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Belongings:
    """Invariant: as long as the lifeline's writing end is open, here alone, the children work."""

    lock: FolderLock
    listeners: OpenListeners
    lifeline_read_fd: int
    lifeline_write_fd: int
    nursery: Nursery


@contextlib.contextmanager
def opened(config: Config, ready_file: Path | None, wanted: set[str]) -> Iterator[Belongings]:
    """Everything anew; closed at the end. wanted: names of sockets. Raises: CannotStart."""
    _fill_standard_descriptors()
    prepare_folder(config.data_dir)
    with contextlib.ExitStack() as stack:
        lock = lock_folder(config.data_dir)
        stack.callback(lock.release)
        _prepare_ready_file(ready_file)
        nursery = new_nursery()
        stack.callback(nursery.close)
        nursery.open()
        open_log(config)
        listeners = open_listeners(config, wanted, who_has=who_has)
        stack.callback(listeners.close)
        lifeline_read_fd, lifeline_write_fd = os.pipe()
        stack.callback(os.close, lifeline_write_fd)
        stack.callback(os.close, lifeline_read_fd)
        yield Belongings(
            lock=lock,
            listeners=listeners,
            lifeline_read_fd=lifeline_read_fd,
            lifeline_write_fd=lifeline_write_fd,
            nursery=nursery,
        )


def taken_over(estate: Estate) -> Belongings:
    """What the executable before has left. Nothing is closed but by the end of the process: the way back needs it."""
    nursery = new_nursery()
    nursery.open()
    open_log(estate.config())
    listeners = OpenListeners(
        {name: socket.socket(fileno=fd) for name, fd in estate.socket_fds.items()},
        {setting: Address(*address) for setting, address in estate.addresses.items()},
    )
    return Belongings(
        lock=FolderLock(Path(estate.data_dir) / LOCK_NAME, estate.lock_fd),
        listeners=listeners,
        lifeline_read_fd=estate.lifeline_read_fd,
        lifeline_write_fd=estate.lifeline_write_fd,
        nursery=nursery,
    )


def open_log(config: Config) -> None:
    """Raises: CannotStart."""
    try:
        supervisor_log(config.data_dir, config.log.level)
    except OSError as error:
        raise CannotStart(f"the log {error.filename} cannot be written: {error.strerror}") from error


def _fill_standard_descriptors() -> None:
    """Whoever closed 0, 1 or 2 for us must not find a lock or a socket there, which children take for their output."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= STDERR_FD:
        os.set_inheritable(fd, True)
    os.close(fd)


def _prepare_ready_file(path: Path | None) -> None:
    """A file left by a killed appliance would tell of dead processes."""
    if path is None:
        return
    readyfile.remove(path)
    if not os.access(path.parent, os.W_OK):
        raise CannotStart(
            f"--ready-file {path}: the folder {path.parent} is absent or cannot be written; make it first"
        )

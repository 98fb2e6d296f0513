"""The receive buffer of another process's UDP socket, set from outside.

It stands in for a smaller net.core.rmem_max, which belongs to the whole machine: network namespaces show it and may not
write it (Linux 6.18). A socket that asks for more than the kernel grants has exactly the buffer of one that asks
for as much, so the receiver cannot tell the difference.

Source: Linux, pidfd_getfd(2), and net/core/sock.c (__sock_set_rcvbuf): the value, at most rmem_max, is doubled.
"""

from __future__ import annotations

import ctypes
import os
import socket
from pathlib import Path

DEBIAN_RMEM_MAX = 212_992
_PIDFD_GETFD = 438  # On all architectures.
_INODE_FIELD, _ADDRESS_FIELD = 9, 1


def set_udp_buffer(pid: int, port: int, buffer_bytes: int) -> int:
    """Give the IPv4 UDP socket that this process has on this port so large a buffer. Returns: what the kernel says.

    Raises: OSError, where it may not be done; LookupError, if there is no such socket.
    """
    inode = _inode_of(Path(f"/proc/{pid}/net/udp").read_text(), port)
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if entry.readlink() == Path(f"socket:[{inode}]"):
            with _copy_of(pid, int(entry.name)) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
                return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    raise LookupError(f"process {pid} has no UDP socket on port {port}")


def _inode_of(table: str, port: int) -> str:
    for line in table.splitlines()[1:]:
        fields = line.split()
        if int(fields[_ADDRESS_FIELD].rpartition(":")[2], 16) == port:
            return fields[_INODE_FIELD]
    raise LookupError(f"there is no UDP socket on port {port}")


def _copy_of(pid: int, fd: int) -> socket.socket:
    pidfd = os.pidfd_open(pid)
    try:
        copy = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, pidfd, fd, 0)
        if copy < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(pidfd)
    return socket.socket(fileno=copy)

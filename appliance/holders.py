"""Who has a socket at a port of this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]


@dataclass(frozen=True, slots=True)
class Holder:
    """A process with a socket at a port. pid: None, if only root may know it."""

    pid: int | None
    name: str = ""


def holders(port: int) -> Iterable[Holder]:
    """Who listens there, or has a datagram socket there."""
    try:
        connections = psutil.net_connections("inet")
    except (psutil.Error, OSError):
        return ()
    pids = {
        each.pid
        for each in connections
        if each.laddr
        and each.laddr.port == port
        and (each.status == psutil.CONN_LISTEN or (each.type == socket.SOCK_DGRAM and not each.raddr))
    }
    return sorted((Holder(pid, _name(pid)) for pid in pids), key=lambda holder: holder.pid or 0)


def _name(pid: int | None) -> str:
    try:
        return str(psutil.Process(pid).name()) if pid is not None else ""
    except psutil.Error:
        return ""

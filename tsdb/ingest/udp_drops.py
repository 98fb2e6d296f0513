"""How many datagrams the kernel threw away because nobody read them in time.

Source: Linux, Documentation/networking/proc_net_tcp.rst and net/ipv4/udp.c (udp4_format_sock): the inode is the tenth
field of a line, the drops are the last.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

_TABLES = {socket.AF_INET: Path("/proc/net/udp"), socket.AF_INET6: Path("/proc/net/udp6")}
_INODE_FIELD = 9


def dropped_count(sock: socket.socket) -> int:
    """The drops of this socket since it was opened, by whichever process; 0 where the kernel does not tell."""
    table = _TABLES.get(sock.family)
    if table is None:
        return 0
    try:
        text = table.read_text()
    except OSError:
        return 0
    return dropped_from(text, os.fstat(sock.fileno()).st_ino)


def dropped_from(table: str, inode: int) -> int:
    """The drops of one socket in the text of /proc/net/udp."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > _INODE_FIELD and fields[_INODE_FIELD] == str(inode):
            return int(fields[-1])
    return 0

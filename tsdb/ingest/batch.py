"""Whole lines, or frames, of many senders, gathered until there are enough to be worth a message."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

SocketAddress = tuple[str, int] | tuple[str, int, int, int]


def shown(address: SocketAddress) -> str:
    """host:port, with brackets around an IPv6 address."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Batch:
    """The segments of one batch in the order of arrival, each the whole lines or frames of one read of one sender."""

    def __init__(self) -> None:
        self._segments: list[bytes] = []
        self._senders: list[str | SocketAddress] = []
        self.bytes_count = 0

    def add(self, whole: bytes, sender: str | SocketAddress) -> None:
        """Take what is whole; the address of a datagram is only spelled out when somebody asks for it."""
        self._segments.append(whole)
        self._senders.append(sender)
        self.bytes_count += len(whole)

    @property
    def reads_count(self) -> int:
        """How many reads brought something whole: of datagrams, their number."""
        return len(self._segments)

    def data(self) -> bytes:
        return b"".join(self._segments)

    def sender_of(self, offset: int) -> str:
        """Who sent the byte at this offset of data()."""
        ends = list(accumulate(map(len, self._segments)))
        sender = self._senders[min(bisect_right(ends, offset), len(ends) - 1)]
        return sender if isinstance(sender, str) else shown(sender)

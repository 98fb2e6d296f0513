"""Whole lines, or frames, of many senders, gathered until there are enough to be worth a message."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tsdb.ingest.datagrams import Datagrams

SocketAddress = tuple[str, int] | tuple[str, int, int, int]


def shown(address: SocketAddress) -> str:
    """host:port, with brackets around an IPv6 address."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Batch:
    """The segments of one batch in the order of arrival, each the whole lines or frames of one read.

    A read is of one sender, or of many datagrams, whose addresses are only spelled out when somebody asks for them.
    """

    def __init__(self) -> None:
        self._segments: list[bytes] = []
        self._senders: list[str | Datagrams] = []
        self.bytes_count = 0
        self.reads_count = 0  # How many reads brought something whole: of datagrams, their number.

    def add(self, whole: bytes, sender: str) -> None:
        self._add(whole, sender, 1)

    def add_datagrams(self, datagrams: Datagrams) -> None:
        self._add(datagrams.lines, datagrams, datagrams.count)

    def _add(self, whole: bytes, sender: str | Datagrams, reads_count: int) -> None:
        self._segments.append(whole)
        self._senders.append(sender)
        self.bytes_count += len(whole)
        self.reads_count += reads_count

    def data(self) -> bytes:
        return b"".join(self._segments)

    def sender_of(self, offset: int) -> str:
        """Who sent the byte at this offset of data()."""
        ends = list(accumulate(map(len, self._segments)))
        segment = min(bisect_right(ends, offset), len(ends) - 1)
        sender = self._senders[segment]
        if isinstance(sender, str):
            return sender
        within = offset - (ends[segment] - len(self._segments[segment]))
        at = int(np.searchsorted(sender.ends, within, side="right"))
        return shown(sender.address_of(min(at, sender.count - 1)))

"""Many datagrams of a UDP socket in one call of the kernel, as one stretch of whole lines.

recvmmsg(2) fills a table of slots; how long each datagram is comes as a column, and numpy closes the gaps. That is a
quarter of the time of a call for each. Where the system has no recvmmsg, they are read one by one.

Source: Linux, recvmmsg(2), include/linux/socket.h (struct user_msghdr, struct mmsghdr).
"""

from __future__ import annotations

import ctypes
import logging
import os
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb.ingest.batch import SocketAddress
from tsdb.sample import Int64s

Bytes = npt.NDArray[np.uint8]

DATAGRAM_BYTES_MAX = 65_535
# More than a buffer of Debian's net.core.rmem_max holds, so that one call empties it; 64 MiB of addresses, of which
# memory is taken where datagrams lie: 4 MiB, if none is longer than a page.
SLOTS_COUNT = 1_024
# Behind the longest datagram there is room for a line feed. No power of two, or all slots would fall on the same few
# lines of the processor's cache.
_SLOT_BYTES = DATAGRAM_BYTES_MAX + 1 + 64
_NAME_BYTES = 28  # struct sockaddr_in6, the longer one.
# Up to this length all slots are closed up by one mask; longer ones are worth a slice each.
_MASKED_BYTES_MAX = 256
_FEED = 0x0A


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vector", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Slot(ctypes.Structure):
    _fields_ = (("message", _Message), ("length", ctypes.c_uint32))


@dataclass(frozen=True, slots=True)
class Datagrams:
    """lines: of all datagrams, one after the other, each ended by a line feed. ends: where each datagram ends in it."""

    lines: bytes
    ends: Int64s
    address_of: Callable[[int], SocketAddress]

    @property
    def count(self) -> int:
        return self.ends.size


class Reader:
    """Reads one socket that does not block, with recvmmsg."""

    def __init__(self, sock: socket.socket, receive: Callable[..., int]) -> None:
        self._sock = sock
        self._receive = receive
        self._bytes = np.empty((SLOTS_COUNT, _SLOT_BYTES), np.uint8)
        self._names = np.zeros((SLOTS_COUNT, _NAME_BYTES), np.uint8)
        self._vectors = (_Iovec * SLOTS_COUNT)()
        table = np.zeros((SLOTS_COUNT, ctypes.sizeof(_Slot)), np.uint8)
        self._slots = (_Slot * SLOTS_COUNT).from_buffer(table.data)
        for at in range(SLOTS_COUNT):
            self._vectors[at] = _Iovec(self._bytes[at].ctypes.data, DATAGRAM_BYTES_MAX)
            message = self._slots[at].message
            message.name = self._names[at].ctypes.data
            message.vector = ctypes.addressof(self._vectors[at])
            message.vector_count = 1
        self._lengths = _field(table, _Slot.length.offset)
        self._name_lengths = _field(table, _Message.name_length.offset)
        self._name_lengths[:] = _NAME_BYTES

    def read(self) -> tuple[Datagrams | None, bool]:
        """What has come, at most SLOTS_COUNT datagrams, and whether there may be more. Raises: OSError."""
        count = self._receive(self._sock.fileno(), self._slots, SLOTS_COUNT, socket.MSG_DONTWAIT, None)
        if count < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        lengths = self._lengths[:count].astype(np.int64)
        names = self._names[:count].copy()
        self._name_lengths[:count] = _NAME_BYTES
        wanted = np.flatnonzero(lengths)  # An empty datagram is none.
        if wanted.size < count:
            lengths, names = lengths[wanted], names[wanted]
        is_more = count == SLOTS_COUNT
        if not wanted.size:
            return None, is_more
        is_open = self._bytes[wanted, lengths - 1] != _FEED
        self._bytes[wanted[is_open], lengths[is_open]] = _FEED
        lengths += is_open
        return Datagrams(self._closed_up(wanted, lengths), np.cumsum(lengths), lambda at: _address(names[at])), is_more

    def _closed_up(self, slots: Int64s, lengths: Int64s) -> bytes:
        width = int(lengths.max())
        if width > _MASKED_BYTES_MAX:
            return b"".join([self._bytes[slot, :length].data for slot, length in zip(slots, lengths, strict=True)])
        rows = self._bytes[: slots[-1] + 1, :width]
        if slots.size < rows.shape[0]:
            rows = rows[slots]
        return rows[np.arange(width) < lengths[:, None]].tobytes()


class PlainReader:
    """Reads one socket that does not block, a datagram a call."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray(DATAGRAM_BYTES_MAX)
        self._view = memoryview(self._buffer)

    def read(self) -> tuple[Datagrams | None, bool]:
        """As Reader.read()."""
        lines: list[bytes] = []
        addresses: list[SocketAddress] = []
        is_more = True
        for _ in range(SLOTS_COUNT):
            try:
                count, address = self._sock.recvfrom_into(self._buffer)
            except OSError:
                if not lines:
                    raise
                is_more = False
                break
            if count:
                one = bytes(self._view[:count])
                lines.append(one if one.endswith(b"\n") else one + b"\n")
                addresses.append(address)
        if not lines:
            return None, is_more
        ends = np.cumsum([len(one) for one in lines], dtype=np.int64)
        return Datagrams(b"".join(lines), ends, addresses.__getitem__), is_more


def reader_of(sock: socket.socket, log: logging.Logger) -> Reader | PlainReader:
    """The fastest that this system has."""
    if sys.platform == "linux":
        try:
            receive = ctypes.CDLL(None, use_errno=True).recvmmsg
        except (OSError, AttributeError) as error:
            log.info("datagrams are read one by one, for there is no recvmmsg: %s", error)
        else:
            receive.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
            receive.restype = ctypes.c_int
            return Reader(sock, receive)
    return PlainReader(sock)


def _field(table: Bytes, offset: int) -> npt.NDArray[np.uint32]:
    """The 32-bit numbers at this offset of each row, where they lie."""
    return table[:, offset : offset + 4].view(np.uint32)[:, 0]


def _address(name: Bytes) -> SocketAddress:
    """A struct sockaddr_in or sockaddr_in6."""
    raw = name.tobytes()
    (family,) = struct.unpack_from("=H", raw)
    (port,) = struct.unpack_from("!H", raw, 2)
    if family == socket.AF_INET6:
        return socket.inet_ntop(socket.AF_INET6, raw[8:24]), port
    return socket.inet_ntop(socket.AF_INET, raw[4:8]), port

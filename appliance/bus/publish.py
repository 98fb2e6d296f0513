"""Hints: "this has changed, read it again", from one publisher to whoever listens.

A hint may be lost; that one was lost may not. Each message carries the publisher's epoch (drawn at its start) and a
sequence number; a subscriber that sees another epoch, a gap, or a new link answers RESYNC: read everything again.

    hint:     topic | epoch u64 and sequence u64, little-endian | body (msgpack)
    welcome:  one frame, sent by ZeroMQ when a link is made
"""

from __future__ import annotations

import enum
import secrets
import struct
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import zmq

from appliance.bus import wire
from appliance.bus.place import Place

HINT_COUNT_MAX = 10_000  # Waiting for one subscriber; more are dropped, which it sees as a gap.
_STAMP = struct.Struct("<QQ")
_WELCOME = b"welcome"


class Resync(enum.Enum):
    """Hints may have been missed."""

    RESYNC = "resync"


RESYNC: Final = Resync.RESYNC


class Hint(NamedTuple):
    topic: str
    body: Any


class Publisher:
    """The sending side; thread-safe. One per name."""

    def __init__(self, run_dir: Path, name: str) -> None:
        self._lock = threading.Lock()
        self._place = Place(run_dir)
        self._epoch = secrets.randbits(64)
        self._sequence = 0
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.XPUB)
        self._socket.setsockopt(zmq.SNDHWM, HINT_COUNT_MAX)
        self._socket.setsockopt(zmq.LINGER, 100)
        self._socket.setsockopt(zmq.XPUB_WELCOME_MSG, _WELCOME)
        self._socket.bind(self._place.address(f"{name}.hints"))

    def publish(self, topic: str, body: Any) -> None:
        """Send a hint to whoever listens; never waits."""
        encoded = wire.encode(body)
        with self._lock:
            self._sequence += 1
            self._socket.send_multipart([topic.encode(), _STAMP.pack(self._epoch, self._sequence), encoded])
            while wire.is_readable(self._socket):
                self._socket.recv()  # Who subscribes is told to an XPUB; we do not need it.

    def close(self) -> None:
        with self._lock:
            self._socket.close()
            self._place.close()


def open_subscriber(context: zmq.Context[Any], address: str, socket_type: Any = None) -> Any:
    """All topics are taken, because a filtered one would look like a gap."""
    socket = context.socket(zmq.SUB) if socket_type is None else context.socket(zmq.SUB, socket_type)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, 20)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
    socket.setsockopt(zmq.RCVHWM, HINT_COUNT_MAX)
    socket.setsockopt(zmq.MAXMSGSIZE, wire.BODY_BYTES_MAX)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    socket.connect(address)
    return socket


class Following:
    """What a subscriber knows of its publisher: pure, fed with messages, so that both kinds of subscriber share it."""

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None  # (epoch, sequence); None: the next hint starts the count.

    def take(self, messages: Iterable[Sequence[bytes]]) -> list[Hint] | Resync:
        """The hints of messages in their order, or RESYNC, if one of them shows that hints were missed."""
        hints, is_complete = [], True
        for message in messages:
            if len(message) == 1 and message[0] == _WELCOME:
                self._last, is_complete = None, False
                continue
            hint = self._hint(message)
            is_complete &= hint is not None
            if hint is not None:
                hints.append(hint)
        return hints if is_complete else RESYNC

    def _hint(self, message: Sequence[bytes]) -> Hint | None:
        """The hint of one message; None, if it is damaged or does not follow the last one."""
        try:
            topic, stamp, encoded = message
            epoch, sequence = _STAMP.unpack(stamp)
            hint = Hint(topic.decode(), msgspec.msgpack.decode(encoded))
        except (ValueError, struct.error, msgspec.MsgspecError):
            return None
        last, self._last = self._last, (epoch, sequence)
        return hint if last is None or last == (epoch, sequence - 1) else None


class Subscriber:
    """The receiving side, for one thread. The first answer is RESYNC, once the link is made: read, then follow."""

    def __init__(self, run_dir: Path, name: str) -> None:
        self._place = Place(run_dir)
        self._sequence = Following()
        self._socket: zmq.Socket[bytes] = open_subscriber(zmq.Context.instance(), self._place.address(f"{name}.hints"))

    def poll(self, timeout_s: float) -> list[Hint] | Resync:
        """What has come, after waiting at most timeout_s for the first; an empty list, if nothing has."""
        deadline_s = time.monotonic() + timeout_s
        if not self._socket.poll(max(0, int((deadline_s - time.monotonic()) * 1000))):
            return []
        messages: list[list[bytes]] = []
        while len(messages) < HINT_COUNT_MAX and wire.is_readable(self._socket):
            messages.append(self._socket.recv_multipart())
        return self._sequence.take(messages)

    def close(self) -> None:
        self._socket.close()
        self._place.close()

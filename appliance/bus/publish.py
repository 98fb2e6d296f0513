"""Hints: "this has changed, read it again", from one publisher to whoever listens.

A hint may be lost; that one was lost may not. Each message carries the publisher's epoch (drawn at its start) and the
number of the last hint; a subscriber that has not seen exactly that one, or has a new link, answers RESYNC: read
everything again, then follow.

    hint:     topic | stamp | body (msgpack)      the stamp counts this hint
    beat:     empty | stamp | nil                 every 2 s, so that the loss of the last hint shows as well
    welcome:  stamp                               by ZeroMQ itself, when a link is made
    stamp:    epoch u64, number u64, little-endian
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
from appliance.bus.errors import BusAbsent
from appliance.bus.place import Place

HINT_COUNT_MAX = 10_000  # Waiting for one subscriber; more are dropped, which it sees as a gap.
TICK_S = 0.25  # How soon a new subscriber is welcomed, and so reads again, when no hint comes by.
BEAT_TICKS = 8
_STAMP = struct.Struct("<QQ")


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
        self._place = Place(run_dir, make=True)
        self._epoch = secrets.randbits(64)
        self._number = 0
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.XPUB)
        self._socket.setsockopt(zmq.SNDHWM, HINT_COUNT_MAX)
        self._socket.setsockopt(zmq.LINGER, 100)
        self._socket.setsockopt(zmq.XPUB_WELCOME_MSG, self._stamp())
        self._name = f"{name}.hints"
        self._inode = self._place.bind(self._socket, self._name)
        self._closing = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name=f"hints-{name}", daemon=True)
        self._ticker.start()

    def publish(self, topic: str, body: Any) -> None:
        """Send a hint to whoever listens; never waits."""
        assert topic, "an empty topic is a beat"
        encoded = wire.encode(body)
        with self._lock:
            assert not self._closing.is_set(), "the publisher is closed"
            self._number += 1
            self._socket.send_multipart([topic.encode(), self._stamp(), encoded])
            # Who is welcomed from now on has missed this hint, if its subscription has not come yet.
            self._socket.setsockopt(zmq.XPUB_WELCOME_MSG, self._stamp())
            self._take_subscriptions()

    def _stamp(self) -> bytes:
        return _STAMP.pack(self._epoch, self._number)

    def _tick(self) -> None:
        """Let ZeroMQ welcome new links, which it does only when its socket is used; beat now and then."""
        tick = 0
        while not self._closing.wait(TICK_S):
            tick += 1
            with self._lock:
                if self._closing.is_set():
                    return
                if tick % BEAT_TICKS == 0:
                    self._socket.send_multipart([b"", self._stamp(), wire.NIL])
                self._take_subscriptions()

    def _take_subscriptions(self) -> None:
        """An XPUB is told who subscribes; nobody needs it."""
        while wire.is_readable(self._socket):
            self._socket.recv()

    def close(self) -> None:
        with self._lock:
            if self._closing.is_set():
                return
            self._closing.set()
            self._place.withdraw(self._name, self._inode)
            self._socket.close()
            self._place.close()
        self._ticker.join()


def open_subscriber(context: Any, place: Place, name: str) -> Any:
    """A socket of the kind that context makes. All topics are taken, because a filtered one would look like a gap.

    Raises: BusAbsent.
    """
    if not place.exists():
        raise BusAbsent(name, place.run_dir)
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, 20)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
    socket.setsockopt(zmq.RCVHWM, HINT_COUNT_MAX)
    socket.setsockopt(zmq.MAXMSGSIZE, wire.BODY_BYTES_MAX)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    socket.connect(place.address(f"{name}.hints"))
    return socket


class Following:
    """What a subscriber knows of its publisher; fed with messages, without a socket, for both kinds of subscriber."""

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None  # (epoch, number) of the last hint; None before the first welcome.

    def take(self, messages: Iterable[Sequence[bytes]]) -> list[Hint] | Resync:
        """The hints of messages in their order, or RESYNC, if one of them shows that hints were missed."""
        hints: list[Hint] = []
        is_complete = True
        for message in messages:
            try:
                hint, is_next = self._read(message)
            except (ValueError, struct.error, msgspec.MsgspecError):
                hint, is_next = None, False
            is_complete &= is_next
            if hint is not None:
                hints.append(hint)
        return hints if is_complete else RESYNC

    def _read(self, message: Sequence[bytes]) -> tuple[Hint | None, bool]:
        """The hint of a message, if it is one, and whether nothing was missed before it.

        Raises: ValueError, struct.error, MsgspecError, for a damaged message.
        """
        if len(message) == 1:
            self._last = _STAMP.unpack(message[0])
            return None, False
        topic, stamp, encoded = message
        last, self._last = self._last, _STAMP.unpack(stamp)
        if not topic:
            return None, last == self._last
        epoch, number = self._last
        return Hint(topic.decode(), msgspec.msgpack.decode(encoded)), last == (epoch, number - 1)


class Subscriber:
    """The receiving side, for one thread. RESYNC comes first, once the link is made: read, then follow."""

    def __init__(self, run_dir: Path, name: str) -> None:
        """Raises: BusAbsent, if there is no run folder."""
        self._place = Place(run_dir)
        self._following = Following()
        self._socket: zmq.Socket[bytes] = open_subscriber(zmq.Context.instance(), self._place, name)

    def poll(self, timeout_s: float) -> list[Hint] | Resync:
        """What has come, after waiting at most timeout_s for the first; an empty list, if nothing has."""
        deadline_s = time.monotonic() + timeout_s
        if not self._socket.poll(max(0, int((deadline_s - time.monotonic()) * 1000))):
            return []
        messages: list[list[bytes]] = []
        while len(messages) < HINT_COUNT_MAX and wire.is_readable(self._socket):
            messages.append(self._socket.recv_multipart())
        return self._following.take(messages)

    def close(self) -> None:
        self._socket.close()
        self._place.close()

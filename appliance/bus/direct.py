"""The short way between two processes: a plain stream socket, read and answered by the very threads that talk.

Over ZeroMQ a call passes ten threads and back, 0.2 ms of CPU on both sides together; here it passes two. It is for
calls that come a thousand times a second, of a client that waits for each answer; a service that offers it is found
beside its other socket, as `NAME.direct`. What cannot go this way, because the service is down or has enough
connections, goes the other one, which waits.

Layout of a message: count of frames u32 | size of each u64 × count | the frames of wire.py, one behind the other.
"""

from __future__ import annotations

import contextlib
import math
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from appliance.bus import wire
from appliance.bus.errors import WireError
from appliance.bus.place import Place

if TYPE_CHECKING:
    import numpy as np

SUFFIX = ".direct"
CONNECTION_COUNT_MAX = 64  # Of one service; each has a thread. A client has one for each of its threads that ask.
LISTEN_COUNT_MAX = 64
OPEN_TIMEOUT_S = 1.0  # For a service that has not looked at who knocks; then the other way is taken.
READ_BYTES = 64 * 1024  # Of each connection: a usual request is read by one call.
LIMIT_STEP_S = 0.01  # By so much a call may wait longer than it wants; for that, the limit is seldom set anew.
SEND_TIMEOUT_S = 5.0  # A client that does not read its answer is as good as gone.
_FRAME_COUNT_MAX = 2 + wire.COLUMN_COUNT_MAX
_WELCOME = b"+"
_TIMEVAL = struct.Struct("@ll")


class Stream:
    """Whole messages over one socket. Not for several threads at once."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._from, self._till = 0, 0  # What was read and is not used yet.

    def send(self, prefix: Sequence[bytes], buffers: Sequence[Any]) -> None:
        """Send head, body and columns. Raises: OSError; BlockingIOError at the time limit."""
        views = [memoryview(buffer).cast("B") for buffer in buffers if buffer.nbytes]
        sizes = [*map(len, prefix), *(buffer.nbytes for buffer in buffers)]
        front = b"".join((struct.pack(f"=I{len(sizes)}Q", len(sizes), *sizes), *prefix))
        sent = self._sock.sendmsg([front, *views])
        for piece in (memoryview(front), *views):
            if sent < len(piece):
                self._sock.sendall(piece[sent:])
            sent = max(0, sent - len(piece))

    def receive(self) -> list[wire.Frame] | None:
        """The frames of the next message; None, when the other side has closed between two of them.

        Raises: WireError; ConnectionResetError; BlockingIOError at the time limit.
        """
        if not self._has(4, may_end=True):
            return None
        (count,) = struct.unpack_from("=I", self._buffer, self._from)
        if not 2 <= count <= _FRAME_COUNT_MAX:
            raise WireError(f"a message of {count:,} frames")
        self._has(4 + 8 * count)
        sizes = struct.unpack_from(f"={count}Q", self._buffer, self._from + 4)
        if max(sizes) > wire.FRAME_BYTES_MAX or max(sizes[:2]) > wire.BODY_BYTES_MAX:
            raise WireError(f"a message with a frame of {max(sizes):,} bytes")
        self._from += 4 + 8 * count
        return [*(self._bytes(size) for size in sizes[:2]), *(self._column(size) for size in sizes[2:])]

    def _bytes(self, size: int) -> bytes:
        if size <= self._till - self._from:
            self._from += size
            return bytes(self._buffer[self._from - size : self._from])
        whole = bytearray(size)
        self._fill(memoryview(whole))
        return bytes(whole)

    def _column(self, size: int) -> np.ndarray[Any, Any]:
        import numpy as np

        if size <= self._till - self._from:
            return np.frombuffer(self._bytes(size), np.uint8)
        column = np.empty(size, np.uint8)
        self._fill(column.data)
        return column

    def _fill(self, target: memoryview) -> None:
        done = min(len(target), self._till - self._from)
        target[:done] = self._buffer[self._from : self._from + done]
        self._from += done
        while done < len(target):
            if not (count := self._sock.recv_into(target[done:])):
                raise ConnectionResetError("the other side closed in the middle of a message")
            done += count

    def _has(self, size: int, *, may_end: bool = False) -> bool:
        """Read until so many bytes are there, which fit into the buffer."""
        if self._from == self._till:
            self._from = self._till = 0
        elif len(self._buffer) - self._from < size:
            rest = bytes(self._buffer[self._from : self._till])
            self._buffer[: len(rest)] = rest
            self._from, self._till = 0, len(rest)
        while self._till - self._from < size:
            if not (count := self._sock.recv_into(self._buffer[self._till :])):
                if may_end and self._till == self._from:
                    return False
                raise ConnectionResetError("the other side closed in the middle of a message")
            self._till += count
        return True


class DirectLink:
    """A client's connection, used by one call at a time; see client.Link."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._stream = Stream(sock)
        self._limit = b""

    @staticmethod
    def open(place: Place, service: str, timeout_s: float = OPEN_TIMEOUT_S) -> DirectLink | None:
        """None, if the service does not listen, has enough connections, or did not look in time at who knocks."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):  # The first is for connect(), which may wait too.
                sock.setsockopt(socket.SOL_SOCKET, option, _timeval(timeout_s))
            sock.connect(place.path(service + SUFFIX))
            if sock.recv(len(_WELCOME)) == _WELCOME:
                return DirectLink(sock)
        except OSError:
            pass
        sock.close()
        return None

    def send(self, prefix: list[bytes], buffers: list[Any], deadline_ns: int) -> None:
        """Raises: ConnectionError, if the service has ended before: it has not seen the request; TimeoutError."""
        rest_s = (deadline_ns - time.monotonic_ns()) / 1e9
        if rest_s <= 0:
            raise TimeoutError
        self._set_limit(_timeval(math.ceil(rest_s / LIMIT_STEP_S) * LIMIT_STEP_S))
        try:
            self._stream.send(prefix, buffers)
        except BlockingIOError as error:
            raise TimeoutError from error

    def _set_limit(self, limit: bytes) -> None:
        """For each turn of sending or receiving. Most calls allow what the one before allowed."""
        if limit == self._limit:
            return
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            self._sock.setsockopt(socket.SOL_SOCKET, option, limit)
        self._limit = limit

    def wait(self, request_id: int, deadline_ns: int) -> tuple[wire.ReplyHead, list[wire.Frame]] | None:
        """The reply to the request, or None at the deadline. Raises: ConnectionResetError, if the service ended."""
        del deadline_ns  # Told to the socket by send().
        try:
            frames = self._stream.receive()
        except BlockingIOError:
            return None
        if frames is None:
            raise ConnectionResetError
        head = wire.decode_reply(frames)
        if head.id != request_id:
            raise WireError(f"a reply to request {head.id} where {request_id} was asked")
        return head, frames

    def close(self) -> None:
        self._sock.close()


class Peer:
    """A service's end of a connection: where the answer to a request goes."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.stream = Stream(sock)
        self.answered = threading.Event()  # Or given up.

    def answer(self, prefix: Sequence[bytes], buffers: Sequence[Any]) -> None:
        try:
            self.stream.send(prefix, buffers)
        except OSError:
            self.end()  # Nobody waits any more, or half an answer was sent: nothing good can follow it.
        self.answered.set()

    def end(self) -> None:
        """Neither requests nor answers from now on."""
        self._shut(socket.SHUT_RDWR)
        self.answered.set()

    def end_requests(self) -> None:
        self._shut(socket.SHUT_RD)

    def _shut(self, how: int) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(how)


class Connections:
    """The listening side. A thread for each connection hands what comes to `take`, one request after the other."""

    def __init__(self, place: Place, name: str, take: Callable[[Peer, list[wire.Frame]], None]) -> None:
        self._place, self._name, self._take = place, name + SUFFIX, take
        self._lock = threading.Lock()
        self._peers: set[Peer] = set()
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.setblocking(False)
        self._inode = place.listen(self._listening, self._name, LISTEN_COUNT_MAX)

    def fileno(self) -> int:
        """Readable when accept() has something to do."""
        return self._listening.fileno()

    def accept(self) -> None:
        with contextlib.suppress(OSError):  # Who asked may be gone again.
            sock, _ = self._listening.accept()
            with self._lock:
                is_welcome = len(self._peers) < CONNECTION_COUNT_MAX
            if not is_welcome or not self._welcome(sock):
                sock.close()

    def _welcome(self, sock: socket.socket) -> bool:
        """Begin to serve a connection. False, if its other side has gone, or there is no thread to be had."""
        peer = Peer(sock)
        with self._lock:
            self._peers.add(peer)
        try:
            sock.setblocking(True)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(SEND_TIMEOUT_S))
            threading.Thread(target=self._serve, args=(peer,), name=f"bus-{self._name}", daemon=True).start()
        except (OSError, RuntimeError):
            with self._lock:
                self._peers.discard(peer)
            return False
        return True

    def _serve(self, peer: Peer) -> None:
        try:
            # A message that is none of ours ends the connection, for nobody knows where the next one begins.
            with contextlib.suppress(OSError, WireError):
                peer.sock.send(_WELCOME)
                while (frames := peer.stream.receive()) is not None:
                    peer.answered.clear()
                    self._take(peer, frames)
                    peer.answered.wait()  # Another thread may have it in hand; it answers by this socket.
        finally:
            with self._lock:
                self._peers.discard(peer)
            peer.sock.close()

    def withdraw(self) -> None:
        """Take no more connections, and no more requests by those that there are; answers still go out."""
        self._place.withdraw(self._name, self._inode)
        self._listening.close()
        for peer in self._all():
            peer.end_requests()

    def close(self) -> None:
        for peer in self._all():
            peer.end()

    def _all(self) -> list[Peer]:
        with self._lock:
            return list(self._peers)


def _timeval(seconds: float) -> bytes:
    """struct timeval; at least a millisecond, for 0 would mean for ever."""
    whole, part = divmod(max(1_000, int(seconds * 1e6)), 1_000_000)
    return _TIMEVAL.pack(whole, part)

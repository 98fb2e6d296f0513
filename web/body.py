"""Large request bodies, received into one piece of memory and handed on from there, uncopied.

waitress appends what it reads to a buffer that becomes a temporary file at 512 KiB; a body of 5 MiB is then copied five
times and written to a disk before any view sees it. Here a body whose length is told is read from the socket to where
it stays, as long as all such bodies together stay below MEMORY_BYTES_MAX; beyond it the old way is taken, so that a
crowd of senders that announce much and send nothing costs no more than files.
"""

from __future__ import annotations

import io
import threading
from typing import IO, Any, cast

import numpy as np
from flask import request
from waitress.parser import HTTPRequestParser
from waitress.receiver import FixedStreamReceiver
from werkzeug.exceptions import RequestEntityTooLarge

WHOLE_BYTES_MIN = 16 * 1024  # Smaller ones fit into one read.
MEMORY_BYTES_MAX = 256 * 2**20  # Four of the largest bodies, or 60 of an Arrow sender's usual 4 MiB.


class Memory:
    """How much of a bound is in use. Thread-safe."""

    def __init__(self, bytes_max: int) -> None:
        self._lock = threading.Lock()
        self._left_bytes = bytes_max

    @property
    def left_bytes(self) -> int:
        return self._left_bytes

    def take(self, count: int) -> bool:
        with self._lock:
            if count > self._left_bytes:
                return False
            self._left_bytes -= count
            return True

    def give(self, count: int) -> None:
        with self._lock:
            self._left_bytes += count


BODIES = Memory(MEMORY_BYTES_MAX)


class Stream(io.RawIOBase):
    """A body as wsgi.input; `whole` is all of it."""

    def __init__(self, whole: memoryview) -> None:
        super().__init__()
        self.whole = whole
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.whole[self._at : self._at + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


class WholeBody:
    """A receiver of waitress (IStreamConsumer) for a body of known length."""

    error = None

    def __init__(self, size: int, memory: Memory) -> None:
        """The caller has taken size bytes of the memory; close() gives them back."""
        self._memory, self._kept_bytes = memory, size
        # Not a bytearray: that would be filled with zeros first, before any byte has come.
        self._whole = np.empty(size, np.uint8).data
        self._count = 0
        self.completed = False

    def __len__(self) -> int:
        return self._count

    @property
    def rest(self) -> memoryview:
        """The memory that still waits for bytes."""
        return self._whole[self._count :]

    def filled(self, count: int) -> bytes | None:
        """So many bytes were put into `rest`. Returns: the body's last byte, to be received() again, if it came."""
        self._count += count
        if self._count < len(self._whole):
            return None
        self._count -= 1
        return bytes(self._whole[self._count :])

    def received(self, data: bytes) -> int:
        """Take what belongs to the body; returns how much that was."""
        rest = self.rest
        piece = data[: len(rest)]
        rest[: len(piece)] = piece
        self._count += len(piece)
        self.completed = self._count == len(self._whole)
        return len(piece)

    def getfile(self) -> IO[bytes]:
        return cast("IO[bytes]", Stream(self._whole[: self._count]))

    def getbuf(self) -> WholeBody:
        return self

    def close(self) -> None:
        """Called when the request is over, or given up. The bytes live on while somebody holds them."""
        self._memory.give(self._kept_bytes)
        self._kept_bytes = 0
        self._whole = memoryview(b"")
        self._count = 0

    def __del__(self) -> None:
        self.close()  # waitress closes no request whose sender went away in the middle of it.


class Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress is untyped.
    """The head of a request decides how its body is received."""

    body_rcv: Any

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        size = self.content_length
        is_large = WHOLE_BYTES_MIN <= size < self.adj.max_request_body_size
        if is_large and isinstance(self.body_rcv, FixedStreamReceiver) and BODIES.take(size):
            self.body_rcv = WholeBody(size, BODIES)


def raw_body(bytes_max: int) -> bytes | memoryview:
    """The body of the current request, uncopied where it is large. Raises: RequestEntityTooLarge."""
    request.max_content_length = bytes_max
    stream = request.environ["wsgi.input"]
    if not isinstance(stream, Stream):
        return request.get_data(cache=False)
    if len(stream.whole) > bytes_max:
        raise RequestEntityTooLarge
    return stream.whole

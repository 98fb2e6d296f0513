"""PNGs of SVGs, by a process of its own that is started when first needed (painting.py tells why).

One picture is painted at a time; a picture that takes too long, or kills the process, costs itself alone.
"""

from __future__ import annotations

import contextlib
import os
import select
import struct
import subprocess
import threading
import time
import weakref
from collections.abc import Sequence

LENGTH = struct.Struct("<I")
HEAD = struct.Struct("<BI")  # painting.py says what they hold.

PICTURE_S_MAX = 10.0
WAIT_S_MAX = 10.0
WAITING_COUNT_MAX = 8  # Half of the threads that answer requests.
SVG_BYTES_MAX = 64 * 2**20
_PIPE_BYTES = 1 << 16


class NotPainted(Exception):
    """Nobody made the picture; is_busy: it can be asked for again."""

    def __init__(self, message: str, *, is_busy: bool = False) -> None:
        super().__init__(message)
        self.is_busy = is_busy


class _Gone(Exception):
    """The process has ended, as it does when it was idle."""


class Painter:
    """For any number of threads."""

    def __init__(self, command: Sequence[str], *, picture_s_max: float = PICTURE_S_MAX) -> None:
        self._command = list(command)
        self._picture_s_max = picture_s_max
        self._lock = threading.Lock()
        self._waiting = threading.BoundedSemaphore(WAITING_COUNT_MAX)
        self._process: list[subprocess.Popen[bytes]] = []  # One or none; shared with what ends it.
        weakref.finalize(self, _end, self._process)

    def png(self, svg: str) -> bytes:
        """Raises: NotPainted."""
        if not self._waiting.acquire(blocking=False):
            raise NotPainted(f"{WAITING_COUNT_MAX} pictures are waiting already; ask again in a moment", is_busy=True)
        try:
            if not self._lock.acquire(timeout=WAIT_S_MAX):
                raise NotPainted(f"no picture was finished within {WAIT_S_MAX:.0f} s; ask again later", is_busy=True)
            try:
                return self._painted(svg.encode(errors="replace"))
            finally:
                self._lock.release()
        finally:
            self._waiting.release()

    def close(self) -> None:
        with self._lock:
            _end(self._process)

    def _painted(self, svg: bytes) -> bytes:
        if len(svg) > SVG_BYTES_MAX:
            raise NotPainted(f"a picture of {len(svg):,} bytes of SVG is larger than {SVG_BYTES_MAX:,}")
        deadline_s = time.monotonic() + self._picture_s_max
        for is_second in (False, True):
            was_running = bool(self._process)
            try:
                return self._exchanged(svg, deadline_s)
            except _Gone as gone:
                _end(self._process)
                if is_second or not was_running:
                    raise NotPainted(f"the process that paints ended while it made this picture: {gone}") from None
            except TimeoutError:
                _end(self._process)
                raise NotPainted(
                    f"the picture was not finished after {self._picture_s_max:.0f} s; ask for fewer series, or a "
                    f"smaller width and height"
                ) from None
        raise AssertionError

    def _exchanged(self, svg: bytes, deadline_s: float) -> bytes:
        """Raises: _Gone, TimeoutError, NotPainted."""
        if not self._process:
            self._process.append(_started(self._command))
        process = self._process[0]
        assert process.stdin is not None
        assert process.stdout is not None
        _write(process.stdin.fileno(), LENGTH.pack(len(svg)) + svg, deadline_s)
        is_png, size = HEAD.unpack(_read(process.stdout.fileno(), HEAD.size, deadline_s))
        body = _read(process.stdout.fileno(), size, deadline_s)
        if not is_png:
            raise NotPainted(f"the picture cannot be painted: {body.decode(errors='replace')[:200]}")
        return body


def _started(command: Sequence[str]) -> subprocess.Popen[bytes]:
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    except OSError as error:
        raise NotPainted(f"the process that paints cannot be started: {error}", is_busy=True) from error
    assert process.stdin is not None
    os.set_blocking(process.stdin.fileno(), False)
    return process


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    while processes:
        process = processes.pop()
        with process:  # Closes its pipes and waits for it.
            process.kill()


def _is_ready(fd: int, event: int, deadline_s: float) -> bool:
    """poll(2), because select(2) takes no descriptor above 1,023. Raises: TimeoutError."""
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    poll = select.poll()
    poll.register(fd, event)
    return bool(poll.poll(left_s * 1_000))


def _write(fd: int, content: bytes, deadline_s: float) -> None:
    rest = memoryview(content)
    try:
        while rest:
            if _is_ready(fd, select.POLLOUT, deadline_s):
                with contextlib.suppress(BlockingIOError):
                    rest = rest[os.write(fd, rest[:_PIPE_BYTES]) :]
    except BrokenPipeError as error:
        raise _Gone("it does not read") from error


def _read(fd: int, size: int, deadline_s: float) -> bytes:
    parts, missing = [], size
    while missing:
        if _is_ready(fd, select.POLLIN, deadline_s):
            part = os.read(fd, min(missing, 1 << 20))
            if not part:
                raise _Gone("it does not answer")
            parts.append(part)
            missing -= len(part)
    return b"".join(parts)

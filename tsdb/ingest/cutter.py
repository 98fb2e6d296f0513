"""A stream of bytes → whole lines, with a bound on what is kept between two reads. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Cutter(Protocol):
    """Of one connection: keeps what is not whole until its rest comes."""

    is_lost: bool  # Nothing more can be cut from this stream.

    @property
    def half_bytes(self) -> int:
        """How much waits for its rest."""

    def cut(self, data: bytes) -> bytes:
        """What data makes whole; maybe nothing."""

    def end(self) -> bytes:
        """What will never get its rest, now that the stream is over; forgets it."""


class LineCutter:
    """Of one connection: keeps the half line at the end of a read until its rest comes.

    A line longer than line_bytes_max is told to on_too_long with its first bytes, once, and skipped up to its line
    feed; the lines after it are cut as usual.
    """

    is_lost = False

    def __init__(self, line_bytes_max: int, on_too_long: Callable[[bytes], None]) -> None:
        self._line_bytes_max = line_bytes_max
        self._on_too_long = on_too_long
        self._half = bytearray()
        self._is_skipping = False

    @property
    def half_bytes(self) -> int:
        """The length of the half line that waits for its rest."""
        return len(self._half)

    def cut(self, data: bytes) -> bytes:
        """The whole lines that data completes, each with its line feed; maybe none."""
        if self._is_skipping:
            _, feed, data = data.partition(b"\n")
            self._is_skipping = not feed
        end = data.rfind(b"\n") + 1
        lines = b""
        if end:
            lines = bytes(self._half) + data[:end] if self._half else data[:end]
            self._half.clear()
        self._half += data[end:] if end else data
        if len(self._half) > self._line_bytes_max:
            self._on_too_long(bytes(self._half[:1_000]))
            self._half.clear()
            self._is_skipping = True
        return lines

    def end(self) -> bytes:
        """The half line that will never get its rest, now that the stream is over; forgets it."""
        half = bytes(self._half)
        self._half.clear()
        return half

"""The frames of the pickle protocol: a length of four bytes, the greatest first, then as many bytes of one pickle.

Source: carbon 1.1.10, lib/carbon/protocols.py (MetricPickleReceiver: frames of at most 1 MiB).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

FRAME_BYTES_MAX = 2**20
LENGTH_BYTES = 4
_TEXT_SHOWN_BYTES = 200


class FrameCutter:
    """Of one connection: keeps the frame whose rest has not come yet.

    A frame longer than FRAME_BYTES_MAX is told to on_too_long with its first bytes, once; where the next one begins
    is not known then, so nothing more is cut: is_lost.
    """

    def __init__(self, on_too_long: Callable[[bytes], None]) -> None:
        self._on_too_long = on_too_long
        self._half = bytearray()
        self.is_lost = False

    @property
    def half_bytes(self) -> int:
        return len(self._half)

    def cut(self, data: bytes) -> bytes:
        """The whole frames that data completes, each with its length; maybe none."""
        if self.is_lost:
            return b""
        self._half += data
        end = 0
        while len(self._half) - end >= LENGTH_BYTES:
            length = int.from_bytes(self._half[end : end + LENGTH_BYTES], "big")
            if length > FRAME_BYTES_MAX:
                self._on_too_long(bytes(self._half[end : end + _TEXT_SHOWN_BYTES]))
                self.is_lost = True
                break
            if len(self._half) < end + LENGTH_BYTES + length:
                break
            end += LENGTH_BYTES + length
        frames = bytes(self._half[:end])
        if self.is_lost:
            self._half.clear()
        else:
            del self._half[:end]
        return frames

    def end(self) -> bytes:
        """The beginning of the frame that will never get its rest; forgets it."""
        half = bytes(self._half)
        self._half.clear()
        return half


def frames_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The offset and the pickle of each of whole frames."""
    at = 0
    while at < len(data):
        end = at + LENGTH_BYTES + int.from_bytes(data[at : at + LENGTH_BYTES], "big")
        yield at, data[at + LENGTH_BYTES : end]
        at = end

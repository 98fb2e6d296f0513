"""What a disk still gives of a file, for those who look at damage: pages that it refuses are told, and are zeros."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tsdb.errors import CorruptData
from tsdb.store.disk import Bytes, Disk, ReadFile

PIECE_BYTES = 4 << 20
_PAGE_BYTES = 4_096  # What a disk refuses it refuses by sectors of 512 or 4,096 B, and the kernel reads by pages.


def pieces(file: ReadFile, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, CorruptData | None]]:
    """The bytes from start to end, a piece at a time, each with the first refusal in it."""
    end = file.size_bytes if end is None else end
    for at in range(start, end, PIECE_BYTES):
        length = min(PIECE_BYTES, end - at)
        try:
            yield file.read(at, length), None
        except CorruptData as error:
            yield b"".join(_pages(file, at, length)), error


def _pages(file: ReadFile, start: int, length: int) -> Iterator[bytes]:
    for at in range(start, start + length, _PAGE_BYTES):
        page_bytes = min(_PAGE_BYTES, start + length - at)
        try:
            yield file.read(at, page_bytes)
        except CorruptData:
            yield bytes(page_bytes)


def all_bytes(disk: Disk, path: Path) -> tuple[Bytes, list[CorruptData]]:
    """A whole file in memory, and what the disk refused of it: for the log, whose segments are bounded by the head.

    Raises: FileNotFoundError; CorruptData, if it cannot be opened.
    """
    file = disk.open(path)
    data = np.empty(file.size_bytes, np.uint8)
    refused = []
    at = 0
    for piece, refusal in pieces(file):
        data[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
        at += len(piece)
        refused += [refusal] if refusal is not None else []
    return data, refused

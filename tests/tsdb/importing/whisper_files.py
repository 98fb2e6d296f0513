"""Whisper files for tests, written by hand: rings that begin anywhere, of any lap."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

POINT = np.dtype([("time", ">u4"), ("value", ">f8")])


def ring(step_s: int, count: int, last_s: int, *, start: int = 0, scale: float = 1.0) -> bytes:
    """A full ring whose newest point stands at last_s, and whose oldest one in place `start`; value: time × scale."""
    points = np.zeros(count, POINT)
    points["time"] = np.arange(last_s - step_s * (count - 1), last_s + 1, step_s)
    points["value"] = points["time"] * scale
    return np.roll(points, start).tobytes()


def file_of(archives: Sequence[tuple[int, bytes]], *, aggregation: int = 1, x_files_factor: float = 0.5) -> bytes:
    """archives: (seconds a point, ring)."""
    counts = [len(body) // POINT.itemsize for _, body in archives]
    longest_s = max(step_s * count for (step_s, _), count in zip(archives, counts, strict=True))
    parts = [struct.pack("!2LfL", aggregation, longest_s, x_files_factor, len(archives))]
    offset = 16 + 12 * len(archives)
    for (step_s, body), count in zip(archives, counts, strict=True):
        parts.append(struct.pack("!3L", offset, step_s, count))
        offset += len(body)
    return b"".join((*parts, *(body for _, body in archives)))


def write_file(root: Path, path: str, data: bytes) -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return target

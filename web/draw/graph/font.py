"""How wide a text is, told from the font file that pictures are drawn with.

Layout: the tables `head`, `hhea`, `hmtx` and `cmap` (format 4) of TrueType. Source: Apple, "TrueType Reference Manual".
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache

import numpy as np

from tsdb.sample import Float64s, Int64s
from web.draw import typeface

_UNICODE_BMP = (3, 1)
ELLIPSIS = "…"


def width(text: str, size: float) -> float:
    """In the unit of the size. A character that the font does not have is as wide as the box that stands for it."""
    if not text:
        return 0.0
    advances = _advances()
    points = np.frombuffer(text.encode("utf-32-le", "replace"), "<u4")
    return float(advances[np.minimum(points, advances.size - 1)].sum()) * size


def fitted(text: str, size: float, room: float) -> str:
    """As much of a text as there is room for; an ellipsis stands for its middle, as names often differ at the end."""
    if width(text, size) <= room:
        return text
    low, high = 0, len(text) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if width(_shortened(text, middle), size) <= room else (low, middle - 1)
    return _shortened(text, low) if low else ""


def _shortened(text: str, count: int) -> str:
    head = (count + 1) // 2
    return text[:head] + ELLIPSIS + (text[-(count - head) :] if count > head else "")


def widest(texts: Sequence[str], size: float) -> float:
    return max((width(one, size) for one in texts), default=0.0)


@cache
def _advances() -> Float64s:
    """For each code point below 0x10000, in parts of the font's size."""
    data = typeface.FILE.read_bytes()
    tables = _tables(data)
    units = struct.unpack_from(">H", data, tables["head"] + 18)[0]
    count = struct.unpack_from(">H", data, tables["hhea"] + 34)[0]
    by_glyph = np.frombuffer(data, ">u2", 2 * count, tables["hmtx"])[::2].astype(np.float64) / units
    glyphs = _glyphs(data, tables["cmap"])
    found: Float64s = by_glyph[np.minimum(glyphs, count - 1)]  # Those behind the last have its advance.
    return found


def _tables(data: bytes) -> dict[str, int]:
    """Offsets by name."""
    count = struct.unpack_from(">H", data, 4)[0]
    entries = (struct.unpack_from(">4sLLL", data, 12 + 16 * index) for index in range(count))
    return {name.decode("latin-1"): offset for name, _, offset, _ in entries}


def _glyphs(data: bytes, cmap: int) -> Int64s:
    """The number of the glyph of each code point; 0 for those that have none."""
    count = struct.unpack_from(">H", data, cmap + 2)[0]
    entries = (struct.unpack_from(">HHL", data, cmap + 4 + 8 * index) for index in range(count))
    at = next(cmap + offset for platform, encoding, offset in entries if (platform, encoding) == _UNICODE_BMP)
    segments = struct.unpack_from(">H", data, at + 6)[0] // 2
    ends, starts, deltas, offsets = (
        np.frombuffer(data, ">u2", segments, at + 14 + index * 2 * segments + (2 if index else 0)).astype(np.int64)
        for index in range(4)
    )
    ranges_at = at + 16 + 6 * segments
    found = np.zeros(0x10000, np.int64)
    for index, (start, end, delta, offset) in enumerate(
        zip(starts.tolist(), ends.tolist(), deltas.tolist(), offsets.tolist(), strict=True)
    ):
        points = np.arange(start, end + 1)
        if offset == 0:
            found[start : end + 1] = (points + delta) % 0x10000
        else:
            listed = np.frombuffer(data, ">u2", points.size, ranges_at + 2 * index + offset).astype(np.int64)
            found[start : end + 1] = np.where(listed > 0, (listed + delta) % 0x10000, 0)
    return found

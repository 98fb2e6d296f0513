"""Samples as the path data of SVG: each column at once, a Python object for each stretch between gaps alone.

Source: W3C, "Scalable Vector Graphics 2", section 9.3: pairs after an M are lines.
"""

from __future__ import annotations

import msgspec
import numpy as np

from tsdb.sample import Float64s, Int64s

DOT_PX = 1.5  # Half the length of the stroke that stands for a single point between gaps.
FAR_PX = 20_000.0  # Points further outside are drawn there: what draws has 32 bits for a number.


def stretches(values: Float64s) -> Int64s:
    """Where values are without a gap: int64, shape (count, 2), from and before where."""
    there = np.concatenate(([False], ~np.isnan(values), [False]))
    edges: Int64s = np.flatnonzero(there[1:] != there[:-1]).reshape(-1, 2).astype(np.int64)
    return edges


def _numbers(x: Float64s, y: Float64s) -> bytes:
    """`x,y,x,y`, to a tenth of a pixel."""
    pairs = np.empty(2 * x.size)
    pairs[::2], pairs[1::2] = x, y
    np.clip(pairs, -FAR_PX, FAR_PX, out=pairs)
    return msgspec.json.encode((pairs.round(1) + 0.0).tolist())[1:-1]


def line(x: Float64s, y: Float64s) -> str:
    """Through all points, broken at gaps (NaN in y)."""
    found = stretches(y)
    if not found.size:
        return ""
    there = ~np.isnan(y)
    lone = found[found[:, 1] - found[:, 0] == 1, 0]
    texts = _numbers(x[there], y[there]).decode().split(",")
    places = np.cumsum(there) - 1
    for start in places[found[:, 0]].tolist():
        texts[2 * start] = "M" + texts[2 * start]
    for place in places[lone].tolist():
        texts[2 * place + 1] += f"m{-DOT_PX} 0h{2 * DOT_PX}"
    return " ".join(texts)


def area(x: Float64s, y: Float64s, base: Float64s) -> str:
    """Between y and a base, in pixels; both have all points where y has one."""
    parts = []
    for start, end in stretches(y).tolist():
        span = slice(start, end)
        over = np.concatenate((x[span], x[span][::-1]))
        parts.append(b"M" + _numbers(over, np.concatenate((y[span], base[span][::-1]))) + b"z")
    return b"".join(parts).decode()


def verticals(x: Float64s, top: float, bottom: float) -> str:
    """Lines over the whole height."""
    return "".join(f"M{at:.1f} {top:.1f}V{bottom:.1f}" for at in x.tolist())


def horizontals(y: Float64s, left: float, right: float) -> str:
    return "".join(f"M{left:.1f} {at:.1f}H{right:.1f}" for at in y.tolist())


def stairs(x: Float64s, y: Float64s, step_px: float) -> tuple[Float64s, Float64s]:
    """Each point held until the next."""
    wide = np.empty(2 * x.size)
    wide[::2], wide[1::2] = x, x + step_px
    return wide, np.repeat(y, 2)


def bridged(x: Float64s, y: Float64s, gap_count_max: float) -> tuple[Float64s, Float64s]:
    """Without the gaps that are no longer than so many points."""
    found = stretches(y)
    if found.shape[0] < 2:
        return x, y
    lengths = found[1:, 0] - found[:-1, 1]
    kept = ~np.isnan(y)
    for start, end in zip(found[:-1, 1][lengths > gap_count_max], found[1:, 0][lengths > gap_count_max], strict=True):
        kept[start:end] = True
    return x[kept], y[kept]

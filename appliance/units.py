"""Durations and sizes as people write them in settings: `200ms`, `90d`, `forever`, `512MiB`."""

from __future__ import annotations

import re

_MS_BY_UNIT = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 7 * 86_400_000,
    "y": 365 * 86_400_000,
}
_BYTES_BY_UNIT = {
    "": 1,
    "B": 1,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}
DURATION_MS_MAX = 1_000 * _MS_BY_UNIT["y"]  # 3.2e13 ms: any epoch time minus it stays far inside int64.
SIZE_BYTES_MAX = 2**53  # 8 PiB: exact in a float as well, which JSON readers need.
_NUMBER_AND_UNIT = re.compile(r"([0-9]{1,18})([A-Za-z]*)", re.ASCII)


_PROMQL_DURATION = re.compile(
    "".join(rf"(?:(?P<{unit}>\d{{1,15}}){unit})?" for unit in ("y", "w", "d", "h", "m", "s", "ms"))
)


def duration_ms(text: str) -> int | None:
    """Read a duration: a whole number and a unit (ms, s, m, h, d, w, y of 365 days), or `forever`, which is None.

    Raises: ValueError, with the value and the way out; the caller puts the name of the setting in front.
    """
    text = text.strip()
    if text == "forever":
        return None
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if match is None or match[2] not in _MS_BY_UNIT:
        raise ValueError(
            f"{text!r} is not a duration; write a whole number and a unit of {', '.join(_MS_BY_UNIT)}, "
            f"such as 200ms, 10s or 30d, or forever"
        )
    found_ms = int(match[1]) * _MS_BY_UNIT[match[2]]
    if found_ms > DURATION_MS_MAX:
        raise ValueError(f"{text!r} is longer than 1000y; write forever for no limit")
    return found_ms


def promql_duration_ms(text: str) -> int | None:
    """A duration as Prometheus writes it, such as 5m, 1h30m or 0; None, if the text is none.

    Source: Prometheus documentation, "Querying basics", time durations.
    """
    if text == "0":
        return 0
    found = _PROMQL_DURATION.fullmatch(text)
    if not text or found is None:
        return None
    return sum(int(count) * _MS_BY_UNIT[unit] for unit, count in found.groupdict().items() if count)


def duration_text(duration: int | None) -> str:
    """Undo duration_ms, with the largest unit that divides the milliseconds; weeks are written as days."""
    if duration is None:
        return "forever"
    if duration == 0:
        return "0s"
    for unit in ("y", "d", "h", "m", "s"):
        if duration % _MS_BY_UNIT[unit] == 0:
            return f"{duration // _MS_BY_UNIT[unit]}{unit}"
    return f"{duration}ms"


def size_bytes(text: str) -> int:
    """Read a size: a whole number of bytes, or with a unit: KiB, MiB, GiB, TiB (powers of 1024), KB … TB (of 1000).

    Raises: ValueError, with the value and the way out; the caller puts the name of the setting in front.
    """
    text = text.strip()
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if match is None or match[2] not in _BYTES_BY_UNIT:
        raise ValueError(
            f"{text!r} is not a size; write a whole number and a unit of "
            f"{', '.join(unit for unit in _BYTES_BY_UNIT if unit)}, such as 512MiB"
        )
    found_bytes = int(match[1]) * _BYTES_BY_UNIT[match[2]]
    if found_bytes > SIZE_BYTES_MAX:
        raise ValueError(f"{text!r} is more than 8 PiB (8192TiB); write a smaller size")
    return found_bytes


def size_text(size: int) -> str:
    """Undo size_bytes, with the largest power of 1024 that divides the bytes."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % _BYTES_BY_UNIT[unit] == 0:
            return f"{size // _BYTES_BY_UNIT[unit]}{unit}"
    return f"{size}B"

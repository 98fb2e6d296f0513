"""How numbers at an axis are written: with prefixes of the SI, of powers of 1,024, as durations, or as they are.

The systems are those of graphite-web's yUnitSystem.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

SYSTEMS = ("si", "binary", "sec", "msec", "none")
_SI = (("Y", 1e24), ("Z", 1e21), ("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("K", 1e3))
_SI_SMALL = (("µ", 1e-6), ("n", 1e-9), ("p", 1e-12))
_BINARY = (("Ei", 2.0**60), ("Pi", 2.0**50), ("Ti", 2.0**40), ("Gi", 2.0**30), ("Mi", 2.0**20), ("Ki", 2.0**10))
_DURATIONS_S = (("d", 86_400.0), ("h", 3_600.0), ("m", 60.0), ("s", 1.0))
_PLAIN_MAX, _PLAIN_MIN = 1e15, 1e-5
DIGITS_MAX = 12
_FIGURES_MAX = 17  # More tell no numbers apart.
DAYS_MAX = 100_000  # Longer durations are numbers of days with a power of ten.


def labels(values: Sequence[float], step: float, system: str) -> list[str]:
    """Of the ticks of one axis, all in one unit and with as many digits as their step needs."""
    if system in ("sec", "msec"):
        scale = 1.0 if system == "sec" else 1e-3
        if step * scale >= 1.0 and max(map(abs, values), default=0.0) * scale <= DAYS_MAX * 86_400:
            return [_duration(value * scale) for value in values]
        unit = "s" if system == "sec" else "ms"
        return [text if text == "0" else f"{text} {unit}" for text in labels(values, step, "none")]
    largest = max(map(abs, values), default=0.0)
    prefix, size = _unit(largest, step, system)
    if largest / size >= _PLAIN_MAX or 0 < largest / size < _PLAIN_MIN:
        figures = min(max(4, 2 + math.ceil(math.log10(largest / step))), _FIGURES_MAX)
        return [f"{value:.{figures}g}" if value else "0" for value in values]
    digits = min(_digits(step / size), DIGITS_MAX)
    return [f"{value / size:.{digits}f}{' ' if prefix else ''}{prefix}" if value else "0" for value in values]


def short(value: float, system: str = "si") -> str:
    """One number with about three digits."""
    if system in ("sec", "msec"):
        system = "none"
    prefix, size = _unit(abs(value), abs(value), system)
    text = f"{value / size:.3g}"
    return f"{text} {prefix}" if prefix else text


def _unit(largest: float, step: float, system: str) -> tuple[str, float]:
    """The unit that keeps labels short: not one of which all steps are small parts."""
    if system not in ("si", "binary"):
        return "", 1.0
    if system == "si" and 0 < largest < 1e-3:
        return next(((prefix, size) for prefix, size in _SI_SMALL if largest >= size), ("", 1.0))
    for prefix, size in _SI if system == "si" else _BINARY:
        if step >= size or (largest >= 2 * size and step >= size / 10):
            return prefix, size
    return "", 1.0


def _digits(step: float) -> int:
    """How many decimals tell multiples of a step apart."""
    for digits in range(DIGITS_MAX):
        scaled = step * 10**digits
        if scaled >= 1 and math.isclose(scaled, round(scaled), rel_tol=1e-6):
            return digits
    return max(0, 2 - math.floor(math.log10(step))) if step > 0 else 0


def _duration(seconds: float) -> str:
    """In its two largest units: 1d 12h."""
    rest, parts = abs(seconds), []
    for unit, size in _DURATIONS_S:
        count, rest = divmod(round(rest), size)
        if count:
            parts.append(f"{count:.0f}{unit}")
    return ("-" if seconds < 0 else "") + " ".join(parts[:2]) if parts else "0"

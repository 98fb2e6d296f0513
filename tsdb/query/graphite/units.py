"""Numbers with the letters of thousands: 1.5 k, 2 Mi."""

from __future__ import annotations

UNIT_SYSTEMS: dict[str, tuple[tuple[str, float], ...]] = {
    "binary": (("Pi", 1024.0**5), ("Ti", 1024.0**4), ("Gi", 1024.0**3), ("Mi", 1024.0**2), ("Ki", 1024.0)),
    "si": (("P", 1000.0**5), ("T", 1000.0**4), ("G", 1000.0**3), ("M", 1000.0**2), ("K", 1000.0)),
}


def divided(value: float, system: str) -> tuple[float, str]:
    """(what is left, its letters): the largest unit of which there is one at least."""
    for letters, size in UNIT_SYSTEMS[system]:
        if abs(value) >= size:
            left = value / size
            return (float(round(left)) if abs(left - round(left)) < 0.01 else left), letters
    return (float(round(value)) if value > 1 and abs(value - round(value)) < 0.01 else value), ""


def with_unit(value: float, system: str) -> str:
    left, letters = divided(value, system)
    return f"{left:.2f}{letters}"

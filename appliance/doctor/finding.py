"""What one look came to."""

from __future__ import annotations

from typing import Literal

import msgspec

Verdict = Literal["ok", "advice", "fault"]
VERDICTS: tuple[Verdict, ...] = ("ok", "advice", "fault")  # From best to worst.


class Finding(msgspec.Struct, frozen=True):
    """What was looked at, what it is, and, unless it is well, the way out.

    Invariant: way_out is empty exactly when the verdict is "ok".
    """

    verdict: Verdict
    what: str
    value: str
    way_out: str = ""

    def __post_init__(self) -> None:
        assert (self.verdict == "ok") == (not self.way_out), self


def ok(what: str, value: object) -> Finding:
    return Finding("ok", what, str(value))


def advice(what: str, value: object, way_out: str) -> Finding:
    """It works, but not as well or not as long as it could."""
    return Finding("advice", what, str(value), way_out)


def fault(what: str, value: object, way_out: str) -> Finding:
    """Something does not work, or samples, alerts or secrets are in danger."""
    return Finding("fault", what, str(value), way_out)


def size(size_bytes: int) -> str:
    """A size in the unit that a person would use; no setting is read from it."""
    amount = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"

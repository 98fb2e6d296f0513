"""Threshold ranges of plugins, such as `10:20`, `~:5` or `@1:3`. Pure.

Source: Monitoring Plugins Development Guidelines, section "Threshold and Ranges".
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from checks.model import State

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"\s*(@?)(?:(~|{NUMBER})?:)?({NUMBER})?\s*")


@dataclass(frozen=True, slots=True)
class Range:
    """Invariant: start <= end. Alerts outside of start..end (both inclusive), or inside when is_inside."""

    start: float
    end: float
    is_inside: bool = False

    def alerts(self, value: float) -> bool:
        return (self.start <= value <= self.end) is self.is_inside

    def __str__(self) -> str:
        start = "~:" if self.start == -math.inf else ("" if self.start == 0 else f"{self.start:.12g}:")
        end = "" if self.end == math.inf else f"{self.end:.12g}"
        return ("@" if self.is_inside else "") + (start + end if end or start else "0:")


def parse_range(text: str) -> Range:
    """Read a range. Raises: ValueError, with what is wrong."""
    found = _RANGE.fullmatch(text)
    if found is None or (found[2] is None and found[3] is None and ":" not in text):
        raise ValueError(f"{text!r} is not a range such as 10, 10:, ~:10, 10:20 or @10:20")
    start = -math.inf if found[2] == "~" else float(found[2] or 0)
    end = math.inf if found[3] is None else float(found[3])
    if start > end:
        raise ValueError(f"{text!r}: the start {start:g} is above the end {end:g}")
    return Range(start, end, bool(found[1]))


def judge(value: float, *, warning: Range | None, critical: Range | None) -> State:
    """The state of a value held against its ranges; critical wins."""
    if critical is not None and critical.alerts(value):
        return State.CRITICAL
    if warning is not None and warning.alerts(value):
        return State.WARNING
    return State.OK

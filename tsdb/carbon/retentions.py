"""Retentions as storage-schemas.conf has them: how often a point comes and how many are kept, from fine to coarse."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_SECONDS_BY_UNIT = {"seconds": 1, "minutes": 60, "hours": 3_600, "days": 86_400, "weeks": 604_800, "years": 31_536_000}
_WITH_UNIT = re.compile(r"([0-9]+)([a-z]+)", re.ASCII)
_SECONDS_MAX = 1_000 * 31_536_000  # As far as our own durations go.


@dataclass(frozen=True, slots=True, order=True)
class Archive:
    """A point for every step, so many of them."""

    step_s: int
    count: int

    @property
    def covers_s(self) -> int:
        return self.step_s * self.count


def parse_archives(text: str) -> tuple[Archive, ...]:
    """Read `10s:6h,1min:7d`; sorted, finest first. Raises: ValueError."""
    archives = tuple(sorted(parse_archive(part) for part in text.split(",")))
    check(archives)
    return archives


def parse_archive(text: str) -> Archive:
    """Read `60:1440` (a point each 60 s, 1,440 of them) or `60s:1d`. Raises: ValueError."""
    step, colon, kept = text.strip().partition(":")
    if not colon:
        raise ValueError(f"{text.strip()!r} is not step:duration, such as 10s:6h")
    step_s = int(step) if _is_number(step) else _seconds(step, "step")
    if not 1 <= step_s <= _SECONDS_MAX:
        raise ValueError(f"{text.strip()!r} has a step of {step_s} s; it must be from 1 s to 1,000 years")
    count = int(kept) if _is_number(kept) else _seconds(kept, "duration") // step_s
    if not 1 <= count <= _SECONDS_MAX // step_s:
        raise ValueError(f"{text.strip()!r} keeps {count:,} points; it must be at least one, and at most 1,000 years")
    return Archive(step_s, count)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 15


def _seconds(text: str, what: str) -> int:
    found = _WITH_UNIT.fullmatch(text)
    if found is None or len(found[1]) > 15:
        raise ValueError(f"the {what} {text[:40]!r} is not a whole number and a unit, such as 10s, 5min or 7d")
    # As whisper does: any beginning of a unit's name; of two that begin alike, the first.
    unit = next((name for name in _SECONDS_BY_UNIT if name.startswith(found[2])), None)
    if unit is None:
        raise ValueError(f"the {what} {text[:40]!r} has the unit {found[2][:20]!r}; {', '.join(_SECONDS_BY_UNIT)}")
    return int(found[1]) * _SECONDS_BY_UNIT[unit]


def check(archives: Sequence[Archive]) -> None:
    """Whisper's rules, for archives that are sorted. Raises: ValueError."""
    if not archives:
        raise ValueError("there is no archive")
    for finer, coarser in pairwise(archives):
        if finer.step_s == coarser.step_s:
            raise ValueError(f"two archives have the step {finer.step_s} s")
        if coarser.step_s % finer.step_s:
            raise ValueError(f"the step {coarser.step_s} s is no multiple of the finer {finer.step_s} s")
        if coarser.covers_s <= finer.covers_s:
            raise ValueError(
                f"the archive of {coarser.step_s} s covers {coarser.covers_s:,} s, no more than the finer one's "
                f"{finer.covers_s:,} s"
            )
        if finer.count < (needed := coarser.step_s // finer.step_s):
            raise ValueError(
                f"the archive of {finer.step_s} s has {finer.count} points; a point of the next takes {needed}"
            )

"""How long something has been so: the `for_s` of a check on a metric. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from checks.model import State


@dataclass(frozen=True, slots=True)
class Held:
    """Since when each comparison has held without a break; seconds of a clock that does not step, None: it does not."""

    warning_since_s: float | None = None
    critical_since_s: float | None = None


def hold(held: Held, *, is_warning: bool, is_critical: bool, now_s: float, for_s: float) -> tuple[State, Held]:
    """The worst state that has held for for_s, and what to keep for the next look."""
    since = Held(
        warning_since_s=_since(held.warning_since_s, is_warning, now_s),
        critical_since_s=_since(held.critical_since_s, is_critical, now_s),
    )
    for state, since_s in ((State.CRITICAL, since.critical_since_s), (State.WARNING, since.warning_since_s)):
        if since_s is not None and now_s - since_s >= for_s:
            return state, since
    return State.OK, since


def _since(since_s: float | None, holds: bool, now_s: float) -> float | None:
    if not holds:
        return None
    return now_s if since_s is None else since_s

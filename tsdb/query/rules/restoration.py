"""The `for` of alerts across an outage, from what ALERTS_FOR_STATE said last. Pure.

Source: RestoreForState in rules/group.go of Prometheus 3, with two differences. There, an alert whose `for` is shorter
than the grace period starts anew; here it does so only if it was pending, so that one that fired goes on firing. And
an outage in which at most one evaluation was missed is none: a restart of the evaluating process alone takes two
seconds, and must not take the time back that an alert has been waiting.
"""

from __future__ import annotations

from dataclasses import dataclass

OUTAGE_TOLERANCE_MS = 3_600_000  # What is older is forgotten: nobody knows what was in between.
GRACE_MS = 600_000  # Whoever was to fire during the outage fires this long after it, should the fault still be there.


@dataclass(frozen=True, slots=True)
class ForState:
    """The last sample of ALERTS_FOR_STATE of an alert: its time, and its value, since when the alert was active."""

    at_ms: int
    active_at_ms: int

    def is_firing(self, hold_ms: int) -> bool:
        return self.at_ms - self.active_at_ms >= hold_ms


def active_at_ms(known: ForState, *, hold_ms: int, interval_ms: int, now_ms: int) -> int:
    """Since when an alert that is there at now_ms counts as active. hold_ms: its `for`."""
    if now_ms - known.at_ms > OUTAGE_TOLERANCE_MS:
        return now_ms
    if known.is_firing(hold_ms) or now_ms - known.at_ms <= 2 * interval_ms:
        return known.active_at_ms
    if hold_ms < GRACE_MS:
        return now_ms
    left_ms = hold_ms - (known.at_ms - known.active_at_ms)
    if left_ms < GRACE_MS:
        return now_ms + GRACE_MS - hold_ms
    return known.active_at_ms + now_ms - known.at_ms

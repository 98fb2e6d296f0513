"""How far the wall clock is trusted when it decides what is too old: what it has taken does not come back.

The appliance writes samples of its own, so the newest sample follows a wrong clock; the monotonic clock does not.
"""

from __future__ import annotations

# A clock may be set by so much without a word: no retention is so short that it matters.
LEAP_MS = 3_600_000
# A clock that has gone ahead by more is believed after so long; a wrong one is noticed by then. It costs a day of disk.
BELIEVED_AFTER_S = 24 * 3_600.0


class TrustedTime:
    """The time by which retention goes.

    newest_ms: the newest sample at the start: a clock that is far beyond it has leapt as well, for nobody knows whether
    the appliance was off for so long. None: there is no sample.
    """

    def __init__(self, newest_ms: int | None, monotonic_s: float) -> None:
        self._at_ms = newest_ms
        self._at_s = monotonic_s
        self._ahead_since_s: float | None = None

    def now_ms(self, wall_ms: int, monotonic_s: float) -> int:
        """The wall clock, or while it is not believed, what it would show without its leap."""
        if self._at_ms is None:
            self._at_ms, self._at_s = wall_ms, monotonic_s
        expected_ms = self._at_ms + int((monotonic_s - self._at_s) * 1_000)
        if wall_ms <= expected_ms + LEAP_MS:
            self._ahead_since_s = None
        elif self._ahead_since_s is None:
            self._ahead_since_s = monotonic_s
        if self._ahead_since_s is not None and monotonic_s - self._ahead_since_s < BELIEVED_AFTER_S:
            return expected_ms
        self._at_ms, self._at_s, self._ahead_since_s = wall_ms, monotonic_s, None
        return wall_ms

"""What has changed since a moment: from which time on samples came late, were deleted, or gave way to rollups.

Live samples bear times of now, so most of what was read stays true: whoever kept an answer asks up to where.
"""

from __future__ import annotations

import secrets
import threading
from bisect import bisect_right

from tsdb.interface import ALL_CHANGED_MS, NONE_CHANGED_MS, Changes, ChangeToken

# Times are noted by the second: live samples then make one mark a second, and 1,024 marks are 17 minutes of them.
GRAIN_MS = 1_000
# × two integers of 32 B and their places in two lists = 80 KiB.
MARKS_COUNT_MAX = 1_024


class ChangeLog:
    """Of one store, from its start on; safe for threads. O(1) a change, on average.

    A mark says: the changes up to this number, as far as they came after the mark before, reach back to this time.
    Invariant: numbers and times rise from mark to mark, for a change that reaches further back than earlier ones takes
    their place. So the first mark after a number is the earliest time of all changes since.
    """

    def __init__(self) -> None:
        self._store = secrets.randbits(62)
        self._sequence = 0
        self._marks: list[int] = []
        self._times_ms: list[int] = []
        self._lock = threading.Lock()

    def note(self, min_ms: int) -> None:
        """Samples from min_ms on have changed; told when a new selection sees it, and before anybody is told of it."""
        min_ms = max(ALL_CHANGED_MS, min_ms // GRAIN_MS * GRAIN_MS)
        with self._lock:
            self._sequence += 1
            while self._times_ms and self._times_ms[-1] >= min_ms:
                self._times_ms.pop()
                self._marks.pop()
            self._times_ms.append(min_ms)
            self._marks.append(self._sequence)
            if len(self._marks) > MARKS_COUNT_MAX:
                self._thin()

    def since(self, store: int | None = None, sequence: int = 0) -> Changes:
        """What has changed since the token of a store; without one only the token of now is asked for."""
        with self._lock:
            token = ChangeToken(self._store, self._sequence)
            if store != self._store or sequence > self._sequence:
                return Changes(token, ALL_CHANGED_MS)
            at = bisect_right(self._marks, sequence)
            return Changes(token, self._times_ms[at] if at < len(self._marks) else NONE_CHANGED_MS)

    def _thin(self) -> None:
        """One mark for two among the older half: an old token may be told that more has changed than did."""
        half = MARKS_COUNT_MAX // 4 * 2
        self._marks[:half] = self._marks[1:half:2]
        self._times_ms[:half] = self._times_ms[:half:2]

"""One trace: what it looks for, what waits for its client, and when it ends. Pure: the time is handed in."""

from __future__ import annotations

import collections
from typing import Any, Generic, TypeVar

EVENTS_COUNT_MAX_IN_A_SECOND = 200  # Twenty times what a person can read; the rest is counted.
QUEUE_COUNT_MAX = 1_000  # Five seconds of that: what a client that does not take has lost after it is gone anyway.
GONE_S = 5.0  # A client takes four times a second; one that has not for so long is gone.

Event = dict[str, Any]
"""What happened: "at_ms", "what", and further fields of plain types."""

MatcherT = TypeVar("MatcherT")


class Trace(Generic[MatcherT]):
    """Not thread-safe: the tracer's lock is held by whoever calls, but for reading the matcher."""

    def __init__(self, id_: str, kind: str, subject: str, matcher: MatcherT, *, now_s: float, for_s: float) -> None:
        self.id = id_
        self.kind = kind
        self.subject = subject
        self.matcher = matcher
        self.until_s = now_s + for_s
        self._taken_s = now_s
        self._second = 0
        self._told_in_second = 0
        self._waiting: collections.deque[Event] = collections.deque()
        self._not_shown_count = 0

    def put(self, event: Event, now_s: float) -> None:
        """Keep an event for the client, or count it where there are too many."""
        if self.room(now_s) <= 0:
            self._not_shown_count += 1
            return
        self._told_in_second += 1
        self._waiting.append(event)

    def room(self, now_s: float) -> int:
        """How many events may be put now: who has a column of them makes no more."""
        if int(now_s) != self._second:
            self._second, self._told_in_second = int(now_s), 0
        return min(EVENTS_COUNT_MAX_IN_A_SECOND - self._told_in_second, QUEUE_COUNT_MAX - len(self._waiting))

    def skip(self, count: int) -> None:
        """Count events that were not even made."""
        self._not_shown_count += count

    def take(self, now_s: float) -> tuple[list[Event], int]:
        """What waits, and how many events were left out since the last time."""
        self._taken_s = now_s
        events, self._waiting = list(self._waiting), collections.deque()
        not_shown_count, self._not_shown_count = self._not_shown_count, 0
        return events, not_shown_count

    def is_over(self, now_s: float) -> bool:
        """Its time is up, or nobody takes what it has."""
        return now_s >= self.until_s or now_s - self._taken_s > GONE_S

"""The threads that answer requests: of those that wait, the one that came last is the next to work.

waitress wakes the one that has waited longest, so that a thousand requests a second go round sixteen stacks and never
meet one that is still in the caches.
"""

from __future__ import annotations

import threading

from waitress.task import ThreadedTaskDispatcher


class LastFirst:
    """What waitress uses of a threading.Condition. The lock is held by whoever calls."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._seats: list[threading.Lock] = []

    def wait(self) -> None:
        seat = threading.Lock()
        seat.acquire()
        self._seats.append(seat)
        self._lock.release()
        try:
            seat.acquire()
        finally:
            self._lock.acquire()

    def notify(self) -> None:
        if self._seats:
            self._seats.pop().release()

    def notify_all(self) -> None:
        while self._seats:
            self.notify()


class Workers(ThreadedTaskDispatcher):  # type: ignore[misc]  # waitress is untyped.
    def __init__(self, threads_count: int) -> None:
        super().__init__()
        self.queue_cv = LastFirst(self.lock)
        self.set_thread_count(threads_count)

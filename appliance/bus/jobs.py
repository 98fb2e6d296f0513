"""The queue between the thread that owns a service's socket and its workers, bounded in requests and in bytes."""

from __future__ import annotations

import collections
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appliance.bus.direct import Peer
from appliance.bus.wire import RequestHead

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Job:
    """A request that waits for a worker."""

    peer: bytes | Peer  # The link it came by: ZeroMQ's name for it, or a connection of its own.
    head: RequestHead
    body: bytes
    columns: tuple[np.ndarray[Any, Any], ...]

    @property
    def size_bytes(self) -> int:
        return len(self.body) + sum(column.nbytes for column in self.columns)


class Seat:
    """Where a worker without a job waits for one."""

    __slots__ = ("job", "lock")

    def __init__(self) -> None:
        self.job: Job | None = None
        self.lock = threading.Lock()
        self.lock.acquire()


class Jobs:
    """First come, first served. One thread offers, workers take; a worker's turn lasts until it is done.

    Of the workers that wait, the one that came last gets the next job: its stack and its memory are still in the
    caches, and few jobs at once are done by few threads.
    """

    def __init__(self, count_max: int, bytes_max: int) -> None:
        assert count_max >= 1, count_max
        self.count_max = count_max
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._waiting: collections.deque[Job | None] = collections.deque()
        self._seats: list[Seat] = []  # Of the workers that wait; none while a job waits.
        self._bytes = 0
        self._in_hand_count = 0
        self._is_ended = False

    def offer(self, job: Job) -> bool:
        """Queue a job, unless too many or too much wait, or this is the end; a single one is never too much."""
        with self._lock:
            if self._is_ended:
                return False
            if not self._seats:
                is_too_much = self._waiting and self._bytes + job.size_bytes > self._bytes_max
                if len(self._waiting) >= self.count_max or is_too_much:
                    return False
                self._waiting.append(job)
                self._bytes += job.size_bytes
                return True
            seat = self._seats.pop()
            self._in_hand_count += 1
        seat.job = job
        seat.lock.release()
        return True

    def take(self) -> Job | None:
        """Wait for a job; None: end."""
        with self._lock:
            if self._waiting:
                job = self._waiting.popleft()
                if job is not None:
                    self._bytes -= job.size_bytes
                    self._in_hand_count += 1
                return job
            seat = Seat()
            self._seats.append(seat)
        seat.lock.acquire()
        return seat.job

    def borrow(self) -> Seat | None:
        """The seat of a worker that waits, for a thread that brings its job and does it itself; None, if all work.

        So it is as if the worker did it, at the cost of waking nobody. give_back() ends the turn.
        """
        with self._lock:
            if self._is_ended or not self._seats:
                return None
            self._in_hand_count += 1
            return self._seats.pop()

    def give_back(self, seat: Seat) -> None:
        with self._lock:
            self._in_hand_count -= 1
            if not self._waiting:
                self._seats.append(seat)
                return
            seat.job = self._waiting.popleft()
            if seat.job is not None:
                self._bytes -= seat.job.size_bytes
                self._in_hand_count += 1
        seat.lock.release()

    def done(self) -> None:
        with self._lock:
            self._in_hand_count -= 1

    def end(self, workers_count: int) -> list[Job]:
        """Let the workers end after what they have in hand; returns what they will not do."""
        with self._lock:
            self._is_ended = True
            left = [job for job in self._waiting if job is not None]
            seats, self._seats = self._seats, []
            self._waiting = collections.deque([None] * (workers_count - len(seats)))
            self._bytes = 0
        for seat in seats:
            seat.lock.release()
        return left

    def figures(self) -> dict[str, int]:
        with self._lock:
            return {
                "queue_count": len(self._waiting),
                "queue_count_max": self.count_max,
                "queue_bytes": self._bytes,
                "in_hand_count": self._in_hand_count,
            }

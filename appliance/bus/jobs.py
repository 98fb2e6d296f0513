"""The queue between the thread that owns a service's socket and its workers, bounded in requests and in bytes."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appliance.bus.wire import RequestHead

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Job:
    """A request that waits for a worker."""

    peer: bytes  # ZeroMQ's name for the link it came by.
    head: RequestHead
    body: bytes
    columns: tuple[np.ndarray[Any, Any], ...]

    @property
    def size_bytes(self) -> int:
        return len(self.body) + sum(column.nbytes for column in self.columns)


class Jobs:
    """First come, first served. One thread offers, workers take; a worker's turn lasts until it is done."""

    def __init__(self, count_max: int, bytes_max: int) -> None:
        assert count_max >= 1, count_max
        self.count_max = count_max
        self._bytes_max = bytes_max
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._bytes = 0
        self._in_hand_count = 0

    def offer(self, job: Job) -> bool:
        """Queue a job, unless too many or too much wait; a single one is never too much."""
        waiting_count = self._queue.qsize()
        with self._lock:
            if waiting_count >= self.count_max or (waiting_count and self._bytes + job.size_bytes > self._bytes_max):
                return False
            self._bytes += job.size_bytes
        self._queue.put(job)
        return True

    def take(self) -> Job | None:
        """Wait for a job; None: end."""
        job = self._queue.get()
        if job is not None:
            with self._lock:
                self._bytes -= job.size_bytes
                self._in_hand_count += 1
        return job

    def done(self) -> None:
        with self._lock:
            self._in_hand_count -= 1

    def end(self, workers_count: int) -> list[Job]:
        """Let the workers end after what they have in hand; returns what they will not do."""
        left = []
        while not self._queue.empty():
            job = self._queue.get()
            if job is not None:
                left.append(job)
        for _ in range(workers_count):
            self._queue.put(None)
        return left

    def figures(self) -> dict[str, int]:
        with self._lock:
            return {
                "queue_count": self._queue.qsize(),
                "queue_count_max": self.count_max,
                "queue_bytes": self._bytes,
                "in_hand_count": self._in_hand_count,
            }

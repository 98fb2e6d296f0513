"""How many queries run at once, how many wait, and which of them somebody has taken back."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from tsdb.errors import QueriesBusy
from tsdb.query.promql.limits import Deadline


class Gate:
    """Lets so many queries run at once; so many more wait, in the order in which they came. Safe for threads."""

    def __init__(self, concurrent_count_max: int, queue_count_max: int) -> None:
        self._concurrent_count_max = concurrent_count_max
        self._queue_count_max = queue_count_max
        self._lock = threading.Lock()
        self._running_count = 0
        self._waiting: deque[threading.Event] = deque()

    @property
    def running_count(self) -> int:
        return self._running_count

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    @contextmanager
    def passage(self, deadline: Deadline) -> Iterator[None]:
        """Wait for a place, and hold it.

        Raises: QueriesBusy, if too many wait already; QueryTimeout or QueryCancelled, while waiting.
        """
        turn = threading.Event()
        with self._lock:
            if self._running_count < self._concurrent_count_max:
                self._running_count += 1
                turn.set()
            elif len(self._waiting) >= self._queue_count_max:
                raise QueriesBusy(
                    f"{self._running_count:,} queries run (at most {self._concurrent_count_max:,}) and "
                    f"{len(self._waiting):,} wait (at most {self._queue_count_max:,}); try again in a moment, ask for "
                    f"less at once, or raise query.concurrent_count_max or query.queue_count_max"
                )
            else:
                self._waiting.append(turn)
        try:
            self._wait(turn, deadline)
            yield
        finally:
            self._leave(turn)

    def _wait(self, turn: threading.Event, deadline: Deadline) -> None:
        while True:
            deadline.wait(turn)
            deadline.check("the queue of queries")  # cancel() sets the event too.
            with self._lock:
                if turn not in self._waiting:
                    return

    def _leave(self, turn: threading.Event) -> None:
        """Give the place to the next one in the queue, or leave the queue."""
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif self._waiting:
                self._waiting.popleft().set()
            else:
                self._running_count -= 1


class Register:
    """The queries under way by the name that whoever asked gave them, so that he can take them back. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deadlines_by_id: dict[str, list[Deadline]] = {}

    @contextmanager
    def entry(self, query_id: str, deadline: Deadline) -> Iterator[None]:
        """Have a query in the register as long as it lasts; one without a name cannot be taken back."""
        if not query_id:
            yield
            return
        with self._lock:
            self._deadlines_by_id.setdefault(query_id, []).append(deadline)
        try:
            yield
        finally:
            with self._lock:
                same = self._deadlines_by_id[query_id]
                same.remove(deadline)
                if not same:
                    del self._deadlines_by_id[query_id]

    def cancel(self, query_id: str) -> int:
        """Cancel all queries of this name. Returns: how many there were."""
        with self._lock:
            found = list(self._deadlines_by_id.get(query_id, ()))
        for deadline in found:
            deadline.cancel()
        return len(found)

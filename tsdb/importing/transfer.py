"""Points of many files → an appliance, in batches of bounded size that are acknowledged after the write-ahead log."""

from __future__ import annotations

import io
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, Self

import numpy as np

from tsdb.client import WriteAnswer
from tsdb.errors import NotReady
from tsdb.export.arrow import ArrowWriter
from tsdb.importing.journal import Done
from tsdb.importing.tree import Found
from tsdb.importing.whisper import History
from tsdb.sample import Float64s, Int64s

DOOR, SENDER = "arrow", "import"
# Of one body: 512 Ki × 20 B = 10 MiB, of which four are held at once, in two copies while one is written.
BATCH_POINTS_COUNT_MAX = 1 << 19
BATCH_FILES_COUNT_MAX = 4_096  # So that a tree of small files is noted as done now and then.
_IN_FLIGHT_COUNT_MAX = 2  # One is decoded while one is written; a third would only wait.
# A store that has no room answers "not ready" every 15 s and takes samples again when its head is in blocks.
NOT_READY_S_MAX = 300.0
_RETRY_S = 0.2

# Refusals that are no fault of this run: another would not bring the samples in either.
FINAL_REFUSALS = ("too_old", "too_far_in_future")


class Door(Protocol):
    """What tsdb.client.TsdbClient is for this."""

    def write(self, door: str, body: bytes | memoryview, *, sender: str) -> WriteAnswer: ...


class _Batch:
    def __init__(self) -> None:
        self.names: list[str] = []
        self.counts: list[int] = []
        self.timestamp_ms: list[Int64s] = []
        self.value: list[Float64s] = []
        self.done: list[tuple[str, Done]] = []  # By name, the files of which the last point is in this batch.
        self.points_count = 0

    def add(self, name: str, timestamp_ms: Int64s, value: Float64s) -> None:
        self.names.append(name)
        self.counts.append(timestamp_ms.size)
        self.timestamp_ms.append(timestamp_ms)
        self.value.append(value)
        self.points_count += timestamp_ms.size

    def body(self) -> memoryview:
        out = io.BytesIO()
        writer = ArrowWriter(out, compresses=False)
        index = np.repeat(np.arange(len(self.names)), self.counts)
        writer.write_columns(self.names, index, np.concatenate(self.timestamp_ms), np.concatenate(self.value))
        writer.finish()
        return out.getbuffer()


class Transfer:
    """Use it as a context manager; put() each file, then finish().

    note: told the files whose points are all acknowledged, in the order of put(), from the caller's thread.
    Every method raises: TsdbError, when the appliance refuses a whole batch or is not ready for NOT_READY_S_MAX.
    """

    def __init__(self, door: Door, note: Callable[[list[Done]], None]) -> None:
        self._door = door
        self._note = note
        self._threads = ThreadPoolExecutor(_IN_FLIGHT_COUNT_MAX, thread_name_prefix="import")
        self._in_flight: deque[tuple[_Batch, Future[WriteAnswer]]] = deque()
        self._batch = _Batch()
        self.accepted_count = 0
        self.refused: Counter[str] = Counter()
        self.first_error: str | None = None
        self.undone_count = 0  # Files of batches of which something was refused that may come in another time.
        self._carried = ""  # The name of a file of which something was refused, and more may come.
        self._is_over = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def put(self, found: Found, name: str, history: History) -> None:
        size = history.value.size
        for start in range(0, size, BATCH_POINTS_COUNT_MAX):
            end = min(size, start + BATCH_POINTS_COUNT_MAX)
            if self._batch.points_count + end - start > BATCH_POINTS_COUNT_MAX:
                self._send()
            self._batch.add(name, history.timestamp_ms[start:end], history.value[start:end])
        self._batch.done.append((name, Done(found, size, int(history.timestamp_ms[-1]) if size else 0)))
        if len(self._batch.done) >= BATCH_FILES_COUNT_MAX:
            self._send()

    def finish(self) -> None:
        """Returns when everything is acknowledged and noted."""
        self._send()
        while self._in_flight:
            self._land()

    def _send(self) -> None:
        batch, self._batch = self._batch, _Batch()
        if batch.points_count:
            if len(self._in_flight) >= _IN_FLIGHT_COUNT_MAX:
                self._land()
            self._in_flight.append((batch, self._threads.submit(self._write, batch.body())))
        elif batch.done:
            while self._in_flight:  # Files are noted in the order in which they came.
                self._land()
            self._note([done for _, done in batch.done])

    def _land(self) -> None:
        """Wait for the oldest batch."""
        batch, future = self._in_flight.popleft()
        answer = future.result()
        self.accepted_count += answer.accepted_count
        self.refused.update(answer.refused)
        if answer.first_error is not None and self.first_error is None:
            self.first_error = answer.first_error
        # Nothing tells which series of a batch were refused, so that none of its files counts as done; nor does one
        # that began in it and ends in a later batch.
        doubtful = {self._carried}
        if any(reason not in FINAL_REFUSALS for reason in answer.refused):
            doubtful.update(batch.names)
        self._carried = batch.names[-1] if batch.names[-1] in doubtful else ""
        self.undone_count += sum(name in doubtful for name, _ in batch.done)
        self._note([done for name, done in batch.done if name not in doubtful])

    def _write(self, body: memoryview) -> WriteAnswer:
        deadline_s = time.monotonic() + NOT_READY_S_MAX
        while True:
            try:
                return self._door.write(DOOR, body, sender=SENDER)
            except NotReady:
                if time.monotonic() >= deadline_s or self._is_over.wait(_RETRY_S):
                    raise

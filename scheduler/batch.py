"""What runs leave behind, on its way to the state file and to the store.

Texts go to the state process in at most one transaction a second, changes of hard state at once, each with its
incident and its messages in one transaction. There is one writer task, so a later result never overtakes an earlier
flip. Numbers go to the store once a second. While either is away, what waits is kept within bounds and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from appliance.bus import BusError, BusRefused
from appliance.metrics import Metrics
from appliance.state.mutations import AppendEvent, DeleteDocument, Mutation, PutDocument
from checks.rows import Row
from tsdb.client import WriteAnswer
from tsdb.errors import NotReady, TsdbError

ACTOR = "scheduler"
EVERY_S = 1.0
RETRY_S = 0.25  # Between attempts while the state process restarts.
APPLY_TIMEOUT_S = 5.0
APPEND_RETRY_S = 0.5
EVENT_COUNT_MAX = 20_000  # Waiting texts of failures: 20 MB at 1 KB each. The oldest go first.
ROW_COUNT_MAX = 200_000  # Waiting numbers: 60 MB; 10 minutes of 1,000 checks every 10 s. The oldest go first.
ROWS_OF_A_CALL_MAX = 20_000
MUTATIONS_OF_A_CALL_MAX = 5_000
RETRIED_CODES = frozenset({"busy", "not_ready", "disk_full", "stopping"})
FAULT_CODES = frozenset({"internal", "crashed"})  # Of the state process: tried again, but not for ever.
FAULT_COUNT_MAX = 5
URGENT_COUNT_MAX = 50_000  # Waiting changes: 100 MB at 2 KB each, a day of 1,000 checks that flip every half hour.

log = logging.getLogger(__name__)


class StateSink(Protocol):
    async def apply(self, mutations: Sequence[Mutation], *, actor: str, timeout_s: float = 5.0) -> int: ...


class RowSink(Protocol):
    async def append(self, rows: Sequence[Row]) -> WriteAnswer: ...


@dataclass(eq=False, slots=True)
class _Urgent:
    """Mutations that belong together, and who waits for them."""

    mutations: list[Mutation]
    written: asyncio.Future[None]


class Batch:
    """Runs in one event loop. add() and the others only take; run() brings away."""

    def __init__(self, state: StateSink, tsdb: RowSink, metrics: Metrics, *, every_s: float = EVERY_S) -> None:
        self._state = state
        self._tsdb = tsdb
        self._every_s = every_s
        self._results: dict[str, PutDocument] = {}
        self._events: deque[AppendEvent] = deque(maxlen=EVENT_COUNT_MAX)
        self._urgent: deque[_Urgent] = deque()
        self._rows: deque[Row] = deque()
        self._urgent_came = asyncio.Event()
        self._stopping = asyncio.Event()
        self._finished = asyncio.Event()
        self._has_begun = False
        self._dropped = metrics.counter("henge_check_rows_dropped_total", "Numbers of checks that were not stored.")
        self._retries = metrics.counter("henge_scheduler_retries_total", "Writes that were tried again, by where to.")
        self._dropped.inc(0, reason="store_away")
        for neighbour in ("state", "store"):
            self._retries.inc(0, to=neighbour)
        self._waiting = metrics.gauge("henge_scheduler_waiting", "What waits to be written, by kind.")
        self._is_state_away = False
        self._is_store_away = False
        self.transaction_count = 0

    def add_result(self, result: PutDocument, events: Sequence[AppendEvent]) -> None:
        """A result that can wait for the next transaction; a newer one of the same check replaces it."""
        self._results[result.id] = result
        self._events.extend(events)

    def add_urgent(self, mutations: Sequence[Mutation]) -> asyncio.Future[None]:
        """What must be written now, all together or not at all. The future is done when it is written or refused."""
        for mutation in mutations:
            if isinstance(mutation, PutDocument) and mutation.kind == "result":
                self._results.pop(mutation.id, None)  # The older one would come later.
        if len(self._urgent) >= URGENT_COUNT_MAX:
            lost = self._urgent.popleft()
            log.error("the state file has been away too long; a change is lost: %r", lost.mutations[:1])
        urgent = _Urgent(list(mutations), asyncio.get_running_loop().create_future())
        self._urgent.append(urgent)
        self._urgent_came.set()
        return urgent.written

    async def write_result_now(self, check_id: str) -> None:
        """Return when the latest result of this check is written."""
        result = self._results.pop(check_id, None)
        await self.add_urgent([result] if result is not None else [])

    def add_rows(self, rows: Sequence[Row]) -> None:
        self._rows.extend(rows)
        if (over_count := len(self._rows) - ROW_COUNT_MAX) > 0:
            for _ in range(over_count):
                self._rows.popleft()
            self._dropped.inc(over_count, reason="store_away")

    def forget(self, check_id: str) -> None:
        """The check was deleted: its waiting result is not written, and the stored one goes."""
        self._results.pop(check_id, None)
        self.add_urgent([DeleteDocument(kind="result", id=check_id, audited=False)])

    def waiting(self) -> dict[str, int]:
        """What is not written yet."""
        return {"result": len(self._results), "flip": len(self._urgent), "row": len(self._rows)}

    async def run(self) -> None:
        """Until stop()."""
        self._has_begun = True
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write_state())
            tasks.create_task(self._write_rows())
        self._finished.set()

    async def finished(self, timeout_s: float) -> None:
        """Return when run() has, or after timeout_s; at once, if it never began."""
        if not self._has_begun:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._finished.wait(), timeout_s)

    def stop(self) -> None:
        """Let run() bring away what waits, once, and return."""
        self._stopping.set()
        self._urgent_came.set()

    async def _write_state(self) -> None:
        now_s = asyncio.get_running_loop().time
        written_s = now_s()
        while not self._stopping.is_set():
            rest_s = self._every_s - (now_s() - written_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._urgent_came.wait(), max(rest_s, 0.001))
            self._urgent_came.clear()
            await self._write_urgent()
            if now_s() - written_s >= self._every_s:
                written_s = now_s()
                await self._write_results()
            for kind, count in self.waiting().items():
                self._waiting.set(count, kind=kind)
        await self._write_urgent()
        await self._write_results()

    async def _write_urgent(self) -> None:
        """Several changes share a transaction; only when it is refused does each get its own."""
        while self._urgent:
            together = [self._urgent[0]]
            count = len(together[0].mutations)
            for following in itertools.islice(self._urgent, 1, None):
                count += len(following.mutations)
                if count > MUTATIONS_OF_A_CALL_MAX:
                    break
                together.append(following)
            await self._write_lists([urgent.mutations for urgent in together])
            for urgent in together:
                if not urgent.written.done():
                    urgent.written.set_result(None)
                with contextlib.suppress(ValueError):  # It was pushed out meanwhile, because too much waits.
                    self._urgent.remove(urgent)

    async def _write_results(self) -> None:
        results, self._results = self._results, {}
        mutations: list[Mutation] = [*results.values(), *self._events]
        self._events.clear()
        for start in range(0, len(mutations), MUTATIONS_OF_A_CALL_MAX):
            await self._write_lists([[mutation] for mutation in mutations[start : start + MUTATIONS_OF_A_CALL_MAX]])

    async def _write_lists(self, lists: Sequence[list[Mutation]]) -> None:
        """Write lists of mutations in one transaction, or, if the state process refuses that, each in its own."""
        refusal = await self._applied([mutation for mutations in lists for mutation in mutations])
        if refusal is None:
            return
        if len(lists) > 1:
            for mutations in lists:
                await self._write_lists([mutations])
        elif refusal.code != "not_found":  # What was to be deleted is gone already.
            log.error("the state process refused a change, and it is left out: %s", refusal)

    async def _applied(self, mutations: Sequence[Mutation]) -> BusRefused | None:
        """Write until it is written (None), or refused for good. A stop gives up after one attempt."""
        faults_left = FAULT_COUNT_MAX
        while mutations:
            try:
                await self._state.apply(mutations, actor=ACTOR, timeout_s=APPLY_TIMEOUT_S)
                self.transaction_count += 1
                self._note_state_back()
                return None
            except BusRefused as error:
                faults_left -= error.code in FAULT_CODES
                if error.code not in RETRIED_CODES | FAULT_CODES or faults_left == 0:
                    return error
                self._note_state_away(f"is not ready ({error})", len(mutations))
            except BusError as error:
                self._note_state_away(f"does not answer ({error})", len(mutations))
            self._retries.inc(to="state")
            if self._stopping.is_set():
                return None
            await asyncio.sleep(RETRY_S)
        return None

    def _note_state_away(self, what: str, waiting_count: int) -> None:
        """Said when it begins: a disk that is full for an hour must not fill the log with four lines a second."""
        if not self._is_state_away:
            self._is_state_away = True
            log.warning("the state process %s; %d changes wait, and are tried again", what, waiting_count)

    def _note_state_back(self) -> None:
        if self._is_state_away:
            self._is_state_away = False
            log.info("the state process takes changes again")

    async def _write_rows(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._every_s)
            while self._rows and await self._append_some():
                pass
        await self._append_some()

    async def _append_some(self) -> bool:
        """Append the oldest rows. False when the store has to be waited for."""
        rows = [self._rows.popleft() for _ in range(min(len(self._rows), ROWS_OF_A_CALL_MAX))]
        if not rows:
            return False
        try:
            answer = await self._tsdb.append(rows)
        except NotReady as error:
            if not self._is_store_away:
                self._is_store_away = True
                log.warning("%d numbers of checks wait for the store: %s", len(rows) + len(self._rows), error)
            self._rows.extendleft(reversed(rows))
            self.add_rows(())
            self._retries.inc(to="store")
            await asyncio.sleep(APPEND_RETRY_S)
            return False
        except TsdbError as error:
            log.error("the store refused %d numbers of checks: %s", len(rows), error)
            self._dropped.inc(len(rows), reason="refused")
            return True
        if self._is_store_away:
            self._is_store_away = False
            log.info("the store takes numbers of checks again")
        for reason, count in answer.refused.items():
            self._dropped.inc(count, reason=reason)
        return True

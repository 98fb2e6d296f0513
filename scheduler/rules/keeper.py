"""All groups of all rule files: made, changed and ended as their documents are, and evaluated on schedule."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from appliance.clock import Clock
from appliance.metrics import Metrics
from appliance.state.errors import StateError
from appliance.state.model import Document
from checks.members import Members
from checks.model import Result
from checks.rules import KIND, RulesDocument, document_of, groups_of
from scheduler.rules import schedule
from scheduler.rules.figures import Figures
from scheduler.rules.group import LiveGroup
from scheduler.rules.store import RuleStore
from scheduler.rules.verdict import held
from tsdb.rules import RuleGroup
from tsdb.sample import STALE_NAN, Labels

GROUPS_AT_ONCE = 3  # The query process has one or two workers; more would wait there, and keep people waiting.
LOOK_S = 10.0  # How soon a step of the wall clock is noticed.
READ_RETRY_S = 0.5
ENDING_S_MAX = 600.0
RESULTS_AT_ONCE = 5  # Taken in before others of the event loop have their turn: 8 ms, if each has 100 alerts.

T = TypeVar("T")
log = logging.getLogger(__name__)

Written = tuple[RulesDocument, list[RuleGroup]]


class InThread(Protocol):
    def __call__(self, work: Callable[[], T]) -> Awaitable[T]: ...


class Reader(Protocol):
    def list(self, kind: str) -> list[Document]: ...


class Checks(Protocol):
    """The checks of alerting rules."""

    def members_of(self, check_id: str) -> Members: ...

    def take(self, check_id: str, result: Result, *, next_run_ms: int | None) -> None: ...


class RuleKeeper:
    """Runs in one event loop; what takes time runs in threads, at most GROUPS_AT_ONCE groups at once."""

    def __init__(
        self, *, clock: Clock, metrics: Metrics, reader: Reader, store: RuleStore, checks: Checks, in_thread: InThread
    ) -> None:
        self._clock = clock
        self._reader = reader
        self._store = store
        self._checks = checks
        self._in_thread = in_thread
        self._figures = Figures(metrics)
        self._groups: dict[str, dict[str, LiveGroup]] = {}  # By the id of the document and the name.
        self._versions: dict[str, int] = {}
        self._is_first = True
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._reading = asyncio.Lock()
        self._places = asyncio.Semaphore(GROUPS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """A document was changed."""
        self._wanted.set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                try:
                    await self._read()
                except StateError as error:
                    log.warning("the rule files cannot be read (%s); they are read again", error)
                    self._wanted.set()
                    await asyncio.sleep(READ_RETRY_S)
        finally:
            self.stop()

    def stop(self) -> None:
        """End the schedule; what is being evaluated counts for nothing."""
        self._store.stop()
        for task in self._tasks:
            task.cancel()

    def stats(self) -> dict[str, int]:
        return {"rule_group_count": len(list(self._alive())), "rule_missed_count": self._figures.missed_count}

    def view(self) -> list[dict[str, Any]]:
        """The groups, as the HTTP API of Prometheus shows them, each with the id and team of its document."""
        return [
            {"id": group.document_id, "team": group.team, **group.view} for group in sorted(self._alive(), key=_place)
        ]

    async def evaluate_now(self, check_id: str) -> Result | None:
        """Evaluate the group of a check's rule, or wait for the evaluation that is going on; what the rule found.

        None, if the check is of no rule that is evaluated.
        """
        with contextlib.suppress(StateError):
            await self._read()  # The hint about its last change may still be on its way.
        group = next((group for group in self._alive() if check_id in group.check_ids.values()), None)
        if group is None:
            return None
        if group.lock.locked():
            async with group.lock:
                pass
        else:
            await self._evaluate(group, self._clock.now_ms())
        return group.results.get(check_id)

    def _alive(self) -> Iterable[LiveGroup]:
        return itertools.chain.from_iterable(groups.values() for groups in self._groups.values())

    async def _read(self) -> None:
        """Take every document that is new or was changed or deleted. Raises: StateError."""
        async with self._reading:
            documents = await self._in_thread(lambda: self._reader.list(KIND))
            for document in documents:
                if self._versions.get(document.id) == document.version:
                    continue
                self._versions[document.id] = document.version
                try:
                    document_now, groups = await self._in_thread(partial(_written, document))
                    await self._replace(document.id, document_now, groups)
                except Exception:
                    # It was not saved through here, or the mistake is ours: one file must not end the checks of all.
                    log.exception("rule file %s cannot be read; what it said before stays", document.id)
            for gone in self._versions.keys() - {document.id for document in documents}:
                await self._replace(gone, None, [])
                del self._groups[gone], self._versions[gone]
            self._is_first = False

    async def _replace(self, document_id: str, document: RulesDocument | None, groups: Sequence[RuleGroup]) -> None:
        """Let the groups of a document be these. They are made in a thread: a thousand templates take a moment."""
        gone = dict(self._groups.get(document_id, {}))
        after: dict[str, LiveGroup] = {}
        new: list[LiveGroup] = []
        for group in groups:
            assert document is not None
            known = gone.pop(group.name, None)
            if known is not None and known.is_same(document, group):
                after[group.name] = known
                continue
            live = await self._in_thread(
                partial(
                    LiveGroup,
                    document,
                    group,
                    self._store,
                    recalls=self._is_first,
                    previous=known,
                    monotonic_s=self._clock.monotonic_s,
                )
            )
            after[group.name] = live
            new.append(live)
        self._groups[document_id] = after
        for live in new:
            if live.previous is not None:
                live.previous.ended.set()
            self._start(self._follow(live))
        for ended in gone.values():
            ended.ended.set()
            self._figures.forget(ended)
            self._start(self._end_series(ended))

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a group of rules is not evaluated any more", exc_info=error)

    async def _follow(self, group: LiveGroup) -> None:
        """Evaluate a group at its times until it has ended."""
        planned_ms = schedule.next_ms(self._clock.now_ms(), group.interval_ms, group.share_ms)
        while not group.ended.is_set():
            now_ms = self._clock.now_ms()
            planned_ms, missed_count = schedule.due(planned_ms, now_ms, group.interval_ms, group.share_ms)
            if planned_ms > now_ms:
                await _wait(group.ended, min((planned_ms - now_ms) / 1_000, LOOK_S))
                continue
            group.missed_count += missed_count
            self._figures.missed(group, missed_count)
            await self._evaluate(group, planned_ms)
            planned_ms += group.interval_ms

    async def _evaluate(self, group: LiveGroup, at_ms: int) -> None:
        async with group.lock:
            if group.ended.is_set():
                return
            await self._inherit(group)
            async with self._places:
                try:
                    await self._in_thread(partial(group.evaluate, at_ms))
                except Exception:
                    # A mistake of ours in one group must not end the checks of all; the next evaluation tries again.
                    log.exception("group %s of rule file %s could not be evaluated", group.group.name, group.file)
                    return
            if not group.ended.is_set():
                self._figures.evaluated(group)
                await self._tell(group)

    async def _inherit(self, group: LiveGroup) -> None:
        """Take over the state of the group as it was written before, once. The group's lock is held."""
        previous, group.previous = group.previous, None
        if previous is not None:
            async with previous.lock:
                await self._inherit(previous)
                group.inherit(previous)

    async def _tell(self, group: LiveGroup) -> None:
        """Hand the results to the checks."""
        next_ms = schedule.next_ms(self._clock.now_ms(), group.interval_ms, group.share_ms)
        for number, (check_id, result) in enumerate(group.results.items(), 1):
            told = held(result, self._checks.members_of(check_id)) if check_id in group.unsettled else result
            self._checks.take(check_id, told, next_run_ms=next_ms)
            if number % RESULTS_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _end_series(self, group: LiveGroup) -> None:
        """End the series of a group that is gone, but for those that another group writes by now.

        After two intervals, as Prometheus does: a group of another name may have taken its rules over.
        """
        async with group.lock:
            await self._inherit(group)
        await asyncio.sleep(min(2 * group.interval_ms / 1_000, ENDING_S_MAX))
        ended = group.run.written.difference(*(other.run.written for other in self._alive()))
        if ended:
            await self._in_thread(partial(self._store.append, _ends(ended, self._clock.now_ms())))


def _written(document: Document) -> Written:
    """A document and its groups, none while it is paused. Raises: msgspec.ValidationError, BadDocument."""
    found = document_of(document)
    return found, [] if found.paused else groups_of(found)


def _ends(series: Iterable[Labels], at_ms: int) -> list[tuple[Labels, int, float]]:
    return [(labels, at_ms, float(STALE_NAN)) for labels in sorted(series)]


def _place(group: LiveGroup) -> tuple[str, str, str]:
    return group.file, group.group.name, group.document_id


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout_s)

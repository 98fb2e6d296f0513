"""Runs checks: starts what is due, takes in what the probe found, and hands on what follows from it.

Runs of one check never overlap: what is due while it still runs is counted as late and left out. Runs of different
checks share no queue, so two hundred that hang do not delay the others; only RUN_COUNT_MAX bounds them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec

from appliance.clock import Clock
from appliance.metrics import Metrics
from checks.members import Members
from checks.model import Check, Result, State
from checks.probes import ProbeContext
from checks.probes.running import run_probe
from checks.rows import rows
from scheduler.batch import Batch
from scheduler.conclusion import Conclusion, Surroundings, conclude, with_next_run
from scheduler.inventory import Inventory
from scheduler.jobs import Jobs
from scheduler.lateness import Lateness
from scheduler.outbox import MessageIds
from scheduler.timing import retry_in_s, time_allowed_s
from scheduler.tracing import Taps, tell_conclusion, tell_result
from scheduler.watched import Watched

RUN_COUNT_MAX = 2_000  # Each may hold a socket or two; 10,000 checks that all hang would need 20,000 descriptors.
WRITTEN_TIMEOUT_S = 2.0  # A person waits for the result; it comes without being stored when the state file is away.
RULE_FAULT_COUNT = 3  # Evaluations in a row that fail before somebody is told: it is our trouble, not the target's.
LATE_S = 1.0  # A run that starts this much after its time is shown as late.

log = logging.getLogger(__name__)

MakeContext = Callable[[str, float], ProbeContext]
"""check id, time-out in seconds → what the probe is given."""
Probe = Callable[[str, dict[str, object], ProbeContext], Awaitable[Result]]


@dataclass(kw_only=True)
class Runner:
    """Runs in one event loop."""

    clock: Clock
    inventory: Inventory
    jobs: Jobs
    batch: Batch
    message_ids: MessageIds
    make_context: MakeContext
    metrics: Metrics
    lateness: Lateness
    probe: Probe = run_probe
    taps: Taps = field(default_factory=Taps.off)

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(RUN_COUNT_MAX)
        self._runs = self.metrics.counter("henge_check_runs_total", "Runs of checks, by kind and state.")
        self._late = self.metrics.counter(
            "henge_check_late_total", "Runs that started late, or were left out because the one before still ran."
        )
        for reason in ("still_running", "started_late"):
            self._late.inc(0, reason=reason)  # Shown from the first day, so that a rule can be made on it.
        self._running_gauge = self.metrics.gauge("henge_check_running", "Checks that run now.")
        self.running_count = 0

    def due(self, check_id: str, planned_ms: int) -> None:
        """Called by the plan."""
        watched = self.inventory.watched.get(check_id)
        if watched is None or watched.check.paused:
            return
        if watched.running is not None:
            watched.is_overdue = True
            self.lateness.late_count += 1
            self._late.inc(reason="still_running")
            if self.taps.check.is_on:
                why = "the run before still goes on"
                self.taps.of_check(check_id, "left_out", planned_ms=planned_ms, why=why)
            return
        self._start(watched, planned_ms)

    def _start(self, watched: Watched, planned_ms: int | None) -> asyncio.Task[Result]:
        task = asyncio.create_task(self._run(watched, planned_ms), name=f"check {watched.id}")
        task.add_done_callback(_tell_fault)
        watched.running = task
        return task

    async def run_now(self, check_id: str) -> Result | None:
        """Run a check at once, or wait for the run that is going on. None, if there is no such check.

        When it returns, the result can be read from the state file, unless that is away.
        """
        watched = self.inventory.watched.get(check_id)
        if watched is None:
            return None
        result = await asyncio.shield(watched.running or self._start(watched, None))
        await self.written(check_id)
        return result

    async def written(self, check_id: str) -> None:
        """Return when the latest result can be read from the state file, or that is away."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.batch.write_result_now(check_id), WRITTEN_TIMEOUT_S)

    async def try_out(self, check: Check) -> Result:
        """Run a check that is not saved; nothing is recorded."""
        async with self._places:
            return await self.probe(check.kind, check.options, self.make_context("", check.timeout_s))

    async def stop(self) -> None:
        """End the runs that are going on; they count for nothing."""
        tasks = [watched.running for watched in self.inventory.watched.values() if watched.running is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, watched: Watched, planned_ms: int | None) -> Result:
        async with self._places:
            self.running_count += 1
            self._running_gauge.set(self.running_count)
            try:
                is_late = self._note_start(planned_ms)
                check, started_s = watched.check, self.clock.monotonic_s()
                if self.taps.check.is_on:
                    self._tell_start(watched, planned_ms)
                result = await self._result(watched)
                if self.taps.check.is_on:
                    tell_result(self.taps, watched.id, result)
                if self.inventory.watched.get(watched.id) is watched:  # Else it was deleted meanwhile.
                    took_s = self.clock.monotonic_s() - started_s
                    self._conclude(watched, check, result, took_s=took_s, is_late=is_late or watched.is_overdue)
                return result
            finally:
                watched.is_overdue = False
                watched.running = None
                self.running_count -= 1
                self._running_gauge.set(self.running_count)

    def _note_start(self, planned_ms: int | None) -> bool:
        if planned_ms is None:
            return False
        late_s = (self.clock.now_ms() - planned_ms) / 1000
        self.lateness.add(late_s)
        if late_s < LATE_S:
            return False
        self.lateness.late_count += 1
        self._late.inc(reason="started_late")
        return True

    def _tell_start(self, watched: Watched, planned_ms: int | None) -> None:
        now_ms = self.clock.now_ms()
        self.taps.of_check(
            watched.id,
            "started",
            kind=watched.check.kind,
            planned_ms=planned_ms,
            late_s=None if planned_ms is None else (now_ms - planned_ms) / 1000,
            timeout_s=time_allowed_s(watched.check, watched.machine, now_ms=now_ms),
        )

    async def _result(self, watched: Watched) -> Result:
        check = watched.check
        now_ms = self.clock.now_ms()
        if watched.fault:
            return Result(state=State.UNKNOWN, output=watched.fault, duration_s=0.0, at_ms=now_ms)
        timeout_s = time_allowed_s(check, watched.machine, now_ms=now_ms)
        return await self.probe(check.kind, check.options, self.make_context(watched.id, timeout_s))

    def _conclude(self, watched: Watched, check: Check, result: Result, *, took_s: float, is_late: bool) -> None:
        """took_s: counted on the clock that does not step; the result's own time may be of before a step."""
        conclusion = conclude(
            check_id=watched.id,
            check=check,
            members=watched.members,
            incidents=watched.incidents,
            result=result,
            next_run_ms=self.jobs.next_run_ms(watched.id),
            late=is_late,
            around=self.surroundings(check),
        )
        next_in_s = None
        if conclusion.reading.is_soft:
            next_in_s = retry_in_s(check, took_s=took_s)
        elif watched.is_overdue:
            next_in_s = 0.0  # The place that it missed; else a time-out of one interval would halve the pace.
        if next_in_s is not None and not watched.check.paused:
            conclusion = with_next_run(conclusion, self.jobs.move(watched.id, next_in_s))
        self._hand_on(watched, check, result, conclusion)

    def members_of(self, check_id: str) -> Members:
        watched = self.inventory.watched.get(check_id)
        return {} if watched is None else watched.members

    def take(self, check_id: str, result: Result, *, next_run_ms: int | None) -> None:
        """Take in what the group of an alerting rule found for the rule's check.

        The rule's `for` has confirmed an alert, so it counts at once; an alert that is no longer there is over.
        """
        watched = self.inventory.watched.get(check_id)
        if watched is None or watched.check.paused or not watched.check.rules:
            return
        check = msgspec.structs.replace(
            watched.check,
            options={**watched.check.options, "no_data": State.OK.word},
            max_check_attempts=RULE_FAULT_COUNT if result.state is State.UNKNOWN else 1,
        )
        conclusion = conclude(
            check_id=check_id,
            check=check,
            members=watched.members,
            incidents=watched.incidents,
            result=result,
            next_run_ms=next_run_ms,
            late=False,
            around=self.surroundings(check),
        )
        if self.taps.check.is_on:
            tell_result(self.taps, check_id, result)
        self._hand_on(watched, check, result, conclusion)

    def _hand_on(self, watched: Watched, check: Check, result: Result, conclusion: Conclusion) -> None:
        if self.taps.check.is_on or self.taps.channel.is_on:
            tell_conclusion(self.taps, watched.id, check, conclusion)
        watched.members = conclusion.reading.members
        watched.incidents = dict(conclusion.incidents)
        if conclusion.urgent:
            self.batch.add_urgent(conclusion.mutations)
        else:
            self.batch.add_result(conclusion.result, conclusion.events)
        kept, refused_count = rows(check, result, host=watched.host)
        self.batch.add_rows(kept)
        if refused_count:
            log.warning("check %s: %d numbers cannot be stored as they are", watched.id, refused_count)
        self._runs.inc(kind=check.kind, state=result.state.word)

    def surroundings(self, check: Check) -> Surroundings:
        now_ms = self.clock.now_ms()
        return Surroundings(
            downtimes=self.inventory.downtimes_at(now_ms),
            channel_ids=self.inventory.channels.ids_of(check),
            new_incident_id=lambda: secrets.token_hex(8),
            new_message_id=self.message_ids.new,
            now_ms=now_ms,
        )


def _tell_fault(task: asyncio.Task[Result]) -> None:
    """A mistake of ours while a result was taken in: this run is lost, and the next one comes."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s failed", task.get_name(), exc_info=error)

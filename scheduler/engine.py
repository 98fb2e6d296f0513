"""The scheduler, put together: documents in, plan, runs, results and messages out. One event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from appliance.bus import AsyncSubscriber, Hint
from appliance.bus.publish import Resync
from appliance.clock import Clock
from appliance.metrics import Metrics
from appliance.state.errors import StateError
from appliance.state.model import CHANGED
from appliance.state.mutations import DeleteDocument, Mutation
from checks.channels import ChannelError
from checks.members import member_key
from checks.model import Check, Result, State
from checks.probes.running import run_probe
from checks.rules import KIND as RULES
from scheduler.batch import Batch
from scheduler.conclusion import end_incidents
from scheduler.inventory import Inventory
from scheduler.jobs import Jobs
from scheduler.lateness import Lateness
from scheduler.looking import Looker
from scheduler.notify import Transports
from scheduler.outbox import MessageIds, Outbox
from scheduler.rules.keeper import InThread, RuleKeeper
from scheduler.rules.store import RuleStore
from scheduler.runner import MakeContext, Probe, Runner
from scheduler.testmessage import send_test
from scheduler.timing import first_run_ms
from scheduler.tracing import Taps
from scheduler.watched import Watched

HINT_POLL_S = 1.0
READ_RETRY_S = 0.2
CROWD_COUNT = 50  # More checks that are new at the same moment do not all run at once.
SENDING_TIMEOUT_S = 1.5  # At a stop, what is being sent may be answered, so that it is not sent again.
UPKEEP_EVERY_S = 3_600.0
INCIDENT_KEEP_COUNT = 10_000  # That have ended; at 1 KB each.
DELETED = "the check was deleted"
NOT_EVALUATED = "the rule is not evaluated: its file is paused, or was changed a moment ago"

log = logging.getLogger(__name__)


class Engine:
    """Made inside of its event loop."""

    def __init__(
        self,
        *,
        clock: Clock,
        metrics: Metrics,
        inventory: Inventory,
        batch: Batch,
        outbox: Outbox,
        message_ids: MessageIds,
        sender: Transports,
        hints: AsyncSubscriber,
        make_context: MakeContext,
        rule_store: RuleStore,
        in_thread: InThread,
        forget: Callable[[str], None] = lambda check_id: None,
        probe: Probe = run_probe,
        taps: Taps | None = None,
    ) -> None:
        self._clock = clock
        self._inventory = inventory
        self._batch = batch
        self._outbox = outbox
        self._sender = sender
        self._hints = hints
        self._forget = forget
        self._could_read = True
        taps = taps or Taps.off()
        taps.find_in(inventory)
        self.lateness = Lateness()
        self._lateness_gauge = metrics.gauge("henge_check_lateness_seconds", "How late runs start, by quantile.")
        self._checks_gauge = metrics.gauge("henge_checks", "Checks that there are, by whether they run.")
        self._jobs = Jobs(clock, self._due)
        self.runner = Runner(
            clock=clock,
            inventory=inventory,
            jobs=self._jobs,
            batch=batch,
            message_ids=message_ids,
            make_context=make_context,
            metrics=metrics,
            lateness=self.lateness,
            probe=probe,
            taps=taps,
        )
        self.looker = Looker(self.runner.try_out)
        self.rules = RuleKeeper(
            clock=clock,
            metrics=metrics,
            reader=inventory.reader,
            store=rule_store,
            checks=self.runner,
            in_thread=in_thread,
        )

    async def start(self) -> None:
        """Read everything, and plan it."""
        self._jobs.run()
        await self._read_until_read()
        self._clean_up()

    async def run(self) -> None:
        """Until cancelled: follow the hints, write what comes, send what is due."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._batch.run())
            tasks.create_task(self._outbox.run())
            tasks.create_task(self._measure())
            tasks.create_task(self._keep_up())
            tasks.create_task(self.rules.run())

    async def stop(self) -> None:
        """End the plan, the runs and, when they are through, the sendings; the batch still writes what was found."""
        self._jobs.stop()
        self.rules.stop()
        await self.runner.stop()
        await self._outbox.finish(SENDING_TIMEOUT_S)

    async def run_now(self, check_id: str) -> Result | None:
        """None, if there is no such check."""
        self._read_check(check_id)  # The hint about its last change may still be on its way.
        watched = self._inventory.watched.get(check_id)
        if watched is None or not watched.check.rules:
            return await self.runner.run_now(check_id)
        result = await self.rules.evaluate_now(check_id)
        await self.runner.written(check_id)
        return result or Result(state=State.UNKNOWN, output=NOT_EVALUATED, duration_s=0.0, at_ms=self._clock.now_ms())

    async def try_out(self, check: Check) -> Result:
        return await self.runner.try_out(check)

    async def test_channel(self, channel_id: str) -> dict[str, Any] | None:
        """Whether it was delivered, and what the receiver answered; None, if there is no such channel."""
        self._inventory.read_channels()
        try:
            channel = self._inventory.channels.get(channel_id)
        except ChannelError as error:
            return {"delivered": False, "detail": str(error)}
        return None if channel is None else await send_test(self._sender, channel, now_ms=self._clock.now_ms())

    def stats(self) -> dict[str, Any]:
        watched = self._inventory.watched.values()
        return {
            "check_count": len(self._inventory.watched),
            "paused_count": sum(one.check.paused for one in watched),
            "running_count": self.runner.running_count,
            "run_count": self.lateness.run_count,
            "late_count": self.lateness.late_count,
            "lateness_p50_s": self.lateness.percentile_s(0.50),
            "lateness_p99_s": self.lateness.percentile_s(0.99),
            "lateness_max_s": self.lateness.percentile_s(1.0),
            "transaction_count": self._batch.transaction_count,
            "waiting": self._batch.waiting(),
            "outbox_pending_count": self._outbox.pending_count,
            **self.rules.stats(),
        }

    def _due(self, check_id: str, planned_ms: int) -> None:
        self.runner.due(check_id, planned_ms)

    async def _follow(self) -> None:
        while True:
            hints = await self._hints.poll(HINT_POLL_S)
            try:
                self._take_hints(hints)
            except StateError as error:
                log.warning("the state file cannot be read (%s); it is read again", error)
                await self._read_until_read()

    def _take_hints(self, hints: list[Hint] | Resync) -> None:
        """Read again what the hints name. Raises: StateError."""
        if isinstance(hints, Resync):
            self._read_all()
            self._outbox.wake()
            self.rules.wake()
            return
        documents: set[tuple[str, str]] = set()
        for hint in hints:
            if hint.topic == CHANGED:
                documents.update((kind, document_id) for kind, document_id in hint.body["documents"])
                if hint.body["messages"]:
                    self._outbox.wake()
        kinds = {kind for kind, _ in documents}
        if "channel" in kinds:
            self._inventory.read_channels()
            self._outbox.wake()
        if "downtime" in kinds:
            self._inventory.read_downtimes()
        if RULES in kinds:
            self.rules.wake()
        check_ids = [document_id for kind, document_id in documents if kind == "check"]
        for check_id in check_ids:
            self._read_check(check_id, is_crowd=len(check_ids) > CROWD_COUNT)
        for kind, document_id in documents:
            if kind == "incident":
                self._inventory.read_incident(document_id)

    async def _read_until_read(self) -> None:
        while not self._read_all():  # noqa: ASYNC110  Nobody tells when a file can be read again.
            await asyncio.sleep(READ_RETRY_S)

    def _read_all(self) -> bool:
        """False, if the state file cannot be read now."""
        try:
            changed, gone = self._inventory.read_all()
        except StateError as error:
            log.log(logging.WARNING if self._could_read else logging.DEBUG, "the state file cannot be read: %s", error)
            self._could_read = False
            return False
        self._could_read = True
        for check_id in changed:
            self._plan(self._inventory.watched[check_id], is_crowd=len(changed) > CROWD_COUNT)
        for watched in gone:
            self._end(watched)
        return True

    def _read_check(self, check_id: str, *, is_crowd: bool = False) -> None:
        is_changed, gone = self._inventory.read_check(check_id)
        if is_changed:
            self._forget(check_id)
            self._plan(self._inventory.watched[check_id], is_crowd=is_crowd)
        if gone is not None:
            self._end(gone)

    def _plan(self, watched: Watched, *, is_crowd: bool = False) -> None:
        """Plan a check that is new to us or was changed."""
        if watched.check.paused or watched.check.rules:  # The group of its rule says what it is.
            self._jobs.remove(watched.id)
            return
        planned_ms, watched.next_run_ms = watched.next_run_ms, None
        first_ms = first_run_ms(
            watched.check,
            watched.id,
            now_ms=self._clock.now_ms(),
            next_run_ms=planned_ms,
            is_soft=watched.is_soft,
            has_run=watched.has_run,
            is_crowd=is_crowd,
        )
        self._jobs.put(watched.id, interval_s=watched.check.interval_s, first_ms=first_ms)

    def _end(self, watched: Watched) -> None:
        """A check was deleted: nothing of it stays but its history."""
        self._jobs.remove(watched.id)
        self._forget(watched.id)
        if watched.running is not None:
            watched.running.cancel()
        around = self.runner.surroundings(watched.check)
        mutations = end_incidents(
            watched.incidents, check=watched.check, reason=DELETED, channel_ids=around.channel_ids, around=around
        )
        if mutations:
            self._batch.add_urgent(mutations)
        self._batch.forget(watched.id)

    def _clean_up(self) -> None:
        """Finish what was deleted while no scheduler ran."""
        deletions: list[Mutation] = [
            DeleteDocument(kind="result", id=check_id, audited=False) for check_id in self._inventory.orphan_results()
        ]
        for deletion in deletions:
            self._batch.add_urgent([deletion])
        for incident in self._inventory.orphan_incidents():
            check = Check(kind=incident.check_kind, name=incident.check_name, labels={"team": incident.team})
            around = self.runner.surroundings(check)
            key = member_key(incident.instance)
            self._batch.add_urgent(
                end_incidents({key: incident}, check=check, reason=DELETED, channel_ids=(), around=around)
            )

    async def _keep_up(self) -> None:
        """Let the oldest incidents go."""
        while True:
            try:
                ended = self._inventory.ended_incidents()
            except StateError as error:
                log.warning("the incidents cannot be counted: %s", error)
                ended = []
            for incident_id in ended[: max(0, len(ended) - INCIDENT_KEEP_COUNT)]:
                self._batch.add_urgent([DeleteDocument(kind="incident", id=incident_id, audited=False)])
            await asyncio.sleep(UPKEEP_EVERY_S)

    async def _measure(self) -> None:
        while True:
            for quantile in (0.5, 0.99):
                if (late_s := self.lateness.percentile_s(quantile)) is not None:
                    self._lateness_gauge.set(late_s, quantile=f"{quantile:g}")
            paused_count = sum(watched.check.paused for watched in self._inventory.watched.values())
            self._checks_gauge.set(len(self._inventory.watched) - paused_count, state="active")
            self._checks_gauge.set(paused_count, state="paused")
            await asyncio.sleep(5.0)

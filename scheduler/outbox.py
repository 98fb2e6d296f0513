"""The outbox: every message is a stored row before it is sent, and stays one until a receiver has answered.

- Order: the messages of a channel are begun in the order in which they were queued, and those of one incident are
  sent one by one (sending.py). When the channel itself does not work (no connection, 5xx, 429 …), all of its messages
  wait behind the first. When the receiver refuses one message (400, 422 …), only that one and later ones of the same
  incident wait.
- Back-off: 5 s, 10 s, 20 s … at most 5 minutes; given up after ATTEMPT_COUNT_MAX, which is more than a day.
- At least once: a crash between the receiver's answer and our record of it sends the message again, with the same
  Idempotency-Key.
- Nothing here trusts the wall clock: a message that is due later than any back-off can be is due now.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from appliance.bus import BusError, BusRefused
from appliance.clock import Clock
from appliance.metrics import Metrics
from appliance.state.errors import StateError
from appliance.state.model import Message
from appliance.state.mutations import AppendEvent, Mutation, UpdateMessage
from checks.channels import Channel, ChannelError
from scheduler.notify import TransportError
from scheduler.sending import ChannelRun, incident_id_of
from scheduler.tracing import Taps

ACTOR = "scheduler"
BACKOFF_FIRST_S = 5.0
BACKOFF_MAX_S = 300.0
# 5 + 10 + 20 + 40 + 80 + 160 s, then 300 s each: 300 attempts take 24.6 h, not counting the time of the attempts.
ATTEMPT_COUNT_MAX = 300
DELIVERY_KEEP_COUNT = 500  # Events of one channel: what its page can show.
PENDING_COUNT_MAX = 100_000  # Looked at together; the others follow when these are through.
RECORDS_OF_A_CALL_MAX = 500
LOOK_EVERY_S = 30.0  # Without any hint.
LOOK_SHARE = 10.0  # Each delivery asks for a look, and 10,000 that wait take 50 ms: a tenth of the time at most.
RECORD_RETRY_S = 0.5

log = logging.getLogger(__name__)


class Sender(Protocol):
    async def send(self, channel: Channel, body: Mapping[str, Any], *, now_ms: int) -> str: ...


class Channels(Protocol):
    def get(self, channel_id: str) -> Channel | None:
        """A channel with its secrets open; None if there is no such channel. Raises: ChannelError."""


class State(Protocol):
    async def apply(self, mutations: Sequence[Mutation], *, actor: str, timeout_s: float = 5.0) -> int: ...

    @property
    def read(self) -> MessageReader: ...


class MessageReader(Protocol):
    def messages(self, status: Any = None, due_before_ms: int | None = None, limit: int = ...) -> list[Message]: ...


def backoff_s(attempt_count: int) -> float:
    """How long to wait after so many failed attempts."""
    assert attempt_count >= 1, attempt_count
    return min(BACKOFF_FIRST_S * 2.0 ** min(attempt_count - 1, 10), BACKOFF_MAX_S)


def wait_s(message: Message, now_ms: int) -> float:
    """How long until a message is due; 0 if it is. A due time beyond any back-off is a clock that stepped back."""
    left_s = (message.due_ms - now_ms) / 1000
    return 0.0 if left_s > BACKOFF_MAX_S + 1 else max(0.0, left_s)


class MessageIds:
    """Ids that sort in the order in which they were drawn, whatever the clock does, also across restarts."""

    def __init__(self, clock: Clock, pending: Sequence[str]) -> None:
        self._clock = clock
        self._last = max((int(known[:13]) for known in pending if known[:13].isdecimal()), default=0)

    def new(self) -> str:
        import secrets

        self._last = max(self._last + 1, self._clock.now_ms())
        return f"{self._last:013d}-{secrets.token_hex(4)}"


class Outbox:
    """Runs in one event loop."""

    def __init__(
        self,
        state: State,
        channels: Channels,
        sender: Sender,
        clock: Clock,
        metrics: Metrics,
        *,
        taps: Taps | None = None,
    ) -> None:
        self._state = state
        self._taps = taps or Taps.off()
        self._channels = channels
        self._sender = sender
        self._clock = clock
        self._woken = asyncio.Event()
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._refused: set[str] = set()  # Messages whose last attempt was refused for what they are.
        self._finished: set[str] = set()  # Never to be sent again by this process, whatever the record says.
        self._sent = metrics.counter("henge_notifications_total", "Attempts to deliver a message, by outcome.")
        for outcome in ("delivered", "failed", "given_up"):
            self._sent.inc(0, outcome=outcome)
        self._pending = metrics.gauge("henge_outbox_pending", "Messages that no receiver has answered yet.")
        self._is_finishing = False
        self._records: list[list[Mutation]] = []  # What became of attempts, not written yet.
        self._recording: asyncio.Task[None] | None = None
        self.pending_count = 0

    def wake(self) -> None:
        """There may be something to send."""
        self._woken.set()

    async def finish(self, timeout_s: float) -> None:
        """Begin nothing more, and wait for the answers to what is being sent."""
        self._is_finishing = True
        if self._serving:
            await asyncio.wait(list(self._serving.values()), timeout=timeout_s)

    async def run(self) -> None:
        """Until it is cancelled. What is being sent then is sent again by the next start."""
        try:
            while True:
                began_s = time.perf_counter()
                rest_s = self._start_due()
                pause_s = LOOK_SHARE * (time.perf_counter() - began_s)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), rest_s)
                await asyncio.sleep(pause_s)
                self._woken.clear()
        finally:
            tasks = [*self._serving.values(), *([self._recording] if self._recording is not None else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _start_due(self) -> float:
        """Start a task for each channel that has something to send now; give the time until the next has."""
        try:
            pending = self._state.read.messages(status="pending", limit=PENDING_COUNT_MAX)
        except StateError as error:
            log.warning("the outbox cannot be read: %s", error)
            return 1.0
        self.pending_count = len(pending)
        self._pending.set(len(pending))
        ids = {message.id for message in pending}
        self._refused &= ids
        self._finished &= ids
        by_channel: dict[str, list[Message]] = {}
        for message in sorted(pending, key=lambda message: message.id):
            if message.id in self._finished:
                continue
            by_channel.setdefault(message.channel, []).append(message)
        rest_s = LOOK_EVERY_S
        for channel_id, messages in by_channel.items():
            if channel_id in self._serving or self._is_finishing:
                continue
            waiting_s = self._first_wait_s(messages)
            if waiting_s > 0:
                rest_s = min(rest_s, waiting_s)
                continue
            task = asyncio.create_task(self._serve(channel_id, messages), name=f"outbox {channel_id}")
            self._serving[channel_id] = task
            task.add_done_callback(functools.partial(self._served, channel_id))
        return rest_s

    def _served(self, channel_id: str, task: asyncio.Task[None]) -> None:
        del self._serving[channel_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("sending to channel %s failed", channel_id, exc_info=error)
        self._woken.set()

    def _first_wait_s(self, messages: Sequence[Message]) -> float:
        """How long until a message of the channel may be tried."""
        now_ms = self._clock.now_ms()
        shortest_s = LOOK_EVERY_S
        for message in self._in_order(messages):
            waiting_s = wait_s(message, now_ms)
            shortest_s = min(shortest_s, waiting_s)
            if waiting_s == 0 or message.id not in self._refused:
                break
        return shortest_s

    def _in_order(self, messages: Sequence[Message]) -> list[Message]:
        """Those that wait for no earlier message of their incident."""
        held: set[str] = set()
        order = []
        for message in messages:
            incident_id = incident_id_of(message)
            if incident_id not in held:
                order.append(message)
            if message.id in self._refused:
                held.add(incident_id)
        return order

    async def _serve(self, channel_id: str, messages: Sequence[Message]) -> None:
        """Send what is due, in order, until the channel fails."""
        await self._send_in_order(channel_id, messages)
        await self._recorded()

    async def _send_in_order(self, channel_id: str, messages: Sequence[Message]) -> None:
        try:
            channel = self._channels.get(channel_id)
        except (ChannelError, ValueError) as error:
            await self._failed(messages[0], str(error), is_of_message=False)
            return
        if channel is None:
            for message in messages:
                await self._given_up(message, message.attempt_count, "the channel was deleted")
            return
        if channel.paused:
            if self._taps.is_on:
                for message in messages:
                    self._taps.of_message(message, "waits", why="the channel is paused")
            await asyncio.sleep(LOOK_EVERY_S)
            return
        run = ChannelRun(
            channel.kind,
            deliver=functools.partial(self._deliver, channel),
            wait_s=lambda message: wait_s(message, self._clock.now_ms()),
            is_refused=lambda message: message.id in self._refused,
            may_begin=lambda: not self._is_finishing,
        )
        await run.send(messages)

    async def _deliver(self, channel: Channel, message: Message) -> TransportError | None:
        started_s = time.monotonic()
        if self._taps.is_on:
            self._taps.of_message(message, "attempt", attempt=message.attempt_count + 1, due_ms=message.due_ms)
        try:
            answer = await self._sender.send(channel, message.body, now_ms=self._clock.now_ms())
        except TransportError as error:
            self._sent.inc(outcome="failed")
            await self._failed(message, str(error), is_of_message=error.is_of_message)
            return error
        except ChannelError as error:
            await self._failed(message, str(error), is_of_message=False)
            return TransportError(str(error))
        except Exception as error:
            log.exception("the transport of %s channels failed", channel.kind)
            await self._failed(message, f"{type(error).__name__}: {error}", is_of_message=True)
            return TransportError(str(error), is_of_message=True)
        self._sent.inc(outcome="delivered")
        now_ms = self._clock.now_ms()
        took_ms = round((time.monotonic() - started_s) * 1000)
        update = UpdateMessage(
            id=message.id,
            status="delivered",
            due_ms=message.due_ms,
            attempt_count=message.attempt_count + 1,
            last_error="",
            delivered_ms=now_ms,
        )
        self._record(message, update, "delivered", answer, took_ms=took_ms)
        return None

    async def _failed(self, message: Message, detail: str, *, is_of_message: bool) -> None:
        attempt_count = message.attempt_count + 1
        if attempt_count >= ATTEMPT_COUNT_MAX:
            await self._given_up(message, attempt_count, detail)
            return
        if is_of_message:
            self._refused.add(message.id)
        else:
            self._refused.discard(message.id)
        due_ms = self._clock.now_ms() + round(backoff_s(attempt_count) * 1000)
        log.warning("message %s was not delivered (attempt %d): %s", message.id, attempt_count, detail)
        update = UpdateMessage(
            id=message.id, status="pending", due_ms=due_ms, attempt_count=attempt_count, last_error=detail[:1000]
        )
        self._record(message, update, "failed", detail)
        await self._recorded()

    async def _given_up(self, message: Message, attempt_count: int, detail: str) -> None:
        log.error("message %s is given up after %d attempts: %s", message.id, attempt_count, detail)
        self._sent.inc(outcome="given_up")
        update = UpdateMessage(
            id=message.id,
            status="failed",
            due_ms=message.due_ms,
            attempt_count=attempt_count,
            last_error=detail[:1000],
        )
        self._record(message, update, "given_up", detail)
        await self._recorded()

    def _record(
        self, message: Message, update: UpdateMessage, outcome: str, detail: str, *, took_ms: int | None = None
    ) -> None:
        """Have it written down what became of an attempt. The next message need not wait for that."""
        event = AppendEvent(
            kind="delivery",
            subject=message.channel,
            at_ms=self._clock.now_ms(),
            body={
                "message_id": message.id,
                "event": message.body.get("event"),
                "incident_id": incident_id_of(message),
                "check_id": (message.body.get("check") or {}).get("id"),
                "outcome": outcome,
                "detail": detail[:1000],
                "attempt": update.attempt_count,
                "took_ms": took_ms,
            },
            keep_count=DELIVERY_KEEP_COUNT,
        )
        if self._taps.is_on:
            next_ms = update.due_ms if update.status == "pending" else None
            self._taps.of_message(message, outcome, answer=detail[:1000], took_ms=took_ms, next_try_ms=next_ms)
        if update.status != "pending":
            self._finished.add(message.id)
        self._records.append([update, event])
        if self._recording is None or self._recording.done():
            self._recording = asyncio.create_task(self._write_records(), name="outbox records")

    async def _recorded(self) -> None:
        """Return when everything is written down."""
        if self._recording is not None:
            await asyncio.shield(self._recording)

    async def _write_records(self) -> None:
        """Until nothing is left, however long the state process is away: else a message would be sent again."""
        while self._records:
            records = self._records[:RECORDS_OF_A_CALL_MAX]
            if await self._written([mutation for record in records for mutation in record]):
                del self._records[: len(records)]
                continue
            for record in records:  # One of them was refused.
                if not await self._written(record):
                    log.error("the delivery of a message could not be recorded: %r", record[0])
                del self._records[0]

    async def _written(self, mutations: Sequence[Mutation]) -> bool:
        """False, if the state process refuses for good."""
        while True:
            try:
                await self._state.apply(mutations, actor=ACTOR)
                return True
            except BusRefused as error:
                if error.code in ("not_found", "bad_request", "conflict"):
                    return False
                log.warning("the state process is not ready (%s); the deliveries are recorded later", error)
            except BusError as error:
                log.warning("the state process does not answer (%s); the deliveries are recorded later", error)
            await asyncio.sleep(RECORD_RETRY_S)

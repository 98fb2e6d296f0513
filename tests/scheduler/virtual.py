"""A day in a second: an event loop whose time jumps to the next timer, a clock on it that can step, and a world of
state in memory for the scheduler to live in.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import apscheduler.schedulers.base
import pytest

from appliance.bus import BusTimeout, Hint
from appliance.bus.publish import RESYNC, Resync
from appliance.metrics import Metrics
from appliance.state.model import Document, Event, Message
from appliance.state.mutations import AppendEvent, DeleteDocument, Mutation, PutDocument, QueueMessage, UpdateMessage
from checks.channels import Channel
from checks.model import Result, State
from checks.probes import ProbeContext
from checks.rows import Row
from scheduler.batch import Batch
from scheduler.engine import Engine
from scheduler.inventory import Inventory
from scheduler.notify import TransportError
from scheduler.outbox import MessageIds, Outbox
from scheduler.rules.store import RuleStore
from tests.checks.fakes import MemoryReader, MirrorBox
from tsdb.answer import QueryAnswer
from tsdb.client import WriteAnswer
from tsdb.errors import NotReady
from tsdb.query.promql.evaluate import DEFAULT_OPTIONS, instant
from tsdb.query.rules.memory import MemorySeries

T = TypeVar("T")
START_MS = 1_800_000_000_000
Documents = list[Document]  # Within a reader, `list` is a method.
Messages = list[Message]
Hints = list[Hint] | Resync


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: what would be waited is added to the time."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if not events:
            assert timeout is not None, "everything waits for something that never comes"
            self.now_s += max(timeout, 0.0)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s

    def jump(self, duration_s: float) -> None:
        self._jumping.now_s += duration_s


@dataclass
class VirtualClock:
    """The wall clock is the loop's time and whatever it was stepped by."""

    loop: VirtualLoop
    stepped_ms: int = 0

    def now_ms(self) -> int:
        return START_MS + round(self.loop.time() * 1000) + self.stepped_ms

    def monotonic_s(self) -> float:
        return self.loop.time()

    def spend(self, duration_s: float) -> None:
        """Let work take that long, while nothing else has its turn."""
        self.loop.jump(duration_s)


@contextlib.contextmanager
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualClock]:
    """A loop and its clock; APScheduler reads that clock too."""
    loop = VirtualLoop()
    clock = VirtualClock(loop)

    class Datetime(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
            return dt.datetime.fromtimestamp(clock.now_ms() / 1000, tz)

    monkeypatch.setattr(apscheduler.schedulers.base, "datetime", Datetime)
    try:
        yield clock
    finally:
        loop.close()


def run(clock: VirtualClock, story: Coroutine[Any, Any, T]) -> T:
    """Run a story to its end, and end whatever it has started."""

    async def whole() -> T:
        try:
            return await story
        finally:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    return clock.loop.run_until_complete(whole())


class MemoryState(MemoryReader):
    """The state process and its file in one; `is_away` makes it silent."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self.clock = clock
        self.is_away = False
        self.queued: dict[str, Message] = {}
        self.happened: list[Event] = []
        self.transactions: list[tuple[float, list[Mutation]]] = []
        self.hints: asyncio.Queue[list[Hint] | Resync] = asyncio.Queue()

    @property
    def read(self) -> MemoryState:
        return self

    def list(
        self, kind: str, *, where: Mapping[str, Any] | None = None, limit: int = 1000, offset: int = 0
    ) -> Documents:
        def is_so(document: Document) -> bool:
            return all(document.body.get(path.removeprefix("$.")) == value for path, value in (where or {}).items())

        return [document for document in super().list(kind) if is_so(document)]

    def messages(self, status: Any = None, due_before_ms: int | None = None, limit: int = 100) -> Messages:
        found = [message for message in self.queued.values() if status in (None, message.status)]
        return sorted(found, key=lambda message: (message.due_ms, message.id))[:limit]

    async def apply(self, mutations: Sequence[Mutation], *, actor: str, timeout_s: float = 5.0) -> int:
        if self.is_away:
            await asyncio.sleep(timeout_s)
            raise BusTimeout("state", "apply", timeout_s)
        await asyncio.sleep(0.002)
        self.put(mutations)
        return len(self.transactions)

    def put(self, mutations: Sequence[Mutation]) -> None:
        """Apply at once, and tell."""
        self.transactions.append((self.clock.monotonic_s(), list(mutations)))
        kept = [m for m in mutations if not isinstance(m, DeleteDocument) or (m.kind, m.id) in self.documents]
        super().apply_all(kept)
        touched = [(m.kind, m.id) for m in mutations if isinstance(m, PutDocument | DeleteDocument)]
        for mutation in mutations:
            if isinstance(mutation, AppendEvent):
                seq = len(self.happened) + 1
                self.happened.append(
                    Event(
                        seq=seq, at_ms=mutation.at_ms, kind=mutation.kind, subject=mutation.subject, body=mutation.body
                    )
                )
            elif isinstance(mutation, QueueMessage) and mutation.id not in self.queued:
                self.queued[mutation.id] = Message(
                    id=mutation.id,
                    channel=mutation.channel,
                    body=mutation.body,
                    status="pending",
                    due_ms=mutation.due_ms,
                    attempt_count=0,
                    last_error="",
                    created_ms=self.clock.now_ms(),
                    delivered_ms=None,
                )
            elif isinstance(mutation, UpdateMessage):
                self._update(mutation)
        has_messages = any(isinstance(m, QueueMessage | UpdateMessage) for m in mutations)
        self.hints.put_nowait([Hint("changed", {"documents": touched, "messages": has_messages})])

    def _update(self, mutation: UpdateMessage) -> None:
        import msgspec

        changes = {name: getattr(mutation, name) for name in mutation.__struct_fields__ if name != "id"}
        self.queued[mutation.id] = msgspec.structs.replace(self.queued[mutation.id], **changes)

    async def poll(self, timeout_s: float) -> Hints:
        try:
            return await asyncio.wait_for(self.hints.get(), timeout_s)
        except TimeoutError:
            return []

    def resync(self) -> None:
        self.hints.put_nowait(RESYNC)


@dataclass
class MemoryStore:
    """Where rows go."""

    rows: list[Row] = field(default_factory=list)
    error: Exception | None = None

    async def append(self, rows: Sequence[Row]) -> WriteAnswer:
        await asyncio.sleep(0.001)
        if self.error is not None:
            raise self.error
        self.rows += rows
        return WriteAnswer(accepted_count=len(rows))


@dataclass
class MemoryTsdb:
    """The store and the query process for rules; `is_away` makes both silent."""

    series: MemorySeries = field(default_factory=MemorySeries)
    is_away: bool = False
    asked: list[tuple[str, int]] = field(default_factory=list)
    before_answer: Callable[[], None] = lambda: None

    def query_instant(self, expression: str, time_ms: int, *, lookback_ms: int | None = None) -> QueryAnswer:
        if self.is_away:
            raise NotReady("the query process is away")
        self.asked.append((expression, time_ms))
        self.before_answer()
        options = DEFAULT_OPTIONS if lookback_ms is None else replace(DEFAULT_OPTIONS, lookback_ms=lookback_ms)
        return instant(expression, time_ms, self.series, options=options)

    def append(self, rows: Sequence[Row]) -> WriteAnswer:
        if self.is_away:
            raise NotReady("the store is away")
        for labels, at_ms, value in rows:
            self.series.add(labels, [(at_ms, value)])
        return WriteAnswer(accepted_count=len(rows))


async def at_once(work: Callable[[], T]) -> T:
    """Work of a thread, within the virtual loop."""
    await asyncio.sleep(0.001)
    return work()


@dataclass
class Phone:
    """A sender that keeps what it was given; `answer` may raise."""

    clock: VirtualClock
    answer: Callable[[Channel, Mapping[str, Any]], None] = lambda channel, body: None
    took: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    tried: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)

    async def send(self, channel: Channel, body: Mapping[str, Any], *, now_ms: int) -> str:
        await asyncio.sleep(0.005)
        self.tried.append((self.clock.monotonic_s(), channel.name, dict(body)))
        self.answer(channel, body)
        self.took.append((self.clock.monotonic_s(), channel.name, dict(body)))
        return "HTTP 200 OK"

    def events(self, name: str = "web") -> list[str]:
        return [body["event"] for _, _, body in self.took if body["check"]["name"] == name]


Target = Callable[[str], Awaitable[tuple[State, str]]]


def refuse(channel: Channel, body: Mapping[str, Any]) -> None:
    raise TransportError("HTTP 500 Internal Server Error")


class World:
    """A scheduler with everything around it in memory. `targets` are what the checks look at, by name."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.state = MemoryState(clock)
        self.store = MemoryStore()
        self.tsdb = MemoryTsdb()
        self.phone = Phone(clock)
        self.targets: dict[str, Callable[[], tuple[State, float]]] = {}
        self.runs: list[tuple[float, str]] = []
        self.running: dict[str, int] = {}
        self.overlaps: list[str] = []
        self.engine: Engine | None = None
        self._task: asyncio.Task[None] | None = None

    def add_check(self, name: str, *, channels: Sequence[str] = ("hook",), **fields: Any) -> str:
        """A check whose target is `targets[name]`: what it is now, and how many seconds it takes to say so."""
        check_id = f"id-{name}"
        options = {"host": name, "port": 1}
        body = {"kind": "tcp", "name": name, "options": options, "channels": list(channels), **fields}
        self.state.put([PutDocument(kind="check", id=check_id, body=body, unique=f"default/{name}")])
        self.targets.setdefault(name, lambda: (State.OK, 0.01))
        return check_id

    def add_channel(self, name: str = "hook") -> None:
        body = {"kind": "webhook", "name": name, "options": {"url": "http://phone/"}}
        self.state.put([PutDocument(kind="channel", id=f"channel-{name}", body=body, unique=f"default/{name}")])

    async def probe(self, kind: str, options: Mapping[str, Any], context: ProbeContext) -> Result:
        name = options["host"]
        self.runs.append((self.clock.monotonic_s(), name))
        self.running[name] = self.running.get(name, 0) + 1
        if self.running[name] > 1:
            self.overlaps.append(name)
        at_ms, started_s = self.clock.now_ms(), self.clock.monotonic_s()
        state, takes_s = self.targets[name]()
        try:
            async with asyncio.timeout(context.timeout_s):
                await asyncio.sleep(takes_s)
        except TimeoutError:
            state = State.CRITICAL
        finally:
            self.running[name] -= 1
        duration_s = self.clock.monotonic_s() - started_s
        return Result(state=state, output=f"{name} is {state.word}", duration_s=duration_s, at_ms=at_ms)

    async def start(self) -> None:
        metrics = Metrics()
        inventory = Inventory(self.state, MirrorBox())
        batch = Batch(self.state, self.store, metrics)
        self.batch = batch
        self.metrics = metrics
        self.engine = Engine(
            clock=self.clock,
            metrics=metrics,
            inventory=inventory,
            batch=batch,
            outbox=Outbox(self.state, inventory.channels, self.phone, self.clock, metrics),
            message_ids=MessageIds(self.clock, [message.id for message in self.state.messages("pending")]),
            sender=self.phone,  # type: ignore[arg-type]
            hints=self.state,  # type: ignore[arg-type]
            make_context=lambda check_id, timeout_s: ProbeContext(
                clock=self.clock, timeout_s=timeout_s, check_id=check_id
            ),
            rule_store=RuleStore(self.tsdb, metrics, patience_s=0.0),
            in_thread=at_once,
            probe=self.probe,
        )
        await self.engine.start()
        self._task = asyncio.create_task(self.engine.run())

    async def kill(self) -> None:
        """As kill -9: nothing is written any more."""
        assert self.engine is not None
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.engine.stop()
        self.engine = None

    def runs_of(self, name: str, since_s: float = 0.0) -> list[float]:
        return [at_s for at_s, its_name in self.runs if its_name == name and at_s >= since_s]

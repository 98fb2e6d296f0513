"""What other processes may ask of the scheduler: its side of the bus."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from appliance.bus import BusRefused, Request, Server
from appliance.metrics import Metrics
from appliance.tracing.service import LANES as TRACING
from checks.model import Check, Result
from checks.probes.options import OptionError
from checks.suggestions.choice import Looked
from scheduler.engine import Engine
from scheduler.notices import Notices
from tsdb.notices import Noted

SERVICE = "scheduler"
# A run takes 600 s at most, and its caller waits in a thread; so many may wait at once, the others queue behind them.
THREADS_COUNT = 16
NOTICES = "notices"  # A lane of their own: senders of metrics must not wait for runs.
ASK_TIMEOUT_S = 660.0

T = TypeVar("T")


class RunBody(msgspec.Struct, frozen=True):
    check_id: str


class AddressBody(msgspec.Struct, frozen=True):
    address: str


class ChannelBody(msgspec.Struct, frozen=True):
    channel_id: str


def result_body(result: Result) -> dict[str, Any]:
    """A result as the API shows one; the state is a word."""
    body: dict[str, Any] = msgspec.to_builtins(result)
    for instance, found in zip(body["instances"], result.instances, strict=True):
        instance["state"] = found.state.word
    return {**body, "state": result.state.word}


def looked_body(looked: Looked) -> dict[str, Any]:
    """What was found at an address, with the first result of each check that is suggested."""
    items = [
        {
            "kind": one.candidate.kind,
            "name": one.candidate.name,
            "options": one.candidate.options,
            "is_ticked": one.is_ticked,
            "result": result_body(one.result),
        }
        for one in looked.suggestions
    ]
    return {"items": items, "note": looked.note}


class Service:
    """The handlers run in threads of the server, and ask the event loop."""

    def __init__(
        self, run_dir: Path, metrics: Metrics, loop: asyncio.AbstractEventLoop, engine: Engine, notices: Notices
    ) -> None:
        self._loop = loop
        self._engine = engine
        self._taker = notices
        self.server = Server(run_dir, SERVICE, metrics=metrics, threads=THREADS_COUNT, lanes={NOTICES: 1, **TRACING})
        self.server.handle("run", self._run, RunBody)
        self.server.handle("try", self._try, Check)
        self.server.handle("look", self._look, AddressBody)
        self.server.handle("test_channel", self._test_channel, ChannelBody)
        self.server.handle("notices", self._notices, Noted, lane=NOTICES)
        self.server.handle("rules", self._rules)
        self.server.handle("stats", self._stats)
        self.server.handle("restart_stats", self._restart_stats)

    def _ask(self, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Let the event loop answer. Raises: BusRefused, when it is ending."""
        try:
            return asyncio.run_coroutine_threadsafe(question(), self._loop).result(ASK_TIMEOUT_S)
        except (concurrent.futures.CancelledError, TimeoutError, RuntimeError) as error:
            raise BusRefused("stopping", "the scheduler is being restarted; try again in a moment") from error

    def _run(self, request: Request) -> Any:
        check_id: str = request.body.check_id
        result = self._ask(lambda: self._engine.run_now(check_id))
        if result is None:
            raise BusRefused("not_found", f"there is no check {check_id!r}")
        return result_body(result)

    def _try(self, request: Request) -> Any:
        return result_body(self._ask(lambda: self._engine.try_out(request.body)))

    def _look(self, request: Request) -> Any:
        address: str = request.body.address
        try:
            return looked_body(self._ask(lambda: self._engine.looker.look(address)))
        except OptionError as error:
            raise BusRefused("invalid", error.message) from error

    def _test_channel(self, request: Request) -> Any:
        channel_id: str = request.body.channel_id
        answer = self._ask(lambda: self._engine.test_channel(channel_id))
        if answer is None:
            raise BusRefused("not_found", f"there is no channel {channel_id!r}")
        return answer

    def _notices(self, request: Request) -> Any:
        """Events and states of jobs that came beside metrics."""
        noted: Noted = request.body
        return self._ask(lambda: self._taker.take(noted.notices))

    def _rules(self, request: Request) -> Any:
        """The groups of rules, as the HTTP API of Prometheus shows them."""

        async def rules() -> list[dict[str, Any]]:
            return self._engine.rules.view()

        return self._ask(rules)

    def _stats(self, request: Request) -> Any:
        async def stats() -> dict[str, Any]:
            return self._engine.stats()

        return self._ask(stats)

    def _restart_stats(self, request: Request) -> Any:
        """As stats, and begin the account of lateness anew: for measurements."""

        async def stats() -> dict[str, Any]:
            found = self._engine.stats()
            self._engine.lateness.clear()
            return found

        return self._ask(stats)

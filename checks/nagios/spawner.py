"""The process that runs plugins: small, one thread, no numpy, so that a fork costs a millisecond.

It serves `run` on the bus. Requests wait in a bounded queue; up to RUNNING_COUNT_MAX plugins run at once. When a run
is over, every process that it left behind is ended (descendants.py).
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import hashlib
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import zmq

from appliance.bus import wire
from appliance.bus.errors import STOPPING, WireError
from appliance.bus.place import Place
from appliance.child import ChildContext
from appliance.metrics import Metrics
from checks.nagios.descendants import Descendants
from checks.nagios.execution import Execution
from checks.nagios.plugin import ARGUMENT_COUNT_MAX, SERVICE, PluginOutcome, PluginRun

RUNNING_COUNT_MAX = 64
QUEUE_COUNT_MAX = 1000
SWEEP_S = 1.0  # Between two looks for orphans while plugins run, besides the look at each end.
SWEEP_AGAIN_S = 0.01  # A killed process needs a moment to be gone.
SWEEP_TRIES_MAX = 100  # 1 s; a process that the kernel holds is left to the next sweep.
ANSWER_MARGIN_S = 0.1  # An answer at the very deadline would come too late.


_log = logging.getLogger(__name__)


def run_spawner(context: ChildContext) -> None:
    """Serve until context.stopping. The process must start nothing but plugins."""
    asyncio.run(_serve(context))


async def _serve(context: ChildContext) -> None:
    descendants = Descendants(appliance_word(context.config.run_dir))
    descendants.adopt()
    leftover_count = descendants.end_leftovers()
    if leftover_count:
        context.log.warning("ended %d processes that plugins of an earlier spawner had left running", leftover_count)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    context.when_stopping(lambda: loop.call_soon_threadsafe(stopped.set))
    spawner = Spawner(context.config.run_dir, context.metrics, descendants)
    spawner.open()
    context.ready()
    try:
        await stopped.wait()
    finally:
        await spawner.close()


def appliance_word(run_dir: Path) -> str:
    """A word for the markers of one data folder, so that two appliances leave each other's plugins alone."""
    return hashlib.blake2b(os.fsencode(run_dir.resolve()), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class _Waiting:
    peer: bytes
    head: wire.RequestHead
    run: PluginRun
    since_s: float


class Spawner:
    """The bus service. All of it runs in one event loop."""

    def __init__(self, run_dir: Path, metrics: Metrics, descendants: Descendants) -> None:
        self._place = Place(run_dir)
        self._metrics = metrics
        self._descendants = descendants
        self._queue: collections.deque[_Waiting] = collections.deque()
        self._running: set[Execution] = set()
        self._has_ended = asyncio.Event()  # A run is over since the last look at what it left behind.
        self._op_counts: collections.Counter[str] = collections.Counter()
        self._is_closing = False
        self._look_again: asyncio.Handle | None = None
        self._runs_total = metrics.counter("henge_plugin_runs_total", "Plugin runs by how they ended.")
        self._running_count = metrics.gauge("henge_plugins_running", "Plugins that run now.")
        self._waiting_count = metrics.gauge("henge_plugins_waiting", "Plugin runs that wait in the spawner's queue.")

    def open(self) -> None:
        """Bind the socket and take requests."""
        self._router: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
        self._router.setsockopt(zmq.MAXMSGSIZE, wire.FRAME_BYTES_MAX)
        self._router.bind(self._place.address(SERVICE))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._router.fileno(), self._look)
        self._sweeper = self._loop.create_task(self._sweep_forever())

    async def close(self) -> None:
        """Refuse what waits, end what runs, and all that it has started."""
        self._is_closing = True
        self._loop.remove_reader(self._router.fileno())
        self._sweeper.cancel()
        while self._queue:
            waiting = self._queue.popleft()
            self._refuse(waiting.peer, waiting.head, STOPPING, "the spawner is stopping")
        for execution in list(self._running):
            execution.kill()
        for _ in range(SWEEP_TRIES_MAX // 2):  # Half a second: an orphaned spawner has one in all.
            if not self._running and self._descendants.sweep() == 0:
                break
            await asyncio.sleep(SWEEP_AGAIN_S)
        self._router.close(linger=100)  # Milliseconds; for the last answers.
        self._place.close()

    def _look(self) -> None:
        """Read what is there. ZeroMQ's descriptor reports edges only, so each look reads until nothing is left."""
        self._look_again = None
        while not self._is_closing:
            try:
                frames = wire.receive(self._router, 3)
            except zmq.Again:
                return
            self._take(frames)

    def _take(self, frames: list[Any]) -> None:
        if len(frames) < 2:
            return
        peer = frames[0]
        try:
            head = wire.decode_request(frames[1:])
        except WireError:
            return  # Its sender cannot even be answered.
        if head.op == "run":
            self._admit(peer, head, frames[1:])
        elif (
            built_in := {"ping": self._ping, "metrics": self._snapshot, "process": self._process}.get(head.op)
        ) is None:
            self._refuse(peer, head, "unknown_op", f"{SERVICE} has no operation {head.op!r:.100}")
        else:
            self._send(peer, head, built_in())

    def _admit(self, peer: bytes, head: wire.RequestHead, frames: list[Any]) -> None:
        try:
            body, _ = wire.body_and_columns(frames, head.columns)
            run: PluginRun = wire.decoder_for(PluginRun).decode(body)
        except (WireError, msgspec.MsgspecError) as error:
            self._refuse(peer, head, "bad_request", f"{SERVICE}/run: {error}")
            return
        if not run.argv or len(run.argv) > ARGUMENT_COUNT_MAX or not run.argv[0].startswith("/"):
            self._refuse(
                peer, head, "bad_request", f"argv must be 1 to {ARGUMENT_COUNT_MAX:,} texts, the first a full path"
            )
            return
        if len(self._queue) >= QUEUE_COUNT_MAX:
            self._refuse(
                peer,
                head,
                "busy",
                f"{len(self._queue):,} plugins wait to be run, of at most {QUEUE_COUNT_MAX:,}; "
                f"run them less often, or make them quicker",
            )
            return
        self._op_counts["run"] += 1
        self._queue.append(_Waiting(peer, head, run, time.monotonic()))
        self._start_waiting()

    def _start_waiting(self) -> None:
        while self._queue and len(self._running) < RUNNING_COUNT_MAX and not self._is_closing:
            waiting = self._queue.popleft()
            left_s = waiting.head.deadline_ns / 1e9 - time.monotonic() - ANSWER_MARGIN_S
            if left_s > 0:
                self._start(waiting, min(waiting.run.timeout_s, left_s))
            else:
                self._runs_total.inc(outcome="expired")  # The caller has given up while it waited.

    def _start(self, waiting: _Waiting, timeout_s: float) -> None:
        def on_answer(outcome: PluginOutcome) -> None:
            self._runs_total.inc(outcome=outcome_word(outcome))
            self._send(waiting.peer, waiting.head, outcome)

        def on_end(marker: str) -> None:
            self._running.discard(execution)
            self._descendants.end(marker)
            self._has_ended.set()
            self._loop.call_soon(self._start_waiting)

        execution = Execution(
            waiting.run,
            self._descendants,
            timeout_s=timeout_s,
            waited_s=time.monotonic() - waiting.since_s,
            on_answer=on_answer,
            on_end=on_end,
        )
        self._running.add(execution)
        execution.start()

    async def _sweep_forever(self) -> None:
        """End what runs leave behind: at once when one ends, and now and then while any runs."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_S if self._running else None):
                    await self._has_ended.wait()
            self._has_ended.clear()
            for _ in range(SWEEP_TRIES_MAX):
                if self._descendants.sweep() == 0:
                    break
                await asyncio.sleep(SWEEP_AGAIN_S)
            else:
                _log.warning("processes that plugins left behind do not end; looking again at the next end of a run")

    def _send(self, peer: bytes, head: wire.RequestHead, body: Any) -> None:
        reply = wire.encode(wire.ReplyHead(wire.VERSION, head.id))
        wire.send(self._router, [peer, reply, wire.encode(body)], [])
        self._look_soon()

    def _refuse(self, peer: bytes, head: wire.RequestHead, code: str, message: str) -> None:
        self._runs_total.inc(outcome=code)
        reply = wire.encode(wire.ReplyHead(wire.VERSION, head.id, code, message))
        wire.send(self._router, [peer, reply, wire.NIL], [])
        self._look_soon()

    def _look_soon(self) -> None:
        """Sending may have read the descriptor's edge: what came meanwhile would not be reported again."""
        if self._look_again is None and not self._is_closing:
            self._look_again = self._loop.call_soon(self._look)

    def _ping(self) -> str:
        return "pong"

    def _snapshot(self) -> Any:
        self._running_count.set(len(self._running))
        self._waiting_count.set(len(self._queue))
        return self._metrics.snapshot()

    def _process(self) -> dict[str, Any]:
        return {
            "service": SERVICE,
            "pid": os.getpid(),
            "threads": RUNNING_COUNT_MAX,
            "queue_count": len(self._queue),
            "queue_count_max": QUEUE_COUNT_MAX,
            "queue_bytes": 0,
            "in_hand_count": len(self._running),
            "ops": dict(self._op_counts),
        }


def outcome_word(outcome: PluginOutcome) -> str:
    """How a run ended, for the counter."""
    if outcome.refusal:
        return "not_started"
    if outcome.timed_out:
        return "timeout"
    if outcome.flooded:
        return "flood"
    return "signal" if outcome.signal is not None else "exit"

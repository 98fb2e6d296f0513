"""The entry function of the scheduler process."""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
import threading
from typing import TYPE_CHECKING

from appliance.bus import AsyncSubscriber
from appliance.secrets import SecretBox
from appliance.state import AsyncStateClient, state_path
from appliance.state.errors import StateError
from appliance.state.model import SERVICE as STATE_SERVICE
from appliance.tracing.service import answer_traces
from scheduler.batch import Batch
from scheduler.engine import READ_RETRY_S, Engine
from scheduler.inventory import Inventory
from scheduler.notices import Notices
from scheduler.notify import Transports
from scheduler.outbox import PENDING_COUNT_MAX, MessageIds, Outbox
from scheduler.rules.keeper import GROUPS_AT_ONCE
from scheduler.rules.store import RuleStore
from scheduler.rules.threads import Threads
from scheduler.service import Service
from scheduler.tracing import Taps

if TYPE_CHECKING:
    from appliance.child import ChildContext

STOP_TIMEOUT_S = 3.0  # Under the supervisor's 5 s: the last batch is written, or is left to the next runs.
# How long a thread that works on rules keeps Python's lock when the event loop wants it, at each of the loop's turns.
# With Python's own 5 ms, half of all checks start 70 ms late beside rules that record 16,000 samples a second.
SWITCH_INTERVAL_S = 0.000_5
DESCRIPTOR_COUNT = 65_536  # 2,000 runs with some sockets each; many systems start a process with 1,024.

log = logging.getLogger(__name__)


def run_scheduler(context: ChildContext) -> None:
    """Serve until context.stopping."""
    _raise_descriptor_limit()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    asyncio.run(_main(context))


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTOR_COUNT if hard == resource.RLIM_INFINITY else min(DESCRIPTOR_COUNT, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _main(context: ChildContext) -> None:
    from checks.nagios.client import PluginClient
    from checks.probes.toolbox import Toolbox
    from tsdb.client import AsyncTsdbClient, TsdbClient

    config, clock, metrics = context.config, context.clock, context.metrics
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    context.when_stopping(lambda: loop.call_soon_threadsafe(stopped.set))
    state = AsyncStateClient(config.run_dir, state_path(config.data_dir))
    tsdb = AsyncTsdbClient(config.run_dir)
    plugins = PluginClient(config.run_dir)
    hints = AsyncSubscriber(config.run_dir, STATE_SERVICE)  # Before the first reading: nothing may fall in between.
    toolbox = Toolbox(clock, plugins=plugins, tsdb=tsdb, state=state.read)
    transports = Transports()
    inventory = Inventory(state.read, SecretBox(config.data_dir))
    batch = Batch(state, tsdb, metrics)
    tsdb_of_rules = TsdbClient(config.run_dir)  # Not closed: at the end, a thread may still wait for an answer.
    taps = Taps(context.tracer.tap("check"), context.tracer.tap("channel"))
    engine = Engine(
        clock=clock,
        metrics=metrics,
        inventory=inventory,
        batch=batch,
        outbox=Outbox(state, inventory.channels, transports, clock, metrics, taps=taps),
        message_ids=MessageIds(clock, await _pending_ids(state, stopped)),
        sender=transports,
        hints=hints,
        make_context=lambda check_id, timeout_s: toolbox.context(check_id=check_id, timeout_s=timeout_s),
        rule_store=RuleStore(tsdb_of_rules, metrics),
        in_thread=Threads(GROUPS_AT_ONCE + 1, "rules").run,  # One for reading the documents.
        forget=toolbox.forget,
        taps=taps,
    )
    service = Service(config.run_dir, metrics, loop, engine, Notices(inventory, state, clock))
    answer_traces(service.server, context.tracer)
    serving = threading.Thread(
        target=service.server.serve, args=(context.stopping,), kwargs={"ready": context.ready}, name="scheduler-bus"
    )
    serving.start()  # It answers at once; ten thousand checks take a moment to read.
    working = asyncio.create_task(_work(engine))
    waiting = asyncio.create_task(stopped.wait())
    await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        context.stopping.set()
    else:
        await engine.stop()
        batch.stop()
        await batch.finished(STOP_TIMEOUT_S)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    waiting.cancel()
    await loop.run_in_executor(None, serving.join, STOP_TIMEOUT_S)
    await toolbox.close()
    await transports.close()
    for client in (plugins, hints, state):
        client.close()
    if working.done() and not working.cancelled():
        working.result()


async def _work(engine: Engine) -> None:
    await engine.start()
    await engine.run()


async def _pending_ids(state: AsyncStateClient, stopped: asyncio.Event) -> list[str]:
    """The ids of the messages that wait; the state file is there, or comes soon."""
    is_first = True
    while not stopped.is_set():
        try:
            return [message.id for message in state.read.messages(status="pending", limit=PENDING_COUNT_MAX)]
        except StateError as error:
            log.log(logging.INFO if is_first else logging.DEBUG, "the state file cannot be read yet: %s", error)
            is_first = False
            await asyncio.sleep(READ_RETRY_S)
    return []

"""The state process: the service "state" of the bus, and the hints that tell who reads to read again."""

from __future__ import annotations

import contextlib
import itertools
import logging
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

from appliance.bus import FINISH_S, Publisher, Request, Server
from appliance.state.errors import StateError
from appliance.state.model import CHANGED, SERVICE, Change, state_path
from appliance.state.mutations import Apply
from appliance.state.writer import Writer

if TYPE_CHECKING:
    from appliance.child import ChildContext

log = logging.getLogger(__name__)

THREADS_COUNT = 8  # Lists of mutations that can share a commit.
DOCUMENTS_OF_A_HINT_MAX = 1_000
UPKEEP_EVERY_S = 3_600.0
UPKEEP_FIRST_S = 60.0  # After the start, when the others are up.


def run_state(context: ChildContext) -> None:
    """Serve until context.stopping. Raises: CannotStart."""
    config, stopping = context.config, context.stopping
    with contextlib.ExitStack() as opened:
        publisher = Publisher(config.run_dir, SERVICE)
        opened.callback(publisher.close)
        writer = Writer(state_path(config.data_dir), context.clock, lambda change: _publish(publisher, change))
        opened.callback(writer.close)
        applied_total = context.metrics.counter("henge_state_mutations_total", "Mutations that were applied.")

        def apply(request: Request) -> int:
            body: Apply = request.body
            revision = writer.apply(body.mutations, body.actor, body.origin)
            applied_total.inc(len(body.mutations))
            return revision

        server = Server(config.run_dir, SERVICE, metrics=context.metrics, threads=THREADS_COUNT, finish_s=FINISH_S)
        server.handle("apply", apply, Apply)
        server.handle("compact", lambda request: writer.compact())
        server.handle("stats", lambda request: _stats(writer))
        upkeep = threading.Thread(target=_keep_up, args=(writer, stopping), name="state-upkeep", daemon=True)
        upkeep.start()
        server.serve(stopping, ready=context.ready)
        upkeep.join(timeout=1.0)


def _publish(publisher: Publisher, change: Change) -> None:
    """Hint at what a commit has touched; a large one in several hints of the same revision."""
    if len(change.documents) <= DOCUMENTS_OF_A_HINT_MAX:
        publisher.publish(CHANGED, change)
        return
    for start in itertools.count(0, DOCUMENTS_OF_A_HINT_MAX):
        documents = change.documents[start : start + DOCUMENTS_OF_A_HINT_MAX]
        if not documents:
            return
        publisher.publish(
            CHANGED,
            Change(revision=change.revision, documents=documents, messages=change.messages, events=change.events),
        )


def _stats(writer: Writer) -> dict[str, Any]:
    return {"revision": writer.revision, "file_bytes": writer.path.stat().st_size}


def _keep_up(writer: Writer, stopping: threading.Event) -> None:
    wait_s = UPKEEP_FIRST_S
    while not stopping.wait(wait_s):
        wait_s = UPKEEP_EVERY_S
        try:
            writer.upkeep()
        except (OSError, sqlite3.Error, StateError) as error:
            log.error("the upkeep of the state file failed: %s; it is tried again in an hour", error)

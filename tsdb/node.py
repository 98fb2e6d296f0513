"""The processes of the time-series room, and the only file that sees store, intake and query together."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from appliance.bus import BusError, BusRefused, Client, Reply, Request, Server
from appliance.child import ChildContext
from appliance.memory import keep_large_blocks
from tsdb.errors import NotReady, StaleEpoch, error_of
from tsdb.ingest.intake import Intake
from tsdb.interface import Ack, Bounds, Grain
from tsdb.memory import ARENA_COUNT_MAX, Housekeeping, limit_arenas
from tsdb.query.promql.limits import Limits
from tsdb.query.service import LANES as QUERY_LANES
from tsdb.query.service import Crowd, QueryService
from tsdb.sample import Int32s, Labels, Matcher, SampleBatch, Selection
from tsdb.store.engine import Engine
from tsdb.store.headpart import HeadPart, heads_of
from tsdb.store.reader import BlockGone, BlockReader
from tsdb.store.schemas import SchemaTable
from tsdb.store.service import LANES, StoreService
from tsdb.store.tombstones import Tombstone

STORE_THREADS = 4  # Of the appends: they share one lock, and wait together for one sync.
INTAKE_THREADS = 4  # Acknowledged bodies at once; lines have threads of their own.
INTAKE_KEPT_BYTES_MAX = 32 * 2**20  # A few bodies and their columns, for each of the threads.
STORE_TIMEOUT_S = 20.0
APPEND_TIMEOUT_S = 5.0
# Series whose labels are asked for at once; with labels of 100 B a message has 10 MiB.
CANONICAL_COUNT_MAX = 100_000
SNAPSHOT_TRIES_MAX = 3  # A block of a snapshot may be joined into a larger one before it is opened.


def run_store(context: ChildContext) -> None:
    """The engine of one data folder, on the bus; upkeep runs on a thread of its own."""
    limit_arenas()
    settings = context.config.store
    engine = Engine(
        samples_folder(context.config.data_dir),
        fsync=settings.fsync.mode,
        fsync_interval_ms=settings.fsync.interval_ms,
        head_bytes_max=settings.head_bytes_max,
        schemas=SchemaTable.of(settings.retention, settings.schemas),
        disk_bytes_max=settings.disk_bytes_max,
        out_of_order_window_ms=settings.out_of_order_window_ms,
        future_max_ms=settings.future_max_ms,
        series_count_max=settings.series_count_max,
        series_per_team_max=settings.series_per_team_max,
        new_series_per_minute_max=settings.new_series_per_minute_max,
        clock=context.clock,
    )
    try:
        service = StoreService(engine, clock=context.clock, metrics=context.metrics)
        server = Server(context.config.run_dir, "store", metrics=context.metrics, threads=STORE_THREADS, lanes=LANES)
        service.register(server)
        upkeep = threading.Thread(target=service.keep_up, args=(context.stopping,), name="upkeep", daemon=True)
        upkeep.start()
        threading.Thread(target=service.keep_synced, args=(context.stopping,), name="sync", daemon=True).start()
        Housekeeping(context.name, context.metrics).start(context.stopping)
        server.serve(context.stopping, ready=context.ready)
    finally:
        engine.close()
    upkeep.join()


def run_intake(context: ChildContext) -> None:
    """The listening sockets in this thread; acknowledged bodies come over the bus."""
    keep_large_blocks(ARENA_COUNT_MAX, INTAKE_KEPT_BYTES_MAX)
    intake = Intake(
        context.sockets,
        BusSink(Client(context.config.run_dir, "store")),
        metrics=context.metrics,
        clock=context.clock,
        log=context.log,
    )
    server = Server(context.config.run_dir, "intake", metrics=context.metrics, threads=INTAKE_THREADS)

    def write(request: Request) -> dict[str, Any]:
        (body,) = request.columns
        outcome = intake.write(request.body.door, body.data, request.body.sender)
        return {
            "accepted_count": outcome.accepted_count,
            "refused": outcome.refused,
            "first_error": outcome.first_error,
        }

    server.handle("write", write, Write)
    server.handle("stats", lambda _: intake.stats())
    served = server.start_thread(context.stopping)
    Housekeeping(context.name, context.metrics).start(context.stopping)
    context.ready()
    intake.run(context.stopping)
    served.join()


def run_query(context: ChildContext) -> None:
    settings = context.config.query
    keep_large_blocks(settings.concurrent_count_max)
    run_dir = context.config.run_dir
    crowd = Crowd(
        concurrent_count_max=settings.concurrent_count_max,
        queue_count_max=settings.queue_count_max,
    )
    server = Server(run_dir, "query", metrics=context.metrics, threads=crowd.threads_count, lanes=QUERY_LANES)
    limits = Limits(
        series_count_max=settings.series_count_max,
        samples_count_max=settings.samples_count_max,
        steps_count_max=settings.steps_count_max,
        bytes_max=settings.bytes_max,
    )
    source = StoreSource(Client(run_dir, "store"), samples_folder(context.config.data_dir))
    timeout_s = settings.timeout_ms / 1_000
    QueryService(source, limits, crowd, timeout_s=timeout_s, metrics=context.metrics).register(server)
    Housekeeping(context.name, context.metrics).start(context.stopping)
    server.serve(context.stopping, ready=context.ready)


def samples_folder(data_dir: Path) -> Path:
    return data_dir / "samples"


class Write(msgspec.Struct, frozen=True):
    """A request body for one of intake's doors."""

    door: str
    sender: str


class BusSink:
    """The store as intake sees it, over the bus."""

    def __init__(self, store: Client) -> None:
        self._store = store

    def hello(self) -> int:
        return int(_ask(self._store, "hello", None, (), APPEND_TIMEOUT_S).body["epoch"])

    def append(self, batch: SampleBatch, new_series: Sequence[bytes], *, protocol: str, epoch: int) -> Ack:
        body = {"epoch": epoch, "protocol": protocol, "new_series": list(new_series)}
        columns = (batch.series, batch.timestamp_ms, batch.value)
        reply = _ask(self._store, "append", body, columns, APPEND_TIMEOUT_S)
        (new_ids,) = reply.columns
        found = reply.body
        return Ack(found["epoch"], new_ids, found["accepted_count"], found["refused"], found["words"])


class StoreSource:
    """The store as queries see it: the head by snapshot over the bus, the blocks from their mapped files."""

    def __init__(self, store: Client, folder: Path) -> None:
        self._store = store
        self._blocks = BlockReader(folder)

    def select(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        grain: Grain | None = None,
        *,
        bounds: Bounds | None = None,
    ) -> Selection:
        for left in reversed(range(SNAPSHOT_TRIES_MAX)):
            names, heads, tombstones = self._snapshot(matchers, start_ms, end_ms, grain)
            try:
                return self._blocks.select(names, matchers, start_ms, end_ms, heads, grain, tombstones, bounds=bounds)
            except (BlockGone, StaleEpoch):
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Labels]:
        body = {"selectors": [_plain(matchers)], "start_ms": start_ms, "end_ms": end_ms, "limit": 2**31 - 1}
        reply = _ask(self._store, "series", body, (), STORE_TIMEOUT_S)
        return [tuple(labels.items()) for labels in reply.body]

    def _snapshot(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, grain: Grain | None
    ) -> tuple[list[str], list[HeadPart], list[Tombstone]]:
        body = {"matchers": _plain(matchers), "start_ms": start_ms, "end_ms": end_ms}
        if grain is not None:
            body["grain"] = grain
        reply = _ask(self._store, "snapshot", body, (), STORE_TIMEOUT_S)
        tombstones = msgspec.convert(reply.body["tombstones"], list[Tombstone])
        return reply.body["blocks"], heads_of(reply.body["heads"], reply.columns, self._canonical_of), tombstones

    def _canonical_of(self, index_token: int, ids: Int32s) -> list[bytes]:
        """The canonical bytes of series, asked for once in each epoch. Raises: StaleEpoch."""
        found: list[bytes] = []
        for start in range(0, ids.size, CANONICAL_COUNT_MAX):
            some = ids[start : start + CANONICAL_COUNT_MAX]
            reply = _ask(self._store, "canonical", {"index_token": index_token}, (some,), STORE_TIMEOUT_S)
            names, ends = reply.columns
            text, edges = names.tobytes(), [0, *ends.tolist()]
            found += [text[start:end] for start, end in pairwise(edges)]
        return found


def _plain(matchers: Sequence[Matcher]) -> list[tuple[str, str, str]]:
    return [(m.name, m.op.value, m.value) for m in matchers]


def _ask(store: Client, op: str, body: Any, columns: Sequence[Any], timeout_s: float) -> Reply:
    """Raises: what the store raised; NotReady, if it does not answer."""
    try:
        return store.call(op, body, columns, timeout_s=timeout_s)
    except BusRefused as error:
        raise error_of(error.code, error.message) from error
    except BusError as error:
        raise NotReady(str(error)) from error

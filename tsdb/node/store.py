"""The process that holds the engine."""

from __future__ import annotations

import threading

from appliance.bus import FINISH_S, Server
from appliance.child import ChildContext
from appliance.files import allow_open_files
from appliance.memory import keep_large_blocks
from tsdb.memory import ARENA_COUNT_MAX, Housekeeping
from tsdb.node.asking import OPEN_FILES_COUNT_MAX, samples_folder
from tsdb.store.engine import Engine
from tsdb.store.schemas import SchemaTable
from tsdb.store.service import LANES, StoreService

KEPT_BYTES_MAX = 32 * 2**20  # What sorting a run takes besides its columns; each batch brings 5 MiB.
THREADS = 4  # Of the appends: they share one lock, and wait together for one sync.


def run_store(context: ChildContext) -> None:
    """The engine of one data folder, on the bus; upkeep runs on a thread of its own."""
    keep_large_blocks(ARENA_COUNT_MAX, KEPT_BYTES_MAX)
    allow_open_files(OPEN_FILES_COUNT_MAX)
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
        server = Server(
            *(context.config.run_dir, "store"),
            metrics=context.metrics,
            threads=THREADS,
            lanes=LANES,
            is_direct=True,
            finish_s=FINISH_S,
        )
        service.register(server)
        upkeep = threading.Thread(target=service.keep_up, args=(context.stopping,), name="upkeep", daemon=True)
        upkeep.start()
        threading.Thread(target=service.keep_synced, args=(context.stopping,), name="sync", daemon=True).start()
        Housekeeping(context.name, context.metrics).start(context.stopping)
        server.serve(context.stopping, ready=context.ready)
    finally:
        engine.close()
    upkeep.join()

"""Series that come and go: what a store keeps of those that are long gone. In process, its clock driven.

Every generation of series is replaced by the next; an hour passes meanwhile. At the end as many series are active as
after the first, so what the store has grown since is what it never gives back.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tests.bench.figure import Figure, machine
from tests.bench.tree import MIB
from tsdb.errors import StaleEpoch
from tsdb.sample import SampleBatch, canonical_bytes, labels_from
from tsdb.store.engine import Engine
from tsdb.store.schemas import SchemaTable

HOUR_MS = 3_600_000
START_MS = 1_700_000_000_000
SAMPLES_PER_SERIES = 3
_BATCH_SERIES_COUNT = 50_000
_GENERATIONS_TO_WARM_UP = 3
_TICKS = 5  # In an hour; each does one piece of upkeep.


class DrivenClock:
    def __init__(self) -> None:
        self.time_ms = START_MS

    def now_ms(self) -> int:
        return self.time_ms

    def monotonic_s(self) -> float:
        return self.time_ms / 1_000


def run(*, active_count: int, series_count: int) -> Iterator[Figure]:
    generation_count = max(_GENERATIONS_TO_WARM_UP + 1, series_count // active_count)
    clock = DrivenClock()
    process = psutil.Process()
    lines: list[list[float]] = []
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        engine = _open(Path(folder) / "samples", clock, 2 * active_count * (generation_count + 1))
        try:
            for generation in range(generation_count):
                _live(engine, clock, generation, active_count)
                stats = engine.stats()
                gc.collect()
                rss = process.memory_info().rss
                lines.append(
                    [generation, stats["series_count"], round(stats["index_bytes"] / MIB, 1), round(rss / MIB, 1)]
                )
        finally:
            engine.close()
    took_s = time.monotonic() - started_s
    warm, last = lines[_GENERATIONS_TO_WARM_UP - 1], lines[-1]
    conditions = machine() | {
        "inprocess": True,
        "series_active": active_count,
        "series_churned": active_count * generation_count,
        "generations": generation_count,
        "generation_series_indexMiB_rssMiB": lines,
    }
    for metric, value, unit in (
        ("time for all series", took_s, "s"),
        ("series known at the end, by active ones", last[1] / active_count, "times"),
        ("growth of the index since the third generation", last[2] - warm[2], "MiB"),
        ("growth of the process since the third generation, RSS", last[3] - warm[3], "MiB"),
    ):
        yield Figure(bench="churn", metric=metric, value=round(value, 2), unit=unit, conditions=conditions)


def _open(folder: Path, clock: DrivenClock, series_count_max: int) -> Engine:
    settings: dict[str, Any] = {
        "fsync": "never",
        "fsync_interval_ms": 200,
        "head_bytes_max": 512 << 20,
        "schemas": SchemaTable.raw_only(90 * 24 * HOUR_MS),
        "disk_bytes_max": 1 << 50,
        "out_of_order_window_ms": HOUR_MS,
        "future_max_ms": HOUR_MS,
        "series_count_max": series_count_max,
        "clock": clock,
    }
    return Engine(folder, **settings)


def _live(engine: Engine, clock: DrivenClock, generation: int, active_count: int) -> None:
    """One hour of a generation: its series are made, have their samples, and are never seen again."""
    for start in range(0, active_count, _BATCH_SERIES_COUNT):
        count = min(_BATCH_SERIES_COUNT, active_count - start)
        names = [_name(generation, number) for number in range(start, start + count)]
        ids = -1 - np.arange(count, dtype=np.int32)
        times = clock.now_ms() + 10_000 * np.arange(SAMPLES_PER_SERIES, dtype=np.int64)
        batch = SampleBatch(
            series=np.tile(ids, SAMPLES_PER_SERIES),
            timestamp_ms=np.repeat(times, count),
            value=np.arange(count * SAMPLES_PER_SERIES, dtype=np.float64),
        )
        try:
            engine.append(batch, names, epoch=engine.epoch, now_ms=clock.now_ms())
        except StaleEpoch:  # Begun between the reading of it and the sending.
            engine.append(batch, names, epoch=engine.epoch, now_ms=clock.now_ms())
    for _ in range(_TICKS):
        clock.time_ms += HOUR_MS // _TICKS
        engine.tick(clock.now_ms())


def _name(generation: int, number: int) -> bytes:
    pod = f"shop-{generation:03d}-{number:06d}"
    return canonical_bytes(
        labels_from({"__name__": "container_cpu_seconds", "pod": pod, "namespace": f"n{number % 50}"})
    )

"""How long a selection takes inside one process: one series, a thousand, all of them, from head and blocks.

The store holds a day of blocks as the appliance would have made them (flushed every two hours, joined when a window is
over) and behind them a head at its bound. It is built once in a folder, which is used again while it fits.
"""

from __future__ import annotations

import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from appliance.memory import keep_blocks_of_any_size
from tests.bench.figure import Figure, machine
from tests.bench.generator import load
from tsdb.node.query import KEPT_BYTES_MAX
from tsdb.sample import Matcher, MatchOp, SampleBatch, Selection, canonical_bytes, labels_from
from tsdb.store.engine import Engine
from tsdb.store.reader import BlockReader
from tsdb.store.schemas import SchemaTable

HOUR_MS = 3_600_000
STEP_MS = 60_000
BLOCKS_MS = 24 * HOUR_MS
POINTS = 360  # Six hours of minutes.
HEAD_BYTES = 512 << 20  # The default of store.head_bytes_max.
UPKEEP_AFTER_MS = 3 * HOUR_MS // 2  # Long enough for the last joins, too short for a flush by age.
FLUSH_STEPS = 2 * HOUR_MS // STEP_MS
START_MS = 1_760_000_000_000 // (32 * HOUR_MS) * (32 * HOUR_MS)  # In October 2025, where the longer windows begin.
FORMAT = 2  # One more when the store is built otherwise: older folders are not used again.


class Clock:
    """Moved by whoever builds the store."""

    def __init__(self, time_ms: int) -> None:
        self.time_ms = time_ms

    def now_ms(self) -> int:
        return self.time_ms

    def monotonic_s(self) -> float:
        return self.time_ms / 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One question: its matchers, and how far back from the newest sample its range ends."""

    name: str
    matchers: list[Matcher]
    series: int
    rounds: int
    end_before_ms: int


@dataclass(slots=True)
class Times:
    """Wall and processor seconds of several rounds."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)


def run(*, hosts: int, folder: Path | None, rounds: int) -> Iterator[Figure]:
    """Figures for each shape, from head and blocks and from blocks alone, with decoded tiles at hand and without."""
    keep_blocks_of_any_size(KEPT_BYTES_MAX)  # As the query process does.
    with tempfile.TemporaryDirectory() if folder is None else nullcontext(str(folder)) as place:
        path = Path(place)
        started_s = time.monotonic()
        newest_ms = _built(path, hosts)
        opened_s = time.monotonic()
        engine = _open(path, Clock(newest_ms))
        try:
            engine.sort_full_runs()  # As the store's upkeep does at once.
            stats = engine.stats()
            conditions = machine() | {
                "inprocess": True,
                "series": 100 * hosts,
                "points": POINTS,
                "step_s": STEP_MS // 1_000,
                "head_samples": stats["head_samples"],
                "head_bytes": stats["head_bytes"],
                "blocks": stats["block_count"],
                "block_samples": stats["block_samples"],
                "build_s": round(opened_s - started_s, 1),
                "replay_s": round(time.monotonic() - opened_s, 1),
            }
            yield from _figures(engine, newest_ms, _shapes(hosts, rounds, stats["head_samples"]), conditions)
        finally:
            engine.close()


def _shapes(hosts: int, rounds: int, head_samples: int) -> list[Shape]:
    in_blocks_ms = (head_samples // (100 * hosts) + 1) * STEP_MS + HOUR_MS // 2
    job = Matcher("job", MatchOp.EQUAL, "node")
    metric = Matcher("__name__", MatchOp.EQUAL, "cpu_user")
    host = Matcher("host", MatchOp.EQUAL, f"host{hosts // 2:04d}")
    shapes = []
    for where, end_before_ms in (("head and blocks", 0), ("blocks", in_blocks_ms)):
        for matchers, series, count in (
            ([metric, host], 1, 10 * rounds),
            ([metric], hosts, 3 * rounds),
            ([job], 100 * hosts, rounds),
        ):
            name = f"{series:,} series x {POINTS} points, {where}"
            shapes.append(Shape(name=name, matchers=matchers, series=series, rounds=count, end_before_ms=end_before_ms))
    return shapes


def _figures(engine: Engine, newest_ms: int, shapes: list[Shape], conditions: dict[str, object]) -> Iterator[Figure]:
    for shape in shapes:
        end_ms = newest_ms - shape.end_before_ms
        start_ms = end_ms - (POINTS - 1) * STEP_MS
        select = partial(engine.select, shape.matchers, start_ms, end_ms)
        first = _timed(1, select, shape)
        warm = _timed(shape.rounds, select, shape)
        cold = _timed(shape.rounds, select, shape, before=lambda: _forget_tiles(engine._reader))
        read = _timed(shape.rounds, lambda select=select: _with_labels(select()), shape)
        for name, times in (("first", first), ("warm", warm), ("cold tiles", cold), ("warm, labels read", read)):
            ordered = sorted(times.wall_s)
            yield Figure(
                bench="select",
                metric=f"{shape.name}, {name}",
                value=round(1e3 * statistics.median(ordered), 3),
                unit="ms",
                conditions=conditions
                | {
                    "p95_ms": round(1e3 * ordered[int(0.95 * (len(ordered) - 1))], 3),
                    "cpu_ms": round(1e3 * statistics.median(times.cpu_s), 3),
                    "rounds": len(ordered),
                },
            )


def _timed(
    rounds: int, select: Callable[[], Selection], shape: Shape, before: Callable[[], None] | None = None
) -> Times:
    times = Times()
    for _ in range(rounds):
        if before is not None:
            before()
        gc.collect()
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        found = select()
        times.wall_s.append(time.perf_counter() - start_s)
        times.cpu_s.append(time.process_time() - start_cpu_s)
        counts = (found.series_count, found.timestamp_ms.size)
        assert counts == (shape.series, shape.series * POINTS), (shape.name, counts)
        del found
    return times


def _with_labels(found: Selection) -> Selection:
    assert len(list(found.labels)) == found.series_count
    return found


def _forget_tiles(reader: BlockReader) -> None:
    reader._cache.clear()


def _open(folder: Path, clock: Clock) -> Engine:
    (folder / "samples").mkdir(parents=True, exist_ok=True)
    return Engine(
        folder / "samples",
        fsync="never",
        fsync_interval_ms=200,
        head_bytes_max=HEAD_BYTES,
        schemas=SchemaTable.raw_only(None),
        disk_bytes_max=1 << 50,
        out_of_order_window_ms=HOUR_MS,
        future_max_ms=HOUR_MS,
        series_count_max=10_000_000,
        clock=clock,
    )


def _built(folder: Path, hosts: int) -> int:
    """Build the store unless the folder holds it; returns the time of the newest sample."""
    made = folder / "select.json"
    wanted = {"format": FORMAT, "hosts": hosts}
    if made.exists():
        found = json.loads(made.read_text())
        if {key: found.get(key) for key in wanted} == wanted:
            return int(found["newest_ms"])
        raise SystemExit(f"{folder} holds the store of another run: {found}; name another folder, or remove it")
    clock = Clock(START_MS)
    engine = _open(folder, clock)
    try:
        newest_ms = _fill(engine, clock, hosts)
    finally:
        engine.close()
    made.write_text(json.dumps(wanted | {"newest_ms": newest_ms}))
    return newest_ms


def _fill(engine: Engine, clock: Clock, hosts: int) -> int:
    bench = load("bench")
    source = bench.Devops(hosts, 1)
    series = [
        canonical_bytes(
            labels_from(
                {"__name__": f"{group}_{name}", "dc": f"dc{host % 10}", "host": f"host{host:04d}", "job": "node"}
            )
        )
        for host in range(hosts)
        for group in bench.GROUPS
        for name in bench.FIELDS
    ]
    ids = np.arange(len(series), dtype=np.int32)
    time_ms, step = START_MS, 0
    while True:
        batch = SampleBatch(
            series=(-1 - ids).astype(np.int32) if not step else ids,
            timestamp_ms=np.full(ids.size, time_ms, np.int64),
            value=source.step().reshape(-1).copy(),
        )
        engine.append(batch, series if not step else [], epoch=engine.epoch, now_ms=time_ms)
        step += 1
        is_day_over = time_ms - START_MS >= BLOCKS_MS
        if not is_day_over and step % FLUSH_STEPS == 0:
            engine.flush()
        if is_day_over and engine.stats()["head_bytes"] + 20 * ids.size > HEAD_BYTES * min(1, hosts / 1_000):
            return time_ms
        time_ms += STEP_MS
        clock.time_ms = time_ms
        if step % 30 == 0 and time_ms - START_MS <= BLOCKS_MS + UPKEEP_AFTER_MS:
            _keep_up(engine, time_ms)


def _keep_up(engine: Engine, now_ms: int) -> None:
    """Upkeep as often as it has something to join."""
    count = -1
    while count != (count := engine.stats()["block_count"]):
        engine.tick(now_ms)

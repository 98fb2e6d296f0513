"""How many Graphite lines a second one core decodes and resolves to ids, in process: the upper bound of the intake."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # One core; read when polars is imported.

import numpy as np

from tests.bench.figure import Figure, machine
from tests.bench.generator import load
from tsdb.ingest.graphite.lines import decode
from tsdb.ingest.limits import IntakeLimits
from tsdb.ingest.register import SeriesRegister
from tsdb.interface import Ack

STEPS = 4
ROUNDS = 5


def run(*, hosts: int) -> Iterator[Figure]:
    """Batches of the size that the intake makes, all series known; the median of ROUNDS passes."""
    bench = load("bench")
    payload, _, _, _ = bench.build(bench.Devops(hosts, STEPS), "graphite", conns=1)
    batches = _batches([lines for lines, _ in payload[0]], IntakeLimits().batch_bytes_max)
    lines_count = sum(batch.count(b"\n") for batch in batches)
    register = SeriesRegister()
    register.begin(1)

    def decode_all() -> None:
        for batch in batches:
            decode(batch, 0)

    def decode_and_resolve_all() -> None:
        for batch in batches:
            resolved = register.resolve(decode(batch, 0))
            first_id = register.series_count
            new_ids = np.arange(first_id, first_id + len(resolved.new_series), dtype=np.int32)
            register.learn(resolved, Ack(1, new_ids, 0, {}))

    decode_and_resolve_all()  # Learns all series.
    conditions = machine() | {"inprocess": True, "series": register.series_count, "lines": lines_count}
    for metric, work in (("decode", decode_all), ("decode and resolve", decode_and_resolve_all)):
        rates = [lines_count / _cpu_s(work) for _ in range(ROUNDS)]
        yield Figure(
            bench="decode",
            metric=f"graphite: {metric}",
            value=round(statistics.median(rates)),
            unit="lines/s of one core",
            conditions=conditions | {"all_rounds": [round(rate) for rate in rates]},
        )


def _batches(chunks: list[bytes], bytes_max: int) -> list[bytes]:
    batches: list[list[bytes]] = [[]]
    for chunk in chunks:
        if sum(map(len, batches[-1])) >= bytes_max:
            batches.append([])
        batches[-1].append(chunk)
    return [b"".join(batch) for batch in batches]


def _cpu_s(work: Callable[[], None]) -> float:
    """Processor time of all threads, so that neighbours on the machine do not count."""
    start_s = time.process_time()
    work()
    return time.process_time() - start_s

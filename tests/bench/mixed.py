"""Acknowledgements and queries while both compete: paced batches, dashboards that poll, flush and joining all along.

Dashboards are asked first of the idle appliance, with the same samples in it, then under load.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from appliance.bus import Client
from tests.bench import peer
from tests.bench.cycle import Cycle, paced
from tests.bench.figure import Figure, machine
from tests.bench.generator import load
from tests.bench.watch import Watch
from tests.running import Appliance

PATH = "/api/v1/write/arrow"
DASHBOARD_COUNT = 20
REFRESH_S = 10.0
COMPACT_EVERY_S = 5.0


def run(*, hosts: int, rate_per_s: int, seconds: float, idle_s: float) -> Iterator[Figure]:
    bench = load("bench")
    prefill_count = int(rate_per_s * idle_s)
    cycle = Cycle(bench, "arrow", hosts=hosts, samples_count=int(rate_per_s * seconds) + prefill_count)
    with tempfile.TemporaryDirectory() as folder, Appliance(Path(folder)) as appliance:
        bench.TOKEN = appliance.token
        host, port = appliance.url.removeprefix("http://").rsplit(":", 1)
        chunks = cycle.chunks()
        sent: list[dict[str, Any]] = []

        def send(samples_per_s: float, until_s: float) -> list[float]:
            took_s: list[float] = []
            payload = [paced(one, samples_per_s / len(chunks), took_s, until_s) for one in chunks]
            _, stats, _, _ = bench.blast((host, int(port)), payload, bench.post_head("arrow", PATH), seconds + 300)
            sent.append(stats)
            return took_s

        peer.told(f"{prefill_count:,} samples first")
        send(2 * rate_per_s, time.monotonic() + idle_s / 2)
        appliance.henge("db", "compact")
        peer.told(f"{DASHBOARD_COUNT} dashboards, idle")
        idle = _Dashboards(bench, appliance, cycle)
        idle.poll_for(idle_s)
        peer.told(f"the same and {rate_per_s:,} samples a second, for {seconds:.0f} s")
        loaded = _Dashboards(bench, appliance, cycle)
        with Watch(appliance.data_dir) as watch, _Compacting(appliance) as compacting:
            until_s = time.monotonic() + seconds
            polling = threading.Thread(target=loaded.poll_for, args=(seconds,))
            polling.start()
            took_s = send(rate_per_s, until_s)
            polling.join()
        if any(one["errors"] for one in sent) or idle.errors or loaded.errors:
            raise SystemExit(f"errors: {sent}, {idle.errors[:3]}, {loaded.errors[:3]}")
    conditions = machine() | {
        "protocol": "arrow",
        "series": cycle.work.series,
        "samples_per_s_wanted": rate_per_s,
        "samples_per_s": round(sent[-1]["acked"] / seconds),
        "seconds": seconds,
        "acknowledgements": len(took_s),
        "retries": sent[-1]["retries"],
        "dashboards": DASHBOARD_COUNT,
        "refresh_s": REFRESH_S,
        "queries_idle": len(idle.took_s),
        "queries_loaded": len(loaded.took_s),
        "compactions": compacting.count,
        "s_Msamples_headMiB_walMiB_blocks_blockMiB": watch.lines,
    }
    ack, quiet, busy = (np.array(one) * 1_000 for one in (took_s, idle.took_s, loaded.took_s))
    for metric, value, unit in (
        ("acknowledgement p50", float(np.percentile(ack, 50)), "ms"),
        ("acknowledgement p99", float(np.percentile(ack, 99)), "ms"),
        ("slowest acknowledgement", float(ack.max()), "ms"),
        ("query p95, idle", float(np.percentile(quiet, 95)), "ms"),
        ("query p95, loaded", float(np.percentile(busy, 95)), "ms"),
        ("query p95, loaded by idle", float(np.percentile(busy, 95) / np.percentile(quiet, 95)), "times"),
    ):
        yield Figure(bench="mixed", metric=metric, value=round(value, 2), unit=unit, conditions=conditions)


class _Dashboards:
    """So many dashboards of five panels over the newest hour; each asks its panels one after another."""

    def __init__(self, bench: Any, appliance: Appliance, cycle: Cycle) -> None:
        self._bench, self._url, self._cycle = bench, appliance.url, cycle
        self.took_s: list[float] = []
        self.errors: list[str] = []

    def poll_for(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        threads = [threading.Thread(target=self._poll, args=(n, until_s)) for n in range(DASHBOARD_COUNT)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _poll(self, number: int, until_s: float) -> None:
        api = self._bench.Api(self._url + "/prometheus", 60)
        chance = random.Random(number)
        refresh_s = min(REFRESH_S, (until_s - time.monotonic()) / 2)
        time.sleep(chance.uniform(0, refresh_s))
        while time.monotonic() < until_s:
            began_s = time.monotonic()
            end_s = self._cycle.reached_s
            for query, span_s, step_s in _panels(self._bench, self._cycle.work, chance):
                try:
                    times = {"start": end_s - span_s, "end": end_s, "step": step_s}
                    self.took_s.append(api.get("/api/v1/query_range", query=query, **times)[0])
                except (OSError, RuntimeError) as error:
                    self.errors.append(repr(error))
            time.sleep(max(0.0, min(until_s, began_s + refresh_s) - time.monotonic()))


def _panels(bench: Any, work: Any, chance: random.Random) -> list[tuple[str, int, int]]:
    """(query, range in s, step in s): three hosts' lines, the mean over all hosts, the ten highest."""
    dialect = bench.DIALECTS["promql"]()
    group = chance.choice(bench.GROUPS)
    lines = [(dialect.one(chance.randrange(work.hosts), group, field), 3_600, 15) for field in ("user", "idle", "wait")]
    mean = (f"avg({dialect.metric(group, 'user')})", 1_800, 60)
    highest = (f"topk(10, {dialect.metric(group, 'queue')})", 600, 60)
    return [*lines, mean, highest]


class _Compacting:
    """Flush and join again and again, so that there is always some of it."""

    def __init__(self, appliance: Appliance) -> None:
        self._client = Client(appliance.data_dir / "run", "store")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.count = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._stopping.wait(COMPACT_EVERY_S):
            self._client.call("compact", timeout_s=300)
            self.count += 1

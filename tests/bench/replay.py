"""How soon the store answers after kill -9, with millions of samples in its log and none in a block."""

from __future__ import annotations

import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from appliance.bus import Client
from tests.bench import peer
from tests.bench.cycle import Cycle
from tests.bench.figure import Figure, machine
from tests.bench.generator import load
from tests.bench.tree import MIB, usage
from tests.running import Appliance

HEAD_BYTES_MAX = "3GiB"  # So that nothing is flushed: 50 M samples × 20 B are 1 GB.
TIMEOUT_S = 120


def run(*, hosts: int, samples_count: int, runs: int, victim: str) -> Iterator[Figure]:
    bench = load("bench")
    cycle = Cycle(bench, "graphite", hosts=hosts, samples_count=samples_count)
    work = cycle.work
    with tempfile.TemporaryDirectory() as folder:
        appliance = Appliance(Path(folder), settings=[f"store.head_bytes_max={HEAD_BYTES_MAX}"])
        appliance.start()
        try:
            bench.TOKEN = appliance.token
            host, port = appliance.ready["graphite"].rsplit(":", 1)
            peer.told(f"{work.samples:,} samples into the log")
            dialect, api = bench.DIALECTS["henge-graphite"](), bench.Api(appliance.url, 180)
            sent = bench.measure_ingest(
                work, cycle.chunks(), cycle.last, (host, int(port)), None, None, dialect, api, 300, False, False
            )
            if not sent["visible"]:
                raise SystemExit(f"the last of {work.samples:,} samples was never answered: {sent}")
            _wait_for_all(dialect, api, work)
            rounds = [_round(appliance, bench, dialect, work, victim) for _ in range(runs)]
        finally:
            appliance.stop()
    conditions = machine() | {
        "series": work.series,
        "samples": work.samples,
        "victim": victim,
        "runs": runs,
        "settings": [f"store.head_bytes_max={HEAD_BYTES_MAX}"],
        "all_runs": rounds,
    }
    for metric, key, unit in (
        ("first answer after kill -9", "answer_s", "s"),
        ("replay of the log", "replay_s", "s"),
        ("samples replayed", "rate", "samples/s"),
        ("memory of the tree afterwards, PSS summed", "pss_mib", "MiB"),
    ):
        value = statistics.median(one[key] for one in rounds)
        yield Figure(
            bench="replay", metric=f"{victim}: {metric}", value=round(value, 3), unit=unit, conditions=conditions
        )


def _round(appliance: Appliance, bench: Any, dialect: Any, work: Any, victim: str) -> dict[str, float]:
    with Client(appliance.data_dir / "run", "store") as store:
        block_count = store.call("stats").body["block_count"]
    if block_count:
        raise SystemExit(f"{block_count} blocks were written, so the log does not hold everything")
    if victim == "tree":
        _kill_tree(appliance)
        since_s = time.monotonic()
        appliance.start(timeout_s=TIMEOUT_S)
    else:
        since_s = time.monotonic()
        appliance.kill("store")
    api = bench.Api(appliance.url, TIMEOUT_S)
    while not _answers(dialect, api, work):
        if time.monotonic() - since_s > TIMEOUT_S:
            raise SystemExit(f"no answer within {TIMEOUT_S} s after kill -9")
        time.sleep(0.02)
    answer_s = time.monotonic() - since_s
    with Client(appliance.data_dir / "run", "store") as store:
        stats = store.call("stats", timeout_s=30).body
    found = dialect.count(api, work)
    # StatsD's door tells of itself every ten seconds, so that a few samples more may be in the log.
    if found != work.samples or stats["replayed_samples"] < work.samples:
        raise SystemExit(
            f"{found:,} of {work.samples:,} samples found by query, {stats['replayed_samples']:,} replayed"
        )
    used = usage(appliance.ready["pid"], appliance.ready["processes"])
    return {
        "answer_s": round(answer_s, 3),
        "replay_s": round(stats["replay_s"], 3),
        "rate": round(work.samples / stats["replay_s"]),
        "pss_mib": round(used.pss_bytes / MIB),
    }


def _wait_for_all(dialect: Any, api: Any, work: Any) -> None:
    """Until every sample is in the log: the batch with the last one may have overtaken others."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while (found := dialect.count(api, work)) != work.samples:
        if time.monotonic() > deadline_s:
            raise SystemExit(f"{found:,} of {work.samples:,} samples found by query after {TIMEOUT_S} s")
        time.sleep(0.1)


def _kill_tree(appliance: Appliance) -> None:
    assert appliance.process is not None
    root = psutil.Process(appliance.process.pid)
    tree = [root, *root.children(recursive=True)]
    for process in tree:
        process.kill()
    psutil.wait_procs(tree, timeout=10)
    appliance.stop(by=signal.SIGKILL)  # It has ended; this forgets it.


def _answers(dialect: Any, api: Any, work: Any) -> bool:
    try:
        return bool(dialect.visible(api, work, 0))
    except (OSError, RuntimeError):  # Refused, or 503 while the store comes back.
        return False

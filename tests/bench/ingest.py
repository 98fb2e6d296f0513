"""How many samples a second the appliance takes in, beside a peer in the same run.

The payload is built before the clock starts; the clock stops when the last sample of every connection is answered by a
query; then the samples are counted by query. Every run starts on an empty folder.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterator
from typing import Any

from tests.bench.figure import Figure, machine
from tests.bench.generator import load


def run(*, protocol: str, hosts: int, steps: int, runs: int, peers: list[str]) -> Iterator[Figure]:
    bench, known = load("bench"), load("peers").PEERS
    work = bench.Devops(hosts, steps)
    payload, last, _, bytes_count = bench.build(work, protocol)
    conditions = machine() | {
        "protocol": protocol,
        "series": work.series,
        "samples": work.samples,
        "runs": runs,
        "wire_bytes_per_sample": round(bytes_count / work.samples, 1),
        "sender_alone_samples_per_s": round(statistics.median(bench.measure_null(payload, protocol))),
    }
    for name in peers:
        if name == "vm" and shutil.which("victoria-metrics") is None:
            raise SystemExit("victoria-metrics is not installed: apt-get install victoria-metrics, or --peers henge")
        results = [one_run(bench, known[name](proto=protocol), protocol, work, payload, last) for _ in range(runs)]
        here = conditions | {
            "peer": name,
            "all_runs": [round(r["rate"]) for r in results],
            "verified": [r.get("verified") for r in results],
            "others_cores": [round(r["others_cpu_s"] / r["visible_s"], 2) for r in results],
        }
        for metric, key, unit in (
            ("samples until queryable", "rate", "samples/s"),
            ("samples acknowledged or sent", "sent_rate", "samples/s"),
            ("CPU of the tree until queryable", "cpu_s_per_M", "s per million samples"),
            ("CPU of the tree when settled", "cpu_settled_s_per_M", "s per million samples"),
            ("peak memory of the tree, RSS summed", "peak_rss_mib", "MiB"),
        ):
            value = statistics.median(r[key] for r in results)
            yield Figure(bench="ingest", metric=f"{name}: {metric}", value=round(value, 3), unit=unit, conditions=here)


def one_run(bench: Any, peer: Any, protocol: str, work: Any, payload: Any, last: Any) -> dict[str, Any]:
    peer.wipe()
    peer.start()
    try:
        dialect = bench.DIALECTS[peer.dialect(protocol)]()
        result: dict[str, Any] = bench.measure_ingest(
            work,
            payload,
            last,
            ("127.0.0.1", peer.ports[protocol]),
            bench.post_head(protocol, peer.path(protocol)),
            peer.pid,
            dialect,
            peer.api(),
        )
    finally:
        peer.stop()
        peer.wipe()
    if not result["visible"] or result.get("verified") != work.samples:
        raise SystemExit(
            f"{peer.name}: {result.get('verified'):,} of {work.samples:,} samples found by query: {result}"
        )
    return result

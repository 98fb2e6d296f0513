"""Memory of the whole tree, shared pages counted once: idle, with active series, and for each one more."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench import peer
from tests.bench.figure import Figure, machine
from tests.bench.generator import load
from tests.bench.tree import MIB, Usage, usage
from tests.running import Appliance


def run(*, hosts: int, more_hosts: int, steps: int, settle_s: float) -> Iterator[Figure]:
    """hosts: of 100 series each, sent `steps` times; more_hosts: further ones, so that the cost of one more is seen."""
    bench = load("bench")
    with tempfile.TemporaryDirectory() as folder, Appliance(Path(folder)) as appliance:
        bench.TOKEN = appliance.token
        time.sleep(settle_s)
        idle = _now(appliance)
        _send(bench, appliance, bench.Devops(hosts, steps))
        fresh = _settled(bench, appliance, settle_s)
        appliance.henge("db", "compact")
        active = _settled(bench, appliance, settle_s)
        _send(bench, appliance, bench.Devops(hosts + more_hosts, 1))
        appliance.henge("db", "compact")
        more = _settled(bench, appliance, settle_s)
    series_count, more_count = hosts * bench.NM, more_hosts * bench.NM
    conditions = machine() | {"series": series_count, "more_series": more_count, "steps": steps}
    for metric, used, value, unit in (
        ("idle and empty", idle, idle.pss_bytes / MIB, "MiB"),
        ("all series active, their samples in the head", fresh, fresh.pss_bytes / MIB, "MiB"),
        ("all series active, the head in blocks", active, active.pss_bytes / MIB, "MiB"),
        ("each further series", more, (more.pss_bytes - active.pss_bytes) / 1024 / more_count, "KiB"),
    ):
        by_process = {name: round(size / MIB, 1) for name, size in used.pss_of.items()}
        yield Figure(
            bench="memory",
            metric=f"PSS of the tree: {metric}",
            value=round(value, 3),
            unit=unit,
            conditions=conditions | {"mib_by_process": by_process},
        )


def _now(appliance: Appliance) -> Usage:
    return usage(appliance.ready["pid"], appliance.ready["processes"])


def _settled(bench: Any, appliance: Appliance, settle_s: float) -> Usage:
    if settle_s > 1:
        bench.settle(appliance.ready["pid"])
    time.sleep(settle_s)
    return _now(appliance)


def _send(bench: Any, appliance: Appliance, work: Any) -> None:
    peer.told(f"{work.series:,} series × {work.steps}")
    payload, last, _, _ = bench.build(work, "graphite")
    host, port = appliance.ready["graphite"].rsplit(":", 1)
    dialect, api = bench.DIALECTS["henge-graphite"](), bench.Api(appliance.url, 180)
    sent = bench.measure_ingest(work, payload, last, (host, int(port)), None, None, dialect, api, 300, True, False)
    if sent["verified"] != work.samples:
        raise SystemExit(f"{sent['verified']:,} of {work.samples:,} samples found by query: {sent}")

"""Memory of the whole tree, shared pages counted once: idle, with active series, a full head, and for each one more."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from appliance.bus import Client
from tests.bench import peer
from tests.bench.figure import Figure, machine
from tests.bench.generator import load
from tests.bench.tree import MIB, Usage, usage
from tests.running import Appliance

LOOK_COUNT = 5  # Looks at a settled tree; the median counts.
FULL_SHARE = 0.9  # Of its room, that a head holds when it is called full here: another step would have it flushed.
ROUNDS_MAX = 60
STEP_S = 10
BACK_S = 1_800  # The first samples are so old; the last ones must not lie in the future.


def run(*, hosts: int, more_hosts: int, steps: int, settle_s: float) -> Iterator[Figure]:
    """hosts: of 100 series each, sent `steps` times; more_hosts: further ones, so that the cost of one more is seen."""
    bench = load("bench")
    setting = f"store.series_count_max={2 * (hosts + more_hosts) * bench.NM}"
    with tempfile.TemporaryDirectory() as folder, Appliance(Path(folder), settings=[setting]) as appliance:
        bench.TOKEN = appliance.token
        tree = _Tree(bench, appliance, settle_s)
        idle = tree.settled()
        tree.send(hosts, steps)
        fresh = tree.settled()
        tree.fill_head(hosts)
        full = tree.settled()
        tree.compact()
        active = tree.settled()
        tree.send(hosts + more_hosts, 1)
        tree.compact()
        more = tree.settled()
    series_count, more_count = hosts * bench.NM, more_hosts * bench.NM
    conditions = machine() | {"series": series_count, "more_series": more_count, "steps": steps, **tree.told}
    for metric, used, value, unit in (
        ("idle and empty", idle, idle.pss_bytes / MIB, "MiB"),
        ("all series active, their samples in the head", fresh, fresh.pss_bytes / MIB, "MiB"),
        ("all series active, the head full", full, full.pss_bytes / MIB, "MiB"),
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


class _Tree:
    """The appliance under measurement. `told` is what belongs beside the figures."""

    def __init__(self, bench: Any, appliance: Appliance, settle_s: float) -> None:
        self._bench, self._appliance, self._settle_s = bench, appliance, settle_s
        self._end_s = time.time() - BACK_S
        self.told: dict[str, Any] = {}

    def settled(self) -> Usage:
        """The median of a few looks at a tree that has nothing to do."""
        if self._settle_s > 1:
            self._bench.settle(self._appliance.ready["pid"])
        time.sleep(self._settle_s)
        looks = []
        for _ in range(LOOK_COUNT):
            looks.append(usage(self._appliance.ready["pid"], self._appliance.ready["processes"]))
            time.sleep(self._settle_s / 10)
        middle = median(look.pss_bytes for look in looks)
        return next(look for look in looks if look.pss_bytes == middle)

    def send(self, hosts: int, steps: int, *, is_verified: bool = True) -> None:
        """The next steps of so many hosts, until the last of them is found by query."""
        bench = self._bench
        self._end_s += steps * STEP_S
        work = bench.Devops(hosts, steps, STEP_S, self._end_s)
        peer.told(f"{work.series:,} series × {work.steps}")
        payload, last, _, _ = bench.build(work, "graphite")
        host, port = self._appliance.ready["graphite"].rsplit(":", 1)
        dialect, api = bench.DIALECTS["henge-graphite"](), bench.Api(self._appliance.url, 180)
        target = (host, int(port))
        sent = bench.measure_ingest(work, payload, last, target, None, None, dialect, api, 300, is_verified, False)
        if is_verified and sent["verified"] != work.samples:
            raise SystemExit(f"{sent['verified']:,} of {work.samples:,} samples found by query: {sent}")

    def compact(self) -> None:
        with Client(self._appliance.data_dir / "run", "store") as store:
            store.call("compact", timeout_s=300)

    def fill_head(self, hosts: int) -> None:
        """Send on, a step at a time, until a few more would have the head written into a block."""
        with Client(self._appliance.data_dir / "run", "store") as store:
            for _ in range(ROUNDS_MAX):
                stats = store.call("stats", timeout_s=30).body
                self.told |= {name: stats[name] for name in ("head_bytes", "head_room_bytes", "index_bytes")}
                if stats["head_bytes"] >= FULL_SHARE * stats["head_room_bytes"] or stats["block_count"]:
                    return
                self.send(hosts, 1, is_verified=False)

"""Bytes a sample on disk: every file of the data folder, after `henge db compact`; of a peer, after its own merge.

Without jitter the samples go in as Graphite text, which every peer but Prometheus takes; with jitter as remote-write,
because a Graphite time has no milliseconds.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.bench import peer
from tests.bench.devops import entropy_bytes, jitter_entropy_bytes, jittered
from tests.bench.figure import Figure, machine
from tests.bench.generator import load
from tests.waiting import wait_until

MAX_S = 500
REMOVAL_MAX_S = 90.0


def run(*, protocol: str, hosts: int, steps: int, jitter_ms: int, peers: Sequence[str]) -> Iterator[Figure]:
    bench = load("bench")
    protocol = "remote_write" if jitter_ms else protocol
    work = bench.Devops(hosts, steps)
    entropy = round(entropy_bytes(work), 3)
    conditions = machine() | {"protocol": protocol, "series": work.series, "samples": work.samples, "steps": steps}
    conditions |= {"entropy_of_increments_bytes": entropy, "jitter_ms": jitter_ms}
    if jitter_ms:
        conditions["entropy_of_jitter_bytes"] = round(jitter_entropy_bytes(jitter_ms), 3)
    for name in peer.speaking(peers, protocol):
        peer.told(f"{name}, {work.samples:,} samples by {protocol}")
        sizes = _sizes(bench, name, protocol, bench.Devops(hosts, steps, t_end=work.t_end), jitter_ms)
        here = conditions | {"peer": name, "bytes": sizes}
        value = round(sizes["total"] / work.samples, 4)
        yield Figure(
            bench="disk", metric=f"{name}: every file, after compaction", value=value, unit="B/sample", conditions=here
        )
    yield Figure(
        bench="disk",
        metric="entropy of the workload",
        value=round(entropy + conditions.get("entropy_of_jitter_bytes", 0.0), 3),
        unit="B/sample",
        conditions=conditions,
    )


def _sizes(bench: Any, name: str, protocol: str, work: Any, jitter_ms: int) -> dict[str, int]:
    with peer.running(name, protocol) as one:
        if jitter_ms:
            payload, last = jittered(work, jitter_ms), [work.hosts - 1]
        else:
            payload, last, _, _ = bench.build(work, protocol)
        dialect = bench.DIALECTS[one.dialect(protocol)]()
        target = ("127.0.0.1", one.ports[protocol])
        head = bench.post_head(protocol, one.path(protocol))
        # With jitter the newest time is nobody's: the count that follows is what shows that all is there.
        asked = None if jitter_ms else dialect
        sent = bench.measure_ingest(work, payload, last, target, head, one.pid, asked, one.api(), MAX_S, False, False)
        wanted = work.samples
        if jitter_ms:
            work.t_end += 1  # So that the counted range holds the last samples, and the first.
            work.steps += 1
        if (found := dialect.count(one.api(), work)) != wanted:
            raise SystemExit(f"{name}: {found:,} of {wanted:,} samples found by query: {sent}")
        if name == peer.HENGE:
            return _compacted(bench, one)
        return {key: int(value) for key, value in one.flush().items() if not key.endswith("_s")}


def _compacted(bench: Any, one: Any) -> dict[str, int]:
    """As `flush()` of the peer, but with an account by folder; the command has to succeed."""

    before = bench.disk(one.dir)
    argv = [one.project + "/.venv/bin/henge", "db", "compact", "--data", one.dir]
    done = subprocess.run(argv, check=True, capture_output=True, timeout=600)
    folder = Path(one.dir)
    _wait_for_removal(folder / "samples" / "blocks", int(done.stdout.split()[0]))  # "2 blocks, 36,000,000 samples, …"
    parts = {path.name: int(bench.disk(str(path))) or path.stat().st_blocks * 512 for path in sorted(folder.iterdir())}
    parts |= {f"samples/{path.name}": int(bench.disk(str(path))) for path in sorted((folder / "samples").iterdir())}
    return {"before_merge": before, "total": bench.disk(one.dir), **parts}


def _wait_for_removal(blocks: Path, block_count: int) -> None:
    """Until the blocks that others have taken the place of are gone; they stay readable for 30 s."""
    wait_until(
        lambda: sum(path.suffix == ".block" for path in blocks.iterdir()) <= block_count,
        timeout_s=REMOVAL_MAX_S,
        every_s=0.5,
        what=f"no more than {block_count} files in {blocks}",
    )

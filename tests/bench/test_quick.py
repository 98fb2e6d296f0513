"""Every bench runs at a size of seconds, counts its samples and says what it measured."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import numpy as np
import pytest

from tests.bench import peer
from tests.bench.cycle import Cycle
from tests.bench.devops import entropy_bytes, jittered
from tests.bench.generator import load
from tests.profile import IS_FULL
from tests.running import CHECKOUT
from tests.shared import shared
from tsdb.ingest.graphite.lines import decode

BENCHES = [
    (["ingest", "--samples", "200k"], ["henge: samples until queryable", "henge: CPU of the tree until queryable"]),
    (["replay", "--victim", "store"], ["store: first answer after kill -9", "store: samples replayed"]),
]
if IS_FULL:  # Half a minute more, which not every run of the tests has.
    BENCHES += [
        (["query"], ["henge: Q1 p50", "henge: lines CPU of the tree a query"]),
        (["disk"], ["henge: every file, after compaction", "entropy of the workload"]),
        (["memory"], ["PSS of the tree: idle and empty", "PSS of the tree: each further series"]),
        (["mixed"], ["acknowledgement p99", "query p95, loaded"]),
        (["dashboards"], ["henge: panel p95", "henge: acknowledgement p99"]),
        (["render"], ["3 targets reduced: henge p50", "all points: henge CPU"]),
        (["whisper"], ["import: files", "import: points"]),
        (["churn"], ["time for all series", "series known at the end, by active ones"]),
    ]


@pytest.mark.parametrize(("command", "metrics"), BENCHES, ids=[command[0] for command, _ in BENCHES])
def test_a_bench_prints_its_figures(command: list[str], metrics: list[str]) -> None:
    shared("bench")
    argv = [sys.executable, "-m", "tests.bench", *command, "--quick", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=CHECKOUT, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = [json.loads(line) for line in done.stdout.splitlines()]
    assert set(metrics) <= {figure["metric"] for figure in figures}
    assert all(figure["bench"] == command[0] and figure["unit"] for figure in figures)


def test_a_bench_does_not_measure_the_peer_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    shared("bench")
    monkeypatch.setattr(peer, "_PROGRAM_OF", {})
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr(load("peers").PEERS["vm"], "ports", {"remote_write": other.getsockname()[1]})
        with pytest.raises(SystemExit, match="of vm is taken"), peer.running("vm", "remote_write"):
            pass


def test_a_cycle_of_lines_goes_on_in_time_and_says_how_many_it_has() -> None:
    shared("bench")
    cycle = Cycle(load("bench"), "graphite", hosts=20, samples_count=230_000)
    assert (cycle.steps, cycle.cycle_count, cycle.work.samples) == (50, 3, 300_000)
    parts = [decode(bytes(chunk), 0) for chunks in cycle.chunks() for chunk, _ in chunks]
    times = np.concatenate([part.timestamp_ms for part in parts])
    wanted = (cycle.work.t0 + 10 * np.arange(150)) * 1_000
    np.testing.assert_array_equal(np.unique(times), wanted)
    assert times.size == cycle.work.samples
    assert int(wanted[-1]) == cycle.work.t_end * 1_000


def test_a_cycle_of_arrow_streams_goes_on_in_time() -> None:
    import io

    import polars as pl

    shared("bench")
    cycle = Cycle(load("bench"), "arrow", hosts=150, samples_count=1_000_000)
    frames = [
        (pl.read_ipc_stream(io.BytesIO(bytes(chunk))), count) for chunks in cycle.chunks() for chunk, count in chunks
    ]
    assert all(frame.height == count for frame, count in frames)
    every = pl.concat([frame.select("timestamp_ms") for frame, _ in frames])["timestamp_ms"].to_numpy()
    wanted = (cycle.work.t0 + 10 * np.arange(cycle.work.steps)) * 1_000
    np.testing.assert_array_equal(np.unique(every), wanted)
    assert every.size == cycle.work.samples


def test_the_entropy_of_the_workload_is_what_the_design_says() -> None:
    shared("bench")
    assert entropy_bytes(load("bench").Devops(200, 10)) == pytest.approx(0.75, abs=0.02)


def test_jittered_requests_hold_times_around_the_grid() -> None:
    from cramjam import snappy

    shared("bench")
    work = load("bench").Devops(20, 3, t_end=1_700_000_000)
    [chunks] = jittered(work, 25)
    found = [(bytes(snappy.decompress_raw(chunk)), count) for chunk, count in chunks]
    assert [count for _, count in found] == [2_000, 2_000, 2_000]
    marker = b"\x12\x10\x09"  # A sample of 16 bytes, whose value comes first and whose time ends it.
    for step, (body, _) in enumerate(found):
        times = []
        at = body.find(marker)
        while at >= 0:
            raw = body[at + 12 : at + 18]
            times.append(sum((byte & 0x7F) << 7 * place for place, byte in enumerate(raw)))
            at = body.find(marker, at + 18)
        moved = np.array(times) - (work.t0 + 10 * step) * 1_000
        assert moved.size == 2_000
        assert (moved.min(), moved.max()) == (-25, 25)

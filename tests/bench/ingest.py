"""How many samples a second the appliance takes in, beside a peer in the same run.

The payload is built before the clock starts; the clock stops when the last sample of every connection is answered by a
query; then the samples are counted by query. Every run starts on an empty folder. So many series that registering them
shows are sent in two phases: one sample of each, and the rest. More samples than memory holds are sent as a cycle.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import peer
from tests.bench.cycle import Cycle
from tests.bench.figure import Figure, machine
from tests.bench.generator import load
from tests.bench.watch import Watch

IN_TWO_PHASES_SERIES_COUNT = 500_000
MAX_S = 500

Result = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Plan:
    protocol: str
    hosts: int
    steps: int
    samples_count: int = 0  # More than 0: so many in a cycle, instead of steps built in memory.
    runs: int = 5
    peers: Sequence[str] = (peer.HENGE,)
    head_bytes_max: str = ""
    is_quick: bool = False

    @property
    def settings(self) -> list[str]:
        return [f"store.head_bytes_max={self.head_bytes_max}"] if self.head_bytes_max else []


def run(plan: Plan) -> Iterator[Figure]:
    names = peer.speaking(plan.peers, plan.protocol)
    if plan.samples_count:
        for name in names:
            results = [_one_cycle(name, plan) for _ in range(plan.runs)]
            yield from _figures(name, plan, results, {"sustained": True})
        return
    bench = load("bench")
    phases, wire_bytes = _phases(bench, plan)
    conditions = {
        "wire_bytes_per_sample": round(wire_bytes / sum(phase[0].samples for phase in phases), 1),
        "sender_alone_samples_per_s": round(statistics.median(bench.measure_null(phases[-1][1], plan.protocol))),
    }
    for name in names:
        results = []
        for number in range(plan.runs):
            peer.told(f"{name}, {plan.protocol}, run {number + 1} of {plan.runs}")
            results.append(_one_run(name, plan, phases))
        yield from _figures(name, plan, results, conditions)


def _phases(bench: Any, plan: Plan) -> tuple[list[tuple[Any, Any, Any]], int]:
    """(work, payload, last hosts) of each phase, and the bytes of all."""
    work = bench.Devops(plan.hosts, plan.steps)
    parts = [work]
    if work.series >= IN_TWO_PHASES_SERIES_COUNT and plan.steps > 1:
        first, rest = copy.copy(work), copy.copy(work)
        first.steps, first.samples, first.t_end = 1, work.series, work.t0
        rest.steps, rest.samples, rest.t0 = work.steps - 1, work.samples - work.series, work.t0 + work.step_s
        parts = [first, rest]  # They share the values, so that the second goes on where the first ends.
    phases, bytes_count = [], 0
    for part in parts:
        payload, last, _, size = bench.build(part, plan.protocol)
        phases.append((part, payload, last))
        bytes_count += size
    return phases, bytes_count


def _one_run(name: str, plan: Plan, phases: list[tuple[Any, Any, Any]]) -> Result:
    bench = load("bench")
    with peer.running(name, plan.protocol, plan.settings) as one:
        dialect = bench.DIALECTS[one.dialect(plan.protocol)]()
        parts: list[Result] = []
        for work, payload, last in phases:
            is_last = work is phases[-1][0]
            parts.append(_measured(bench, one, plan, dialect, (work, payload, last), is_last and not plan.is_quick))
        whole = copy.copy(phases[0][0])
        whole.steps, whole.t_end = sum(work.steps for work, _, _ in phases), phases[-1][0].t_end
        whole.samples = whole.steps * whole.series
        verified = dialect.count(one.api(), whole)
    return _checked(name, _joined(parts, whole.samples) | {"verified": verified}, whole.samples)


def _measured(bench: Any, one: Any, plan: Plan, dialect: Any, phase: tuple[Any, Any, Any], do_settle: bool) -> Result:
    work, payload, last = phase
    measured: Result = bench.measure_ingest(
        work,
        payload,
        last,
        ("127.0.0.1", one.ports[plan.protocol]),
        bench.post_head(plan.protocol, one.path(plan.protocol)),
        one.pid,
        dialect,
        one.api(),
        MAX_S,
        False,
        do_settle,
    )
    return measured


def _one_cycle(name: str, plan: Plan) -> Result:
    bench = load("bench")
    cycle = Cycle(bench, plan.protocol, hosts=plan.hosts, samples_count=plan.samples_count)
    work = cycle.work
    peer.told(f"{name}, {plan.protocol}, {work.samples:,} samples in {cycle.cycle_count} cycles of {cycle.steps} steps")
    with peer.running(name, plan.protocol, plan.settings) as one:
        dialect = bench.DIALECTS[one.dialect(plan.protocol)]()
        phase = (work, cycle.chunks(), cycle.last)
        told: Result = {"cycle_steps": cycle.steps, "wire_bytes_per_sample": round(cycle.wire_bytes_per_sample, 1)}
        if name == peer.HENGE:
            with Watch(Path(one.dir), every_s=0.5 if plan.is_quick else 2.0) as watch:
                result = _measured(bench, one, plan, dialect, phase, not plan.is_quick)
            told |= {"s_Msamples_headMiB_walMiB_blocks_blockMiB": watch.lines}
            told |= {"head_bytes_at_most_seen": watch.head_bytes_max}
        else:
            result = _measured(bench, one, plan, dialect, phase, not plan.is_quick)
        verified = dialect.count(one.api(), work)
    return _checked(name, _joined([result], work.samples) | {"verified": verified, "told": told}, work.samples)


def _joined(parts: list[Result], samples_count: int) -> Result:
    """The figures of all phases as one: what was used until the last sample of each was answered."""
    until_s = sum(part["visible_s"] for part in parts)
    cpu_s = [part["cpu_s_per_M"] * part["samples"] for part in parts]
    settled_cpu_s = (
        sum(cpu_s[:-1]) + parts[-1].get("cpu_settled_s_per_M", parts[-1]["cpu_s_per_M"]) * parts[-1]["samples"]
    )
    return {
        "visible": all(part["visible"] for part in parts),
        "rate": samples_count / until_s,
        "sent_rate": samples_count / sum(part["sent_s"] for part in parts),
        "cpu_s_per_M": sum(cpu_s) / samples_count,
        "cpu_settled_s_per_M": settled_cpu_s / samples_count,
        "peak_rss_mib": parts[-1]["peak_rss_mib"],
        "others_cores": sum(part["others_cpu_s"] for part in parts) / until_s,
        "phases": [part["rate"] for part in parts],
        "errors": [(part["errors"], part["retries"], part["last_error"]) for part in parts],
    }


def _checked(name: str, result: Result, samples_count: int) -> Result:
    if not result["visible"] or result["verified"] != samples_count:
        raise SystemExit(f"{name}: {result['verified']:,} of {samples_count:,} samples found by query: {result}")
    return result


def _figures(name: str, plan: Plan, results: list[Result], conditions: dict[str, Any]) -> Iterator[Figure]:
    here = (
        machine()
        | conditions
        | {
            "protocol": plan.protocol,
            "series": plan.hosts * load("bench").NM,
            "samples": results[0]["verified"],
            "runs": plan.runs,
            "settings": plan.settings,
            "peer": name,
            "all_runs": [round(result["rate"]) for result in results],
            "verified": [result["verified"] for result in results],
            "others_cores": [round(result["others_cores"], 2) for result in results],
            **results[-1].get("told", {}),
        }
    )
    metrics = [
        ("samples until queryable", lambda one: one["rate"], "samples/s"),
        ("samples acknowledged or sent", lambda one: one["sent_rate"], "samples/s"),
        ("CPU of the tree until queryable", lambda one: one["cpu_s_per_M"], "s per million samples"),
        ("CPU of the tree when settled", lambda one: one["cpu_settled_s_per_M"], "s per million samples"),
        ("peak memory of the tree, RSS summed", lambda one: one["peak_rss_mib"], "MiB"),
    ]
    if len(results[0]["phases"]) == 2:
        metrics += [
            ("samples until queryable while series register", lambda one: one["phases"][0], "samples/s"),
            ("samples until queryable once series are known", lambda one: one["phases"][1], "samples/s"),
        ]
    for metric, of, unit in metrics:
        value = statistics.median(of(result) for result in results)
        yield Figure(bench="ingest", metric=f"{name}: {metric}", value=round(value, 3), unit=unit, conditions=here)

"""How long queries take over HTTP, and what they cost, beside peers that hold the same samples in the same run.

All peers are loaded by remote-write, one after another, and stay up; then each query is asked of each in turn, in short
batches, so that whatever else happens on the machine meets all of them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tests.bench import history, peer
from tests.bench.figure import Figure, machine
from tests.bench.generator import load

PROTOCOL = "remote_write"
BATCH_COUNT = 3  # So often each peer's turn comes for one query.
BATCH_ASKED_MAX = 100
CAP_S = 60.0  # Once a query has taken a peer so long in all, it is asked once a batch.
SEND_MAX_S = 900

Ask = Callable[[int], tuple[str, dict[str, Any]]]
"""From the number of the round to path and arguments, as the dialects of `shared/bench` have it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    hosts: int = 1_000  # Of 100 series each.
    steps: int = 360
    counters: int = 10_000
    counter_hours: int = 24
    histograms: int = 1_000
    histogram_hours: int = 6
    lines: int = 100
    line_steps: int = 2_000
    rounds: int = 30
    batch_s: float = (
        0.5  # Quick queries are asked for so long, so that CPU, which is counted in 10 ms, means something.
    )
    peers: Sequence[str] = (peer.HENGE,)
    only: Sequence[str] = ()  # Of the queries; none named: all of them.
    is_flushed: bool = True  # Whether everything stands in blocks, or the newest samples in the heads.

    def quick(self) -> Plan:
        """The same at sizes that take seconds."""
        return replace(
            self,
            hosts=20,
            steps=20,
            counters=50,
            counter_hours=1,
            histograms=10,
            histogram_hours=1,
            lines=5,
            line_steps=50,
            rounds=3,
            batch_s=0.0,
            is_flushed=False,
        )

    @property
    def families(self) -> list[history.Family]:
        return [
            history.counters(series_count=self.counters, span_s=3_600 * self.counter_hours),
            history.histograms(histogram_count=self.histograms, span_s=3_600 * self.histogram_hours),
            history.lines(series_count=self.lines, steps=self.line_steps),
        ]


@dataclass(kw_only=True)
class Took:
    """What one query took one peer."""

    query: str
    ms: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    answer_bytes: int = 0
    series_count: int = 0


class Asked:
    """One loaded peer. The generator keeps its token in a global, which is set before each batch."""

    def __init__(self, bench: Any, name: str, one: Any) -> None:
        self.name, self.pid = name, one.pid
        self._bench, self._token, self._api = bench, bench.TOKEN, one.api()

    def batch(self, ask: Ask, took: Took, at_least: int, batch_s: float) -> None:
        self._bench.TOKEN = self._token
        cpu_s, began_s = self._bench.proc_cpu(self.pid), time.monotonic()
        for count in range(BATCH_ASKED_MAX):
            if count >= at_least and time.monotonic() - began_s > batch_s:
                break
            path, arguments = ask(len(took.ms) + 1)  # The first, 0, was the warm-up.
            seconds, body = self._api.get(path, **arguments)
            took.ms.append(1_000 * seconds)
            took.answer_bytes = len(body)
        took.cpu_s += self._bench.proc_cpu(self.pid) - cpu_s

    def warm(self, ask: Ask) -> int:
        """How many series the first answer has."""
        self._bench.TOKEN = self._token
        path, arguments = ask(0)
        found = json.loads(self._api.get(path, **arguments)[1])["data"]
        return len(found["result"] if isinstance(found, dict) else found)


def run(plan: Plan) -> Iterator[Figure]:
    bench = load("bench")
    end_s = bench.Devops(1, 1).t_end  # Of all peers the same.
    conditions = machine() | {
        "protocol": PROTOCOL,
        "devops": f"{plan.hosts * bench.NM:,} series x {plan.steps} steps of 10 s",
        **{family.metric: f"{len(family.labels):,} series x {family.steps:,} steps" for family in plan.families},
        "flushed": plan.is_flushed,
    }
    with ExitStack() as stack:
        asked = []
        for name in peer.speaking(plan.peers, PROTOCOL):
            one = stack.enter_context(peer.running(name, PROTOCOL))
            _fill(bench, name, one, plan, end_s)
            asked.append(Asked(bench, name, one))
        for query, ask in _queries(bench, plan, end_s).items():
            began_s, busy_s = time.monotonic(), bench.machine_busy()
            took = _took(query, ask, asked, plan)
            used_s = sum(one.cpu_s for one in took.values())
            others = (bench.machine_busy() - busy_s - used_s) / (time.monotonic() - began_s)
            here = conditions | {"others_cores": round(others, 2), "load": round(os.getloadavg()[0], 1)}
            yield from _figures(took, here, ask)


def _fill(bench: Any, name: str, one: Any, plan: Plan, end_s: int) -> None:
    """Send everything, count it by query, and have it written to blocks."""
    work = bench.Devops(plan.hosts, plan.steps, t_end=end_s)
    families = plan.families
    wanted = {"devops": work.samples, **{family.metric: family.samples_count for family in families}}
    peer.told(f"{name}: {sum(wanted.values()):,} samples by {PROTOCOL}")
    target, head = ("127.0.0.1", one.ports[PROTOCOL]), bench.post_head(PROTOCOL, one.path(PROTOCOL))
    took_s, sent, _, _ = bench.blast(target, [history.in_time_order(bench, work, families)], head, SEND_MAX_S)
    dialect, api = bench.DIALECTS[one.dialect(PROTOCOL)](), one.api()
    until_s, found = time.monotonic() + 30, dict[str, int]()
    while found != wanted and time.monotonic() < until_s:  # A peer may show what it has taken a little later.
        found = {"devops": dialect.count(api, work)}
        found |= {family.metric: _count(api, family, end_s) for family in families}
    if found != wanted:
        raise SystemExit(f"{name}: {found} of {wanted} samples found by query: {sent}")
    peer.told(f"{name}: taken in {took_s:.0f} s")
    if plan.is_flushed:
        one.flush()


def _count(api: Any, family: history.Family, end_s: int) -> int:
    query = f"sum(count_over_time({family.metric}[{family.span_s}s]))"
    found = json.loads(api.get("/api/v1/query", query=query, time=end_s, nocache=1)[1])["data"]["result"]
    return int(float(found[0]["value"][1])) if found else 0


def _queries(bench: Any, plan: Plan, end_s: int) -> dict[str, Ask]:
    """By name; Q1 to Q5 are the generator's own."""
    work = bench.Devops(plan.hosts, plan.steps, t_end=end_s)
    counters, histograms, lines = (family.metric for family in plan.families)

    def range_(expression: str, span_s: int, step_s: int) -> Ask:
        times = {"start": end_s - span_s, "end": end_s, "step": step_s, "nocache": 1}
        return lambda _: ("/api/v1/query_range", {"query": expression, **times})

    found: dict[str, Ask] = dict(bench.PromQL().queries(work))
    found["rate"] = range_(f"sum by (dc) (rate({counters}[5m]))", 3_600 * plan.counter_hours, 300)
    found["quantile"] = range_(f"histogram_quantile(0.99, rate({histograms}[5m]))", 3_600 * plan.histogram_hours, 300)
    found["lines"] = range_(lines, 15 * (plan.line_steps - 1), 15)
    if unknown := [name for name in plan.only if name not in found]:
        raise SystemExit(f"no query is called {', '.join(unknown)}; there are {', '.join(found)}")
    return {name: ask for name, ask in found.items() if not plan.only or name in plan.only}


def _took(query: str, ask: Ask, asked: list[Asked], plan: Plan) -> dict[str, Took]:
    peer.told(f"{query}, {plan.rounds} times or more")
    took = {one.name: Took(query=query, series_count=one.warm(ask)) for one in asked}
    if len(counts := {one.series_count for one in took.values()}) != 1 or counts == {0}:
        raise SystemExit(f"{query}: the peers do not answer the same series: {took}")
    share = -(-plan.rounds // BATCH_COUNT)
    for _ in range(BATCH_COUNT):
        for one in asked:
            mine = took[one.name]
            is_slow = sum(mine.ms) > 1_000 * CAP_S
            one.batch(ask, mine, 1 if is_slow else share, plan.batch_s)
    return took


def _figures(took: dict[str, Took], conditions: dict[str, Any], ask: Ask) -> Iterator[Figure]:
    path, arguments = ask(0)
    for name, one in took.items():
        here = conditions | {
            "peer": name,
            "asked": len(one.ms),
            "p95_ms": round(float(np.percentile(one.ms, 95)), 2),
            "series": one.series_count,
            "answer_bytes": one.answer_bytes,
            "path": path,
            "arguments": arguments,
        }
        for what, value in (
            ("p50", float(np.percentile(one.ms, 50))),
            ("CPU of the tree a query", 1_000 * one.cpu_s / len(one.ms)),
        ):
            yield Figure(
                bench="query", metric=f"{name}: {one.query} {what}", value=round(value, 2), unit="ms", conditions=here
            )

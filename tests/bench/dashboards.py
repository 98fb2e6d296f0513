"""Dashboards that refresh while samples come in at a pace: how long panels take, and acknowledgements beside them.

Each dashboard asks all its panels at once, over a few connections, every so often; their times go on with the samples.
The samples are of the devops workload, ten seconds from step to step, and come faster than that: at 1 M a second of
100,000 series an hour of the workload passes in 36 s, so that hardly anything of an answer can be used again.
"""

from __future__ import annotations

import gzip
import http.client
import json
import threading
import time
import urllib.parse
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import psutil

from tests.bench import peer
from tests.bench.figure import Figure, machine
from tests.bench.generator import load
from tests.bench.panels import Panel, dashboard
from tests.bench.sender import Load, Sender, Sent
from tests.bench.tree import usage

CONNECTIONS_COUNT = 4  # Of one dashboard; a browser has six.
TIMEOUT_S = 60.0
SHOWN_S = 30.0  # A peer may show what it has taken a little later.


@dataclass(frozen=True, kw_only=True)
class Plan:
    protocol: str = "arrow"
    hosts: int = 1_000  # Of 100 series each.
    rate_per_s: int = 1_000_000
    seconds: float = 60.0
    prefill_steps: int = 360  # Ten seconds apart, sent before the clock starts: what the first panels look back on.
    dashboards: int = 20
    refresh_s: float = 10.0
    peers: Sequence[str] = (peer.HENGE,)

    def quick(self) -> Plan:
        """The same at sizes that take seconds."""
        return replace(self, hosts=20, rate_per_s=50_000, seconds=3.0, prefill_steps=100, dashboards=3, refresh_s=1.0)

    @property
    def prefill_count(self) -> int:
        return self.prefill_steps * self.hosts * load("bench").NM

    @property
    def samples_count(self) -> int:
        return self.prefill_count + int(self.rate_per_s * self.seconds)


@dataclass
class Seen:
    """What the dashboards saw. Lists grow from several threads, which a list allows."""

    panel_s: list[tuple[str, float]] = field(default_factory=list)
    dashboard_s: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)


def run(plan: Plan) -> Iterator[Figure]:
    names = peer.speaking(plan.peers, plan.protocol)
    refused: Counter[str] = Counter()
    for name in names:
        seen, sent, cpu_s, others_cores = _one(name, plan)
        yield from _figures(name, plan, seen, sent, cpu_s, others_cores)
        refused += seen.refused
    if refused:
        raise SystemExit(f"panels without an answer: {dict(refused)}")


def _one(name: str, plan: Plan) -> tuple[Seen, Sent, dict[str, float], float]:
    bench = load("bench")
    with peer.running(name, plan.protocol) as one:
        what = Load(
            protocol=plan.protocol,
            hosts=plan.hosts,
            samples_count=plan.samples_count,
            target=("127.0.0.1", one.ports[plan.protocol]),
            path=one.path(plan.protocol),
            token=bench.TOKEN,
        )
        with Sender(what) as sender:
            peer.told(f"{name}: {plan.prefill_count:,} samples first")
            sender.start(samples_count=plan.prefill_count)
            before = sender.result()
            peer.told(f"{name}: {plan.dashboards} dashboards, {plan.rate_per_s:,} samples/s, for {plan.seconds:.0f} s")
            names = getattr(one, "processes", {})
            cpu_s, busy_s = usage(one.pid, names).cpu_s, bench.machine_busy()
            own_s = sum(psutil.Process().cpu_times()[:2])
            sender.start(samples_per_s=plan.rate_per_s, seconds=plan.seconds)
            seen = _poll(bench, one, plan, sender)
            sent = sender.result()
        used_s = {of: after_s - cpu_s.get(of, 0.0) for of, after_s in usage(one.pid, names).cpu_s.items()}
        own_s = sum(psutil.Process().cpu_times()[:2]) - own_s + sent.cpu_s
        others_cores = (bench.machine_busy() - busy_s - sum(used_s.values()) - own_s) / plan.seconds
        _check(bench, name, one, plan, [before, sent])
    return seen, sent, used_s, others_cores


def _poll(bench: Any, one: Any, plan: Plan, sender: Sender) -> Seen:
    seen, until_s = Seen(), time.monotonic() + plan.seconds
    api = one.api()
    threads = [
        threading.Thread(
            target=_Dashboard(dashboard(bench, plan.hosts, number), api, bench.TOKEN, sender, seen).refresh_until,
            args=(until_s, plan.refresh_s, number / plan.dashboards),
        )
        for number in range(plan.dashboards)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


class _Dashboard:
    """One dashboard in one browser."""

    def __init__(self, panels: list[Panel], api: Any, token: str, sender: Sender, seen: Seen) -> None:
        self._panels, self._sender, self._seen = panels, sender, seen
        self._netloc, self._prefix = api.netloc, api.prefix
        self._headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept-Encoding": "gzip"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._of_thread = threading.local()

    def refresh_until(self, until_s: float, refresh_s: float, share: float) -> None:
        """share: of the interval, that passes before the first time."""
        due_s = time.monotonic() + share * refresh_s
        with ThreadPoolExecutor(CONNECTIONS_COUNT) as connections:
            while due_s < until_s:
                time.sleep(max(0.0, due_s - time.monotonic()))
                began_s, now_s = time.perf_counter(), self._sender.reached_s
                list(connections.map(lambda panel, now_s=now_s: self._ask(panel, now_s), self._panels))
                self._seen.dashboard_s.append(time.perf_counter() - began_s)
                due_s = max(due_s + refresh_s, time.monotonic())

    def _ask(self, panel: Panel, now_s: int) -> None:
        body = urllib.parse.urlencode(panel.arguments(now_s))
        connection = self._connection()
        began_s = time.perf_counter()
        try:
            connection.request("POST", self._prefix + panel.path, body, self._headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self._seen.refused[f"{panel.name}: {type(error).__name__}"] += 1
            return
        self._seen.panel_s.append((panel.name, time.perf_counter() - began_s))
        if answer.status >= 300:
            self._seen.refused[f"{panel.name}: HTTP {answer.status}"] += 1
        elif not _series_count(content, answer.getheader("Content-Encoding")):
            self._seen.empty.append(panel.name)

    def _connection(self) -> http.client.HTTPConnection:
        found: http.client.HTTPConnection | None = getattr(self._of_thread, "connection", None)
        if found is None:
            found = self._of_thread.connection = http.client.HTTPConnection(self._netloc, timeout=TIMEOUT_S)
        return found


def _series_count(content: bytes, encoding: str | None) -> int:
    plain = gzip.decompress(content) if encoding == "gzip" else content
    return len(json.loads(plain)["data"]["result"])


def _check(bench: Any, name: str, one: Any, plan: Plan, sent: list[Sent]) -> None:
    """Count what is there by query. Raises: SystemExit, if it is not what was acknowledged."""
    if errors := [part.last_error for part in sent if part.errors_count]:
        raise SystemExit(f"{name}: the sender met errors: {errors}")
    acked_count = sum(part.acked_count for part in sent)
    steps = -(-plan.samples_count // (plan.hosts * bench.NM))
    work = bench.Devops(plan.hosts, steps + 1_000)  # Far enough back; nothing is older, and nothing is newer than now.
    dialect, api = bench.DIALECTS["promql"](), one.api()
    until_s, found = time.monotonic() + SHOWN_S, -1
    while found != acked_count and time.monotonic() < until_s:
        found = dialect.count(api, work)
    if found != acked_count:
        raise SystemExit(f"{name}: {found:,} of {acked_count:,} acknowledged samples found by query")


def _figures(
    name: str, plan: Plan, seen: Seen, sent: Sent, cpu_s: dict[str, float], others_cores: float
) -> Iterator[Figure]:
    of_panel: dict[str, list[float]] = defaultdict(list)
    for panel, took_s in seen.panel_s:
        of_panel[panel].append(1_000 * took_s)
    panel_ms = np.array([took_ms for one in of_panel.values() for took_ms in one])
    ack_ms = 1_000 * np.array(sent.took_s)
    conditions = machine() | {
        "peer": name,
        "protocol": plan.protocol,
        "series": plan.hosts * load("bench").NM,
        "seconds": plan.seconds,
        "samples_per_s_wanted": plan.rate_per_s,
        "prefilled_samples": plan.prefill_count,
        "acknowledgements": len(sent.took_s),
        "retries": sent.retries_count,
        "dashboards": plan.dashboards,
        "refresh_s": plan.refresh_s,
        "refreshes": len(seen.dashboard_s),
        "panels": int(panel_ms.size),
        "empty_panels": Counter(seen.empty),
        "panel_p95_ms": {panel: round(float(np.percentile(one, 95)), 1) for panel, one in of_panel.items()},
        "others_cores": round(others_cores, 2),
    }
    figures = [
        *((f"panel p{share}", float(np.percentile(panel_ms, share)), "ms") for share in (50, 95, 99)),
        ("whole dashboard p95", 1_000 * float(np.percentile(seen.dashboard_s, 95)), "ms"),
        ("panels without an answer", float(seen.refused.total()), "panels"),
        ("acknowledgement p50", float(np.percentile(ack_ms, 50)), "ms"),
        ("acknowledgement p99", float(np.percentile(ack_ms, 99)), "ms"),
        ("samples acknowledged", sent.acked_count / max(sent.seconds, plan.seconds), "samples/s"),
        ("CPU of the tree", sum(cpu_s.values()) / plan.seconds, "cores"),
        *((f"CPU of {of}", used_s / plan.seconds, "cores") for of, used_s in cpu_s.items() if len(cpu_s) > 1),
    ]
    for metric, value, unit in figures:
        yield Figure(
            bench="dashboards", metric=f"{name}: {metric}", value=round(value, 3), unit=unit, conditions=conditions
        )

"""The hour itself: who sends, who looks, what is reloaded, and what is told of it.

Every reload comes with a changed setting of queries, so that `query` and `web` are replaced each time; the others run
for the whole hour, for a leak shows in them alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench import peer
from tests.bench.figure import Figure, machine
from tests.bench.generator import load
from tests.bench.sender import Load, Sender, Sent
from tests.endtoend.calling import Caller
from tests.running import CHECKOUT, Appliance
from tests.soak.browsers import polling
from tests.soak.looks import LOOK_EVERY_S, Look, Looker, slope_percent_per_h

ARROW_PATH = "/api/v1/write/arrow"
INTERVAL_S = 10
STEP_S = 10  # Of the workload, from sample to sample.
MARGIN_STEPS = 100
# What is promised: figure → the greatest value that keeps the promise.
LIMITS = {
    "memory: slope": 1.0,
    "errors in the log": 0.0,
    "latest start of a check": 1_000.0,
    "samples acknowledged and not found": 0.0,
    "requests of browsers without an answer": 0.0,
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    seconds: float = 3_600.0
    warm_up_s: float = 900.0  # Until caches, heads and pools are full.
    rate_per_s: int = 200_000
    hosts: int = 1_000  # Of 100 series each; at this rate two steps of the workload pass in a second.
    checks: int = 1_000
    query_checks: int = 50
    browsers: int = 20
    reload_every_s: float = 300.0


def run(plan: Plan) -> Iterator[Figure]:
    bench = load("bench")
    samples_count = int(plan.rate_per_s * plan.seconds)
    with tempfile.TemporaryDirectory() as folder, Appliance(Path(folder)) as appliance, ExitStack() as open_:
        host, port = appliance.url.removeprefix("http://").rsplit(":", 1)
        bench.TOKEN = appliance.token
        what = Load(
            protocol="arrow",
            hosts=plan.hosts,
            samples_count=samples_count + MARGIN_STEPS * plan.hosts * bench.NM,
            target=(host, int(port)),
            path=ARROW_PATH,
            token=appliance.token,
        )
        sender = open_.enter_context(Sender(what))
        _make_checks(appliance, plan, open_.enter_context(_target()))
        peer.told(
            f"{plan.rate_per_s:,} samples/s, {plan.checks} checks, {plan.browsers} browsers, {plan.seconds:.0f} s"
        )
        with polling(appliance, plan.browsers) as browsers:
            sender.start(samples_per_s=plan.rate_per_s, seconds=plan.seconds)
            looks, reloads_s = _watched(appliance, plan)
            sent = sender.result()
        lost_count = _lost_count(bench, appliance, what, sent)
        errors = _lines(appliance.data_dir, ("error", "critical"))
        warnings = _lines(appliance.data_dir, ("warning",))
    yield from _figures(plan, looks, reloads_s, sent, browsers, lost_count, errors, warnings)


@contextmanager
def _target() -> Iterator[int]:
    """What the checks look at, as a process of its own → its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.targets"], stdout=subprocess.PIPE, text=True, cwd=CHECKOUT
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline().split()[0])
    finally:
        process.kill()
        process.wait()


def _make_checks(appliance: Appliance, plan: Plan, port: int) -> None:
    http = [
        {"kind": "http", "name": f"http {number}", "options": {"url": f"http://127.0.0.1:{port}/{number}"}}
        for number in range(plan.checks - plan.query_checks)
    ]
    queries = [
        {
            "kind": "query",
            "name": f"query {number}",
            "options": {"expression": f'avg(last_over_time(cpu_user{{host=~".*{number:02}"}}[1d]))', "critical": "< 0"},
        }
        for number in range(plan.query_checks)
    ]
    for one in http + queries:
        status, answer = appliance.call("POST", "/api/v1/checks", one | {"interval_s": INTERVAL_S, "timeout_s": 5})
        assert status == 201, answer


def _watched(appliance: Appliance, plan: Plan) -> tuple[list[Look], list[float]]:
    """Look every ten seconds and reload in between, until the time is over → looks, seconds that each reload took."""
    looks: list[Look] = []
    reloads_s: list[float] = []
    began_s = time.monotonic()
    looker = Looker(appliance.data_dir, appliance.ready["pid"])
    while (passed_s := time.monotonic() - began_s) < plan.seconds:
        if passed_s >= plan.reload_every_s * (len(reloads_s) + 1):
            reloads_s.append(_reload(appliance, len(reloads_s)))
        if (look := looker.look(appliance.ready["processes"])) is not None:
            looks.append(look)
            print(json.dumps({"at_s": look.at_s, "pss_mib": sum(look.pss_mib.values())}), file=sys.stderr, flush=True)
        time.sleep(max(0.0, LOOK_EVERY_S - (time.monotonic() - began_s) % LOOK_EVERY_S))
    looker.close()
    return looks, reloads_s


def _reload(appliance: Appliance, number: int) -> float:
    (appliance.data_dir / "henge.toml").write_text(f'[query]\ntimeout = "{60 + number}s"\n')
    began_s = time.monotonic()
    appliance.henge("reload", timeout_s=120)
    return round(time.monotonic() - began_s, 2)


def _lost_count(bench: Any, appliance: Appliance, what: Load, sent: Sent) -> int:
    steps = -(-what.samples_count // (what.hosts * bench.NM)) + MARGIN_STEPS
    work = bench.Devops(what.hosts, steps + int(sent.seconds) // STEP_S)  # It ends now, and not when the soak began.
    found: int = bench.DIALECTS["promql"]().count(bench.Api(appliance.url + "/prometheus", 120), work)
    return sent.acked_count - found


def _lines(data_dir: Path, levels: Sequence[str]) -> list[str]:
    files = sorted((data_dir / "log").glob("henge.log*"))
    lines = (json.loads(line) for file in files for line in file.read_text().splitlines())
    return [f"{line['process']}: {line['text']}" for line in lines if line["level"] in levels]


def _figures(
    plan: Plan,
    looks: list[Look],
    reloads_s: list[float],
    sent: Sent,
    browsers: list[Caller],
    lost_count: int,
    errors: list[str],
    warnings: list[str],
) -> Iterator[Figure]:
    settled = [look for look in looks if look.at_s >= plan.warm_up_s]
    at_s = np.array([look.at_s for look in settled])
    pss = np.array([sum(look.pss_mib.values()) for look in settled])
    anon = np.array([sum(look.anon_mib.values()) for look in settled])
    failures = [failure for browser in browsers for failure in browser.failures]
    conditions = machine() | {
        "seconds": plan.seconds,
        "warm_up_s": plan.warm_up_s,
        "samples_per_s_wanted": plan.rate_per_s,
        "series": plan.hosts * load("bench").NM,
        "checks": plan.checks,
        "query_checks": plan.query_checks,
        "browsers": plan.browsers,
        "reloads_s": reloads_s,
        "retries": sent.retries_count,
        "sender_errors": sent.last_error,
        "polls": sum(browser.answered_count for browser in browsers),
        "asked_again": sum(browser.again_count for browser in browsers),
        "slope_of_processes_percent_per_h": _slopes(settled),
        "errors": errors[:20],
        "warnings": warnings[:20],
        "failures": failures[:20],
    }
    for metric, value, unit in (
        ("memory: slope", slope_percent_per_h(at_s, anon), "%/h"),
        ("memory with pages of files: slope", slope_percent_per_h(at_s, pss), "%/h"),
        ("memory: at the end of the warm-up", float(np.median(anon[:6])), "MiB"),
        ("memory: at the end", float(np.median(anon[-6:])), "MiB"),
        ("samples acknowledged", sent.acked_count / max(sent.seconds, plan.seconds), "samples/s"),
        ("samples acknowledged and not found", float(lost_count), "samples"),
        ("acknowledgement p99", 1_000 * float(np.percentile(sent.took_s, 99)), "ms"),
        ("latest start of a check", max(look.late_max_ms for look in looks[1:]), "ms"),
        ("runs of checks", (looks[-1].run_count - looks[0].run_count) / (looks[-1].at_s - looks[0].at_s), "1/s"),
        ("requests of browsers without an answer", float(len(failures)), "requests"),
        ("slowest poll", 1_000 * max(browser.longest_s for browser in browsers), "ms"),
        ("errors in the log", float(len(errors)), "lines"),
        ("reloads", float(len(reloads_s)), "reloads"),
    ):
        yield Figure(bench="soak", metric=metric, value=round(value, 3), unit=unit, conditions=conditions)
        conditions = {"commit": conditions["commit"], "day": conditions["day"]}  # The long ones stand once.
    yield Figure(
        bench="soak",
        metric="looks",
        value=len(looks),
        unit="looks",
        conditions={
            "s_pssMiB_anonMiB_headMiB_blocks_blockMiB_lateMs": [
                [
                    look.at_s,
                    round(sum(look.pss_mib.values())),
                    round(sum(look.anon_mib.values())),
                    round(look.head_mib),
                    look.block_count,
                    look.block_mib,
                    look.late_max_ms,
                ]
                for look in looks[::6]
            ]
        },
    )


def _slopes(looks: list[Look]) -> dict[str, float]:
    found = {}
    for name in sorted({name for look in looks for name in look.anon_mib}):
        having = [look for look in looks if name in look.anon_mib]
        at_s, value = (
            np.array(column) for column in zip(*((one.at_s, one.anon_mib[name]) for one in having), strict=True)
        )
        found[name] = round(slope_percent_per_h(at_s, value), 2)
    return found


def missed(figures: Iterable[Figure]) -> list[str]:
    """What was promised and is not so, in words."""
    return [
        f"{one.metric}: {one.value:g} {one.unit}, at most {LIMITS[one.metric]:g}"
        for one in figures
        if one.metric in LIMITS and one.value > LIMITS[one.metric]
    ]

"""How long renders take, beside the real graphite-web that reads whisper files of the same points in the same run.

The files are written once and brought into the appliance by `henge import whisper`. Both answer over HTTP in turn, and
their answers must hold the same numbers. graphite-web answers from one process with its caches off.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import numpy as np
import psutil

from tests.bench import peer
from tests.bench.figure import Figure, machine
from tests.bench.tree import usage
from tests.graphite_web import MISSING, GraphiteWeb, fetched, python
from tests.running import Appliance
from tests.tsdb.importing.whisper_files import POINT, file_of, write_file
from tsdb.sample import Float64s

STEP_S = 10
POINTS_MAX = 1_000
REDUCED = (
    "sumSeries(movingAverage(bench.*.x,10))",
    "averageSeries(derivative(bench.*.x))",
    "maxSeries(scale(bench.*.x,8))",
)
EVERY = "bench.*.x"
# Older points of every file, two hours of them: whisper gives none that are older than a ring is long.
MORE_COUNT = 720
IMPORT_S_MAX = ANSWER_S_MAX = 900
RELATIVE_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Case:
    name: str
    targets: tuple[str, ...]
    points_max: int | None

    def path(self, start_s: int, end_s: int) -> str:
        arguments = [("target", one) for one in self.targets]
        arguments += [("from", str(start_s)), ("until", str(end_s)), ("format", "json")]
        if self.points_max is not None:
            arguments.append(("maxDataPoints", str(self.points_max)))
        return "/render?" + urlencode(arguments)


CASES = (Case("3 targets reduced", REDUCED, POINTS_MAX), Case("all points", (EVERY,), None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A program that answers: GET of a path, and the CPU seconds that it has used."""

    name: str
    get: Callable[[str], bytes]
    cpu_s: Callable[[], float]


@dataclass(kw_only=True)
class Took:
    """What one program took for one case, the median of some rounds, and its last answer."""

    ms: float
    cpu_s: float
    body: bytes


def run(*, series_count: int, hours: int, rounds: int, is_beside: bool) -> Iterator[Figure]:
    """is_beside: whether graphite-web is measured too. Exits where it is not installed."""
    if is_beside and python() is None:
        raise SystemExit(MISSING)
    points_count = 3_600 * hours // STEP_S
    end_s = int(time.time()) // STEP_S * STEP_S - 60
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        work = Path(folder)
        _write(work / "tree", series_count, points_count + MORE_COUNT, end_s)
        programs = [_henge(stack.enter_context(Appliance(work)), work / "tree")]
        if is_beside:
            programs.append(_graphite_web(stack.enter_context(GraphiteWeb(work / "web", whisper=work / "tree"))))
        conditions = machine() | {"series": series_count, "points": series_count * points_count, "rounds": rounds}
        for case in CASES:
            peer.told(case.name)
            path = case.path(end_s - STEP_S * points_count, end_s)
            took = {one.name: _took(one, path, rounds) for one in programs}
            conditions["bytes"] = {name: len(one.body) for name, one in took.items()}
            compared_count = _compared([one.body for one in took.values()])
            yield from _figures(case, took, conditions | {"numbers_compared": compared_count})


def _write(tree: Path, series_count: int, points_count: int, end_s: int) -> None:
    rng = np.random.default_rng(1)
    for number in range(series_count):
        points = np.zeros(points_count, POINT)
        points["time"] = end_s - STEP_S * np.arange(points_count)[::-1]
        points["value"] = np.round(50 + np.cumsum(rng.normal(0, 1, points_count)), 2)
        write_file(tree, f"bench/m{number}/x.wsp", file_of([(STEP_S, points.tobytes())]))


def _henge(appliance: Appliance, tree: Path) -> Asked:
    appliance.henge("import", "whisper", str(tree), timeout_s=IMPORT_S_MAX)
    pid, names = appliance.ready["pid"], appliance.ready["processes"]
    headers = {"Authorization": f"Bearer {appliance.token}"}
    get = partial(fetched, f"{appliance.url}/graphite", headers=headers, timeout_s=ANSWER_S_MAX)
    return Asked(name=peer.HENGE, get=lambda path: get(path)[1], cpu_s=lambda: usage(pid, names).cpu_total_s)


def _graphite_web(running: GraphiteWeb) -> Asked:
    process = psutil.Process(running.pid)
    return Asked(
        name="graphite-web",
        get=lambda path: running.get(path, timeout_s=ANSWER_S_MAX)[1],
        cpu_s=lambda: sum(process.cpu_times()[:2]),
    )


def _took(program: Asked, path: str, rounds: int) -> Took:
    body, ms = b"", []
    before_s = program.cpu_s()
    for _ in range(rounds):
        began_s = time.monotonic()
        body = program.get(path)
        ms.append(1_000 * (time.monotonic() - began_s))
    return Took(ms=statistics.median(ms), cpu_s=(program.cpu_s() - before_s) / rounds, body=body)


def _compared(bodies: Sequence[bytes]) -> int:
    """How many numbers every answer has alike. Exits at a difference."""
    first, *others = (_read(body) for body in bodies)
    for other in others:
        if first.keys() != other.keys():
            raise SystemExit(f"other series: {sorted(first.keys() ^ other.keys())[:5]}")
        for name, points in first.items():
            if points.shape != other[name].shape or not np.allclose(
                points, other[name], rtol=RELATIVE_TOLERANCE, atol=1e-9, equal_nan=True
            ):
                raise SystemExit(f"other numbers of {name[:80]}: {points[:3]} and {other[name][:3]}")
    return sum(points.size for points in first.values()) if others else 0


def _read(body: bytes) -> dict[str, Float64s]:
    return {one["target"]: np.array(one["datapoints"], np.float64) for one in msgspec.json.decode(body)}


def _figures(case: Case, took: Mapping[str, Took], conditions: dict[str, Any]) -> Iterator[Figure]:
    for name, one in took.items():
        for what, value, unit in ((f"{name} p50", one.ms, "ms"), (f"{name} CPU", one.cpu_s, "s")):
            yield Figure(
                bench="render", metric=f"{case.name}: {what}", value=round(value, 3), unit=unit, conditions=conditions
            )
    if (theirs := took.get("graphite-web")) is not None:
        factor = theirs.ms / took[peer.HENGE].ms
        metric = f"{case.name}: so many times as fast as graphite-web"
        yield Figure(bench="render", metric=metric, value=round(factor, 2), unit="x", conditions=conditions)

"""One look at a running appliance: the supervisor's table, the metrics of each process, the kernel's account of it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from appliance.bus import BusError, Client
from appliance.commands.running_appliance import Status
from appliance.metrics import Sample

# A process that is busy for longer is shown without figures; the picture does not wait for it.
ANSWER_S = 0.8
# Of the supervisor's table. A tree of more is one of a test.
PROCESSES_COUNT_MAX = 32

Labels = tuple[tuple[str, str], ...]
Key = tuple[str, str, Labels]  # The process, the metric, its labels by name.


@dataclass(frozen=True, slots=True)
class Usage:
    """What the kernel has counted for a process."""

    cpu_s: float
    rss_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    at_s: float  # Monotonic.
    now_ms: int
    status: Status | None  # None: the supervisor does not answer.
    values: Mapping[Key, float] = field(default_factory=dict)
    usage_by_pid: Mapping[int, Usage] = field(default_factory=dict)
    answered: frozenset[str] = frozenset()
    silent: tuple[str, ...] = ()  # Processes that are up and did not answer in time.


class Looker:
    """Looks at one appliance, with the connections of the look before."""

    def __init__(self, run_dir: Path, metrics: Iterable[str]) -> None:
        self._run_dir = run_dir
        self._metrics = frozenset(metrics)
        self._client_by_name: dict[str, Client] = {}
        self._pool = ThreadPoolExecutor(PROCESSES_COUNT_MAX, thread_name_prefix="look")

    def look(self) -> Look:
        """Within two times ANSWER_S, whatever hangs."""
        status = self._status()
        rows = status.processes[:PROCESSES_COUNT_MAX] if status else []
        names = [row.name for row in rows if row.state == "up"] + ["supervisor"] * (status is not None)
        answers = dict(zip(names, self._pool.map(self._samples, names), strict=True))
        pids = [row.pid for row in rows if row.pid] + ([status.pid] if status else [])
        return Look(
            at_s=time.monotonic(),
            now_ms=time.time_ns() // 1_000_000,
            status=status,
            values={
                (name, sample.name, tuple(sorted(sample.labels.items()))): sample.value
                for name, samples in answers.items()
                for sample in samples or ()
                if sample.name in self._metrics
            },
            usage_by_pid={pid: usage for pid in pids if (usage := usage_of(pid)) is not None},
            answered=frozenset(name for name, samples in answers.items() if samples is not None),
            silent=tuple(name for name, samples in answers.items() if samples is None),
        )

    def close(self) -> None:
        self._pool.shutdown()
        for client in self._client_by_name.values():
            client.close()

    def _client(self, name: str) -> Client:
        return self._client_by_name.setdefault(name, Client(self._run_dir, name))

    def _status(self) -> Status | None:
        with contextlib.suppress(BusError, msgspec.MsgspecError):
            status: Status = self._client("supervisor").call("status", timeout_s=ANSWER_S, type=Status).body
            return status
        return None

    def _samples(self, name: str) -> list[Sample] | None:
        with contextlib.suppress(BusError, msgspec.MsgspecError):
            samples: list[Sample] = self._client(name).call("metrics", timeout_s=ANSWER_S, type=list[Sample]).body
            return samples
        return None


def usage_of(pid: int) -> Usage | None:
    """From /proc/PID/stat, see proc(5); None, if there is no such process any more."""
    try:
        return usage_from(Path(f"/proc/{pid}/stat").read_text(errors="replace"))
    except OSError:
        return None


def usage_from(stat: str) -> Usage:
    """The name may hold blanks and brackets: what counts begins behind the last bracket, with field 3."""
    fields = stat.rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])  # utime and stime, fields 14 and 15.
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))

"""The appliance that is examined: its settings, and what its processes say when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from appliance.bus import BusError, Client
from appliance.commands.running_appliance import Status
from appliance.config import Config
from appliance.lock import running_pid

ANSWER_S = 2.0


@dataclass(frozen=True, slots=True)
class Patient:
    config: Config
    pid: int | None = None  # Of its supervisor; None: no appliance runs on the folder.
    status: Status | None = None  # None also when the supervisor does not answer.
    stats: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)  # By process, of those that answer.

    @property
    def pids(self) -> frozenset[int]:
        """Of the supervisor and of its children."""
        children = {row.pid for row in self.status.processes if row.pid} if self.status else set()
        return frozenset(children | ({self.pid} if self.pid else set()))


def meet(config: Config, services: tuple[str, ...] = ("store", "intake")) -> Patient:
    """Ask what can be asked; each silent process costs ANSWER_S."""
    pid = running_pid(config.data_dir)
    if pid is None:
        return Patient(config)
    status = _answer(config, "supervisor", "status", Status)
    there = {row.name for row in status.processes if row.pid} if status else set()
    stats = {name: _answer(config, name, "stats", dict[str, Any]) for name in services if name in there}
    return Patient(config, pid, status, stats)


def _answer(config: Config, service: str, op: str, type_: Any) -> Any:
    client = Client(config.run_dir, service)
    try:
        return client.call(op, timeout_s=ANSWER_S, type=type_).body
    except (BusError, msgspec.MsgspecError, OSError):
        return None  # A silent process is a finding of appliance.doctor.tree.
    finally:
        client.close()

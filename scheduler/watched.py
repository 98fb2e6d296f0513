"""What the scheduler keeps in memory of one check."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field

from checks import forms
from checks.incidents import Incident
from checks.members import WHOLE, Member, Members
from checks.model import Check, Result, State
from checks.probes import probe
from checks.probes.options import OptionError
from checks.state import Machine, StateType


@dataclass(slots=True)
class Watched:
    """A check, its machines, its incidents that are not settled, and the run that is going on."""

    id: str
    check: Check  # Its secrets open.
    version: int
    host: str  # The label of its series.
    members: Members = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    next_run_ms: int | None = None  # As it was planned before the start of this process.
    fault: str = ""  # Why it cannot be run at all, such as a secret that does not open.
    running: asyncio.Task[Result] | None = None
    is_overdue: bool = False  # It was due again while it ran.

    @property
    def has_run(self) -> bool:
        return bool(self.members)

    @property
    def is_soft(self) -> bool:
        return any(_is_soft(member.machine) for member in self.members.values())

    @property
    def machine(self) -> Machine:
        """The one that decides how long the next run may take: the oldest soft failure, else the whole's."""
        soft = [member.machine for member in self.members.values() if _is_soft(member.machine)]
        if soft:
            return min(soft, key=lambda machine: machine.problem_since_ms or 0)
        return self.members.get(WHOLE, Member()).machine


def _is_soft(machine: Machine) -> bool:
    return machine.state is not State.OK and machine.state_type is StateType.SOFT


def host_of(check: Check) -> str:
    """The label `host`: the host part of the target, or this machine's name."""
    try:
        return probe(check.kind).target(forms.validate_options(check.kind, check.options)) or socket.gethostname()
    except OptionError:
        return socket.gethostname()

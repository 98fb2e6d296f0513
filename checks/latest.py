"""The stored latest result of a check: one document per check, which also holds the memory of its machines.

It is what pages and the API read, and what a restarted scheduler goes on from. Layout: docs/format/documents.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from checks.members import WHOLE, Member, Members, Reading, member_key
from checks.model import Perfdata, Result, State
from checks.state import Machine

INSTANCE_OUTPUT_CHARACTERS_MAX = 500  # 200 machines × 0.8 KB: a document stays far below the 1 MiB of the state file.
TRANSCRIPT_LINES_MAX = 100
TRANSCRIPT_LINE_CHARACTERS_MAX = 500


class LatestInstance(msgspec.Struct, frozen=True, kw_only=True):
    """One instance, for people and for the next start."""

    labels: dict[str, str]
    state: str
    state_type: str
    attempt: int
    since_ms: int
    output: str
    value: float | None = None
    seen_ms: int = 0
    machine: Machine = msgspec.field(default_factory=Machine)


class Latest(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a `result` document. States are words."""

    state: str
    state_type: str
    attempt: int
    output: str
    duration_s: float
    at_ms: int
    since_ms: int  # The last change of the hard state.
    next_run_ms: int | None
    late: bool = False  # This run started late, or the one before took longer than the interval.
    is_flapping: bool = False
    last_ok_ms: int | None = None
    perfdata: tuple[Perfdata, ...] = ()
    instances: tuple[LatestInstance, ...] = ()
    transcript: tuple[str, ...] = ()
    machine: Machine = msgspec.field(default_factory=Machine)


def latest_body(result: Result, reading: Reading, *, next_run_ms: int | None, late: bool) -> dict[str, Any]:
    """The document's body after a run."""
    shown = reading.shown.machine
    latest = Latest(
        state=result.state.word,
        state_type=shown.state_type.value,
        attempt=shown.attempt,
        output=result.output,
        duration_s=round(result.duration_s, 6),
        at_ms=result.at_ms,
        since_ms=shown.since_ms,
        next_run_ms=next_run_ms,
        late=late,
        is_flapping=shown.is_flapping,
        last_ok_ms=shown.ok_at_ms,
        perfdata=result.perfdata,
        instances=tuple(_instance(member) for key, member in reading.members.items() if key != WHOLE),
        transcript=tuple(line[:TRANSCRIPT_LINE_CHARACTERS_MAX] for line in result.transcript[:TRANSCRIPT_LINES_MAX]),
        machine=reading.members[WHOLE].machine,
    )
    body: dict[str, Any] = msgspec.to_builtins(latest)
    return body


def _instance(member: Member) -> LatestInstance:
    machine = member.machine
    return LatestInstance(
        labels=member.labels,
        state=machine.state.word,
        state_type=machine.state_type.value,
        attempt=machine.attempt,
        since_ms=machine.since_ms,
        output=member.output[:INSTANCE_OUTPUT_CHARACTERS_MAX],
        value=member.value,
        seen_ms=member.seen_ms,
        machine=machine,
    )


def latest_of(body: Mapping[str, Any]) -> Latest:
    """Undo latest_body. Raises: msgspec.ValidationError."""
    return msgspec.convert(body, Latest)


def members_of(latest: Latest) -> Members:
    """The machines as they stood, for a scheduler that starts again."""
    members = {WHOLE: Member(machine=latest.machine, output=latest.output, seen_ms=latest.at_ms)}
    for instance in latest.instances:
        members[member_key(instance.labels)] = Member(
            labels=instance.labels,
            machine=instance.machine,
            output=instance.output,
            value=instance.value,
            seen_ms=instance.seen_ms,
        )
    return members


def state_of(word: str) -> State:
    return State[word.upper()]

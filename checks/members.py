"""The machines of one check: one for the check as a whole, and one for each thing that it tells apart.

A `query` check has a state per label set. Label sets come and go, so there are rules for those that vanish:

- A result with instances means that the check itself works: its own machine (WHOLE) is fed OK.
- A result without any instance is about the check itself. If it is OK, everything that was a problem is OK too; if
  not, nothing is concluded about the single instances, whose machines wait.
- An instance that is missing while others are there and that was well is forgotten without a word: pods and disks
  go away every day. If it was a problem, it is fed UNKNOWN, so that a machine that dies at 95 % disk never reads as
  repaired; after VANISHED_FOR_MS it is taken as removed, and its incident ends.
- A check may say what missing data means (`no_data`); then that state is fed instead, at once and for good.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import msgspec

from checks.model import SEVERITY, Result, State
from checks.state import Machine, StateType, Step, advance

WHOLE = ""
VANISHED_FOR_MS = 3_600_000
MISSING_COUNT_MAX = 100  # So that a check keeps 200 machines at most: 100 that a result may name, and these.


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One machine, and what it was last told."""

    labels: dict[str, str] = {}
    machine: Machine = msgspec.field(default_factory=Machine)
    output: str = ""
    value: float | None = None
    seen_ms: int = 0


Members = Mapping[str, Member]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """One member's step."""

    key: str
    member: Member  # After the step.
    step: Step
    is_gone: bool = False  # It is no longer there, and leaves the members.


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A result taken in: the members that are left, and the step of each that was told something."""

    members: Members
    steps: tuple[Progress, ...]
    shown: Member  # The worst of what this result spoke of: the state of the check, as people see it.

    @property
    def is_soft(self) -> bool:
        """Whether a failure waits for its confirmation, so that the next run comes after the retry interval."""
        return any(
            member.machine.state is not State.OK and member.machine.state_type is StateType.SOFT
            for member in (progress.member for progress in self.steps)
        )


def member_key(labels: Mapping[str, str]) -> str:
    """The one text of a label set; "" for the check itself."""
    return json.dumps(dict(sorted(labels.items())), ensure_ascii=False, separators=(",", ":")) if labels else WHOLE


def take_in(members: Members, result: Result, *, max_check_attempts: int, no_data: State = State.UNKNOWN) -> Reading:
    """Feed one result to the machines that it concerns."""
    steps = tuple(_steps(members, result, max_check_attempts, no_data))
    told = {progress.key: progress for progress in steps}
    waiting = {} if _speaks_of_instances(result) else {key: member for key, member in members.items() if key != WHOLE}
    left = waiting | {key: progress.member for key, progress in told.items() if not progress.is_gone}
    spoken = [told[member_key(instance.labels)] for instance in result.instances] or [told[WHOLE]]
    shown = max((progress.member for progress in spoken), key=_badness)
    return Reading(members=left, steps=steps, shown=shown)


def _speaks_of_instances(result: Result) -> bool:
    """Whether something can be concluded about an instance that is missing."""
    return bool(result.instances) or result.state is State.OK


def _badness(member: Member) -> tuple[int, bool, int]:
    machine = member.machine
    return SEVERITY[machine.state], machine.state_type is StateType.HARD, -machine.since_ms


def _waits(member: Member) -> bool:
    return member.machine.state not in (State.OK, State.PENDING)


def _steps(members: Members, result: Result, max_check_attempts: int, no_data: State) -> Iterator[Progress]:
    def fed(
        key: str,
        labels: dict[str, str],
        state: State,
        output: str,
        value: float | None,
        *,
        is_seen: bool,
        is_gone: bool,
    ) -> Progress:
        before = members.get(key, Member())
        step = advance(
            before.machine,
            state,
            at_ms=result.at_ms,
            max_check_attempts=max_check_attempts,
            duration_s=result.duration_s,
        )
        member = Member(
            labels=labels,
            machine=step.machine,
            output=output,
            value=value,
            seen_ms=result.at_ms if is_seen else before.seen_ms,
        )
        return Progress(key=key, member=member, step=step, is_gone=is_gone)

    whole = State.OK if result.instances else result.state
    yield fed(WHOLE, {}, whole, result.output, None, is_seen=True, is_gone=False)
    seen = {WHOLE}
    for instance in result.instances:
        key = member_key(instance.labels)
        if key not in seen:
            seen.add(key)
            yield fed(
                key, instance.labels, instance.state, instance.output, instance.value, is_seen=True, is_gone=False
            )
    if not _speaks_of_instances(result):
        return
    missing = sorted((key for key in members if key not in seen), key=lambda key: -members[key].seen_ms)
    for index, key in enumerate(missing):
        member = members[key]
        state, output, is_gone = _vanished(member, result, no_data)
        if output and index >= MISSING_COUNT_MAX:
            state, output, is_gone = State.OK, f"over {MISSING_COUNT_MAX} are missing: taken as removed", True
        if output:
            yield fed(key, member.labels, state, output, None, is_seen=False, is_gone=is_gone)


def _vanished(member: Member, result: Result, no_data: State) -> tuple[State, str, bool]:
    """What a member that is no longer reported is told: state, output ("" = nothing, it is forgotten), is it gone."""
    if not result.instances:
        return State.OK, result.output or "nothing to report any more", True
    if no_data is State.OK:
        return (State.OK, "no longer reported", True) if _waits(member) else (State.OK, "", True)
    if no_data is not State.UNKNOWN:
        return no_data, "no data", False
    if not _waits(member):
        return State.OK, "", True
    missing_ms = result.at_ms - member.seen_ms
    if missing_ms >= VANISHED_FOR_MS:
        return State.OK, f"no data for {VANISHED_FOR_MS // 60_000} minutes: taken as removed", True
    known = member.output if not member.output.startswith("no data; ") else member.output.removeprefix("no data; ")
    return State.UNKNOWN, f"no data; {known}", False

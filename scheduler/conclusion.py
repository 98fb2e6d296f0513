"""What follows from one result of one check: the machines, the incidents, the messages, and what is stored. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from appliance.state.mutations import AppendEvent, Mutation, PutDocument, QueueMessage
from checks.downtimes import Downtime, is_quiet, labels_of_check
from checks.incidents import Change, Incident, close, follow, message
from checks.latest import latest_body
from checks.members import Members, Progress, Reading, take_in
from checks.model import Check, Result, State

FAILURE_KEEP_COUNT = 20
FLIP_KEEP_COUNT = 1_000  # Per check: what its page can show of a year of a restless one.
INCIDENT_EVENT_KEEP_COUNT = 200
EVENT_OUTPUT_CHARACTERS_MAX = 2_000

Incidents = Mapping[str, Incident]
"""The incidents of one check that are not settled, by the key of the member."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What else the conclusion depends on."""

    downtimes: Sequence[Downtime]
    channel_ids: Sequence[str]  # Of the check, those that are not paused.
    new_incident_id: Callable[[], str]
    new_message_id: Callable[[], str]
    now_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    reading: Reading
    incidents: Incidents
    result: PutDocument
    events: Sequence[AppendEvent]  # Texts that can wait for the next transaction.
    urgent: Sequence[Mutation]  # With anything here, all of it goes into one transaction, now.
    message_count: int = 0

    @property
    def mutations(self) -> list[Mutation]:
        return [self.result, *self.events, *self.urgent]


@dataclass(slots=True)
class _Draft:
    events: list[AppendEvent] = field(default_factory=list)
    urgent: list[Mutation] = field(default_factory=list)
    incidents: dict[str, Incident] = field(default_factory=dict)
    message_count: int = 0


def conclude(
    *,
    check_id: str,
    check: Check,
    members: Members,
    incidents: Incidents,
    result: Result,
    next_run_ms: int | None,
    late: bool,
    around: Surroundings,
) -> Conclusion:
    """Take in a result.

    next_run_ms: when the check runs next if this result is not a soft failure; see with_next_run.
    """
    reading = take_in(members, result, max_check_attempts=check.max_check_attempts, no_data=no_data_of(check.options))
    draft = _Draft(incidents=dict(incidents))
    for progress in reading.steps:
        _conclude_step(draft, check_id, check, result, progress, around)
    if result.state is not State.OK:
        draft.events.append(_failure(check_id, result, reading))
    body = latest_body(result, reading, next_run_ms=next_run_ms, late=late)
    return Conclusion(
        reading=reading,
        incidents=draft.incidents,
        result=PutDocument(kind="result", id=check_id, body=body, audited=False),
        events=draft.events,
        urgent=draft.urgent,
        message_count=draft.message_count,
    )


def _conclude_step(
    draft: _Draft, check_id: str, check: Check, result: Result, progress: Progress, around: Surroundings
) -> None:
    member, step = progress.member, progress.step
    labels = labels_of_check(check, member.labels)
    change = follow(
        draft.incidents.get(progress.key),
        step.machine,
        check_id=check_id,
        check=check,
        instance=member.labels,
        output=member.output,
        at_ms=result.at_ms,
        quiet=is_quiet(around.downtimes, check_id=check_id, labels=labels, at_ms=around.now_ms),
        new_id=around.new_incident_id(),
    )
    if change is not None:
        _record(draft, progress.key, change, check, member.output, result.at_ms, around)
    if step.machine.state is not step.before.state or step.is_flip:
        incident = draft.incidents.get(progress.key)
        flip = _flip(check_id, result.at_ms, progress, incident.id if incident else None)
        (draft.events if change is None else draft.urgent).append(flip)


def _record(
    draft: _Draft, key: str, change: Change, check: Check, output: str, at_ms: int, around: Surroundings
) -> None:
    incident = change.incident
    if incident.is_settled:
        draft.incidents.pop(key, None)
    else:
        draft.incidents[key] = incident
    draft.urgent += incident_mutations(
        change, check=check, output=output, at_ms=at_ms, channel_ids=around.channel_ids, around=around
    )
    if change.event is not None:
        draft.message_count += len(around.channel_ids)


def incident_mutations(
    change: Change,
    *,
    check: Check,
    output: str,
    at_ms: int,
    channel_ids: Iterable[str],
    around: Surroundings,
    check_exists: bool = True,
) -> list[Mutation]:
    """Store an incident, say in its events what happened, and queue one message for each channel."""
    incident, event = change.incident, change.event
    told = list(channel_ids) if event is not None else []
    mutations: list[Mutation] = [
        PutDocument(kind="incident", id=incident.id, body=msgspec.to_builtins(incident), audited=False),
        AppendEvent(
            kind="incident",
            subject=incident.id,
            at_ms=at_ms,
            body={
                "event": event.value if event else ("resolved" if incident.state == "resolved" else "recorded"),
                "state": incident.current,
                "title": incident.title,
                "output": output[:EVENT_OUTPUT_CHARACTERS_MAX],
                "told": len(told),
                "check_id": incident.check_id,
            },
            keep_count=INCIDENT_EVENT_KEEP_COUNT,
        ),
    ]
    for channel_id in told:
        assert event is not None
        message_id = around.new_message_id()
        body = message(
            incident,
            event,
            message_id=message_id,
            check=check,
            output=output,
            at_ms=at_ms,
            check_exists=check_exists,
        )
        mutations.append(QueueMessage(id=message_id, channel=channel_id, due_ms=around.now_ms, body=body))
    return mutations


def end_incidents(
    incidents: Incidents, *, check: Check, reason: str, channel_ids: Sequence[str], around: Surroundings
) -> list[Mutation]:
    """What ends the incidents of a check that is deleted."""
    mutations: list[Mutation] = []
    for incident in incidents.values():
        if incident.state == "open":
            mutations += incident_mutations(
                close(incident, reason=reason, at_ms=around.now_ms),
                check=check,
                output=reason,
                at_ms=around.now_ms,
                channel_ids=channel_ids,
                around=around,
                check_exists=False,
            )
    return mutations


def with_next_run(conclusion: Conclusion, next_run_ms: int) -> Conclusion:
    """The same, with another time for the next run in the stored result."""
    body: dict[str, Any] = {**conclusion.result.body, "next_run_ms": next_run_ms}
    return replace(conclusion, result=msgspec.structs.replace(conclusion.result, body=body))


def no_data_of(options: Mapping[str, Any]) -> State:
    """What missing data means to a check: the option of that name, where its kind has one."""
    word = str(options.get("no_data", "unknown")).upper()
    return State[word] if word in State.__members__ else State.UNKNOWN


def _flip(check_id: str, at_ms: int, progress: Progress, incident_id: str | None) -> AppendEvent:
    machine, before = progress.step.machine, progress.step.before
    return AppendEvent(
        kind="flip",
        subject=check_id,
        at_ms=at_ms,
        body={
            "from": before.state.word,
            "to": machine.state.word,
            "state_type": machine.state_type.value,
            "attempt": machine.attempt,
            "instance": progress.member.labels,
            "output": progress.member.output[:EVENT_OUTPUT_CHARACTERS_MAX],
            "incident_id": incident_id,
        },
        keep_count=FLIP_KEEP_COUNT,
    )


def _failure(check_id: str, result: Result, reading: Reading) -> AppendEvent:
    shown = reading.shown.machine
    return AppendEvent(
        kind="failure",
        subject=check_id,
        at_ms=result.at_ms,
        body={
            "state": result.state.word,
            "state_type": shown.state_type.value,
            "attempt": shown.attempt,
            "output": result.output[:EVENT_OUTPUT_CHARACTERS_MAX],
            "duration_s": round(result.duration_s, 6),
            "transcript": list(result.transcript[:20]),
        },
        keep_count=FAILURE_KEEP_COUNT,
    )

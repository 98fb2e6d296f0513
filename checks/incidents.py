"""Incidents: what happened to one check (or one of its instances) from the first failure to the recovery, and what
people are told of it. Pure.

`follow` compares where things stand with what is recorded and with what people were last told (`told`), instead of
acting on single flips. So a crash between two results, a downtime that ends in the middle of a problem and a
recovery inside a downtime all come right at the next result: nobody is told twice, and nobody keeps a wrong belief.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

import msgspec

from checks.model import SEVERITY, Check, State
from checks.state import Machine

OUTPUT_CHARACTERS_MAX = 2_000  # Of the output in an incident and in a message; the whole text is on the check's page.
TITLE_CHARACTERS_MAX = 200


class Event(StrEnum):
    """What a message is about."""

    ALERT = "alert"
    UPDATE = "update"
    RESOLVED = "resolved"
    TEST = "test"


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """The stored body of an incident. States are words, as in the API.

    Invariant: state is "resolved" exactly when resolved_at_ms is given.
    """

    id: str
    check_id: str
    title: str  # "CRITICAL: web (http) — connection refused"
    state: Literal["open", "resolved"] = "open"
    instance: dict[str, str] = {}
    current: str  # The state of the check now, or when it ended.
    worst: str
    output: str
    started_at_ms: int  # The first failing run, soft ones included.
    resolved_at_ms: int | None = None
    updated_at_ms: int
    last_ok_ms: int | None = None
    told: str = ""  # The state of which people were last told; "" if they were told nothing.
    was_quiet: bool = False  # It touched a downtime.
    acknowledged_by: str | None = None
    check_name: str = ""  # As it was called then: a check may be deleted later.
    check_kind: str = ""
    team: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether it has ended, and nobody is owed a message about that."""
        return self.state == "resolved" and self.told in ("", State.OK.word)


class Change(msgspec.Struct, frozen=True):
    """An incident to store, and the message to send about it, if any."""

    incident: Incident
    event: Event | None


def follow(
    incident: Incident | None,
    machine: Machine,
    *,
    check_id: str,
    check: Check,
    instance: Mapping[str, str],
    output: str,
    at_ms: int,
    quiet: bool,
    new_id: str,
) -> Change | None:
    """What changes after a step of the machine; None if nothing does.

    incident: the one that is not settled yet, if any. quiet: a downtime covers the check now.
    """
    state = machine.hard_state
    is_problem = state not in (State.OK, State.PENDING)
    before = incident
    if incident is None:
        if not is_problem:
            return None
        incident = Incident(
            id=new_id,
            check_id=check_id,
            title=title(state, check, instance, output),
            instance=dict(instance),
            current=state.word,
            worst=state.word,
            output=output[:OUTPUT_CHARACTERS_MAX],
            started_at_ms=machine.problem_since_ms if machine.problem_since_ms is not None else at_ms,
            updated_at_ms=at_ms,
            last_ok_ms=machine.ok_at_ms,
            check_name=check.name,
            check_kind=check.kind,
            team=check.team,
        )
    elif is_problem and (incident.current != state.word or incident.state == "resolved"):
        incident = msgspec.structs.replace(
            incident,
            title=title(state, check, instance, output),
            state="open",
            resolved_at_ms=None,
            current=state.word,
            worst=worse(incident.worst, state.word),
            output=output[:OUTPUT_CHARACTERS_MAX],
            updated_at_ms=at_ms,
        )
    elif not is_problem and incident.state == "open":
        incident = resolved(incident, output=output, at_ms=at_ms)
    if quiet and not incident.was_quiet:
        incident = msgspec.structs.replace(incident, was_quiet=True)
    return _told(before, incident, quiet=quiet)


def close(incident: Incident, *, reason: str, at_ms: int) -> Change:
    """End an incident for another reason than a result: its check was deleted."""
    change = _told(incident, resolved(incident, output=reason, at_ms=at_ms), quiet=False)
    assert change is not None
    return change


def resolved(incident: Incident, *, output: str, at_ms: int) -> Incident:
    return msgspec.structs.replace(
        incident,
        state="resolved",
        resolved_at_ms=max(at_ms, incident.started_at_ms),  # The clock may have stepped back in between.
        current=State.OK.word,
        output=output[:OUTPUT_CHARACTERS_MAX],
        updated_at_ms=at_ms,
    )


def _told(before: Incident | None, incident: Incident, *, quiet: bool) -> Change | None:
    event = None if quiet else owed(incident)
    if event is not None:
        incident = msgspec.structs.replace(incident, told=incident.current)
    return Change(incident, event) if incident != before else None


def owed(incident: Incident) -> Event | None:
    """What people do not know yet."""
    if incident.state == "resolved":
        return None if incident.is_settled else Event.RESOLVED
    if incident.told == incident.current:
        return None
    return Event.UPDATE if incident.told else Event.ALERT


def worse(one: str, other: str) -> str:
    return max(one, other, key=lambda word: SEVERITY[State[word.upper()]])


def title(state: State, check: Check, instance: Mapping[str, str], output: str) -> str:
    """One line for a phone at night: how bad, what, and why."""
    inside = ",".join(f'{name}="{value}"' for name, value in sorted(instance.items()) if name != "__name__")
    which = f"{check.name} ({check.kind})" + (f" {{{inside}}}" if inside else "")
    reason = output.strip().partition("\n")[0].strip()
    text = f"{state.name}: {which}" + (f" — {reason}" if reason else "")
    return text if len(text) <= TITLE_CHARACTERS_MAX else text[: TITLE_CHARACTERS_MAX - 1] + "…"


def message(
    incident: Incident,
    event: Event,
    *,
    message_id: str,
    check: Check,
    output: str,
    at_ms: int,
    check_exists: bool = True,
) -> dict[str, Any]:
    """The body of a message, as webhooks get it; the texts for people are made of it too."""
    return {
        "id": message_id,
        "event": event.value,
        "incident": {
            "id": incident.id,
            "title": incident.title,
            "state": incident.state,
            "started_at_ms": incident.started_at_ms,
            "resolved_at_ms": incident.resolved_at_ms,
            "last_ok_ms": incident.last_ok_ms,
            "instance": incident.instance,
            "worst": incident.worst,
        },
        "check": {"id": incident.check_id, "name": check.name, "kind": check.kind, "labels": check.labels},
        "state": incident.current,
        "output": output[:OUTPUT_CHARACTERS_MAX],
        "at_ms": at_ms,
        "link": f"/checks/{incident.check_id}" if check_exists else f"/incidents/{incident.id}",
    }

"""What `henge trace check` and `henge trace channel` tell: the places on the way of a check speak through these."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appliance.state.model import Message
from appliance.state.mutations import AppendEvent, PutDocument, QueueMessage
from appliance.tracing import Tap, TraceRefused
from checks.model import Check, Result
from scheduler.conclusion import Conclusion
from scheduler.sending import incident_id_of

if TYPE_CHECKING:
    from scheduler.inventory import Inventory

OUTPUT_CHARACTERS_MAX = 500
STEPS_COUNT_MAX = 20  # Of a transcript, and of the instances of one result.


@dataclass(frozen=True, slots=True)
class Taps:
    """Traces match by the ids that a name had when they began."""

    check: Tap
    channel: Tap

    @classmethod
    def off(cls) -> Taps:
        return cls(Tap.off("check"), Tap.off("channel"))

    @property
    def is_on(self) -> bool:
        return self.check.is_on or self.channel.is_on

    def find_in(self, inventory: Inventory) -> None:
        """Let traces begin: there is something now to find their subjects in."""

        def check_ids(subject: str) -> frozenset[str]:
            watched = list(inventory.watched.values())
            found = frozenset(one.id for one in watched if subject in (one.id, one.check.name))
            return found or _refuse("check", subject, [one.check.name for one in watched])

        def channel_ids(subject: str) -> frozenset[str]:
            return inventory.channels.ids_named(subject) or _refuse("channel", subject, inventory.channels.names())

        self.check.matching = check_ids
        self.channel.matching = channel_ids

    def of_check(self, check_id: str, what: str, **fields: Any) -> None:
        self.check.tell(what, lambda ids: check_id in ids, check=check_id, **fields)

    def of_message(self, message: Message, what: str, **fields: Any) -> None:
        """To whoever traces its channel or its check."""
        check = message.body.get("check") or {}
        named = {
            "message": message.id,
            "channel": message.channel,
            "event": message.body.get("event"),
            "incident": incident_id_of(message),
            "check": check.get("id"),
        }
        self.channel.tell(what, lambda ids: message.channel in ids, **named, **fields)
        self.check.tell(what, lambda ids: named["check"] in ids, **named, **fields)


def _refuse(kind: str, subject: str, names: list[str]) -> frozenset[str]:
    """Raises: TraceRefused."""
    near = difflib.get_close_matches(subject, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise TraceRefused("not_found", f"there is no {kind} with the id or name {subject!r:.100}{hint}")


def tell_result(taps: Taps, check_id: str, result: Result) -> None:
    """What the probe found, and by which steps."""
    taps.of_check(
        check_id,
        "found",
        state=result.state.word,
        took_s=result.duration_s,
        output=result.output[:OUTPUT_CHARACTERS_MAX],
        steps=list(result.transcript[:STEPS_COUNT_MAX]),
        numbers={one.label: one.value for one in result.perfdata[:STEPS_COUNT_MAX]},
    )


def tell_conclusion(taps: Taps, check_id: str, check: Check, conclusion: Conclusion) -> None:
    """What followed from a result: states, the incident, messages, the next run."""
    for progress in conclusion.reading.steps[:STEPS_COUNT_MAX]:
        machine, before = progress.step.machine, progress.step.before
        taps.of_check(
            check_id,
            "state",
            instance=dict(progress.member.labels) or None,
            before=f"{before.state.word} {before.state_type.value}",
            state=f"{machine.state.word} {machine.state_type.value}",
            attempt=f"{machine.attempt}/{check.max_check_attempts}",
        )
    for mutation in conclusion.urgent:
        if isinstance(mutation, AppendEvent) and mutation.kind == "incident":
            taps.of_check(
                check_id,
                "incident",
                incident=mutation.subject,
                event=mutation.body["event"],
                told=mutation.body["told"],
            )
        elif isinstance(mutation, QueueMessage):
            _tell_queued(taps, check_id, mutation)
    assert isinstance(conclusion.result, PutDocument)
    taps.of_check(check_id, "next_run", next_run_ms=conclusion.result.body.get("next_run_ms"))


def _tell_queued(taps: Taps, check_id: str, queued: QueueMessage) -> None:
    named = {"message": queued.id, "channel": queued.channel, "event": queued.body.get("event"), "check": check_id}
    taps.check.tell("queued", lambda ids: check_id in ids, **named)
    taps.channel.tell("queued", lambda ids: queued.channel in ids, **named)

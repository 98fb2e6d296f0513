"""What becomes of the notices of senders: events are annotations, states of jobs are beats of `push` checks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from appliance.state import PutDocument
from appliance.state.mutations import Mutation
from checks.annotations import DATA_CHARS_MAX, TAG_CHARS_MAX, TAG_COUNT_MAX, WHAT_CHARS_MAX, annotation
from checks.model import OUTPUT_BYTES_MAX, Check, State
from checks.probes.push.probe import BEAT
from tsdb.notices import Happening, JobState, Notice, Unwanted

KIND = "push"
TEAM_TAG = "team:"


class Outcome(NamedTuple):
    mutations: list[Mutation]
    unwanted: list[Unwanted]


def outcome_of(notices: Sequence[Notice], checks: Iterable[tuple[str, Check]], now_ms: int) -> Outcome:
    """What to write for these notices, and which of them mean nothing here.

    checks: those that there are, with their ids. Of several states of one job the last counts, as of its beats.
    """
    ids_by_name: dict[str, list[tuple[str, str]]] = {}
    for check_id, check in checks:
        if check.kind == KIND:
            ids_by_name.setdefault(check.name, []).append((check_id, check.team))
    events: list[Mutation] = []
    beats: dict[str, Mutation] = {}
    unwanted: list[Unwanted] = []
    for index, notice in enumerate(notices):
        if isinstance(notice, Happening):
            events.append(_event(notice, now_ms))
            continue
        found = _of_team(ids_by_name.get(notice.name, ()), notice.tags)
        if len(found) == 1:
            beats[found[0]] = _beat(found[0], notice, now_ms)
        elif found:
            text = f"several teams have a push check {notice.name!r:.80}; add the tag {TEAM_TAG}NAME"
            unwanted.append(Unwanted(index, "ambiguous_check", text))
        else:
            text = f"there is no push check {notice.name!r:.80}; make one of this name"
            unwanted.append(Unwanted(index, "unknown_check", text))
    return Outcome([*events, *beats.values()], unwanted)


def _of_team(found: Iterable[tuple[str, str]], tags: Iterable[str]) -> list[str]:
    wanted = next((tag.removeprefix(TEAM_TAG) for tag in tags if tag.startswith(TEAM_TAG)), None)
    return [check_id for check_id, team in found if wanted in (None, team)]


def _event(notice: Happening, now_ms: int) -> Mutation:
    tags = [tag[:TAG_CHARS_MAX] for tag in notice.tags[:TAG_COUNT_MAX]]
    at_ms = now_ms if notice.at_ms is None else notice.at_ms
    return annotation(notice.title[:WHAT_CHARS_MAX], notice.text[:DATA_CHARS_MAX], tags, at_ms)


def _beat(check_id: str, notice: JobState, now_ms: int) -> Mutation:
    """A beat of the future would keep the check from ever being late."""
    at_ms = now_ms if notice.at_ms is None else min(notice.at_ms, now_ms)
    body = {"at_ms": at_ms, "state": State(notice.status).word, "output": notice.text[:OUTPUT_BYTES_MAX]}
    return PutDocument(kind=BEAT, id=check_id, body=body, audited=False)

"""What people are told: every story as one line of steps, and what must hold for any story."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.incidents import Change, Event, Incident, close, follow, message, owed, title
from checks.model import Check, State
from checks.state import Machine, advance

CHECK = Check(kind="http", name="web", labels={"team": "shop"})
LETTERS = {"o": State.OK, "w": State.WARNING, "c": State.CRITICAL, "u": State.UNKNOWN}


def follow_story(story: str, *, attempts: int = 1) -> tuple[Incident | None, list[str]]:
    """Results as letters; a capital letter comes inside a downtime. Gives the last incident and the messages."""
    machine, incident, told = Machine(), None, []
    last: Incident | None = None
    for at_ms, letter in enumerate(story):
        machine = advance(machine, LETTERS[letter.lower()], at_ms=at_ms, max_check_attempts=attempts).machine
        change = follow(
            incident,
            machine,
            check_id="c1",
            check=CHECK,
            instance={},
            output=f"out {at_ms}",
            at_ms=at_ms,
            quiet=letter.isupper(),
            new_id=f"i{at_ms}",
        )
        if change is None:
            continue
        incident = last = change.incident
        if change.event:
            told.append(f"{change.event}:{incident.current}")
        if incident.is_settled:
            incident = None
    return last, told


STORIES = {  # name: (results, max_check_attempts, messages)
    "nothing happens": ("oooo", 1, []),
    "a problem and its end": ("occo", 1, ["alert:critical", "resolved:ok"]),
    "soft failures say nothing": ("occo", 3, []),
    "the third failure says it once": ("occccc", 3, ["alert:critical"]),
    "from warning to critical and back": (
        "owcwo",
        1,
        ["alert:warning", "update:critical", "update:warning", "resolved:ok"],
    ),
    "a downtime keeps quiet": ("oCCOo", 1, []),
    "a problem that outlives its downtime is told then": ("oCCcco", 1, ["alert:critical", "resolved:ok"]),
    "a recovery inside a downtime is told after it": ("ocCOOo", 1, ["alert:critical", "resolved:ok"]),
    "a relapse inside the same downtime is the same belief": ("ocOCc", 1, ["alert:critical"]),
    "an escalation inside a downtime is told after it": ("owCCc", 1, ["alert:warning", "update:critical"]),
    "the first result is a problem": ("cc", 1, ["alert:critical"]),
    "two problems are two incidents": (
        "ococo",
        1,
        ["alert:critical", "resolved:ok", "alert:critical", "resolved:ok"],
    ),
}


@pytest.mark.parametrize(("story", "attempts", "want"), STORIES.values(), ids=STORIES.keys())
def test_stories(story: str, attempts: int, want: list[str]) -> None:
    _, told = follow_story(story, attempts=attempts)
    assert told == want


@given(st.text(alphabet="owcuOWCU", max_size=40), st.integers(1, 4))
def test_what_people_believe_is_true_whenever_no_downtime_hides_it(story: str, attempts: int) -> None:
    """Method: replay the messages into a belief, add one more result outside of any downtime, compare."""
    for end in ("c" * attempts, "o"):
        incident, told = follow_story(story + end, attempts=attempts)
        belief = told[-1].partition(":")[2] if told else "ok"
        assert belief == ("ok" if end == "o" else "critical"), (story, told)
        events = [entry.partition(":")[0] for entry in told]
        for before, after in zip([Event.RESOLVED, *events], events, strict=False):
            assert (after == Event.ALERT) == (before == Event.RESOLVED), told
        assert incident is None or owed(incident) is None


def test_an_incident_begins_at_the_first_failure_and_knows_the_last_ok() -> None:
    incident, _ = follow_story("ooccc", attempts=3)
    assert incident is not None
    assert (incident.started_at_ms, incident.last_ok_ms, incident.updated_at_ms) == (2, 1, 4)


def test_the_worst_state_is_kept() -> None:
    incident, _ = follow_story("owcuo")
    assert incident is not None
    assert (incident.worst, incident.current, incident.state) == ("critical", "ok", "resolved")


def test_a_downtime_leaves_its_mark_on_the_incident() -> None:
    incident, told = follow_story("oCO")
    assert incident is not None
    assert (incident.was_quiet, incident.told, told) == (True, "", [])


def test_the_end_is_never_before_the_start_when_the_clock_steps_back() -> None:
    change = follow(
        None,
        advance(Machine(), State.CRITICAL, at_ms=10_000, max_check_attempts=1).machine,
        check_id="c1",
        check=CHECK,
        instance={},
        output="",
        at_ms=10_000,
        quiet=False,
        new_id="i",
    )
    assert change is not None
    ended = close(change.incident, reason="the check was deleted", at_ms=5_000)
    assert ended.event is Event.RESOLVED
    assert ended.incident.resolved_at_ms == 10_000


def test_a_deleted_check_of_which_nobody_was_told_ends_without_a_message() -> None:
    incident, _ = follow_story("oC")
    assert incident is not None
    assert close(incident, reason="deleted", at_ms=9) == Change(
        incident=close(incident, reason="deleted", at_ms=9).incident, event=None
    )


TITLES = {
    "plain": ({}, "connection refused", "CRITICAL: web (http) — connection refused"),
    "first line only": ({}, "refused\nsecond line", "CRITICAL: web (http) — refused"),
    "no output": ({}, "", "CRITICAL: web (http)"),
    "instance": (
        {"__name__": "disk", "host": "a"},
        "95 > 90",
        'CRITICAL: web (http) {host="a"} — 95 > 90',
    ),
}


@pytest.mark.parametrize(("instance", "output", "want"), TITLES.values(), ids=TITLES.keys())
def test_titles(instance: dict[str, str], output: str, want: str) -> None:
    assert title(State.CRITICAL, CHECK, instance, output) == want


def test_a_flood_of_output_is_cut() -> None:
    assert len(title(State.CRITICAL, CHECK, {}, "x" * 5_000)) == 200


def test_a_message_has_the_shape_of_the_contract() -> None:
    incident, _ = follow_story("oc")
    assert incident is not None
    body = message(incident, Event.ALERT, message_id="m1", check=CHECK, output="out", at_ms=1)
    assert {"id", "event", "incident", "check", "state", "output", "at_ms"} <= body.keys()
    assert {"id", "title", "state", "started_at_ms", "resolved_at_ms"} <= body["incident"].keys()
    assert body["check"] == {"id": "c1", "name": "web", "kind": "http", "labels": {"team": "shop"}}
    assert body["link"] == "/checks/c1"

"""From one result to what is stored and sent: the shape of it."""

from __future__ import annotations

from typing import Any

from appliance.state.mutations import AppendEvent, PutDocument, QueueMessage
from checks.downtimes import Downtime
from checks.model import Check, Instance, Result, State
from scheduler.conclusion import Conclusion, Surroundings, conclude, end_incidents, with_next_run

CHECK = Check(kind="query", name="disk", channels=["a", "b"], max_check_attempts=1, labels={"team": "shop"})


def surroundings(**changes: Any) -> Surroundings:
    drawn = iter(range(1_000))
    given: dict[str, Any] = {
        "downtimes": (),
        "channel_ids": ("ch-a", "ch-b"),
        "new_incident_id": lambda: f"i{next(drawn)}",
        "new_message_id": lambda: f"m{next(drawn)}",
        "now_ms": 5_000,
    }
    return Surroundings(**(given | changes))


def result(**states: State) -> Result:
    instances = tuple(
        Instance(labels={"host": name}, state=state, output=f"{name} is {state.word}") for name, state in states.items()
    )
    worst = max(states.values(), default=State.UNKNOWN, key=lambda state: {0: 0, 3: 1, 1: 2, 2: 3}[int(state)])
    return Result(state=worst, output="of several", duration_s=0.1, at_ms=4_000, instances=instances)


def concluded(found: Result, before: Conclusion | None = None, **around: Any) -> Conclusion:
    return conclude(
        check_id="c1",
        check=CHECK,
        members=before.reading.members if before else {},
        incidents=before.incidents if before else {},
        result=found,
        next_run_ms=9_000,
        late=False,
        around=surroundings(**around),
    )


def queued(conclusion: Conclusion) -> list[tuple[str, str, str]]:
    return [
        (m.channel, m.body["event"], m.body["incident"]["title"])
        for m in conclusion.urgent
        if isinstance(m, QueueMessage)
    ]


def test_what_is_well_can_wait() -> None:
    conclusion = concluded(result(a=State.OK))
    assert conclusion.urgent == []
    assert [event.kind for event in conclusion.events] == ["flip", "flip"], "from pending: the check and its instance"
    assert conclusion.result.body["state"] == "ok"


def test_each_instance_has_an_incident_and_each_channel_a_message() -> None:
    conclusion = concluded(result(a=State.CRITICAL, b=State.WARNING, c=State.OK))
    assert queued(conclusion) == [
        ("ch-a", "alert", 'CRITICAL: disk (query) {host="a"} — a is critical'),
        ("ch-b", "alert", 'CRITICAL: disk (query) {host="a"} — a is critical'),
        ("ch-a", "alert", 'WARNING: disk (query) {host="b"} — b is warning'),
        ("ch-b", "alert", 'WARNING: disk (query) {host="b"} — b is warning'),
    ]
    assert len(conclusion.incidents) == 2
    ids = [m.id for m in conclusion.urgent if isinstance(m, QueueMessage)]
    assert len(set(ids)) == 4
    assert [m.body["id"] for m in conclusion.urgent if isinstance(m, QueueMessage)] == ids


def test_everything_of_a_flip_is_in_one_list() -> None:
    """The result, the flip, the incident, its event and the messages are written together or not at all."""
    conclusion = concluded(result(a=State.CRITICAL))
    kinds = [
        f"{type(m).__name__}:{getattr(m, 'kind', '')}" for m in conclusion.mutations if not isinstance(m, QueueMessage)
    ]
    assert kinds[0] == "PutDocument:result"
    assert {"PutDocument:incident", "AppendEvent:incident", "AppendEvent:flip", "AppendEvent:failure"} <= set(kinds)


def test_one_instance_recovers_and_the_other_stays() -> None:
    before = concluded(result(a=State.CRITICAL, b=State.CRITICAL))
    after = concluded(result(a=State.OK, b=State.CRITICAL), before)
    assert [(event, title) for _, event, title in queued(after)] == [
        ("resolved", 'CRITICAL: disk (query) {host="a"} — a is critical')
    ] * 2
    assert len(after.incidents) == 1


def test_a_downtime_of_one_instance_leaves_the_others_loud() -> None:
    downtime = Downtime(matchers={"host": "a"}, from_ms=0, until_ms=10_000)
    conclusion = concluded(result(a=State.CRITICAL, b=State.CRITICAL), downtimes=(downtime,))
    assert {title for _, _, title in queued(conclusion)} == {'CRITICAL: disk (query) {host="b"} — b is critical'}
    assert len(conclusion.incidents) == 2


def test_a_check_without_channels_has_incidents_all_the_same() -> None:
    conclusion = concluded(result(a=State.CRITICAL), channel_ids=())
    assert queued(conclusion) == []
    assert [m.kind for m in conclusion.urgent if isinstance(m, PutDocument)] == ["incident"]


def test_texts_are_cut_before_they_are_stored() -> None:
    flood = Result(state=State.CRITICAL, output="x" * 8_000, duration_s=0.1, at_ms=1)
    for mutation in concluded(flood).mutations:
        if isinstance(mutation, AppendEvent):
            assert len(mutation.body["output"]) <= 2_000
        if isinstance(mutation, QueueMessage):
            assert len(mutation.body["output"]) <= 2_000


def test_the_next_run_of_a_retry_is_in_the_stored_result() -> None:
    conclusion = with_next_run(concluded(result(a=State.OK)), 6_000)
    assert conclusion.result.body["next_run_ms"] == 6_000


def test_the_end_of_a_deleted_check_is_told_to_who_was_told_of_its_problem() -> None:
    before = concluded(result(a=State.CRITICAL))
    mutations = end_incidents(
        before.incidents, check=CHECK, reason="the check was deleted", channel_ids=("ch-a",), around=surroundings()
    )
    (told,) = [m for m in mutations if isinstance(m, QueueMessage)]
    assert (told.body["event"], told.body["output"]) == ("resolved", "the check was deleted")
    assert told.body["link"].startswith("/incidents/")

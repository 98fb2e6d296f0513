"""What an alerting rule found, as a result of its check."""

from __future__ import annotations

import pytest

from checks.members import WHOLE, Member, member_key
from checks.model import INSTANCE_COUNT_MAX, Instance, Result, State
from checks.state import Machine
from scheduler.rules.verdict import held, result_of
from tsdb.rules import AlertBook, AlertingRule, RuleState
from tsdb.sample import Labels, labels_from

AT_MS = 1_700_000_000_000
SEVERITIES = {"warning": State.WARNING, "WARN": State.WARNING, "info": State.WARNING, "page": State.CRITICAL, "": 2}


def judged(*values: tuple[Labels, float], hold_ms: int = 0, error: str = "", **rule: dict[str, str]) -> Result:
    """The result of a rule whose expression gives this, a minute after it did so first."""
    book = AlertBook(AlertingRule(alert="Down", expression="up == 0", hold_ms=hold_ms, **rule))  # type: ignore[arg-type]
    for after_ms in (0, 60_000):
        book.evaluate(AT_MS + after_ms, values)
    return result_of(RuleState(book, error=error, duration_s=0.25), AT_MS + 60_000)


def up(host: str, **labels: str) -> tuple[Labels, float]:
    return labels_from({"__name__": "up", "host": host, **labels}), 0.0


@pytest.mark.parametrize(("severity", "state"), SEVERITIES.items())
def test_the_label_severity_says_how_bad_an_alert_is(severity: str, state: State) -> None:
    result = judged(up("a"), labels={"severity": severity})
    assert (result.state, [instance.state for instance in result.instances]) == (state, [state])
    assert result.instances[0].labels == {
        "alertname": "Down",
        "host": "a",
        **({"severity": severity} if severity else {}),
    }


def test_the_words_of_the_annotations_are_told_in_one_bounded_line() -> None:
    words = {"summary": "{{ $labels.host }} is\ndown", "description": "x" * 5_000, "runbook": "https://nowhere/"}
    (instance,) = judged(up("a"), annotations=words).instances
    assert instance.output.startswith("a is down: xxx")
    assert instance.output.endswith("…: firing since 2023-11-14 22:13:20 UTC, value 0")
    assert len(instance.output) < 700
    assert "\n" not in judged(up("a"), annotations=words).output


def test_a_pending_alert_is_well_and_says_since_when() -> None:
    result = judged(up("a"), hold_ms=120_000)
    assert result.state is State.OK
    assert result.instances[0].output == "pending since 2023-11-14 22:13:20 UTC, value 0"
    assert result.output == '{alertname="Down", host="a"} pending since 2023-11-14 22:13:20 UTC, value 0'


def test_no_alert_is_well() -> None:
    assert judged() == Result(
        state=State.OK, output="no alert: the expression gives nothing", duration_s=0.25, at_ms=AT_MS + 60_000
    )


def test_a_rule_that_cannot_be_evaluated_is_unknown_and_says_nothing_of_its_alerts() -> None:
    result = judged(up("a"), error="many-to-many\nmatching")
    assert (result.state, result.instances) == (State.UNKNOWN, ())
    assert result.output == "the rule could not be evaluated: many-to-many matching"


def test_of_too_many_alerts_the_worst_and_oldest_have_a_state_and_the_others_are_counted() -> None:
    result = judged(*(up(f"h{number:03}") for number in range(INSTANCE_COUNT_MAX + 20)))
    assert [instance.labels["host"] for instance in result.instances] == [f"h{number:03}" for number in range(100)]
    assert result.output.endswith("; 120 firing, 0 pending; the first 100 have a state of their own")
    assert len(result.output) < 8 * 1024


def member(host: str, state: State) -> tuple[str, Member]:
    labels = {"host": host}
    return member_key(labels), Member(labels=labels, machine=Machine(state=state), output=f"{host} as it was")


def instance(host: str, state: State) -> Instance:
    return Instance(labels={"host": host}, state=state, output="now")


HELD = {  # name: (what the check was told before, what is found now, what is told now)
    "it is not there yet": ([("a", 2)], [], [("a", 2, "a as it was")]),
    "it is pending again": ([("a", 2)], [("a", 0)], [("a", 2, "a as it was")]),
    "it is there": ([("a", 1)], [("a", 2)], [("a", 2, "now")]),
    "it was well": ([("a", 0)], [("b", 0)], [("b", 0, "now")]),
    "another one": ([("a", 1)], [("b", 2)], [("a", 1, "a as it was"), ("b", 2, "now")]),
}


@pytest.mark.parametrize(("before", "now", "wanted"), HELD.values(), ids=HELD.keys())
def test_after_a_start_what_was_a_problem_is_one_until_the_second_evaluation(
    before: list[tuple[str, int]], now: list[tuple[str, int]], wanted: list[tuple[str, int, str]]
) -> None:
    members = dict(member(host, State(state)) for host, state in before) | {
        WHOLE: Member(machine=Machine(state=State.OK))
    }
    instances = tuple(instance(host, State(state)) for host, state in now)
    worst = max((one.state for one in instances), default=State.OK)
    result = Result(state=worst, output="now", duration_s=0.0, at_ms=AT_MS, instances=instances)
    found = held(result, members)
    assert [(one.labels["host"], int(one.state), one.output) for one in found.instances] == wanted
    assert found.state == max(state for _, state, _ in wanted)


def test_what_cannot_be_evaluated_after_a_start_is_unknown() -> None:
    result = Result(state=State.UNKNOWN, output="no", duration_s=0.0, at_ms=AT_MS)
    assert held(result, dict([member("a", State.CRITICAL)])) is result

"""Instances of one check: each has its own machine, and what vanishes follows the rules of the module."""

from __future__ import annotations

import pytest

from checks.members import MISSING_COUNT_MAX, VANISHED_FOR_MS, WHOLE, Members, Reading, member_key, take_in
from checks.model import INSTANCE_COUNT_MAX, SEVERITY, Instance, Result, State

LETTERS = {"o": State.OK, "w": State.WARNING, "c": State.CRITICAL, "u": State.UNKNOWN}


def result(text: str, *, at_ms: int = 0) -> Result:
    """`a=c b=o` → two instances; a bare letter → a result without any."""
    if "=" not in text:
        return Result(state=LETTERS[text], output="as a whole", duration_s=0.1, at_ms=at_ms)
    instances = tuple(
        Instance(labels={"host": name}, state=LETTERS[letter], output=f"{name} is {letter}", value=1.0)
        for name, letter in (part.split("=") for part in text.split())
    )
    worst = max((instance.state for instance in instances), key=SEVERITY.__getitem__)
    return Result(state=worst, output="of several", duration_s=0.1, at_ms=at_ms, instances=instances)


def read(texts: list[str], *, every_ms: int = 1000, attempts: int = 1, no_data: State = State.UNKNOWN) -> Reading:
    members: Members = {}
    for index, text in enumerate(texts):
        reading = take_in(members, result(text, at_ms=index * every_ms), max_check_attempts=attempts, no_data=no_data)
        members = reading.members
    return reading


def states(reading: Reading) -> str:
    return " ".join(
        f"{member.labels.get('host', 'whole')}={member.machine.state.word}"
        for _, member in sorted(reading.members.items())
    )


TABLE = {  # name: (results in turn, what no data means, the members afterwards, the state shown)
    "a plain check has one machine": (["o", "c"], "u", "whole=critical", State.CRITICAL),
    "each label set has its own": (["a=o b=c"], "u", "whole=ok a=ok b=critical", State.CRITICAL),
    "one that was well vanishes without a word": (["a=o b=o", "b=o"], "u", "whole=ok b=ok", State.OK),
    "one that was a problem has no data": (["a=c b=o", "b=o"], "u", "whole=ok a=unknown b=ok", State.OK),
    "and comes back": (["a=c b=o", "b=o", "a=o b=o"], "u", "whole=ok a=ok b=ok", State.OK),
    "no answer at all concludes nothing about them": (
        ["a=c b=o", "u"],
        "u",
        "whole=unknown a=critical b=ok",
        State.UNKNOWN,
    ),
    "an empty answer that is well ends every problem": (["a=c b=o", "o"], "o", "whole=ok", State.OK),
    "where no data is well, one that vanishes is well": (
        ["a=c b=c", "b=c"],
        "o",
        "whole=ok b=critical",
        State.CRITICAL,
    ),
    "where no data is critical, so is one that vanishes": (
        ["a=o b=o", "b=o"],
        "c",
        "whole=ok a=critical b=ok",
        State.OK,
    ),
}


@pytest.mark.parametrize(("texts", "no_data", "want", "shown"), TABLE.values(), ids=TABLE.keys())
def test_members(texts: list[str], no_data: str, want: str, shown: State) -> None:
    reading = read(texts, no_data=LETTERS[no_data])
    assert states(reading) == want
    assert reading.shown.machine.state is shown


def test_a_problem_without_data_for_an_hour_is_taken_as_removed() -> None:
    before = read(["a=c b=o", "b=o"], every_ms=VANISHED_FOR_MS - 1)
    assert states(before) == "whole=ok a=unknown b=ok"
    reading = take_in(before.members, result("b=o", at_ms=VANISHED_FOR_MS), max_check_attempts=1)
    assert states(reading) == "whole=ok b=ok"
    gone = next(progress for progress in reading.steps if progress.is_gone)
    assert gone.step.is_flip
    assert gone.member.machine.hard_state is State.OK
    assert "taken as removed" in gone.member.output


def test_the_text_of_missing_data_does_not_grow() -> None:
    reading = read(["a=c b=o", "b=o", "b=o", "b=o"])
    assert reading.members[member_key({"host": "a"})].output == "no data; a is c"


def test_a_soft_instance_asks_for_a_quick_retry() -> None:
    assert read(["a=o b=c"], attempts=2).is_soft
    assert not read(["a=o b=c", "a=o b=c"], attempts=2).is_soft
    assert not read(["a=o b=o"], attempts=2).is_soft


def test_the_machines_of_one_check_are_bounded() -> None:
    members: Members = {}
    for batch in range(5):
        text = " ".join(f"n{batch}-{index}=c" for index in range(INSTANCE_COUNT_MAX))
        members = take_in(members, result(text, at_ms=batch), max_check_attempts=1, no_data=State.CRITICAL).members
        assert len(members) <= 1 + INSTANCE_COUNT_MAX + MISSING_COUNT_MAX


def test_an_instance_named_twice_counts_once() -> None:
    reading = read(["a=c a=o"], attempts=3)
    assert reading.members[member_key({"host": "a"})].machine.attempt == 1
    assert reading.members[WHOLE].machine.state is State.OK

"""The machine of soft and hard states against Nagios' recorded answers, and what must hold for any results."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from checks.model import State
from checks.state import HISTORY_COUNT, QUIET_HISTORY, Machine, StateType, advance, change_percent
from tests.scripts.nagios import main, missing_feature
from tests.shared import shared

STATES = st.sampled_from([State.OK, State.WARNING, State.CRITICAL, State.UNKNOWN])


def run(results: str, *, max_check_attempts: int = 3) -> list[str]:
    """Results as one letter each → state, type and attempt after each, as `critical/soft/1`, `!` on a flip."""
    by_letter = {"o": State.OK, "w": State.WARNING, "c": State.CRITICAL, "u": State.UNKNOWN}
    machine, answers = Machine(), []
    for at_ms, letter in enumerate(results):
        step = advance(machine, by_letter[letter], at_ms=at_ms, max_check_attempts=max_check_attempts)
        machine = step.machine
        answers.append(f"{machine.state.word}/{machine.state_type}/{machine.attempt}{'!' if step.is_flip else ''}")
    return answers


TABLE = {  # name: (results, max_check_attempts, state/type/attempt after the last, the places of the flips)
    "the first OK is a flip from pending": ("o", 3, "ok/hard/1!", [0]),
    "soft failures are no flip": ("occ", 3, "critical/soft/2", [0]),
    "the third failure is": ("occc", 3, "critical/hard/3!", [0, 3]),
    "a kind of failure may change on the way": ("owuc", 3, "critical/hard/3!", [0, 3]),
    "a soft recovery is no flip": ("occo", 3, "ok/soft/3", [0]),
    "a hard recovery is": ("occco", 3, "ok/hard/3!", [0, 3, 4]),
    "hard critical to warning is": ("occcw", 3, "warning/hard/3!", [0, 3, 4]),
    "with one attempt every change is": ("ococ", 1, "critical/hard/1!", [0, 1, 2, 3]),
    "a first failure is soft": ("c", 2, "critical/soft/1", []),
    "a soft recovery from pending is known to be well": ("co", 2, "ok/soft/2!", [1]),
}


@pytest.mark.parametrize(("results", "attempts", "last", "flips"), TABLE.values(), ids=TABLE.keys())
def test_sequences(results: str, attempts: int, last: str, flips: list[int]) -> None:
    answers = run(results, max_check_attempts=attempts)
    assert answers[-1] == last
    assert [index for index, answer in enumerate(answers) if answer.endswith("!")] == flips


@given(st.lists(STATES, min_size=1, max_size=60), st.integers(1, 6))
def test_what_holds_after_any_results(results: list[State], max_check_attempts: int) -> None:
    machine = Machine()
    for index, state in enumerate(results):
        step = advance(machine, state, at_ms=index, max_check_attempts=max_check_attempts)
        machine = step.machine
        failures_in_a_row = 0
        for earlier in reversed(results[: index + 1]):
            if earlier is State.OK:
                break
            failures_in_a_row += 1
        assert machine.state is state
        assert len(machine.history) == HISTORY_COUNT
        assert 0.0 <= machine.change_percent <= 100.0
        if state is State.OK:
            assert machine.hard_state is State.OK
            assert machine.problem_since_ms is None
        else:
            assert (machine.state_type is StateType.HARD) == (failures_in_a_row >= max_check_attempts)
            assert machine.attempt == min(failures_in_a_row, max_check_attempts)
            assert machine.problem_since_ms == index - failures_in_a_row + 1


@given(st.lists(STATES, min_size=1, max_size=30))
def test_a_machine_survives_being_stored(results: list[State]) -> None:
    machine = Machine()
    for index, state in enumerate(results):
        machine = advance(machine, state, at_ms=index, max_check_attempts=3).machine
        assert msgspec.json.decode(msgspec.json.encode(machine), type=Machine) == machine


def test_a_lower_limit_takes_effect_at_the_next_failure() -> None:
    machine = advance(Machine(), State.CRITICAL, at_ms=1, max_check_attempts=10).machine
    step = advance(machine, State.CRITICAL, at_ms=2, max_check_attempts=2)
    assert (step.machine.state_type, step.is_flip) == (StateType.HARD, True)


def test_the_newest_change_weighs_more_than_the_oldest() -> None:
    assert change_percent(QUIET_HISTORY) == 0.0
    assert change_percent("0" * 20 + "2") == 6.25
    assert change_percent("2" + "0" * 20) == 3.75
    assert change_percent("02" * 10 + "0") == 100.0


@pytest.fixture(name="recording")
def recording_fixture() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(shared("conformance/nagios/states.json").read_text())
    return content


def run_runner(path: Path) -> tuple[int, dict[str, Any]]:
    answer = CliRunner().invoke(main, [str(path), "--json"])
    return answer.exit_code, json.loads(answer.output)


def test_every_recorded_case_that_we_claim_passes(recording: dict[str, Any]) -> None:
    exit_status, report = run_runner(shared("conformance/nagios/states.json"))
    assert report["failures"] == []
    claimed = [
        case
        for case in recording["cases"]
        if set(case["options"]) <= {"max_check_attempts"} and all(isinstance(s["step"], int) for s in case["steps"])
    ]
    assert (report["passed"], report["skipped"]) == (len(claimed), len(recording["cases"]) - len(claimed))
    assert all(skip["missing"] for skip in report["skips"])
    assert exit_status == 0


def change(value: Any, seed: random.Random) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, list):
        place = seed.randrange(len(value))
        return [change(item, seed) if index == place else item for index, item in enumerate(value)]
    assert isinstance(value, dict), value
    name = seed.choice(sorted(value))
    return {**value, name: change(value[name], seed)}


@pytest.mark.parametrize("seed", range(5))
def test_the_runner_reports_exactly_the_changed_expectations(
    recording: dict[str, Any], tmp_path: Path, seed: int
) -> None:
    """Goal: the runner compares everything. Method: change one expected value in each of 20 steps."""
    choose = random.Random(seed)
    changed = copy.deepcopy(recording)
    places = [
        (case["name"], index)
        for case in changed["cases"]
        if missing_feature(case) is None
        for index in range(len(case["steps"]))
    ]
    wanted = set(choose.sample(places, 20))
    for case in changed["cases"]:
        for index, step in enumerate(case["steps"]):
            if (case["name"], index) in wanted:
                name = choose.choice(sorted(set(step) - {"step"}))
                step[name] = change(step[name], choose)
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(changed))
    exit_status, report = run_runner(path)
    assert exit_status == 1
    assert {(failure["case"], failure["step"]) for failure in report["failures"]} == wanted, f"{seed=}"


def test_a_file_of_another_kind_is_skipped_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"strings": []}')
    exit_status, report = run_runner(path)
    assert (exit_status, report["passed"], report["skipped"]) == (0, 0, 1)

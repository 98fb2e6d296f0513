"""Soft and hard states, attempts and flapping: the machine that turns single results into facts worth telling.

A failure is *soft* until `max_check_attempts` results in a row are no OK; then it is *hard*. Incidents and messages
hang on changes of the hard state only (checks/incidents.py). Nothing here does I/O or asks the time.

Source: Nagios Core 4.4 (`handle_async_service_check_result`, `check_for_service_flapping` in base/), whose recorded
answers the tests replay. Percentages weigh the newest of 20 changes by 1.25, the oldest by 0.75.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from checks.model import State

HISTORY_COUNT = 21  # 21 results are 20 possible changes.
CURVE_LOW, CURVE_HIGH = 0.75, 1.25
FLAP_LOW_PERCENT, FLAP_HIGH_PERCENT = 5.0, 20.0
QUIET_HISTORY = "0" * HISTORY_COUNT


class StateType(StrEnum):
    SOFT = "soft"
    HARD = "hard"


class Subject(StrEnum):
    """What is watched. Hosts differ in three details: soft failures enter the flapping history, and a recovery has
    attempt 1 and no problem any more."""

    SERVICE = "service"
    HOST = "host"


class NoticeKind(StrEnum):
    PROBLEM = "problem"
    RECOVERY = "recovery"
    FLAPPING_START = "flapping_start"
    FLAPPING_STOP = "flapping_stop"


class Notice(msgspec.Struct, frozen=True):
    """A notification that Nagios would send; number counts those of one problem."""

    kind: NoticeKind
    number: int


class Machine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The memory of one machine, between two results. It is stored with the latest result and read back at a start.

    Invariant: state_type is hard or state == OK or attempt < the max_check_attempts of the time.
    """

    state: State = State.PENDING
    state_type: StateType = StateType.HARD
    attempt: int = 1
    hard_state: State = State.PENDING  # The last state that was hard.
    since_ms: int = 0  # When hard_state began.
    problem_since_ms: int | None = None  # The first failure in a row, soft ones included.
    ok_at_ms: int | None = None  # The last OK.
    ok_duration_s: float = 0.0  # What that OK took.
    history: str = QUIET_HISTORY  # One digit a result, the newest last.
    change_percent: float = 0.0
    is_flapping: bool = False
    notice_count: int = 0


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One result taken in."""

    before: Machine
    machine: Machine
    is_logged: bool  # Nagios would write an alert line and start an event handler.
    is_problem: bool  # A problem stands, or ends with this very result.
    notices: tuple[Notice, ...] = ()

    @property
    def is_flip(self) -> bool:
        """Whether the hard state is another one than before."""
        return self.machine.hard_state != self.before.hard_state


def advance(
    before: Machine,
    state: State,
    *,
    at_ms: int,
    max_check_attempts: int,
    duration_s: float = 0.0,
    subject: Subject = Subject.SERVICE,
) -> Step:
    """Take in one result."""
    assert state is not State.PENDING, "a result has a state"
    assert max_check_attempts >= 1, max_check_attempts
    was_problem = before.state not in (State.OK, State.PENDING)
    state_type, attempt = _type_and_attempt(before, state, max_check_attempts, subject)
    is_hard = state_type is StateType.HARD
    hard_state = state if is_hard else before.hard_state
    if state is State.OK and before.hard_state is State.PENDING:
        hard_state = State.OK  # A soft recovery before any hard state: it is known to be well now.
    machine = msgspec.structs.replace(
        before,
        state=state,
        state_type=state_type,
        attempt=attempt,
        hard_state=hard_state,
        since_ms=before.since_ms if hard_state is before.hard_state else at_ms,
        problem_since_ms=(before.problem_since_ms if was_problem else at_ms) if state is not State.OK else None,
        ok_at_ms=at_ms if state is State.OK else before.ok_at_ms,
        ok_duration_s=duration_s if state is State.OK else before.ok_duration_s,
    )
    if is_hard or state is State.OK or subject is Subject.HOST:
        machine = _with_history(machine)
    notices, notice_count = _notices(before, machine, was_problem=was_problem)
    is_steady = state == before.state and is_hard and before.state_type is StateType.HARD
    return Step(
        before=before,
        machine=msgspec.structs.replace(machine, notice_count=notice_count),
        is_logged=not is_steady and (was_problem or state is not State.OK),
        is_problem=state is not State.OK or (was_problem and subject is Subject.SERVICE),
        notices=notices,
    )


def _type_and_attempt(
    before: Machine, state: State, max_check_attempts: int, subject: Subject
) -> tuple[StateType, int]:
    was_problem = before.state not in (State.OK, State.PENDING)
    if state is State.OK:
        if not was_problem or subject is Subject.HOST:
            return StateType.HARD, 1
        if before.state_type is StateType.HARD:
            return StateType.HARD, before.attempt
        return StateType.SOFT, before.attempt + 1
    if was_problem and before.state_type is StateType.HARD:
        return StateType.HARD, before.attempt
    attempt = before.attempt + 1 if was_problem else 1
    return (StateType.HARD if attempt >= max_check_attempts else StateType.SOFT), attempt


def _with_history(machine: Machine) -> Machine:
    history = machine.history[1:] + str(int(machine.state))
    percent = change_percent(history)
    is_flapping = machine.is_flapping
    if percent <= FLAP_LOW_PERCENT:
        is_flapping = False
    elif percent >= FLAP_HIGH_PERCENT:
        is_flapping = True
    return msgspec.structs.replace(machine, history=history, change_percent=percent, is_flapping=is_flapping)


def change_percent(history: str) -> float:
    """How much of the history is change, newer changes weighing more: 0..100."""
    assert len(history) == HISTORY_COUNT, history
    if history == history[0] * HISTORY_COUNT:
        return 0.0
    slope = (CURVE_HIGH - CURVE_LOW) / (HISTORY_COUNT - 2)
    changes = sum(
        index * slope + CURVE_LOW for index in range(HISTORY_COUNT - 1) if history[index] != history[index + 1]
    )
    return changes * 100.0 / (HISTORY_COUNT - 1)


def _notices(before: Machine, machine: Machine, *, was_problem: bool) -> tuple[tuple[Notice, ...], int]:
    """The notifications of a step, and their count for the problem that stands afterwards."""
    count = before.notice_count
    is_hard = machine.state_type is StateType.HARD
    recovered = machine.state is State.OK and was_problem and is_hard
    count_after = 0 if machine.state is State.OK else count
    if machine.is_flapping != before.is_flapping:
        kind = NoticeKind.FLAPPING_START if machine.is_flapping else NoticeKind.FLAPPING_STOP
        return (Notice(kind, count),), count_after
    if machine.is_flapping:
        return (), count_after
    if recovered and count > 0:
        return (Notice(NoticeKind.RECOVERY, count + 1),), 0
    is_news = machine.state != before.state or before.state_type is StateType.SOFT or count == 0
    if machine.state is not State.OK and is_hard and is_news:
        return (Notice(NoticeKind.PROBLEM, count + 1),), count + 1
    return (), count_after

"""When and how long: tables."""

from __future__ import annotations

import pytest

from checks.model import Check, State
from checks.state import Machine, advance
from scheduler.timing import SPREAD_S_MAX, first_run_ms, retry_in_s, share, time_allowed_s
from scheduler.wallclock import StepWatch

CHECK = Check(kind="tcp", name="db", interval_s=10, timeout_s=5, retry_interval_s=2, max_check_attempts=3)


def machine(*states: State, ok_duration_s: float = 0.0) -> Machine:
    found = Machine()
    for index, state in enumerate(states):
        found = advance(found, state, at_ms=index * 1_000, max_check_attempts=3, duration_s=ok_duration_s).machine
    return found


C, OK = State.CRITICAL, State.OK
ALLOWED = {  # name: (machine, now, seconds)
    "never run": (Machine(), 0, 5),
    "well": (machine(OK), 10_000, 5),
    "hard": (machine(C, C, C), 60_000, 5),
    "the first failure was instant": (machine(OK, C), 3_000, 5),
    "the first failure took its whole time": (machine(OK, C), 6_000, 2),
    "and so did the second": (machine(OK, C, C), 8_000, 2),
    "half of its time": (machine(OK, C), 4_500, 3.5),
    "answers are slow by nature": (machine(OK, C, ok_duration_s=1.5), 6_000, 4.5),
    "the clock stepped back": (machine(OK, C), -3_600_000, 5),
    "the clock stepped forward": (machine(OK, C), 86_400_000, 2),
}


@pytest.mark.parametrize(("before", "now_ms", "want_s"), ALLOWED.values(), ids=ALLOWED.keys())
def test_the_time_a_run_is_allowed(before: Machine, now_ms: int, want_s: float) -> None:
    assert time_allowed_s(CHECK, before, now_ms=now_ms) == pytest.approx(want_s)


def test_a_retry_comes_an_interval_after_the_start_and_never_before_the_end() -> None:
    assert retry_in_s(CHECK, took_s=0.5) == 1.5
    assert retry_in_s(CHECK, took_s=5.0) == 0.0


FIRST = {  # name: (what was planned, has run, is soft, is one of many, first run in ms from now)
    "a new check": (None, False, False, False, 0),
    "one of many new ones": (None, False, False, True, None),
    "as it was planned": (4_000, True, False, False, 4_000),
    "overdue: soon, spread": (-60_000, True, False, True, int(share("c") * 10_000)),
    "planned by a clock that was ahead": (86_400_000, True, False, False, int(share("c") * 10_000)),
    "soft and overdue: within the retry interval": (-60_000, True, True, False, int(share("c") * 2_000)),
}


@pytest.mark.parametrize(("planned", "has_run", "is_soft", "is_crowd", "want"), FIRST.values(), ids=FIRST.keys())
def test_the_first_run_after_a_start(
    planned: int | None, has_run: bool, is_soft: bool, is_crowd: bool, want: int | None
) -> None:
    now_ms = 1_000_000_000
    found = first_run_ms(
        CHECK,
        "c",
        now_ms=now_ms,
        next_run_ms=None if planned is None else now_ms + planned,
        is_soft=is_soft,
        has_run=has_run,
        is_crowd=is_crowd,
    )
    assert found == (None if want is None else now_ms + want)


def test_what_is_overdue_after_a_start_runs_within_half_a_minute_whatever_its_interval() -> None:
    check = Check(kind="tcp", name="db", interval_s=3_600)
    for index in range(200):
        found = first_run_ms(check, f"c{index}", now_ms=0, next_run_ms=-1, is_soft=False, has_run=True, is_crowd=True)
        assert found is not None
        assert 0 <= found <= SPREAD_S_MAX * 1000


class HandClock:
    wall_ms = 1_000_000
    steady_s = 50.0

    def now_ms(self) -> int:
        return self.wall_ms

    def monotonic_s(self) -> float:
        return self.steady_s


def test_a_step_is_told_once_and_slewing_is_none() -> None:
    clock = HandClock()
    watch = StepWatch(clock)
    clock.steady_s, clock.wall_ms = 60.0, 1_010_005
    assert watch.step_ms() == 0
    clock.steady_s, clock.wall_ms = 61.0, 1_011_005 - 3_600_000
    assert watch.step_ms() == -3_600_000
    assert watch.step_ms() == 0
    clock.wall_ms += 86_400_000
    assert watch.step_ms() == 86_400_000

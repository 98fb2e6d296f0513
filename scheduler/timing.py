"""When a check runs next and how long it may take. Pure."""

from __future__ import annotations

import zlib

from checks.model import Check, State
from checks.state import Machine, StateType

OK_DURATION_FACTOR = 3.0  # A retry may take three times what the last OK took, whatever the rules below say.
SPREAD_S_MAX = 30.0  # After a start, everything that is overdue runs within this.


def time_allowed_s(check: Check, machine: Machine, *, now_ms: int) -> float:
    """How long the coming run may take.

    The alert is promised within interval + timeout + (attempts − 1) × retry of the fault. Runs never overlap, so when
    the first failure has used its whole time-out, a retry gets what is left until its place in that sum, which is
    the retry interval. A target whose last OK took long keeps three times that: a slow answer is still an answer.
    """
    if machine.state in (State.OK, State.PENDING) or machine.state_type is StateType.HARD:
        return check.timeout_s
    first_ms = machine.problem_since_ms if machine.problem_since_ms is not None else now_ms
    left_s = (first_ms - now_ms) / 1000 + check.timeout_s + machine.attempt * check.retry_interval_s
    return min(check.timeout_s, max(left_s, check.retry_interval_s, OK_DURATION_FACTOR * machine.ok_duration_s))


def retry_in_s(check: Check, *, took_s: float) -> float:
    """How long after its end a soft failure is looked at again: one retry interval after its start, or at once."""
    return max(0.0, check.retry_interval_s - took_s)


def share(check_id: str) -> float:
    """A fixed number in 0..1 for each check, so that checks of one interval do not run all at once."""
    return zlib.crc32(check_id.encode()) / 2**32


def first_run_ms(
    check: Check, check_id: str, *, now_ms: int, next_run_ms: int | None, is_soft: bool, has_run: bool, is_crowd: bool
) -> int | None:
    """When a check that is planned anew runs first: None leaves it to its next place in the plan.

    next_run_ms: what an earlier start had planned. is_crowd: many are planned at the same moment.
    """
    if next_run_ms is None or not has_run:
        return None if is_crowd else now_ms  # Somebody made or changed it, and waits for what it finds.
    pace_ms = 1000 * (check.retry_interval_s if is_soft else check.interval_s)
    if now_ms <= next_run_ms <= now_ms + pace_ms:
        return next_run_ms
    return now_ms + int(share(check_id) * min(pace_ms, SPREAD_S_MAX * 1000))

"""When a group of rules is evaluated. Pure.

The times of a group are one interval apart, at its own share of the interval, so that groups of one interval are
spread; they are the same after a restart. Source: EvalTimestamp and run in rules/group.go of Prometheus 3.
"""

from __future__ import annotations

from hashlib import blake2b

# Of one evaluation of a group: its interval, within these bounds. A few groups are evaluated at once and share the
# places with all others, so three that take for ever would silence the rest: each waits for the longest of them. A
# minute lets a group of a short interval outlast two questions that run into their time-out of 30 s; then it is late,
# which is counted, but it moves on. The thousand rules of the largest file take two seconds.
TIME_S_MIN, TIME_S_MAX = 60.0, 600.0


def share_ms(document_id: str, group_name: str, interval_ms: int) -> int:
    """How far the times of a group are after the whole intervals since 1970."""
    digest = blake2b(f"{document_id}\0{group_name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % interval_ms


def time_s_max(interval_ms: int) -> float:
    """How long one evaluation of a group may take."""
    return min(max(interval_ms / 1_000, TIME_S_MIN), TIME_S_MAX)


def next_ms(now_ms: int, interval_ms: int, share_ms: int) -> int:
    """The first time of a group after now_ms."""
    return now_ms - (now_ms - share_ms) % interval_ms + interval_ms


def due(planned_ms: int, now_ms: int, interval_ms: int, share_ms: int) -> tuple[int, int]:
    """The time that is due or comes next, and how many before it were missed.

    planned_ms: the time that was to come next. When the wall clock has been set back, it may be far away; then it is
    the next one by the new time, or the group would be silent until the old time comes again.
    """
    if now_ms < planned_ms:
        return (planned_ms if planned_ms - now_ms <= interval_ms else next_ms(now_ms, interval_ms, share_ms)), 0
    missed_count = (now_ms - planned_ms) // interval_ms
    return planned_ms + missed_count * interval_ms, missed_count

"""When groups of rules are evaluated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.rules import schedule

MINUTE_MS = 60_000
DUE = {  # name: (now after the planned time, the time that is due after it, missed), in seconds; the interval is 60 s
    "on time": (0, 0, 0),
    "a little late": (59, 0, 0),
    "one later": (60, 60, 1),
    "many later": (601, 600, 10),
    "not yet": (-60, 0, 0),
    "the clock was set back": (-3_630, -3_600, 0),
}


@pytest.mark.parametrize(("now_s", "wanted_s", "missed_count"), DUE.values(), ids=DUE.keys())
def test_what_is_due(now_s: int, wanted_s: int, missed_count: int) -> None:
    planned_ms, share_ms = 1_000 * MINUTE_MS + 7_000, 7_000
    found = schedule.due(planned_ms, planned_ms + 1_000 * now_s, MINUTE_MS, share_ms)
    assert found == (planned_ms + 1_000 * wanted_s, missed_count)


@pytest.mark.parametrize(("interval_s", "limit_s"), [(1, 60), (60, 60), (61, 61), (600, 600), (86_400, 600)])
def test_an_evaluation_may_take_its_interval_within_bounds(interval_s: int, limit_s: float) -> None:
    assert schedule.time_s_max(1_000 * interval_s) == limit_s


@given(st.integers(0, 2**42), st.integers(1_000, 86_400_000), st.text(), st.text())
def test_the_times_of_a_group_are_one_interval_apart_and_hang_on_its_name_alone(
    now_ms: int, interval_ms: int, document_id: str, name: str
) -> None:
    share_ms = schedule.share_ms(document_id, name, interval_ms)
    assert 0 <= share_ms < interval_ms
    found_ms = schedule.next_ms(now_ms, interval_ms, share_ms)
    assert now_ms < found_ms <= now_ms + interval_ms
    assert found_ms % interval_ms == share_ms


def test_groups_of_one_interval_are_spread() -> None:
    shares = [schedule.share_ms("0123456789abcdef", f"group {number}", MINUTE_MS) for number in range(600)]
    counts = [sum(share_ms // 10_000 == part for share_ms in shares) for part in range(6)]
    assert min(counts) > 60

"""Time axes have ticks at round times of the zone's clocks."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.draw.graph import hours
from web.draw.graph.errors import BadPicture
from web.draw.graph.hours import checked_format, ticks

HOUR_S, DAY_S = 3_600, 86_400
MIDNIGHT_S = 1_700_006_400  # 15 Nov 2023, 00:00 UTC.

AXES = {  # name: (from and until after midnight, zone, width, labels wanted)
    "five minutes": ((0, 300), "UTC", 300, "15 Nov|00:01|00:02|00:03|00:04|00:05"),
    "half a minute": ((5, 35), "UTC", 300, "00:00:10|00:00:20|00:00:30"),
    "hours": ((-HOUR_S, 4 * HOUR_S), "UTC", 300, "23:00|15 Nov|01:00|02:00|03:00|04:00"),
    "another zone": ((-HOUR_S, 3 * HOUR_S), "Asia/Kathmandu", 300, "05:00|06:00|07:00|08:00"),
    "a week": ((0, 7 * DAY_S), "UTC", 500, "Wed 15|Thu 16|Fri 17|Sat 18|Sun 19|Mon 20|Tue 21|Wed 22"),
    "a month": ((0, 30 * DAY_S), "UTC", 300, "19 Nov|26 Nov|03 Dec|10 Dec"),
    "a year": ((0, 365 * DAY_S), "UTC", 300, "2024|Mar|May|Jul|Sep|Nov"),
    "ten years": ((0, 3_650 * DAY_S), "UTC", 300, "2024|2026|2028|2030|2032"),
}
SPRING_S = 1_711_843_200  # 31 March 2024, 00:00 UTC; Berlin goes from 02:00 to 03:00 at 01:00 UTC.


@pytest.mark.parametrize(("span", "zone", "width", "want"), AXES.values(), ids=AXES.keys())
def test_labels_of_an_axis(span: tuple[int, int], zone: str, width: float, want: str) -> None:
    found = ticks(MIDNIGHT_S + span[0], MIDNIGHT_S + span[1], ZoneInfo(zone), width_px=width, size=10)
    assert "|".join(found.labels) == want


def test_an_hour_that_the_clocks_leave_out_has_no_tick() -> None:
    found = ticks(SPRING_S - HOUR_S, SPRING_S + 4 * HOUR_S, ZoneInfo("Europe/Berlin"), width_px=300, size=10)
    assert dict(zip(found.labels, found.major_s, strict=True))["03:00"] == SPRING_S + HOUR_S
    assert found.major_s == sorted(set(found.major_s))


@given(st.floats(-1e11, 1e12), st.floats(1, 1e11), st.floats(8, 4_096), st.sampled_from(["UTC", "Australia/Lord_Howe"]))
def test_every_axis_has_few_ticks_within(start_s: float, span_s: float, width: float, zone: str) -> None:
    found = ticks(start_s, start_s + span_s, ZoneInfo(zone), width_px=width, size=10)
    assert len(found.major_s) == len(found.labels) <= width / 10 + 1
    assert len(found.minor_s) <= width / 8 + 2
    assert all(start_s <= at_s <= start_s + span_s for at_s in (*found.major_s, *found.minor_s))


def test_an_axis_may_reach_to_the_last_years_that_there_are() -> None:
    assert ticks(hours.FIRST_S, hours.LAST_S, ZoneInfo("UTC"), width_px=800, size=10).labels[-1] == "9000"


def test_a_format_of_ones_own() -> None:
    found = ticks(MIDNIGHT_S, MIDNIGHT_S + DAY_S, ZoneInfo("UTC"), width_px=300, size=10, label="%d.%m. %Hh")
    assert found.labels[0] == "15.11. 00h"


@pytest.mark.parametrize("text", ["%1000000000d", "%", "%Q", "x" * 61, "%_5d"])
def test_a_format_that_would_hurt_is_refused(text: str) -> None:
    with pytest.raises(BadPicture, match="is no format of strftime"):
        checked_format(text)

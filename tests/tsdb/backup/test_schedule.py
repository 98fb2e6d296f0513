"""When a backup is due and which one goes, for clocks and folders as they are met."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from appliance.doctor.finding import Verdict
from tsdb.backup.schedule import (
    MINUTE_MS,
    RETRY_MS_MAX,
    Record,
    leftovers,
    name_of,
    next_ms,
    next_number,
    number_of,
    superfluous,
)
from tsdb.doctor import backups

DAY_MS = 86_400_000
NOW_MS = 1_800_000_000_000
OURS, OTHERS = "0a1b2c3d", "ffffffff"


def record(**fields: object) -> Record:
    return Record(appliance=OURS, **fields)  # type: ignore[arg-type]


DUE = {  # name: (the record; in how many ms the next one is due, 0 = at once)
    "never made": (record(), 0),
    "just made": (record(succeeded_ms=NOW_MS), DAY_MS),
    "half a day ago": (record(succeeded_ms=NOW_MS - DAY_MS // 2), DAY_MS // 2),
    "long ago": (record(succeeded_ms=NOW_MS - 9 * DAY_MS), -8 * DAY_MS),
    "failed once": (record(succeeded_ms=NOW_MS - 2 * DAY_MS, tried_ms=NOW_MS, failures_count=1), MINUTE_MS),
    "failed thrice": (record(tried_ms=NOW_MS, failures_count=3), 4 * MINUTE_MS),
    "failed for days": (record(tried_ms=NOW_MS, failures_count=500), RETRY_MS_MAX),
    "the clock was set back by a year": (record(succeeded_ms=NOW_MS + 365 * DAY_MS), 0),
    "the clock was set back while it failed": (record(tried_ms=NOW_MS + DAY_MS, failures_count=2), 0),
    "the clock was set back by a second": (record(succeeded_ms=NOW_MS + 1_000), DAY_MS + 1_000),
}


@pytest.mark.parametrize(("kept", "want_ms"), DUE.values(), ids=DUE.keys())
def test_the_next_backup(kept: Record, want_ms: int) -> None:
    assert next_ms(kept, DAY_MS, NOW_MS) - NOW_MS == want_ms


def test_a_short_interval_is_not_lengthened_by_failures() -> None:
    assert next_ms(record(tried_ms=NOW_MS, failures_count=9), 5 * MINUTE_MS, NOW_MS) == NOW_MS + 5 * MINUTE_MS


def names(appliance: str, *numbers: int) -> list[str]:
    """The higher the number, the earlier the time in the name: order must not be by time."""
    return [
        name_of(Record(appliance=appliance, number=number), NOW_MS - number * DAY_MS) for number in reversed(numbers)
    ]


def test_the_oldest_of_this_appliance_alone_go() -> None:
    found = [*names(OURS, 1, 2, 3, 4), *names(OTHERS, 1, 2, 3, 4), "henge-20260101T000000Z.backup", "mine.backup"]
    assert [number_of(name, OURS) for name in superfluous(found, OURS, 2)] == [1, 2]
    assert superfluous(found, OURS, 4) == []


def test_a_lost_record_does_not_start_from_one() -> None:
    assert next_number(record(), names(OURS, 7) + names(OTHERS, 99)) == 8
    assert next_number(record(number=9), names(OURS, 7)) == 10


def test_leftovers_are_told_from_backups_and_from_those_of_others() -> None:
    (ours,), (others,) = names(OURS, 5), names(OTHERS, 5)
    parts = [f"{ours}.unfinished", f"{ours}.unfinished.state"]
    found = [ours, *parts, f"{others}.unfinished", "x.unfinished"]
    assert leftovers(found, OURS) == parts


@dataclass(frozen=True)
class Case:
    verdict: Verdict
    said: str


READING = backups.Reading(
    folder="/mnt", interval_ms=DAY_MS, is_folder_there=True, now_ms=NOW_MS, is_running=True, record=record()
)
MADE = record(succeeded_ms=NOW_MS - 3_600_000)
JUDGED = {
    "off": (backups.Reading(folder=None, interval_ms=DAY_MS), Case("ok", "off")),
    "recent": ({"record": MADE}, Case("ok", "1 hours old")),
    "none yet": ({}, Case("advice", "none has been made")),
    "old": ({"record": record(succeeded_ms=NOW_MS - 3 * DAY_MS)}, Case("advice", "72 hours old")),
    "failing": ({"record": record(failures_count=3, tried_ms=NOW_MS, error="no room")}, Case("fault", "no room")),
    "no folder": ({"is_folder_there": False, "record": MADE}, Case("fault", "is not there")),
    "an open passphrase": ({"passphrase_error": "chmod 600", "record": MADE}, Case("fault", "chmod 600")),
}


@pytest.mark.parametrize(("given", "want"), JUDGED.values(), ids=JUDGED.keys())
def test_what_the_doctor_says(given: backups.Reading | dict[str, object], want: Case) -> None:
    reading = given if isinstance(given, backups.Reading) else replace(READING, **given)  # type: ignore[arg-type]
    found = list(backups.judge(reading))
    assert max(found, key=lambda one: ("ok", "advice", "fault").index(one.verdict)).verdict == want.verdict
    assert any(want.said in one.value for one in found)

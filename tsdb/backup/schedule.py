"""When the next scheduled backup is due, what it is called, and which older ones may go. No I/O and no clock.

Order is by a number in the name, not by a time: a clock that was set back, or forward for a day, makes no old backup
look new. The name carries the appliance too, so that two may put theirs into one folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

MINUTE_MS = 60_000
RETRY_FIRST_MS = MINUTE_MS  # Doubled with each failure that follows …
RETRY_MS_MAX = 60 * MINUTE_MS  # … up to this: a disk that is mounted again waits an hour at most.
CLOCK_STEP_MS = MINUTE_MS  # A last time that lies further ahead is of a clock that has been set back since.
_NAME = re.compile(r"henge-([0-9a-f]{8})-([0-9]{6,12})-[0-9]{8}T[0-9]{6}Z\.backup", re.ASCII)
_UNFINISHED = re.compile(r"henge-([0-9a-f]{8})-[0-9]{6,12}-[0-9TZ]{16}\.backup\.unfinished(\.state)?", re.ASCII)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of scheduled backups across restarts. Layout: docs/format/backup.md."""

    appliance: str  # 8 hexadecimal digits, made once for a data folder; a copy that is put back has its own.
    number: int = 0  # Of the last backup that was begun.
    tried_ms: int | None = None  # When the last one was begun.
    succeeded_ms: int | None = None  # When the last one that was read back was begun.
    file: str | None = None  # Its path.
    size_bytes: int = 0
    took_ms: int = 0
    failures_count: int = 0  # Since the last success.
    error: str | None = None  # Of the last failure, until the next success.


def next_ms(record: Record, interval_ms: int, now_ms: int) -> int:
    """When the next backup is to be begun: now_ms or earlier, if at once."""
    if record.failures_count and record.tried_ms is not None:
        doubled_ms = RETRY_FIRST_MS << min(record.failures_count - 1, 10)
        last_ms, wait_ms = record.tried_ms, min(doubled_ms, RETRY_MS_MAX, interval_ms)
    elif record.succeeded_ms is not None:
        last_ms, wait_ms = record.succeeded_ms, interval_ms
    else:
        return now_ms
    return now_ms if last_ms > now_ms + CLOCK_STEP_MS else last_ms + wait_ms


def name_of(record: Record, now_ms: int) -> str:
    moment = datetime.fromtimestamp(now_ms / 1_000, UTC)
    return f"henge-{record.appliance}-{record.number:06d}-{moment:%Y%m%dT%H%M%SZ}.backup"


def number_of(name: str, appliance: str) -> int | None:
    """The number of a backup of this appliance; None for every other file."""
    match = _NAME.fullmatch(name)
    return int(match[2]) if match and match[1] == appliance else None


def next_number(record: Record, names: Iterable[str]) -> int:
    """One more than any before, also where the record was lost and the files are there."""
    return max([record.number, *(number_of(name, record.appliance) or 0 for name in names)]) + 1


def superfluous(names: Iterable[str], appliance: str, keep_count: int) -> list[str]:
    """Those of this appliance beyond the keep_count newest, oldest first."""
    numbers = {name: number for name in names if (number := number_of(name, appliance)) is not None}
    ordered = sorted(numbers, key=lambda name: (numbers[name], name))
    return ordered[: max(0, len(ordered) - keep_count)]


def leftovers(names: Iterable[str], appliance: str) -> list[str]:
    """Parts of backups of this appliance that somebody interrupted."""
    return [name for name in names if (match := _UNFINISHED.fullmatch(name)) and match[1] == appliance]

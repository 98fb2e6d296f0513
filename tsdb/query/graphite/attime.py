"""Times and intervals as graphite-web reads them: `-1h`, `noon_yesterday`, `12:30_20231101`, `10min`.

Names of times mean the clock of a zone. A month is 30 days and a year 365, as in graphite-web.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from tsdb.query.graphite.errors import BadTime

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# By how a unit begins; months before minutes would be told by more letters, and a lone m is neither.
UNITS_S = {
    "s": 1,
    "min": 60,
    "h": 3_600,
    "d": 86_400,
    "w": 7 * 86_400,
    "mon": 30 * 86_400,
    "y": 365 * 86_400,
}
_TIMES = {"noon": 12, "midnight": 0, "teatime": 16}
_PART = re.compile(r"(\d+)([a-z]+)")
_CLOCK = re.compile(r"(\d+):(\d{2})(am|pm)?")
_HOUR = re.compile(r"(\d{1,2})(am|pm)")
# Beyond this a range of samples has no meaning, and arithmetic of dates ends: the year 9999.
EPOCH_S_MAX = 253_402_300_799


def epoch_of(text: str, now_s: int, zone: ZoneInfo) -> int:
    """A point in time, in seconds since 1970. Raises: BadTime."""
    found = _read(text, now_s, zone)
    if not 0 <= found <= EPOCH_S_MAX:
        raise BadTime(f"the time {text[:80]!r} lies outside of the years 1970 to 9999")
    return found


def _read(text: str, now_s: int, zone: ZoneInfo) -> int:
    plain = text.strip().lower().replace("_", "").replace(",", "").replace(" ", "")
    if plain.isascii() and plain.isdecimal() and not _is_day(plain):
        return int(plain[:20])
    place = next((index for index, char in enumerate(plain) if char in "+-"), len(plain))
    if "+" in plain:  # An offset that begins with + may hold no other sign before it.
        place = plain.index("+")
    reference, offset = plain[:place], plain[place:]
    try:
        shift_s = seconds_of(offset) if offset else 0
        if reference in ("", "now"):
            return now_s + shift_s
        return int(_reference(reference, now_s, zone, text).timestamp()) + shift_s
    except BadTime:
        raise
    except (ValueError, OverflowError) as error:
        raise BadTime(f"the time {text[:80]!r} cannot be read: {error}") from None


def _is_day(digits: str) -> bool:
    """Whether eight digits are YYYYMMDD and no seconds."""
    return len(digits) == 8 and int(digits[:4]) > 1900 and int(digits[4:6]) < 13 and int(digits[6:]) < 32


def _reference(text: str, now_s: int, zone: ZoneInfo, whole: str) -> datetime:
    hour, minute, rest = _time_of_day(text)
    day = _day(rest, datetime.fromtimestamp(now_s, zone).date(), whole)
    if not 0 <= hour <= 23 or not 0 <= minute <= 59:
        raise BadTime(f"the time {whole[:80]!r}: {hour}:{minute:02} is no time of day")
    first = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
    second = first.replace(fold=1)
    is_twice = (first.utcoffset() or timedelta()) > (second.utcoffset() or timedelta())  # When summer time ends.
    return second if is_twice else first


def _time_of_day(text: str) -> tuple[int, int, str]:
    """(hour, minute, what follows); midnight where none is said. pm is twelve hours on, of 12 too, as graphite-web."""
    for pattern in (_CLOCK, _HOUR):
        if (found := pattern.match(text)) is not None:
            hour = int(found[1])
            minute = int(found[2]) if pattern is _CLOCK else 0
            half = found[3] if pattern is _CLOCK else found[2]
            if half == "pm":
                hour = (hour + 12) % 24
            return hour, minute, text[found.end() :]
    for name, hour in _TIMES.items():
        if text.startswith(name):
            return hour, 0, text[len(name) :]
    return 0, 0, text


def _day(text: str, today: date, whole: str) -> date:
    if text in ("", "today"):
        return today
    if text in ("yesterday", "tomorrow"):
        return today + timedelta(days=1 if text == "tomorrow" else -1)
    if text.count("/") == 2:
        month, day, year = (int(part) for part in text.split("/"))
        year += 1900 if year < 1900 else 0
        return date(year + 100 if year < 1970 else year, month, day)
    if len(text) == 8 and text.isdecimal():
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    if text[:3] in MONTHS:
        found = re.search(r"\d{1,2}$", text)
        if found is None:
            raise BadTime(f"the time {whole[:80]!r}: the day of the month is missing")
        return date(today.year, MONTHS.index(text[:3]) + 1, int(found[0]))
    if text[:3] in WEEKDAYS:
        return today - timedelta(days=(today.weekday() - WEEKDAYS.index(text[:3])) % 7)
    raise BadTime(f"the time {whole[:80]!r} is none: write -1h, noon_yesterday, 12:30_20231101, or seconds since 1970")


def seconds_of(text: str) -> int:
    """`5min`, `-1h30min`: one sign for all of it. Raises: BadTime."""
    plain = text.strip().lower()
    sign = -1 if plain.startswith("-") else 1
    rest = plain[1:] if plain[:1] in ("+", "-") else plain
    total_s = at = 0
    while at < len(rest):
        part = _PART.match(rest, at)
        if part is None:
            raise BadTime(f"the interval {text[:80]!r} cannot be read; write a number and a unit, such as 5min or 1h")
        unit = next((unit for unit in sorted(UNITS_S, key=len, reverse=True) if part[2].startswith(unit)), None)
        if unit is None:
            units = ", ".join(UNITS_S)
            raise BadTime(f"the interval {text[:80]!r}: the unit {part[2][:20]!r} is none of {units}")
        total_s += int(part[1][:12]) * UNITS_S[unit]
        at = part.end()
    return sign * total_s

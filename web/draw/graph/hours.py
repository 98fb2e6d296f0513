"""The ticks of a time axis: at round times of the zone's own clocks, also where these change."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from web.draw.graph import font
from web.draw.graph.errors import BadPicture

LABEL_GAP = 1.8  # Between two labels, in sizes of the font.
MINOR_ROOM_PX = 9
TICK_COUNT_MAX = 400
FIRST_S, LAST_S = -60_000_000_000, 250_000_000_000  # Years 69 to 9892; datetime ends at 9999.
FORMAT_CHARS_MAX = 60
_FORMAT = re.compile(r"(?:[^%]|%-?[aAbBdHIjlmMpPeSuwyYZzkVGTRDFxXcCs%]){0,60}")


@dataclass(frozen=True, slots=True)
class Step:
    """So many seconds, or days, or months; label: as strftime has it."""

    seconds: int = 0
    days: int = 0
    months: int = 0
    label: str = "%H:%M"

    @property
    def length_s(self) -> int:
        return self.seconds + 86_400 * self.days + 30 * 86_400 * self.months


STEPS = (
    *(Step(seconds=one, label="%H:%M:%S") for one in (1, 2, 5, 10, 15, 30)),
    *(Step(seconds=60 * one) for one in (1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720)),
    *(Step(days=one, label="%a %d") for one in (1, 2)),
    *(Step(days=one, label="%d %b") for one in (7, 14)),
    *(Step(months=one, label="%b") for one in (1, 2, 3, 6)),
    *(Step(months=12 * one, label="%Y") for one in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)),
)
_LONG_SPAN_S = 21 * 86_400  # Above, the day of the week says little.


@dataclass(frozen=True, slots=True)
class Ticks:
    """In seconds since 1970, rising; a label for each major one."""

    major_s: list[int]
    labels: list[str]
    minor_s: list[int]


def checked_format(text: str) -> str:
    """Of xFormat. Raises: BadPicture, also for what would make a label of a million characters."""
    if len(text) > FORMAT_CHARS_MAX or _FORMAT.fullmatch(text) is None:
        raise BadPicture(f"xFormat: {text[:80]!r} is no format of strftime, such as %d.%m. %H:%M, up to 60 characters")
    return text


def ticks(start_s: float, end_s: float, zone: ZoneInfo, *, width_px: float, size: float, label: str = "") -> Ticks:
    """As many as have room beside one another; none where not even one has."""
    if not FIRST_S <= start_s < end_s <= LAST_S:
        return Ticks([], [], [])
    px_per_s = width_px / (end_s - start_s)
    found = _step(start_s, end_s, px_per_s, size, label)
    if found is None:
        return Ticks([], [], [])
    step, chosen = found
    major_s = list(_times(start_s, end_s, zone, step))
    finer = next((one for one in reversed(STEPS) if _divides(one, step)), None)
    minor_s: list[int] = []
    if finer is not None and finer.length_s * px_per_s >= MINOR_ROOM_PX:
        minor_s = sorted(set(_times(start_s, end_s, zone, finer)) - set(major_s))
    return Ticks(major_s, [_label(at_s, zone, step, chosen, is_given=bool(label)) for at_s in major_s], minor_s)


_WIDE, _WIDE_NIGHT = datetime(2028, 9, 28, 20, 58, 58, tzinfo=UTC), datetime(2028, 5, 24, tzinfo=UTC)


def _step(start_s: float, end_s: float, px_per_s: float, size: float, label: str) -> tuple[Step, str] | None:
    """The finest one whose labels have room, and how they are written."""
    for step in STEPS:
        chosen = label or _label_of(step, end_s - start_s)
        room_px = max(font.width(_named(chosen, moment), size) for moment in (_WIDE, _WIDE_NIGHT)) + LABEL_GAP * size
        if step.length_s * px_per_s >= room_px:
            return step, chosen
    return None


def _label_of(step: Step, span_s: float) -> str:
    return "%d %b" if step.days and span_s > _LONG_SPAN_S else step.label


def _named(label: str, moment: datetime) -> str:
    return moment.strftime(label)


def _label(at_s: int, zone: ZoneInfo, step: Step, label: str, *, is_given: bool) -> str:
    """A day begins with its date, and a year with its number, where the others do not tell it."""
    moment = datetime.fromtimestamp(at_s, zone)
    if not is_given and step.seconds and moment.hour == moment.minute == moment.second == 0:
        label = "%d %b"
    if not is_given and step.months and step.months < 12 and moment.month == 1:
        label = "%Y"
    return _named(label, moment)


def _divides(finer: Step, step: Step) -> bool:
    """Whether every tick of a step is one of the finer one, with no more than some between."""
    if finer.length_s * 2 > step.length_s:
        return False
    if step.months:
        return bool(finer.months and step.months % finer.months == 0)
    if step.days:
        return finer.days == 1 or bool(finer.seconds and step.days == 1)
    return step.seconds % finer.seconds == 0


def _times(start_s: float, end_s: float, zone: ZoneInfo, step: Step) -> Iterator[int]:
    """Within the range, both ends included; at most TICK_COUNT_MAX."""
    last_s, count = -math.inf, 0
    for moment in _local_times(start_s, zone, step):
        at_s = int(moment.replace(tzinfo=zone).timestamp())
        if at_s > end_s or count >= TICK_COUNT_MAX:
            return
        if at_s >= start_s and at_s > last_s:  # An hour that the clocks go through twice counts once.
            last_s, count = at_s, count + 1
            yield at_s


def _local_times(start_s: float, zone: ZoneInfo, step: Step) -> Iterator[datetime]:
    """Round times of the clocks on the wall, from about the start on."""
    first = datetime.fromtimestamp(math.floor(start_s), zone).replace(tzinfo=None)
    if step.seconds:
        moment = datetime(first.year, first.month, first.day) + timedelta(  # noqa: DTZ001 - the zone's own clock.
            seconds=(first.hour * 3_600 + first.minute * 60 + first.second) // step.seconds * step.seconds
        )
        while True:
            yield moment
            moment += timedelta(seconds=step.seconds)
    if step.days:
        ordinal = (first.toordinal() // step.days) * step.days
        while True:
            yield datetime.combine(date.fromordinal(ordinal), datetime.min.time())
            ordinal += step.days
    month = (first.year * 12 + first.month - 1) // step.months * step.months
    while month // 12 <= MAXYEAR:
        yield datetime(max(1, month // 12), month % 12 + 1, 1)  # noqa: DTZ001 - the zone's own clock.
        month += step.months

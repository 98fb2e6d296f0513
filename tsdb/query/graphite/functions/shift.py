"""Series of other times: shifted, stacked, cut out."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from tsdb.query.graphite.attime import epoch_of, seconds_of
from tsdb.query.graphite.context import Invocation
from tsdb.query.graphite.errors import BadTarget
from tsdb.query.graphite.registry import SERIES_LIST, Kind, function, optional, required
from tsdb.query.graphite.series import Series

GROUP = "Transform"
SHIFTS = ("1h", "6h", "12h", "1d", "2d", "7d", "14d", "30d")
STACK_COUNT_MAX = 400


def _signed(text: str) -> str:
    """What has no sign is meant as the time before."""
    return text if text.startswith(("+", "-")) else f"-{text}"


@function(
    "timeShift",
    group=GROUP,
    parameters=[
        SERIES_LIST,
        required("timeShift", Kind.INTERVAL, suggestions=SHIFTS),
        optional("resetEnd", Kind.BOOLEAN, True),
        optional("alignDst", Kind.BOOLEAN, False),
    ],
)
def time_shift(call: Invocation, group: list[Series], shift: str, resets_end: bool, aligns: bool) -> list[Series]:
    """The series as they were some time before, such as "1d"; alignDst: at the same hour though the clocks changed."""
    text, context = _signed(shift), call.context
    shift_s = seconds_of(text)
    start_s, end_s = context.start_s + shift_s, context.end_s + shift_s
    if aligns:
        moved_s = _offset_s(call, end_s) - _offset_s(call, context.end_s)
        shift_s, start_s, end_s = shift_s - moved_s, start_s - moved_s, end_s - moved_s
    if not group:
        return []
    found = []
    for one in call.again(0, context.between(start_s, end_s)):
        length_s = one.end_s - one.start_s
        first_s = group[0].start_s if resets_end else one.start_s - shift_s
        made = one.but(
            name=f'timeShift({one.name}, "{text}")',
            start_s=first_s,
            end_s=group[0].end_s if resets_end else first_s + length_s,
        )
        made.tags["timeShift"] = text
        found.append(made)
    return found


def _offset_s(call: Invocation, at_s: int) -> int:
    offset = datetime.fromtimestamp(at_s, call.context.zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0


@function(
    "timeStack",
    group=GROUP,
    parameters=[
        SERIES_LIST,
        optional("timeShiftUnit", Kind.INTERVAL, "1d", suggestions=SHIFTS),
        optional("timeShiftStart", Kind.INTEGER, 0),
        optional("timeShiftEnd", Kind.INTEGER, 7),
    ],
)
def time_stack(call: Invocation, group: list[Series], unit: str, first: int, last: int) -> list[Series]:
    """The series as they were so many units of time before, each from a first number of units to before a last."""
    if last - first > STACK_COUNT_MAX:
        raise BadTarget(f"timeStack(): {last - first:,} shifts are more than {STACK_COUNT_MAX}")
    text, context = _signed(unit), call.context
    unit_s = seconds_of(text)
    found = []
    for number in range(first, last):
        shift_s = unit_s * number
        for one in call.again(0, context.between(context.start_s + shift_s, context.end_s + shift_s)):
            name = f"timeShift({one.name}, {text}, {number})"
            made = one.but(name=name, path=name, start_s=one.start_s - shift_s, end_s=one.end_s - shift_s)
            made.tags |= {"timeShiftUnit": text, "timeShift": str(number)}
            found.append(made)
    return found


@function(
    "timeSlice",
    group=GROUP,
    parameters=[SERIES_LIST, required("startSliceAt", Kind.DATE), optional("endSliceAt", Kind.DATE, "now")],
)
def time_slice(call: Invocation, group: list[Series], start: str, end: str) -> list[Series]:
    """No values outside of two times."""
    context = call.context
    start_s, end_s = (epoch_of(text, context.now_s, context.zone) for text in (start, end))
    found = []
    for one in group:
        # As graphite-web does it, the first value is taken to stand at the start of the request.
        times = context.start_s + one.step_s * np.arange(one.values.size)
        values = np.where((times >= start_s) & (times <= end_s), one.values, np.nan)
        made = one.but(name=f"timeSlice({one.name}, {start_s}, {end_s})", values=values)
        made.tags |= {"timeSliceStart": str(start_s), "timeSliceEnd": str(end_s)}
        found.append(made)
    return found

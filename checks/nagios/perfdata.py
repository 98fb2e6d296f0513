"""Performance data as plugins print it: `'label'=value[UOM];[warn];[crit];[min];[max]`. Pure.

What cannot be read is left out, its neighbours are kept. Source: Monitoring Plugins Development Guidelines, section
"Performance data"; where plugins stray from it, as the Perl module Monitoring::Plugin reads them.
"""

from __future__ import annotations

import math
import re

from checks.model import PERFDATA_COUNT_MAX, Perfdata
from checks.nagios.ranges import parse_range

LABEL_CHARACTERS_MAX = 255
UNIT_CHARACTERS_MAX = 16

_QUOTED_LABEL = re.compile(r"\s*'((?:[^'\n]|'')+)'=")
_LABEL = re.compile(r"\s*'?([^=\n]*?)'?\s*=")
_VALUE = re.compile(r"([-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?)([^\s;]*)")
_UNDETERMINED = "U"


def parse_perfdata(text: str) -> tuple[Perfdata, ...]:
    """The items of a plugin's performance data, in order, PERFDATA_COUNT_MAX of them at most."""
    found: list[Perfdata] = []
    position = 0
    while position < len(text) and len(found) < PERFDATA_COUNT_MAX:
        label = _QUOTED_LABEL.match(text, position) or _LABEL.match(text, position)
        if label is None:
            position = _next_line(text, position)
            continue
        end = _end_of_token(text, label.end())
        item = _item(label[1].replace("''", "'").strip(), text[label.end() : end])
        if item is not None:
            found.append(item)
        position = end
    return tuple(found)


def _next_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1


def _end_of_token(text: str, position: int) -> int:
    found = re.compile(r"\s").search(text, position)
    return found.start() if found else len(text)


def _item(label: str, token: str) -> Perfdata | None:
    written, *limits = token.split(";")
    if not label or len(label) > LABEL_CHARACTERS_MAX:
        return None
    value, unit = None, ""
    if written != _UNDETERMINED:
        number = _VALUE.fullmatch(written)
        if number is None or len(number[2]) > UNIT_CHARACTERS_MAX:
            return None
        value, unit = float(number[1].replace(",", ".")), number[2]
        if not math.isfinite(value):
            return None
    limits += [""] * 4
    return Perfdata(
        label=label,
        value=value,
        unit=unit,
        warning=_range_or_nothing(limits[0]),
        critical=_range_or_nothing(limits[1]),
        minimum=_number_or_nothing(limits[2]),
        maximum=_number_or_nothing(limits[3]),
    )


def _range_or_nothing(text: str) -> str:
    """The range as it was written, if it is one."""
    try:
        parse_range(text)
    except ValueError:
        return ""
    return text


def _number_or_nothing(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None

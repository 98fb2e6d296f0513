"""Numbers in the words of Go and of Prometheus' template functions.

Source: template/template.go of Prometheus 3; Go's packages fmt and strconv.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

_LARGE, _SMALL = ("k", "M", "G", "T", "P", "E", "Z", "Y"), ("m", "u", "n", "p", "f", "a", "z", "y")
_VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\d*)(?:\.(?P<precision>\d*))?(?P<verb>[a-zA-Z%])")
WIDTH_MAX = 1_000
TEXT_SIZE_MAX = 64 * 1024  # Of one text, and of what a template becomes.
_PLAIN_FIGURES = 6


def go_text(value: object) -> str:
    """A value as Go's %v prints it. Raises: ValueError, if that is too long: a list may hold one thing many times."""
    found, size = [], 0
    for piece in _pieces(value):
        found.append(piece)
        size += len(piece)
        refuse_long(size)
    return "".join(found)


def refuse_long(size: int) -> None:
    """Raises: ValueError."""
    if size > TEXT_SIZE_MAX:
        raise ValueError(f"a text is longer than {TEXT_SIZE_MAX:,} characters")


def _pieces(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield "map["
        for place, key in enumerate(sorted(value)):
            yield f"{' ' if place else ''}{key}:"
            yield from _pieces(value[key])
        yield "]"
    elif isinstance(value, list | tuple):
        yield "["
        for place, item in enumerate(value):
            yield " " if place else ""
            yield from _pieces(item)
        yield "]"
    else:
        yield _word(value)


def _word(value: object) -> str:
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return float_text(value) if isinstance(value, float) else str(value)


def float_text(value: float) -> str:
    """Go's FormatFloat(value, 'g', -1, 64): the shortest digits, with an exponent below 1e-4 and from a million on."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    figures = "".join(map(str, digits))
    power = len(figures) + exponent - 1
    front = "-" if sign else ""
    if power < -4 or power >= _PLAIN_FIGURES:
        rest = f".{figures[1:]}" if len(figures) > 1 else ""
        return f"{front}{figures[0]}{rest}e{'-' if power < 0 else '+'}{abs(power):02d}"
    return f"{Decimal(repr(value)).normalize():f}"


def four_figures(value: float) -> str:
    """Go's %.4g."""
    if math.isnan(value) or math.isinf(value):
        return float_text(value)
    return f"{value:.4g}"


def humanize(value: float) -> str:
    if value == 0 or math.isnan(value) or math.isinf(value):
        return four_figures(value)
    prefix = ""
    if abs(value) >= 1:
        for larger in _LARGE:
            if abs(value) < 1_000:
                break
            prefix, value = larger, value / 1_000
    else:
        prefix, value = _smaller(value)
    return four_figures(value) + prefix


def _smaller(value: float) -> tuple[str, float]:
    prefix = ""
    for smaller in _SMALL:
        if abs(value) >= 1:
            break
        prefix, value = smaller, value * 1_000
    return prefix, value


def humanize_1024(value: float) -> str:
    if abs(value) <= 1 or math.isnan(value) or math.isinf(value):
        return four_figures(value)
    prefix = ""
    for larger in ("ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"):
        if abs(value) < 1_024:
            break
        prefix, value = larger, value / 1_024
    return four_figures(value) + prefix


def humanize_duration(value: float) -> str:
    """Seconds as `1d 2h 3m 4s`."""
    if math.isnan(value) or math.isinf(value):
        return four_figures(value)
    if value == 0:
        return "0s"
    if abs(value) < 1:
        prefix, value = _smaller(value)
        return f"{four_figures(value)}{prefix}s"
    sign, value = ("-", -value) if value < 0 else ("", value)
    minutes, seconds = divmod(int(value), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{sign}{days}d {hours}h {minutes}m {seconds}s"
    if hours:
        return f"{sign}{hours}h {minutes}m {seconds}s"
    return f"{sign}{minutes}m {seconds}s" if minutes else f"{sign}{four_figures(value)}s"


def humanize_percentage(value: float) -> str:
    return f"{four_figures(value * 100)}%"


def humanize_timestamp(value: float) -> str:
    """Seconds since 1970 as Go prints a time in UTC."""
    if math.isnan(value) or math.isinf(value):
        return four_figures(value)
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(value * 1_000_000))
    except OverflowError:
        return four_figures(value)
    fraction = f".{moment.microsecond:06d}".rstrip("0").rstrip(".")
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"


def printf(template: str, *arguments: object) -> str:
    """Go's Sprintf, of the verbs that templates use. Raises: ValueError."""
    left = list(arguments)

    def one(found: re.Match[str]) -> str:
        verb = found["verb"]
        if verb == "%":
            return "%"
        if not left:
            return f"%!{verb}(MISSING)"
        width, precision = found["width"], found["precision"]
        if len(width) > 4 or int(width or 0) > WIDTH_MAX or len(precision or "") > 3:
            raise ValueError(f"{found.group()} is wider than {WIDTH_MAX}")
        return _formatted(left.pop(0), verb, found["flags"], width, precision)

    text = _VERB.sub(one, template)
    extra = ", ".join(f"{_kind(value)}={go_text(value)}" for value in left)
    return f"{text}%!(EXTRA {extra})" if left else text


def _formatted(value: object, verb: str, flags: str, width: str, precision: str | None) -> str:
    dot = "" if precision is None else f".{precision or 0}"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if verb in "feEgG" and isinstance(value, float):
        if math.isinf(value) or math.isnan(value) or (verb in "gG" and not dot):
            text = float_text(value)
        else:
            text = f"%{dot}{verb}" % value
        return _padded(f"+{text}" if "+" in flags and text[0] not in "+-" else text, flags, width)
    if verb in "dxXo" and isinstance(value, int) and not isinstance(value, bool):
        return f"%{flags}{width}{verb}" % value
    if verb == "v" or (verb == "s" and not is_number):
        text = go_text(value)
        return _padded(text[: int(precision or 0)] if precision is not None and verb == "s" else text, flags, width)
    if verb == "q" and isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        return _padded(f'"{escaped}"', flags, width)
    if verb == "t" and isinstance(value, bool):
        return _padded(go_text(value), flags, width)
    return f"%!{verb}({_kind(value)}={go_text(value)})"


def _padded(text: str, flags: str, width: str) -> str:
    size = int(width or 0)
    if "-" in flags:
        return text.ljust(size)
    return text.zfill(size) if "0" in flags else text.rjust(size)


def _kind(value: object) -> str:
    kinds = {bool: "bool", int: "int", float: "float64", str: "string", type(None): "<nil>"}
    return kinds.get(type(value), "map[string]string")

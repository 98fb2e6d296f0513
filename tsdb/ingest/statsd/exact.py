"""The slow path: one line of StatsD, read as statsd's JavaScript reads it, kept or refused with a reason."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from tsdb.ingest.statsd.datadog import EVENT, SERVICE_CHECK, notice_of
from tsdb.notices import Notice

COUNTER, GAUGE, TIMER, SET = range(4)
TAGS = "|#"
BAD_NUMBER, BAD_RATE, NO_TYPE = "not_a_number", "bad_sample_rate", "no_type"
NEGATIVE, UNSUPPORTED, UNKNOWN_TYPE = "negative_timer", "not_supported", "unknown_type"
BAD_EVENT, BAD_CHECK = "bad_event", "bad_service_check"
MESSAGES = {
    BAD_NUMBER: "the value is not a number",
    BAD_RATE: "the sample rate is not `@` and a number such as @0.1",
    NO_TYPE: "there is no type; a metric reads `name:value|type`, the type c, g, ms or s",
    NEGATIVE: "a timer cannot be negative",
    UNSUPPORTED: "metrics with a time of their own are not taken over StatsD",
    BAD_EVENT: "this is no event; one reads `_e{5,4}:title|text|d:1700000000|#tag`, with the lengths in bytes",
    BAD_CHECK: "this is no service check; one reads `_sc|name|0|#tag|m:message`, the status 0 to 3",
    UNKNOWN_TYPE: "the type is none of c, g, ms, h, d and s",
}
# What JavaScript takes for white space in strings (ECMAScript 2023, 12.2 and 12.3).
_BLANKS = "\t\n\v\f\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_TRIMMED = re.compile(f"^[{_BLANKS}]+|[{_BLANKS}]+$")
_BLANK_RUN = re.compile(f"[{_BLANKS}]+")
_DECIMAL = re.compile(r"[+-]?(?:Infinity|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")
_WHOLE = re.compile(r"0(?:[xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)")
_RATE = re.compile(r"@([0-9.]+)")
_UNWANTED = re.compile(r"[^a-zA-Z_\-0-9.;=]")
_DOG_KINDS = {"c": COUNTER, "g": GAUGE, "ms": TIMER, "h": TIMER, "d": TIMER, "s": SET}


class Metric(NamedTuple):
    """One value. factor: one over the sample rate. is_delta: a gauge's value with a sign. text: a set's member."""

    kind: int
    value: float
    factor: float
    is_delta: bool
    text: str


@dataclass(slots=True)
class Line:
    """raw: the name, and the tags behind TAGS if there are any; what `name_of` reads. bad: a reason for each value.

    notice: an event or service check, which has neither.
    """

    raw: str
    metrics: list[Metric] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    notice: Notice | None = None


def decode_line(text: str, *, dogstatsd: bool) -> Line:
    """The values of one line, given without its line feed; not empty."""
    if dogstatsd:
        return _dog_line(text)
    head, *others = text.split(TAGS)
    name, *values = head.split(":")
    line = Line(name + (TAGS + others[0] if others and others[0] else ""))
    for value in values or ["1"]:
        _take(line, value.split("|"))
    return line


def _take(line: Line, fields: list[str]) -> None:
    if len(fields) < 2:
        line.bad.append(NO_TYPE)
        return
    value_text, kind_text = fields[:2]
    factor = 1.0
    if len(fields) > 2:
        found = factor_of(fields[2])
        if found is None:
            line.bad.append(BAD_RATE)
            return
        factor = found
    value = number_of(value_text) if value_text else None
    if value is None and kind_text != "s":  # The check looks at the type as it came, what follows at the trimmed one.
        line.bad.append(BAD_NUMBER)
        return
    if kind_text == "ms" and value is not None and value < 0:
        line.bad.append(NEGATIVE)
        return
    kind = {"ms": TIMER, "g": GAUGE, "s": SET}.get(_TRIMMED.sub("", kind_text), COUNTER)
    line.metrics.append(_metric(kind, value or 0.0, factor, value_text))


def _metric(kind: int, value: float, factor: float, text: str) -> Metric:
    is_delta = kind == GAUGE and text[:1] in ("+", "-")
    return Metric(kind, value, factor, is_delta, (text or "0") if kind == SET else "")


def _dog_line(text: str) -> Line:
    """DogStatsD: several values before one type, then @rate, #tags, c:container in any order."""
    if text.startswith((EVENT, SERVICE_CHECK)):
        notice = notice_of(text)
        bad = BAD_EVENT if text.startswith(EVENT) else BAD_CHECK
        return Line("", notice=notice, bad=[] if notice else [bad])
    head, *fields = text.split("|")
    name, *values = head.split(":")
    tags = "".join(TAGS + one[1:] for one in fields[1:] if one[:1] == "#" and len(one) > 1)
    line = Line(name + tags)
    reason, factor = "", 1.0
    if not fields or not values:
        reason = NO_TYPE
    elif fields[0].strip() not in _DOG_KINDS:
        reason = UNKNOWN_TYPE
    elif any(re.fullmatch(r"T-?[0-9]+", one) for one in fields[1:]):
        reason = UNSUPPORTED
    for one in fields[1:]:
        if one[:1] == "@":
            found = factor_of(one)
            reason, factor = (reason or BAD_RATE, factor) if found is None else (reason, found)
    if reason:
        line.bad += [reason] * max(1, len(values))
        return line
    kind = _DOG_KINDS[fields[0].strip()]
    for value_text in [":".join(values)] if kind == SET else values:
        value = number_of(value_text) if value_text else None
        if value is None and kind != SET:
            line.bad.append(BAD_NUMBER)
        elif fields[0] == "ms" and value is not None and value < 0:
            line.bad.append(NEGATIVE)
        else:
            line.metrics.append(_metric(kind, value or 0.0, factor, value_text))
    return line


def factor_of(text: str) -> float | None:
    """One over the rate in `@0.1`; None, if there is none. Only digits and dots of it count, as for statsd."""
    number = number_of(text[1:]) if len(text) > 1 and text[0] == "@" and text[1] != "-" else None
    found = _RATE.match(text)
    if number is None or found is None:
        return None
    rate = number_of(found[1])
    if rate is None:
        return None
    return 1 / rate if rate else math.inf


def number_of(text: str) -> float | None:
    """JavaScript's Number(text); None for its NaN."""
    text = _TRIMMED.sub("", text)
    if not text:
        return 0.0
    if _DECIMAL.fullmatch(text):
        return float(text)
    if _WHOLE.fullmatch(text):
        try:
            return float(int(text, 0))
        except OverflowError:
            return math.inf
    return None


def name_of(raw: str, *, dogstatsd: bool) -> str:
    """The name under which a metric is gathered: sanitized, its tags behind it as `;tag=value`."""
    name, _, tags = raw.partition(TAGS)
    if dogstatsd:
        return _dog_name(name, tags)
    if tags:
        name = ";".join((name, *(tag.replace(";", "_", 1).replace(":", "=", 1) for tag in tags.split(","))))
    return sanitized(name)


def sanitized(name: str) -> str:
    return _UNWANTED.sub("", _BLANK_RUN.sub("_", name).replace("/", "-"))


def _dog_name(name: str, tags: str) -> str:
    """The name sanitized, the values of tags as they are: a tag without a value is true, of a repeated one the last
    counts."""
    found = {}
    for tag in tags.replace(TAGS, ",").split(","):
        key, _, value = tag.replace(";", "_").strip().partition(":")
        if key:
            found[key.replace("=", "_")] = value.lstrip("~") or "true"
    return "".join((sanitized(name).replace(";", "_"), *(f";{key}={value}" for key, value in sorted(found.items()))))

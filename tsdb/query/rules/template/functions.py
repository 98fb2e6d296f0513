"""The functions of templates, by name."""

from __future__ import annotations

import html
import math
import re
import urllib.parse
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import re2

from appliance.units import promql_duration_ms
from tsdb.query.rules.template import numbers

NAMES_OF_SAMPLES = ("Labels", "Value")


class Wrong(Exception):
    """A function cannot take what it was given."""


def number(value: Any) -> float:
    """A number, or a text that is one, as Prometheus' functions take them."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Wrong(f"can't convert {numbers.go_text(value)} to float")
    try:
        return float(value)
    except ValueError:
        raise Wrong(f'strconv.ParseFloat: parsing "{value}": invalid syntax') from None


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise Wrong(f"wrong type: {numbers.go_text(value)} is not text")
    return value


def first(samples: Any) -> Any:
    if not isinstance(samples, list) or not samples:
        raise Wrong("first() called on vector with no elements")
    return samples[0]


def label(name: Any, sample: Any) -> str:
    return str(_sample(sample)["Labels"].get(text(name), ""))


def value(sample: Any) -> float:
    return float(_sample(sample)["Value"])


def _sample(sample: Any) -> dict[str, Any]:
    if not isinstance(sample, dict) or set(sample) != set(NAMES_OF_SAMPLES):
        raise Wrong(f"{numbers.go_text(sample)} is not a sample of a query")
    return sample


def sort_by_label(name: Any, samples: Any) -> list[Any]:
    return sorted(samples, key=lambda sample: label(name, sample))


def match(pattern: Any, searched: Any) -> bool:
    return _regex(pattern).search(text(searched)) is not None


def re_replace_all(pattern: Any, replacement: Any, searched: Any) -> str:
    """$1, ${1} and ${name} of Go's replacements."""
    found = _regex(pattern)
    size = 0

    def one(where: Any) -> str:
        nonlocal size
        inserted = filled(where)
        size += len(inserted)
        numbers.refuse_long(size)
        return inserted

    def filled(where: Any) -> str:
        def part(reference: re.Match[str]) -> str:
            name = reference[1] or reference[2]
            if name == "$" or reference[0] == "$$":
                return "$"
            try:
                return where.group(int(name) if name.isdecimal() else name) or ""
            except (IndexError, KeyError, re2.error):
                return ""

        return re.sub(r"\$(?:\{(\w+)\}|(\w+|\$))", part, text(replacement))

    return str(found.sub(one, text(searched)))


def _regex(pattern: Any) -> Any:
    try:
        return re2.compile(text(pattern))
    except re2.error as error:
        raise Wrong(f"error parsing regexp: {error}") from None


def strip_port(address: Any) -> str:
    host, colon, port = text(address).rpartition(":")
    return host.strip("[]") if colon and port.isdecimal() else str(address)


def strip_domain(address: Any) -> str:
    host, colon, port = text(address).rpartition(":")
    if not colon or not port.isdecimal():
        host, colon, port = str(address), "", ""
    if re.fullmatch(r"[\d.]+|.*:.*", host):
        return str(address)  # An address, not a name.
    return host.partition(".")[0] + colon + port


def parse_duration(given: Any) -> float:
    found = promql_duration_ms(text(given))
    if found is None:
        raise Wrong(f'not a valid duration string: "{given}"')
    return found / 1_000


def to_time(seconds: Any) -> datetime | None:
    found = number(seconds)
    return None if math.isnan(found) or math.isinf(found) else datetime.fromtimestamp(found, UTC)


def title(given: Any) -> str:
    return re.sub(r"(?<!\w)\w", lambda found: found[0].upper(), text(given))


def index(found: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(found, dict):
            found = found.get(key, "")
        elif isinstance(found, list | str) and isinstance(key, int) and 0 <= key < len(found):
            found = found[key]
        else:
            raise Wrong(f"index {numbers.go_text(key)} is not there")
    return found


def is_true(found: Any) -> bool:
    """Empty values are false, as in Go."""
    return found is not None and found is not False and found != 0 and found not in ("", [], {})


def equal(one: Any, *others: Any) -> bool:
    if not others:
        raise Wrong("missing argument for comparison")
    return any(_comparable(one, other) and one == other for other in others)


def _comparable(one: Any, other: Any) -> bool:
    if isinstance(one, str) != isinstance(other, str) or isinstance(one, bool) != isinstance(other, bool):
        raise Wrong("incompatible types for comparison")
    # Go compares no whole number with a float.
    if isinstance(one, int) != isinstance(other, int) and isinstance(one, int | float):
        raise Wrong("incompatible types for comparison")
    return True


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compared(one: Any, other: Any) -> bool:
        return _comparable(one, other) and compare(one, other)

    return compared


def _length(found: Any) -> int:
    if not isinstance(found, str | list | dict):
        raise Wrong(f"len of {numbers.go_text(found)}")
    return len(found.encode()) if isinstance(found, str) else len(found)


def _joined(parts: Sequence[Any]) -> str:
    """Sprint: blanks only between two that are not text."""
    out = ""
    for place, part in enumerate(parts):
        if place and not isinstance(part, str) and not isinstance(parts[place - 1], str):
            out += " "
        out += numbers.go_text(part)
    return out


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "args": lambda *values: {f"arg{place}": given for place, given in enumerate(values)},
    "eq": equal,
    "externalURL": lambda: "",
    "first": first,
    "ge": _ordered(lambda one, other: one >= other),
    "graphLink": lambda expression: f"/graph?g0.expr={urllib.parse.quote_plus(text(expression))}&g0.tab=0",
    "gt": _ordered(lambda one, other: one > other),
    "html": lambda *values: html.escape(_joined(values)),
    "humanize": lambda given: numbers.humanize(number(given)),
    "humanize1024": lambda given: numbers.humanize_1024(number(given)),
    "humanizeDuration": lambda given: numbers.humanize_duration(number(given)),
    "humanizePercentage": lambda given: numbers.humanize_percentage(number(given)),
    "humanizeTimestamp": lambda given: numbers.humanize_timestamp(number(given)),
    "index": index,
    "label": label,
    "le": _ordered(lambda one, other: one <= other),
    "len": _length,
    "lt": _ordered(lambda one, other: one < other),
    "match": match,
    "ne": lambda one, other: not equal(one, other),
    "not": lambda given: not is_true(given),
    "parseDuration": parse_duration,
    "pathPrefix": lambda: "",
    "print": lambda *values: _joined(values),
    "printf": lambda template, *values: numbers.printf(text(template), *values),
    "println": lambda *values: " ".join(map(numbers.go_text, values)) + "\n",
    "reReplaceAll": re_replace_all,
    "safeHtml": text,
    "sortByLabel": sort_by_label,
    "stripDomain": strip_domain,
    "stripPort": strip_port,
    "strvalue": lambda sample: str(_sample(sample)["Labels"].get("__value__", "")),
    "tableLink": lambda expression: f"/graph?g0.expr={urllib.parse.quote_plus(text(expression))}&g0.tab=1",
    "title": title,
    "toLower": lambda given: text(given).lower(),
    "toTime": to_time,
    "toUpper": lambda given: text(given).upper(),
    "urlQueryEscape": lambda given: urllib.parse.quote_plus(text(given)),
    "urlquery": lambda *values: urllib.parse.quote_plus(_joined(values)),
    "value": value,
}
LAZY = frozenset({"and", "or"})  # They evaluate only as far as they have to.
QUERY = "query"
NAMES = frozenset(FUNCTIONS) | LAZY | {QUERY}

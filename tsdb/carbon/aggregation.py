"""aggregation-rules.conf: `output (frequency) = method input`, series that are made of others as they come in.

In an input `*` stands for any part of one node, `<field>` for a part that the output repeats, `<<field>>` for one that
may go over several nodes. What else is there is a regular expression, as in carbon, but for the dots.

Source: carbon 1.1.10, lib/carbon/aggregator/rules.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from tsdb.carbon.rewriting import Pattern, Read, bounded, said_lines

FREQUENCY_S_MAX = 86_400
PERCENTILES = {
    "p50": 0.5,
    "p75": 0.75,
    "p80": 0.8,
    "p90": 0.9,
    "p95": 0.95,
    "p99": 0.99,
    "p999": 0.999,
}
METHODS = ("sum", "avg", "min", "max", "count", "last", *PERCENTILES)
_RULE = re.compile(r"(\S+)\s+\(\s*([0-9]{1,9})\s*\)\s*=\s*(\S+)\s+(\S+)", re.ASCII)
_WIDE = re.compile(r"(.*?)<<(.*?)>>(.*)")
_NARROW = re.compile(r"(.*?)<(.*?)>(.*)")
_FIELD = re.compile(r"<([^<>]*)>")


class Output(NamedTuple):
    """A series that is made: a value for each interval of so many seconds."""

    name: str
    frequency_s: int
    method: str  # One of METHODS.


@dataclass(frozen=True, slots=True)
class Aggregation:
    """parts: of the output's name: texts, and at odd places names of fields."""

    pattern: Pattern
    parts: tuple[str, ...]
    frequency_s: int
    method: str

    def output_of(self, name: str) -> Output | None:
        found = self.pattern.regex.match(name)
        if found is None:
            return None
        parts = (found.group(part) if at % 2 else part for at, part in enumerate(self.parts))
        return Output("".join(parts), self.frequency_s, self.method)


def parse_rule(line: str) -> Aggregation:
    """Raises: ValueError."""
    found = _RULE.fullmatch(line)
    if found is None:
        raise ValueError(f"{line[:120]!r} is not `output (seconds) = method input`")
    output, frequency, method, wanted = found.groups()
    if method not in METHODS:
        raise ValueError(f"there is no aggregation method {method[:40]!r}; there are {', '.join(METHODS)}")
    frequency_s = int(frequency)
    if not 1 <= frequency_s <= FREQUENCY_S_MAX:
        raise ValueError(f"the frequency of {frequency_s} s is not in 1 … {FREQUENCY_S_MAX:,}")
    pattern = Pattern.of(regex_of(wanted))
    parts = tuple(_FIELD.split(output))
    for field in parts[1::2]:
        if field not in pattern.regex.groupindex:
            raise ValueError(f"the output {output[:80]!r} repeats <{field[:40]}>, which the input does not have")
    if any("<" in part or ">" in part for part in parts[::2]):
        raise ValueError(
            f"the output {output[:80]!r} has angle brackets that are no <field>; <<field>> is <field> here"
        )
    return Aggregation(pattern, parts, frequency_s, method)


def regex_of(wanted: str) -> str:
    r"""`<app>.*.count` → `(?P<app>[^.]+?)\.[^.]+\.count$`."""
    return r"\.".join(map(_node, wanted.split("."))) + "$"


def _node(text: str) -> str:
    for form, width in ((_WIDE, ".+?"), (_NARROW, "[^.]+?")):
        if found := form.fullmatch(text):
            before, field, after = found.groups()
            return f"{before}(?P<{field}>{width}){after}"
    return "[^.]+" if text == "*" else text.replace("*", "[^.]*")


def read_aggregations(text: str) -> Read:
    found: list[Aggregation] = []
    errors: dict[int, str] = {}
    for number, line in said_lines(text):
        try:
            found.append(parse_rule(line))
        except ValueError as error:
            errors[number] = str(error)
    return bounded({"aggregations": tuple(found)}, errors)

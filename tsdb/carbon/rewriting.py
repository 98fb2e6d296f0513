"""rewrite-rules.conf, blacklist.conf and whitelist.conf: regular expressions that change names, or refuse them.

A line is `pattern = replacement` below [pre] or [post] in the one, a pattern in the others. Patterns are RE2's, so that
none can take longer than its name is long; those of Python that RE2 does not know, such as look-arounds, are refused.

Source: carbon 1.1.10, lib/carbon/rewrite.py and regexlist.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tsdb.errors import RefusedQuery
from tsdb.regex import compiled

RULES_COUNT_MAX = 1_000  # Of one file: each may be tried on a name that is new.
PATTERN_LENGTH_MAX = 4_096
_REFERENCE = re.compile(r"\\(?:g<([^>]*)>|([0-9]{1,2})|(.))", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Read:
    """What a file says. rules: of the lines that are right; errors: of the others, by line; line 0: of the file."""

    rules: dict[str, tuple[Any, ...]]  # By the name that Rulebook has for them.
    errors: dict[int, str]

    @property
    def complaints(self) -> list[str]:
        return [f"line {line}: {error}" if line else error for line, error in sorted(self.errors.items())]

    @property
    def rules_count(self) -> int:
        return sum(map(len, self.rules.values()))


@dataclass(frozen=True, slots=True)
class Pattern:
    text: str
    regex: Any  # Of RE2.

    @staticmethod
    def of(text: str) -> Pattern:
        """Raises: ValueError."""
        if len(text) > PATTERN_LENGTH_MAX:
            raise ValueError(f"the pattern has {len(text):,} characters of at most {PATTERN_LENGTH_MAX:,}")
        try:
            return Pattern(text, compiled(text))
        except RefusedQuery as error:
            raise ValueError(str(error)) from error

    def is_in(self, name: str) -> bool:
        return self.regex.search(name) is not None


@dataclass(frozen=True, slots=True)
class Rewrite:
    """parts: of what takes the place of a match: texts, and numbers of groups."""

    pattern: Pattern
    parts: tuple[str | int, ...]

    @staticmethod
    def of(text: str, replacement: str) -> Rewrite:
        """Raises: ValueError."""
        pattern = Pattern.of(text)
        return Rewrite(pattern, tuple(_parts(replacement, pattern)))

    def apply(self, name: str) -> str:
        changed: str = self.pattern.regex.sub(self._replacement, name)
        return changed

    def _replacement(self, found: Any) -> str:
        return "".join(part if isinstance(part, str) else found.group(part) or "" for part in self.parts)


def _parts(replacement: str, pattern: Pattern) -> Iterator[str | int]:
    r"""Read `\1.env.\g<name>`, as Python's re does. Raises: ValueError."""
    at = 0
    for found in _REFERENCE.finditer(replacement):
        yield replacement[at : found.start()]
        at = found.end()
        name, digits, escaped = found.groups()
        if escaped is not None:
            if escaped.isalpha() and escaped not in _ESCAPES:
                raise ValueError(f"the replacement {replacement[:80]!r} has \\{escaped}, which means nothing")
            yield _ESCAPES.get(escaped, found[0])
            continue
        group = name if digits is None else digits
        number = int(group) if group.isascii() and group.isdecimal() else pattern.regex.groupindex.get(group)
        if number is None or number > pattern.regex.groups:
            raise ValueError(f"the replacement {replacement[:80]!r} names the group {group!r}, which the pattern lacks")
        yield number
    if replacement.endswith("\\") and at < len(replacement):
        raise ValueError(f"the replacement {replacement[:80]!r} ends with a backslash")
    yield replacement[at:]


def said_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, with their numbers."""
    for number, line in enumerate(text.splitlines(), start=1):
        if (line := line.strip()) and not line.startswith("#"):
            yield number, line


def read_rewrites(text: str) -> Read:
    found: dict[str, list[Rewrite]] = {"pre": [], "post": []}
    errors: dict[int, str] = {}
    section = ""
    for number, line in said_lines(text):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip().lower()
            if section not in found:
                errors[number] = f"[{section[:40]}] is neither [pre] nor [post]"
            continue
        pattern, equals, replacement = (part.strip() for part in line.partition("="))
        try:
            if not equals:
                raise ValueError(f"{line[:80]!r} is not `pattern = replacement`")
            if not section:
                raise ValueError("stands before [pre] and [post]")
            if section in found:
                found[section].append(Rewrite.of(pattern, replacement))
        except ValueError as error:
            errors[number] = str(error)
    return bounded({key: tuple(rules) for key, rules in found.items()}, errors)


def read_names(key: str, text: str) -> Read:
    found: list[Pattern] = []
    errors: dict[int, str] = {}
    for number, line in said_lines(text):
        try:
            found.append(Pattern.of(line))
        except ValueError as error:
            errors[number] = str(error)
    return bounded({key: tuple(found)}, errors)


def bounded(rules: dict[str, tuple[Any, ...]], errors: dict[int, str]) -> Read:
    count = sum(map(len, rules.values()))
    if count > RULES_COUNT_MAX:
        errors[0] = f"{count:,} rules; at most {RULES_COUNT_MAX:,} are tried on every new name"
        rules = {key: found[:RULES_COUNT_MAX] for key, found in rules.items()}
    return Read(rules, errors)

"""A target, read: paths, calls, pipes, templates. What graphite-web's grammar takes, by descent, in bounded depth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from tsdb.query.graphite.errors import BadTarget

TARGET_SIZE_MAX = 64 * 1024
DEPTH_MAX = 64

Literal = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Path:
    """`servers.*.cpu`; its text is what was written."""

    text: str


@dataclass(frozen=True, slots=True)
class Value:
    value: Literal


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    arguments: tuple[Expression, ...]
    named: tuple[tuple[str, Expression], ...] = ()
    text: str = field(default="", compare=False)  # As it was written, if it is not made of a pipe or a template.


@dataclass(frozen=True, slots=True)
class Template:
    """`template(inner, "a", name="b")`: $1 or $name in inner stands for a value."""

    inner: Expression
    values: tuple[tuple[str, Literal], ...]


Expression = Path | Value | Call | Template

_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CALL = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*\(")
_NAMED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*=\s*")
_STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"|\'((?:[^\'\\\n]|\\.)*)\'', re.DOTALL)
_END_OF_VALUE = r"(?=\s*(?:,|\)|$))"
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE]-?\d+)?" + _END_OF_VALUE)
_WORD = re.compile(r"(true|false|none|inf)\b" + _END_OF_VALUE, re.IGNORECASE)
_ESCAPED = re.compile(r"\\([(){},.'\"\\|=])")
# Of a path: what stands for itself, what is escaped, or alternatives in braces, which may hold such again.
_PLAIN = re.compile(r"(?:[^\s(){},.'\"\\|]|\\[(){},.'\"\\|=])+")


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def skip(self) -> None:
        found = _SPACE.match(self.text, self.at)
        assert found is not None
        self.at = found.end()

    def takes(self, char: str) -> bool:
        """Whether this comes next; it is passed then."""
        self.skip()
        if not self.text.startswith(char, self.at):
            return False
        self.at += len(char)
        return True

    def wants(self, char: str, what: str) -> None:
        if not self.takes(char):
            raise self.fault(f"expected {char!r} {what}")

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self.skip()
        found = pattern.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
        return found

    def fault(self, what: str) -> BadTarget:
        there = self.text[self.at : self.at + 20]
        seen = f"at {there!r}" if there else "at the end"
        return BadTarget(f"target {self.text[:80]!r}: {what} {seen} (character {self.at + 1})")


def parse_target(text: str) -> Expression:
    """Raises: BadTarget, naming the place."""
    if len(text) > TARGET_SIZE_MAX:
        raise BadTarget(f"the target has {len(text):,} characters of at most {TARGET_SIZE_MAX:,}")
    reader = _Reader(text)
    reader.skip()
    found = _piped(reader, 0)
    while reader.takes(")"):  # One too many is a common slip, which graphite-web forgives.
        pass
    if reader.at != len(text):
        raise reader.fault("unexpected text")
    if isinstance(found, Value):
        raise BadTarget(f"target {text[:80]!r} is a value: a target is a path or a call of a function")
    return found


def _piped(reader: _Reader, depth: int) -> Expression:
    """An expression with the calls behind it: `a.b|scale(3)` is `scale(a.b,3)`."""
    if depth > DEPTH_MAX:
        raise BadTarget(f"the target is nested more than {DEPTH_MAX} deep")
    found = _single(reader, depth)
    piped_count = 0
    while reader.takes("|"):
        piped_count += 1
        if depth + piped_count > DEPTH_MAX:
            raise BadTarget(f"more than {DEPTH_MAX} calls are piped")
        if reader.match(_CALL) is None:
            raise reader.fault("expected a call after '|'")
        name = reader.text[: reader.at - 1].rstrip()
        call = _call(reader, _last_word(name), depth + 1)
        if not isinstance(call, Call):
            raise reader.fault("a template cannot be piped to")
        found = Call(call.name, (found, *call.arguments), call.named)
    return found


def _last_word(text: str) -> str:
    found = re.search(r"[A-Za-z_][A-Za-z0-9_]*$", text)
    assert found is not None, text
    return found[0]


def _single(reader: _Reader, depth: int) -> Expression:
    reader.skip()
    if (found := reader.match(_CALL)) is not None:
        return _call(reader, found[1], depth)
    return Path(_path(reader, depth))


def _call(reader: _Reader, name: str, depth: int) -> Expression:
    """The rest of a call, behind its bracket."""
    begin = reader.text.rfind(name, 0, reader.at)
    arguments: list[Expression] = []
    named: list[tuple[str, Expression]] = []
    if not reader.takes(")"):
        while True:
            if (keyword := reader.match(_NAMED)) is not None:
                named.append((keyword[1], _argument(reader, depth + 1)))
            elif named:
                raise reader.fault(f"an argument of {name}() without a name stands behind one with a name,")
            else:
                arguments.append(_argument(reader, depth + 1))
            if not reader.takes(","):
                break
        reader.wants(")", f"that ends {name}(")
    if name == "template":
        return _template(reader, arguments, named)
    return Call(name, tuple(arguments), tuple(named), reader.text[begin : reader.at])


def _template(reader: _Reader, arguments: Sequence[Expression], named: list[tuple[str, Expression]]) -> Template:
    if not arguments or isinstance(arguments[0], Value):
        raise reader.fault("template() wants a path or a call first")
    values: list[tuple[str, Literal]] = []
    for name, expression in [*((str(at), one) for at, one in enumerate(arguments[1:], 1)), *named]:
        if not isinstance(expression, Value):
            raise reader.fault(f"the value of ${name} in template() must be a text or a number,")
        values.append((name, expression.value))
    return Template(arguments[0], tuple(values))


def _argument(reader: _Reader, depth: int) -> Expression:
    reader.skip()
    if (number := reader.match(_NUMBER)) is not None:
        text = number[0]
        return Value(float(text) if {".", "e", "E"} & set(text) else int(text))
    if (word := reader.match(_WORD)) is not None:
        values: dict[str, Literal] = {"true": True, "false": False, "none": None, "inf": float("inf")}
        return Value(values[word[1].lower()])
    if (string := reader.match(_STRING)) is not None:
        return Value(string[1] if string[1] is not None else string[2])
    return _piped(reader, depth)


def _path(reader: _Reader, depth: int) -> str:
    start = reader.at
    while True:
        if not _path_element(reader, depth):
            if reader.at == start:
                raise reader.fault("expected a path or a call")
            raise reader.fault("expected a part of a path")
        if not reader.text.startswith(".", reader.at):
            break
        reader.at += 1
    return _ESCAPED.sub(r"\1", reader.text[start : reader.at])


def _path_element(reader: _Reader, depth: int) -> bool:
    start = reader.at
    while reader.at < len(reader.text):
        plain = _PLAIN.match(reader.text, reader.at)
        if plain is not None:
            reader.at = plain.end()
        elif reader.text[reader.at] == "{":
            _alternatives(reader, depth + 1)
        else:
            break
    return reader.at > start


def _alternatives(reader: _Reader, depth: int) -> None:
    """`{a,b}`; none of them may be empty."""
    if depth > DEPTH_MAX:
        raise BadTarget(f"braces are nested more than {DEPTH_MAX} deep")
    reader.at += 1
    while True:
        reader.skip()
        if not _path_element(reader, depth):
            raise reader.fault("expected an alternative")
        while reader.text.startswith(".", reader.at):  # Dots may stand in braces.
            reader.at += 1
            _path_element(reader, depth)
        if not reader.takes(","):
            break
    reader.wants("}", "that ends the alternatives")

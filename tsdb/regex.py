"""Regular expressions as Prometheus has them: RE2, whose time is linear in the text whatever the pattern says.

With Python's own, `(a+)+$` in one query would stop a process for good: they try every way to match, and hold the
interpreter meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import re2

from tsdb.errors import RefusedQuery

# Of one compiled pattern. In the worst case each byte of a value costs a step for each instruction, of which so much
# memory holds about 40,000; `[\pL]{50}` fits.
_MEMORY_BYTES_MAX = 1 << 20
_SPECIAL = frozenset(r"\.^$*+?{}[]()|")


def compiled(pattern: str) -> Any:
    """The pattern as an object with the methods of Python's; a dot is any character. Raises: RefusedQuery."""
    options = re2.Options()
    options.dot_nl = True
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES_MAX
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace")
        raise RefusedQuery(f"the regular expression {pattern[:200]!r} is wrong: {reason}") from None


def value_test(pattern: str) -> Callable[[bytes], bool]:
    """Whether a whole value matches. Raises: RefusedQuery."""
    literals = around_wildcards(pattern)
    if literals is not None:
        return _wildcard_test(*literals)
    fullmatch = compiled(pattern).fullmatch
    return lambda value: fullmatch(value) is not None


def around_wildcards(pattern: str) -> list[bytes] | None:
    r"""The literals of a pattern such as `web\..*\.cpu.*`; None if it is anything else than literals and `.*`."""
    parts = pattern.split(".*")
    if len(parts) < 2 or not all(_SPECIAL.isdisjoint(part.replace(r"\.", "")) for part in parts):
        return None
    return [part.replace(r"\.", ".").encode() for part in parts]


def _wildcard_test(first: bytes, *others: bytes) -> Callable[[bytes], bool]:
    """Most patterns are of this kind, and a million values take a fifth of the time that they take RE2."""
    *middle, last = others

    def test(value: bytes) -> bool:
        if not (value.startswith(first) and value.endswith(last)):
            return False
        at, end = len(first), len(value) - len(last)
        for literal in middle:
            at = value.find(literal, at, end)
            if at < 0:
                return False
            at += len(literal)
        return at <= end

    return test


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What a pattern says of the values that match it as a whole.

    literals: each value is one of them (is_exact), or begins with one of them. goes_on_freely: whatever begins so
    matches. Every value may match a pattern of which nothing is known: its only literal is empty.
    held: each matching value has one of these in it; empty, if nothing is known.
    shape: the bytes with which each value begins, and None for any one character, for `servers.host1.*` means dots
    and says any character.
    """

    literals: tuple[bytes, ...]
    is_exact: bool
    goes_on_freely: bool = False
    shape: tuple[int | None, ...] = ()
    held: tuple[bytes, ...] = ()


EVERYTHING = Narrowed((b"",), is_exact=False)
_HELD_COUNT_MAX = 16  # Each is looked for by itself.
_LITERALS_COUNT_MAX = 1_000  # An alternation of alternations multiplies; beyond it, prefixes are known well enough.


def narrowed(pattern: str) -> Narrowed:
    r"""The literals of a pattern that is right: `a|b` is two values, `web\.(x|y)\.cpu.*` two beginnings."""
    if len(pattern) > _PATTERN_CHARS_MAX or "(?" in pattern.replace("(?:", ""):
        return EVERYTHING  # Flags change what letters mean.
    found, at = _alternatives(pattern, 0, 0)
    if at != len(pattern):
        return EVERYTHING
    literals = tuple(dict.fromkeys(text.encode() for text in found.texts))
    is_certain = found.is_exact or found.goes_on_freely
    if is_certain:
        return Narrowed(literals, found.is_exact, found.goes_on_freely)
    held = tuple(dict.fromkeys(text.encode() for text in found.held))
    return Narrowed(literals, is_exact=False, shape=_shape(pattern), held=held)


def _shape(pattern: str) -> tuple[int | None, ...]:
    """The characters, known or not, with which a pattern without alternatives begins."""
    shape: list[int | None] = []
    at = _behind_caret(pattern, 0)
    while "|" not in pattern and at < len(pattern) and pattern[at] not in "()":
        atom, after = (None, at + 1) if pattern[at] == "." else _atom(pattern, at, 0)
        if (atom is None and pattern[at] != ".") or pattern[after : after + 1] in _QUANTIFIERS:
            break
        shape += [None] if atom is None else list(atom.texts[0].encode())
        at = after
    while shape and shape[-1] is None:
        shape.pop()
    return tuple(shape) if None in shape else ()


_PATTERN_CHARS_MAX = 10_000
_DEPTH_MAX = 20
_QUANTIFIERS = frozenset("*+?{")
_CLASS_LETTERS = frozenset("dDwWsSbB")  # Behind a backslash: one character of some kind, or a place between two.
_COUNTS = re.compile(r"\{[0-9]+(,[0-9]*)?\}")


@dataclass(slots=True)
class _Found:
    """Texts with which a part of a pattern begins, or which are all it matches. Order: as in the pattern."""

    texts: list[str]
    is_exact: bool = True
    goes_on_freely: bool = False
    held: list[str] = field(default_factory=list)  # What matches has one of them in it; empty, if nothing is known.

    def hold(self, texts: list[str]) -> None:
        """Take these in the place of others, if they say more."""
        if min(map(len, texts), default=0) > min(map(len, self.held), default=0):
            self.held = texts


def _alternatives(pattern: str, at: int, depth: int) -> tuple[_Found, int]:
    """Read `a|b|c` up to a closing bracket or the end."""
    branches = []
    while True:
        branch, at = _sequence(pattern, at, depth)
        branches.append(branch)
        if at >= len(pattern) or pattern[at] != "|":
            break
        at += 1
    texts = [text for branch in branches for text in branch.texts]
    is_exact = all(branch.is_exact for branch in branches)
    # `a|b.*` takes "ax" for one that begins with a literal, and it does not match.
    goes_on_freely = all(branch.goes_on_freely for branch in branches)
    held = [text for branch in branches for text in branch.held] if all(branch.held for branch in branches) else []
    return _Found(texts, is_exact, goes_on_freely, held if len(held) <= _HELD_COUNT_MAX else []), at


def _sequence(pattern: str, at: int, depth: int) -> tuple[_Found, int]:
    """Read one branch: atoms that follow one another."""
    found, run = _Found([""]), [""]
    if depth == 0:  # A whole value is meant anyway.
        at = _behind_caret(pattern, at)
    while at < len(pattern) and pattern[at] not in "|)":
        start = at
        if depth == 0 and _is_idle_dollar(pattern, at):
            at += 1
            continue
        atom, at = _atom(pattern, at, depth)
        is_quantified = at < len(pattern) and pattern[at] in _QUANTIFIERS
        if is_quantified:
            at = _after_quantifiers(pattern, at)
        if not is_quantified and atom is not None and atom.is_exact and len(run) * len(atom.texts) <= _HELD_COUNT_MAX:
            run = [text + more for text in run for more in atom.texts]
        else:
            found.hold(run)
            run = [""]
            if not is_quantified and atom is not None:
                found.hold(atom.held)
        if not found.is_exact:
            found.goes_on_freely = False
            continue
        if is_quantified or atom is None or len(found.texts) * len(atom.texts) > _LITERALS_COUNT_MAX:
            found.is_exact = False
            found.goes_on_freely = pattern[start:at] == ".*"
            continue
        found.texts = [text + more for text in found.texts for more in atom.texts]
        found.is_exact = atom.is_exact
        found.goes_on_freely = atom.goes_on_freely
    found.hold(run)
    return found, at


def _behind_caret(pattern: str, at: int) -> int:
    """The place behind a caret, if one stands here and no quantifier is on it: `^?` is no question mark."""
    return at + 1 if pattern[at : at + 1] == "^" and pattern[at + 1 : at + 2] not in _QUANTIFIERS else at


def _is_idle_dollar(pattern: str, at: int) -> bool:
    """Whether a dollar says what is true anyway: that the value ends there."""
    return pattern[at] == "$" and pattern[at + 1 : at + 2] in ("", "|")


def _atom(pattern: str, at: int, depth: int) -> tuple[_Found | None, int]:
    """Read one character, class or group; None, if it is not made of literals."""
    char = pattern[at]
    if char == "(":
        if depth == _DEPTH_MAX:
            return None, len(pattern) + 1  # Not the end: nothing is known then.
        inside = at + (3 if pattern.startswith("(?:", at) else 1)
        found, at = _alternatives(pattern, inside, depth + 1)
        return found, at + 1
    if char == "\\":
        escaped = pattern[at + 1 : at + 2]
        if escaped in _CLASS_LETTERS:
            return None, at + 2
        is_literal = escaped.isascii() and not escaped.isalnum()
        return (_Found([escaped], held=[escaped]), at + 2) if is_literal else (None, len(pattern) + 1)
    if char == "[":
        return None, _after_class(pattern, at)
    if char in ".^$":
        return None, at + 1
    return _Found([char], held=[char]), at + 1


def _after_class(pattern: str, at: int) -> int:
    """The place behind `[…]`; a closing bracket that comes first stands for itself."""
    at += 1
    if pattern[at : at + 1] == "^":
        at += 1
    if pattern[at : at + 1] == "]":
        at += 1
    while at < len(pattern) and pattern[at] != "]":
        if pattern.startswith("[:", at):
            return len(pattern) + 1
        at += 2 if pattern[at] == "\\" else 1
    return at + 1


def _after_quantifiers(pattern: str, at: int) -> int:
    while at < len(pattern) and pattern[at] in _QUANTIFIERS:
        counts = _COUNTS.match(pattern, at)
        if pattern[at] == "{" and counts is None:
            return len(pattern) + 1  # A bracket that stands for itself.
        at = counts.end() if counts is not None else at + 1
    return at

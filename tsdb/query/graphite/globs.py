"""Paths with globs as matchers of metric names."""

from __future__ import annotations

import re

from tsdb.query.graphite.errors import BadTarget
from tsdb.sample import METRIC_NAME, Matcher, MatchOp

_SPECIAL = frozenset("*?[{")


def matchers_of(path: str) -> list[Matcher]:
    """`servers.*.cpu.{user,sys}`: `*` is any text without a dot, `**` with dots too, `?` one character, `[a-c]` one.

    Raises: BadTarget.
    """
    if _SPECIAL.isdisjoint(path):
        return [Matcher(METRIC_NAME, MatchOp.EQUAL, path)]
    return [Matcher(METRIC_NAME, MatchOp.REGEX, expression_of(path))]


def expression_of(path: str) -> str:
    """A path with globs as a regular expression. Raises: BadTarget."""
    pieces: list[str] = []
    depth = at = 0
    while at < len(path):
        char = path[at]
        at += 1
        if path.startswith("**", at - 1):
            at += 1
            pieces.append(".*")
        elif char == "*":
            pieces.append("[^.]*")
        elif char == "?":
            pieces.append("[^.]")
        elif char == "[" and (end := path.find("]", at + 1)) > 0:
            inside, at = path[at:end], end + 1
            negated = inside.startswith("!")
            escaped = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside[negated:])
            pieces.append(f"[{'^' * negated}{escaped}]")
        elif char == "{":
            depth += 1
            pieces.append("(?:")
        elif char == "}" and depth:
            depth -= 1
            pieces.append(")")
        elif char == "," and depth:
            pieces.append("|")
        else:
            pieces.append(re.escape(char))
    if depth:
        raise BadTarget(f"the path {path[:200]!r}: a brace is not closed")
    return "".join(pieces)

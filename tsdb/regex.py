"""Regular expressions as Prometheus has them: RE2, whose time is linear in the text whatever the pattern says.

With Python's own, `(a+)+$` in one query would stop a process for good: they try every way to match, and hold the
interpreter meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
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
    literals = _around_wildcards(pattern)
    if literals is not None:
        return _wildcard_test(*literals)
    fullmatch = compiled(pattern).fullmatch
    return lambda value: fullmatch(value) is not None


def _around_wildcards(pattern: str) -> list[bytes] | None:
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

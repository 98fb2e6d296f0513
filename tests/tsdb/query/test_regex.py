"""RE2 patterns in Python's notation mean the same."""

from __future__ import annotations

import re

import pytest

from tsdb.errors import NotSupported, RefusedQuery
from tsdb.query.promql.regex import python_pattern

MATCHES = [  # (pattern, a value that matches, a value that does not)
    ("web", "web", "web1"),
    ("a|b", "b", "ab"),
    (".*", "a\nb", None),
    ("((?i)PRO).*", "production", "roduction"),
    (".*((?i)TION)", "producTION", "production "),
    ("(?i:a)b", "Ab", "AB"),
    ("(?i)ab", "AB", "ac"),
    ("(a(?i)b)c", "aBc", "aBC"),
    (r"\d+", "42", "٤٢"),
    (r"[\d.]+", "4.2", "4,2"),
    (r"\w+\z", "ab_1", "é"),
    (r"[^\s]+", "ab", "a b"),
    ("[[:alpha:]]+", "abC", "ab1"),
    ("[]a]+", "]a", "b"),
    ("[^]a]+", "b", "]"),
    ("a{2}", "aa", "a"),
    ("a{,2}", "a{,2}", "aa"),
    ("(?P<x>a)(?<y>b)", "ab", "a"),
    ("a$", "a", "a\n"),
    ("^a", "a", "ba"),
    (r"a\.b", "a.b", "axb"),
    ("[a&&b]+", "a&b", "c"),
]


@pytest.mark.parametrize(("pattern", "yes", "no"), MATCHES, ids=[row[0] for row in MATCHES])
def test_patterns_match_whole_values_as_in_re2(pattern: str, yes: str, no: str | None) -> None:
    compiled = re.compile(python_pattern(pattern), re.DOTALL)
    assert compiled.fullmatch(yes)
    assert no is None or not compiled.fullmatch(no)


@pytest.mark.parametrize("pattern", ["(", "[a", "a**", "(?=a)", "a++", "(?P=x)", "(?<!a)b", "*a"])
def test_what_re2_refuses_is_refused(pattern: str) -> None:
    with pytest.raises(RefusedQuery) as refused:
        python_pattern(pattern)
    assert not isinstance(refused.value, NotSupported)


@pytest.mark.parametrize("pattern", [r"\pL", r"a\b", "(?m)a$", "(?i)a|b", r"\Qa\E", r"[\D]", "[[:^alpha:]]", r"\x{61}"])
def test_what_python_cannot_say_is_refused_by_name(pattern: str) -> None:
    with pytest.raises(NotSupported):
        python_pattern(pattern)

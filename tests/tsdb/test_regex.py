"""Patterns mean what they mean in Prometheus, and none of them takes more than linear time."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tsdb import regex
from tsdb.errors import RefusedQuery
from tsdb.regex import EVERYTHING, Narrowed, narrowed, value_test

MATCHES = [  # (pattern, a value that matches, a value that does not)
    ("web", "web", "web1"),
    ("a|b", "b", "ab"),
    (".*", "a\nb", None),
    ("((?i)PRO).*", "production", "roduction"),
    (".*((?i)TION)", "producTION", "production "),
    ("(?i:a)b", "Ab", "AB"),
    ("(?i)ab", "AB", "ac"),
    ("(?i)a|b", "B", "ab"),
    (r"\d+", "42", "٤٢"),
    (r"[\d.]+", "4.2", "4,2"),
    (r"\w+\z", "ab_1", "é"),
    (r"\pL+", "é", "1"),
    (r"\Qa.b\E", "a.b", "axb"),
    (r"\x{61}", "a", "b"),
    ("[[:^alpha:]]+", "12", "ab1"),
    ("[]a]+", "]a", "b"),
    ("a{2}", "aa", "a"),
    ("(?P<x>a)(?<y>b)", "ab", "a"),
    ("a$", "a", "a\n"),
    ("^a", "a", "ba"),
    (r"a\.b", "a.b", "axb"),
    ("[a&&b]+", "a&b", "c"),
    ("é.", "éé", "é"),
]


@pytest.mark.parametrize(("pattern", "yes", "no"), MATCHES, ids=[row[0] for row in MATCHES])
def test_patterns_match_whole_values_as_in_prometheus(pattern: str, yes: str, no: str | None) -> None:
    test = regex.value_test(pattern)
    assert test(yes.encode())
    assert no is None or not test(no.encode())


@pytest.mark.parametrize("pattern", ["(", "[a", "a**", "(?=a)", "a++", "(?P=x)", "(?<!a)b", "*a", "a{1001}", r"\1"])
def test_what_prometheus_refuses_is_refused(pattern: str) -> None:
    with pytest.raises(RefusedQuery, match="is wrong: "):
        regex.value_test(pattern)


def test_a_pattern_that_needs_too_much_memory_is_refused() -> None:
    with pytest.raises(RefusedQuery, match="too large"):
        regex.value_test(r"[\pL]{900}")


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+", "(.*a){20}", "a*" * 30 + "b"])
def test_a_pattern_that_stops_backtracking_engines_takes_no_time(pattern: str) -> None:
    """Python's own takes longer than anybody's life for the first."""
    started_s = time.process_time()
    assert not regex.value_test(pattern)(b"a" * 60 + b"!")
    assert time.process_time() - started_s < 1.0


@given(st.lists(st.sampled_from(["", "a", "ab", r"\.", r"a\.b"]), min_size=1, max_size=4), st.text("ab.", max_size=8))
def test_the_short_way_for_wildcards_is_that_of_the_library(parts: list[str], value: str) -> None:
    pattern = ".*".join(parts)
    assert regex.value_test(pattern)(value.encode()) == (regex.compiled(pattern).fullmatch(value) is not None)


pieces = st.sampled_from(
    [
        "a",
        "b",
        "ab",
        ".",
        ".*",
        ".+",
        "(",
        ")",
        "(?:",
        "|",
        "?",
        "*",
        "+",
        "[ab]",
        "[^a]",
        r"\.",
        r"\d",
        "{2}",
        "^",
        "$",
        "{",
    ]
)
values = st.text("ab.{1", max_size=5)


@given(st.lists(pieces, max_size=8).map("".join), st.lists(values, max_size=20))
@example("^?", [""])
@example("^*a.b", ["aab"])
@example("a|^?b", ["b"])
def test_what_is_known_of_a_pattern_is_true_of_every_value_that_matches(pattern: str, values: list[str]) -> None:
    try:
        test = value_test(pattern)
    except RefusedQuery:
        return
    known = narrowed(pattern)
    for value in map(str.encode, values):
        if test(value) and value.isascii():
            assert all(byte is None or value[at : at + 1] == bytes([byte]) for at, byte in enumerate(known.shape))
            assert len(value) >= len(known.shape)
        may_match = value in known.literals if known.is_exact else value.startswith(known.literals)
        if test(value):
            assert may_match, (known, value)
            assert not known.held or any(literal in value for literal in known.held), (known, value)
        elif may_match:
            assert not known.is_exact, (known, value)
            assert not known.goes_on_freely, (known, value)


@pytest.mark.parametrize(
    ("pattern", "known"),
    [
        ("a|b|c", Narrowed((b"a", b"b", b"c"), is_exact=True)),
        (r"web\.(x|y)\.cpu", Narrowed((b"web.x.cpu", b"web.y.cpu"), is_exact=True)),
        ("^web.*$", Narrowed((b"web",), is_exact=False, goes_on_freely=True)),
        (r"(api|web)-\d+", Narrowed((b"api-", b"web-"), is_exact=False, held=(b"api-", b"web-"))),
        ("ab?c", Narrowed((b"a",), is_exact=False, held=(b"a",))),
        ("a|b.*", Narrowed((b"a", b"b"), is_exact=False, held=(b"a", b"b"))),
        (r".*foo\.bar.+baz", Narrowed((b"",), is_exact=False, held=(b"foo.bar",))),
        (".*(cpu|mem)[0-9]x", Narrowed((b"",), is_exact=False, held=(b"cpu", b"mem"))),
        ("(.*ab|.*cd+)", Narrowed((b"",), is_exact=False, held=(b"ab", b"c"))),
        ("(.*ab|.*d*)", Narrowed((b"",), is_exact=False)),
        (".*(ab)?.", Narrowed((b"",), is_exact=False)),
        ("(?i)web", EVERYTHING),
        ("a.b.*", Narrowed((b"a",), is_exact=False, shape=(97, None, 98), held=(b"a",))),
        (r"a.\.b?", Narrowed((b"a",), is_exact=False, shape=(97, None, 46), held=(b"a",))),
    ],
)
def test_literals_of_patterns(pattern: str, known: Narrowed) -> None:
    assert narrowed(pattern) == known

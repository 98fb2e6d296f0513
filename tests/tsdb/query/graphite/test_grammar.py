"""Targets as they are written, and texts that are none."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.query.graphite.errors import BadTarget
from tsdb.query.graphite.grammar import DEPTH_MAX, TARGET_SIZE_MAX, Call, Path, Template, Value, parse_target


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a.b", Path("a.b")),
        ("a.{b,c}.*d[0-9]?", Path("a.{b,c}.*d[0-9]?")),
        ("a.{b.c,d}", Path("a.{b.c,d}")),
        (r"a\,b.c", Path("a,b.c")),
        ("m;dc=lon", Path("m;dc=lon")),
        ("1min.load", Path("1min.load")),
        ("f(a.b)", Call("f", (Path("a.b"),))),
        (" f( a.b , 3 ) ", Call("f", (Path("a.b"), Value(3)))),
        ("f(a,-1.5,1e3,true,None,inf)", Call("f", (Path("a"), *map(Value, (-1.5, 1000.0, True, None, math.inf))))),
        ("f(a,'x y',\"z\")", Call("f", (Path("a"), Value("x y"), Value("z")))),
        ("f(a,n=3)", Call("f", (Path("a"),), (("n", Value(3)),))),
        ("f(g(a))", Call("f", (Call("g", (Path("a"),)),))),
        ("a|f(3)|g()", Call("g", (Call("f", (Path("a"), Value(3))),))),
        ("template(a.$x,x='b')", Template(Path("a.$x"), (("x", "b"),))),
        ("template(a.$1,'b')", Template(Path("a.$1"), (("1", "b"),))),
        ("f()", Call("f", ())),
        ("f(a))", Call("f", (Path("a"),))),
    ],
)
def test_a_target_is_read(text: str, wanted: object) -> None:
    assert parse_target(text) == wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a path or a call at the end (character 1)"),
        ("f(a", "expected ')' that ends f( at the end (character 4)"),
        ("f(a b)", "expected ')' that ends f( at 'b)'"),
        ("a..b", "expected a part of a path at '.b' (character 3)"),
        ("a b", "unexpected text at 'b' (character 3)"),
        ("42.", "expected a part of a path"),
        ('"text"', "expected a path or a call"),
        ("a.{b", "expected '}' that ends the alternatives"),
        ("a.{,b}", "expected an alternative"),
        ("a|b", "expected a call after '|'"),
        ("f(n=3,a)", "without a name stands behind one with a name"),
        ("template(3)", "template() wants a path or a call first"),
        ("template(a,b.c)", "the value of $1 in template() must be a text or a number"),
        ("f(" * (DEPTH_MAX + 2) + "a", f"nested more than {DEPTH_MAX} deep"),
        ("a" + "|f()" * (DEPTH_MAX + 2), f"more than {DEPTH_MAX} calls are piped"),
        ("a" * (TARGET_SIZE_MAX + 1), f"65,537 characters of at most {TARGET_SIZE_MAX:,}"),
    ],
)
def test_what_is_no_target_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(BadTarget) as refused:
        parse_target(text)
    assert words in str(refused.value)


@given(st.text(alphabet="ab.*{}[]()|,;= \"'\\$1-e", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(BadTarget):
        parse_target(text)

"""Names made canonical a column at a time, against one by one."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.ingest.arrow.names import canonical_of as arrow
from tsdb.ingest.graphite.names import canonical_of as graphite
from tsdb.ingest.spelling import Spelling

# What means something to one of the doors, and what is long.
PIECES = [
    "a",
    "B",
    ";",
    "=",
    "~",
    "{",
    "}",
    '"',
    '"}',
    ",",
    "\\",
    "\0",
    "\0__name__\0",
    "é",
    "name",
    "",
    "é" * 2_048,
    "x" * 4_097,
]
pieces = st.sampled_from(PIECES)


def mostly(usual: list[str], odd: list[str]) -> st.SearchStrategy[str]:
    """Odd ones by themselves: a name of several odd parts is seldom near to a plain one."""
    return st.integers(0, 9).flatmap(lambda number: st.sampled_from(usual if number else odd))


label_names = mostly(["a", "b", "aB", "a.b", "c"], ["_a", "A", "__name__", "__a", "é", "a b", "", "x" * 512, "x" * 513])
label_values = st.lists(
    mostly(["a", "{", "}", ",", "é", " ", "~", ";"], ["=", '"', "\\", "\\n", "\n", "\0", "", "x" * 4_097]), max_size=4
).map("".join)
notation = st.builds(
    lambda metric, pairs, is_sorted, end: (
        f"{metric}{{" + ",".join(f'{name}="{value}"' for name, value in (sorted(pairs) if is_sorted else pairs)) + end
    ),
    mostly(["up", "a:b", "a.b", "_a"], ["", "a b", "é", "a{", 'a"', "9a"]),
    st.lists(st.tuples(label_names, label_values), max_size=3),
    st.booleans(),
    mostly(["}"], [",}", " }", "}\n", ""]),
)
any_name = (
    st.lists(pieces, max_size=6).map("".join)
    | notation
    | st.text(st.characters(blacklist_categories=["Cs"]), max_size=8)
)


@pytest.mark.parametrize("spelling", [graphite, arrow], ids=["graphite", "arrow"])
@given(names=st.lists(any_name, max_size=8))
def test_plain_names_become_what_they_are_by_themselves(spelling: Spelling, names: list[str]) -> None:
    is_plain, canonical = spelling.plain(pl.Series("name", names, pl.String))
    assert list(canonical) == [spelling.exact(name) for name in np.array(names, object)[is_plain]]


def test_a_path_without_tags_is_plain() -> None:
    """Goal: the usual names never meet Python one by one. A door that took none for plain would be right, and slow."""
    names = pl.Series("name", ["servers.host0001.cpu.user", "a", "grün", "a~b", "x" * 4_096], pl.String)
    for spelling in (graphite, arrow):
        assert spelling.plain(names).is_plain.all()
    braced = pl.Series("name", ['up{instance="h:9100",job="node"}', 'a.b:c{d="}{,ü "}', 'a{b="c"}'], pl.String)
    assert arrow.plain(braced).is_plain.all()
    out_of_order = pl.Series("name", ['a{c="d",b="c"}', 'a{b="c",b="c"}', 'a{B="c"}', 'a{b="c=d"}'], pl.String)
    assert not arrow.plain(out_of_order).is_plain.any(), "the exact way is for them"
    mixed = pl.Series("name", ["a.b", "a;b=1", "~a", 'a{b="c"}', "a}", ""], pl.String)
    assert graphite.plain(mixed).is_plain.tolist() == [True, False, False, False, True, False]
    assert arrow.plain(mixed).is_plain.tolist() == [True, False, False, True, False, False]

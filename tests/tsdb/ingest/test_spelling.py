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
pieces = st.sampled_from(
    [
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
)
any_name = st.lists(pieces, max_size=6).map("".join) | st.text(st.characters(blacklist_categories=["Cs"]), max_size=8)


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
    mixed = pl.Series("name", ["a.b", "a;b=1", "~a", 'a{b="c"}', "a}", ""], pl.String)
    assert graphite.plain(mixed).is_plain.tolist() == [True, False, False, False, True, False]
    assert arrow.plain(mixed).is_plain.tolist() == [True, False, False, False, False, False]

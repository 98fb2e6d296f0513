"""Names of series with tags are read and written as carbon has them."""

from __future__ import annotations

import pytest

from web.api.graphite.series_names import read, written
from web.errors import Refusal


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("new.m;zone=z1;a=b", "new.m;a=b;zone=z1"),
        ("untagged.metric", "untagged.metric"),
        ('om{zone="z2",a="b"}', "om;a=b;zone=z2"),
        ('om{ a="say \\"hi\\"" , b="c,d" }', 'om;a=say "hi";b=c,d'),
        ("m;a=b=c", "m;a=b=c"),
    ],
)
def test_a_name_has_one_canonical_form(path: str, canonical: str) -> None:
    assert written(read(path)) == canonical


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("bad;", "'' is not of the form tag=value"),
        ("bad;a=", "the value of 'a' is empty"),
        ("bad;=a", "the tag '' is empty"),
        ("bad;a=~x", "begins with ~"),
        (";a=x", "has no metric"),
        ("bad;a!b=x", "the tag 'a!b'"),
        ('bad{a="b"x}', "is not of the form tag="),
        ("m" * 5_000, "longer than 4,096"),
    ],
)
def test_a_name_that_is_none_is_refused(path: str, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        read(path)

"""What people type is understood, or refused with what to write instead."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks import forms
from checks.probes.options import OptionError
from checks.suggestions.address import Address, parse
from checks.suggestions.candidates import candidates

UNDERSTOOD = {  # what is typed: host, port, scheme, path
    "example.com": ("example.com", None, "", ""),
    "  Example.COM. ": ("example.com.", None, "", ""),
    "https://example.com": ("example.com", None, "https", ""),
    "https://example.com/": ("example.com", None, "https", ""),
    "HTTP://example.com:8080/a/b?c=d#e": ("example.com", 8080, "http", "/a/b?c=d"),
    "https://example.com?q=1": ("example.com", None, "https", "/?q=1"),
    "example.com/health": ("example.com", None, "", "/health"),
    "10.0.0.5": ("10.0.0.5", None, "", ""),
    "10.0.0.5:9100": ("10.0.0.5", 9100, "", ""),
    "db:5432": ("db", 5432, "", ""),
    "my_host": ("my_host", None, "", ""),
    "::1": ("::1", None, "", ""),
    "[2001:db8::7]:443": ("2001:db8::7", 443, "", ""),
    "http://[2001:db8::7]/x": ("2001:db8::7", None, "http", "/x"),
    "müller.example": ("xn--mller-kva.example", None, "", ""),
    "postgresql://db.example:5432/shop": ("db.example", 5432, "", ""),
}
REFUSED = {  # what is typed: words of the refusal
    "": "write a name",
    "   ": "write a name",
    "two words": "has a blank",
    "a\nb": "has a blank",
    "\\\\server\\share": "has a blank",
    "u:secret@example.com": "before the @",
    "https://u@example.com/": "before the @",
    "10.0.0.0/24": "is a network",
    "example.com:": "no port behind the colon",
    "example.com:0": "no port behind the colon",
    "example.com:65536": "is not an address",
    "example.com:http": "is not an address",
    "http://": "is not the name of a host",
    "-x.example": "is not the name of a host",
    "a..b": "is not the name of a host",
    "*": "is not the name of a host",
    "[::1": "is not an address",
    "x" * 64 + ".example": "is not the name of a host",
    "x" * 3_000: "3,000 characters",
}


@pytest.mark.parametrize(("text", "want"), UNDERSTOOD.items())
def test_an_address_is_taken_apart(text: str, want: tuple[str, int | None, str, str]) -> None:
    host, port, scheme, path = want
    assert parse(text) == Address(host=host, port=port, scheme=scheme, path=path)


@pytest.mark.parametrize(("text", "words"), REFUSED.items())
def test_what_is_no_address_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(OptionError, match=words) as refused:
        parse(text)
    assert refused.value.field == "address"


@given(st.one_of(st.text(max_size=40), st.text("abc.:/@[]?#0123456789- ", max_size=40)))
def test_any_text_is_refused_or_gives_checks_that_may_be_created(text: str) -> None:
    with contextlib.suppress(OptionError):
        found = candidates(parse(text))
        assert 1 <= len(found) <= 20
        assert len({one.name for one in found}) == len(found)
        for one in found:
            assert 1 <= len(one.name) <= 120
            forms.validate_options(one.kind, one.options)

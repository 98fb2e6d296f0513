"""Options as fields: described, drawn, read back, refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from checks.forms import (
    convert_all,
    fields,
    from_form,
    options_fields,
    secret_fields,
    to_form,
    validate_options,
)
from checks.probes import KINDS, probe
from checks.probes.http.options import HttpOptions
from checks.probes.options import OptionError

REQUIRED: dict[str, dict[str, Any]] = {  # The least that each kind needs.
    "http": {"url": "https://example.org/"},
    "tcp": {"host": "example.org", "port": 22},
    "ping": {"host": "2001:db8::1"},
    "dns": {"name": "example.org"},
    "tls": {"host": "example.org"},
    "push": {},
    "nagios": {"command": "/bin/check_x -w 5 'a b'"},
    "host": {},
    "query": {"expression": "up", "critical": "< 1"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_describes_itself(kind: str) -> None:
    found = probe(kind)
    assert found.kind == kind
    assert found.title
    assert found.summary
    described = fields(kind)
    assert all(field.help or field.type in ("boolean", "choice") for field in described), described
    assert all(field.required == (field.name in REQUIRED[kind]) for field in described if field.required)


@pytest.mark.parametrize("kind", KINDS)
def test_the_least_options_are_enough_and_come_back_from_a_form(kind: str) -> None:
    typed = validate_options(kind, REQUIRED[kind])
    assert probe(kind).target(typed) is not None
    form = to_form(probe(kind).options_type, REQUIRED[kind])
    options, errors = from_form(kind, {name: text for name, text in form.items() if text})
    assert errors == {}
    assert validate_options(kind, options) == typed


TARGETS = [
    ("http", {"url": "https://shop.example.org:8443/x"}, "shop.example.org"),
    ("http", {"url": "http://[2001:db8::1]/"}, "2001:db8::1"),
    ("tcp", {"host": "[::1]", "port": 5}, "::1"),
    ("dns", {"name": "example.org"}, "example.org"),
    ("dns", {"name": "example.org", "server": "192.0.2.53"}, "192.0.2.53"),
    ("nagios", {"command": "/bin/x", "host": "db1"}, "db1"),
    ("host", {}, ""),
]


@pytest.mark.parametrize(("kind", "options", "target"), TARGETS)
def test_targets(kind: str, options: dict[str, Any], target: str) -> None:
    assert probe(kind).target(validate_options(kind, options)) == target


WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    ("http", {}, "url", "url is required: The address to ask, with http:// or https://"),
    ("http", {"url": "ftp://x"}, "url", "'ftp://x' must begin with http:// or https://"),
    ("http", {"url": "http://"}, "url", "'http://' names no host"),
    ("http", {"url": "http://x:99999/"}, "url", "'http://x:99999/' is not an address: Port out of range 0-65535"),
    (
        "http",
        {"url": "http://ann:pw@x/"},
        "url",
        "an address is shown to everybody; give the user and password in their own fields",
    ),
    ("http", {"url": "http://x", "methd": "GET"}, "methd", "there is no option 'methd'; did you mean 'method'?"),
    (
        "http",
        {"url": "http://x", "method": "GRAB"},
        "method",
        "'GRAB' is not one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
    ),
    (
        "http",
        {"url": "http://x", "expected_status": "2xx"},
        "expected_status",
        "'2xx' is not a status code or a range such as 200-299",
    ),
    (
        "http",
        {"url": "http://x", "body_bytes_max": 10**9},
        "body_bytes_max",
        "1000000000 is not a whole number from 0 to 16,777,216",
    ),
    (
        "http",
        {"url": "http://x", "headers": {"a b": "c"}},
        "headers",
        "'a b': a header is a name without blanks and a value on one line",
    ),
    (
        "http",
        {"url": "http://x", "headers": {"a": "b\r\nc: d"}},
        "headers",
        "'a': a header is a name without blanks and a value on one line",
    ),
    (
        "http",
        {"url": "http://x", "warning_s": 5, "critical_s": 1},
        "warning_s",
        "5 is above critical_s, which is 1: WARNING would never be seen",
    ),
    ("http", {"url": "http://x", "critical_s": float("inf")}, "critical_s", "inf is not a number"),
    ("http", {"url": "http://x", "password": 5}, "password", "this is not a text of at most 200 characters"),
    (
        "http",
        {"url": "http://x", "json_path": "$..a"},
        "json_path",
        "'$..a': cannot read '..a' at 1; steps are .name, [0] and ['name']",
    ),
    ("tcp", {"host": "x", "port": 70_000}, "port", "70000 is not a whole number from 1 to 65,535"),
    ("tcp", {"host": "x", "port": True}, "port", "true is not a whole number from 1 to 65,535"),
    (
        "tcp",
        {"host": "http://x/", "port": 1},
        "host",
        "'http://x/' is not a host name or an IP address, without scheme, port or path",
    ),
    ("tcp", {"host": "x", "port": 1, "send": "\\q"}, "send", "\\q is not known; write \\\\ for a backslash"),
    (
        "tls",
        {"host": "x", "warning_days": 1},
        "warning_days",
        "1 is below critical_days, which is 7: WARNING would never be seen",
    ),
    ("nagios", {}, "command", "the program to run is missing, such as /usr/lib/nagios/plugins/check_ping"),
    (
        "nagios",
        {"command": "plugins/check_ping"},
        "command",
        "'plugins/check_ping' must be a full path, or a name alone, such as check_ping",
    ),
    ("nagios", {"command": "/bin/x 'a"}, "command", "cannot be split into words: No closing quotation"),
    ("nagios", {"command": "/bin/x", "argv": ["/bin/y"]}, "argv", "give the command or the argv list, not both"),
    ("query", {"expression": "up"}, "critical", "give a comparison such as > 90 here or for warning"),
    (
        "query",
        {"expression": "up", "critical": "90"},
        "critical",
        "'90' is not a comparison: one of > >= < <= == != and a number, such as > 90",
    ),
    ("htp", {}, "kind", f"unknown kind 'htp'; did you mean 'http'?; the kinds are {', '.join(KINDS)}"),
]


@pytest.mark.parametrize(("kind", "options", "field", "message"), WRONG)
def test_a_wrong_option_is_named(kind: str, options: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        validate_options(kind, options)
    assert (caught.value.field, caught.value.message) == (field, message)


def test_all_wrong_options_are_told_at_once() -> None:
    typed, errors = convert_all(HttpOptions, {"method": "X", "redirect_count_max": "many"})
    assert typed is None
    assert set(errors) == {"url", "method", "redirect_count_max"}


def test_a_form_gives_typed_options() -> None:
    options, errors = from_form(
        "http",
        {
            "url": " https://x/ ",
            "headers": "Accept: text/html\r\n\r\nX-Team:shop",
            "warning_s": "0.5",
            "critical_s": "",
            "body_bytes_max": "1,000",
            "follow_redirects": "on",
            "keyword": "",
        },
    )
    assert errors == {}
    assert options == {
        "url": "https://x/",
        "headers": {"Accept": "text/html", "X-Team": "shop"},
        "warning_s": 0.5,
        "critical_s": None,
        "body_bytes_max": 1000,
        "follow_redirects": True,
        "keyword_absent": False,
        "verify_tls": False,  # A box that is not ticked is not sent.
    }


def test_a_form_says_what_is_wrong_where() -> None:
    options, errors = from_form("http", {"url": "", "headers": "no colon", "warning_s": "soon"})
    assert errors == {
        "url": "url is required: The address to ask, with http:// or https://",
        "headers": "line 1: 'no colon' is not written as name: value",
        "warning_s": "'soon' is not a number",
    }
    assert "warning_s" not in options


def test_secrets_are_known_and_never_drawn() -> None:
    assert secret_fields("http") == ("password",)
    assert to_form(HttpOptions, {"url": "http://x", "username": "ann", "password": "pw"})["password"] == ""


def test_fields_carry_limits_choices_and_units() -> None:
    by_name = {field.name: field for field in options_fields(HttpOptions)}
    assert by_name["method"].choices[0] == "GET"
    assert (by_name["redirect_count_max"].minimum, by_name["redirect_count_max"].maximum) == (1, 20)
    assert by_name["warning_s"].label == "Warning (seconds)"
    assert by_name["warning_s"].optional
    assert by_name["password"].type == "secret"
    assert by_name["body"].type == "long_text"
    assert by_name["headers"].type == "mapping"
    assert by_name["url"].required

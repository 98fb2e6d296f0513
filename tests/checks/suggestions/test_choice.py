"""What is looked at for an address, and what of it is suggested and ticked."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks.model import Perfdata, Result, State
from checks.suggestions.address import parse
from checks.suggestions.candidates import USUAL_PORTS, candidates
from checks.suggestions.choice import suggestions

LOOKED_AT = {  # what is typed: the names of what is looked at
    "https://h/x": "h/x, h/x (any certificate), h certificate, h ping, h name",
    "http://h:81/": "h:81, h ping, h name",
    "h:5432": "h PostgreSQL, h ping, h name",
    "h:993": "h IMAP, h:993 certificate, h ping, h name",
    "h:9090": "h:9090, h:9090 (any certificate), http://h:9090, h port 9090, h:9090 certificate, h ping, h name",
    "printer:9100": "printer port 9100, printer ping, printer name",
    "10.0.0.5:6379": "10.0.0.5 Redis, 10.0.0.5 ping",
}
SEEN = {  # case: (typed, what is well, answers wrongly, warns; suggested, where * is ticked)
    "a usual web server": (
        "h",
        "h, http://h, h certificate, h ping, h name",
        "",
        "",
        "h*, h certificate*, h ping*, h name",
    ),
    "plain http alone": ("h", "http://h, h name", "", "", "http://h*, h name"),
    "an error of the server": ("h", "h certificate, h name", "h", "", "h, h certificate*, h name"),
    "a certificate that ends soon": ("h", "h, h name", "", "h certificate", "h*, h certificate*, h name"),
    "a certificate of nobody known": ("h", "h SSH, h name", "h certificate", "", "h certificate, h SSH*, h name"),
    "a certificate that its owner has signed": (
        "h",
        "h (any certificate), h name",
        "h certificate",
        "",
        "h (any certificate), h certificate, h name",
    ),
    "the same, and typed": (
        "https://h/x",
        "h/x (any certificate), h ping",
        "h certificate",
        "",
        "h/x*, h/x (any certificate), h certificate, h ping*",
    ),
    "a certificate that is well need not be overlooked": (
        "h",
        "h, h (any certificate), h certificate",
        "",
        "",
        "h*, h certificate*",
    ),
    "open ports": ("h", "h SSH, h PostgreSQL, h ping", "", "", "h SSH*, h PostgreSQL*, h ping*"),
    "another port of the web is not left out": ("h", "h, http://h:8080", "", "", "h*, http://h:8080*"),
    "nothing at all": ("h", "h name", "", "", "h ping, h name"),
    "typed and down": ("https://h/x", "h name", "", "", "h/x*, h ping, h name"),
    "a port that is a web server": (
        "h:9090",
        "http://h:9090, h port 9090, h ping",
        "",
        "",
        "http://h:9090*, h port 9090, h ping*",
    ),
    "a port that is no web server": ("h:9090", "h port 9090", "", "", "h port 9090*"),
    "a secure port asked without TLS": ("h:443", "h, h port 443", "http://h:443", "", "h*, h port 443"),
}


def result(state: State, *labels: str) -> Result:
    perfdata = tuple(Perfdata(label=label, value=1.0) for label in labels)
    return Result(state=state, output="as it is", duration_s=0.1, at_ms=1, perfdata=perfdata)


def names(text: str) -> set[str]:
    return {name for name in text.split(", ") if name}


@pytest.mark.parametrize(("typed", "want"), LOOKED_AT.items())
def test_what_is_looked_at(typed: str, want: str) -> None:
    assert [one.name for one in candidates(parse(typed))] == want.split(", ")


def test_of_a_host_alone_every_usual_port_is_looked_at() -> None:
    found = candidates(parse("h"))
    ports = {one.options["port"] for one in found if one.kind == "tcp"}
    assert ports == set(USUAL_PORTS)
    assert {one.options["url"] for one in found if one.kind == "http"} == {
        "https://h/",
        "http://h/",
        "http://h:8080/",
        "https://h:8443/",
    }


def test_the_ports_stand_in_the_docs() -> None:
    text = (Path(__file__).parents[3] / "docs" / "checks.md").read_text()
    listed = text.partition("and the ports ")[2].partition(" |")[0]
    assert listed == ", ".join(f"{port} ({service})" for port, service in USUAL_PORTS.items())


@pytest.mark.parametrize(("typed", "well", "wrong", "warns", "want"), SEEN.values(), ids=SEEN.keys())
def test_what_is_suggested_and_ticked(typed: str, well: str, wrong: str, warns: str, want: str) -> None:
    address = parse(typed)
    found = []
    for one in candidates(address):
        labels = {"http": ["size"], "tls": ["days"]}.get(one.kind, [])
        if one.name in names(well):
            found.append((one, result(State.OK, *labels)))
        elif one.name in names(wrong) | names(warns):
            found.append((one, result(State.CRITICAL if one.name in names(wrong) else State.WARNING, *labels)))
        else:
            found.append((one, result(State.CRITICAL)))
    chosen = suggestions(address, found).suggestions
    told = [one.candidate.name + ("*" if one.is_ticked else "") for one in chosen]
    assert sorted(told) == sorted(want.split(", "))


def test_a_firewall_that_answers_on_every_port_is_not_believed() -> None:
    address = parse("h")
    found = [(one, result(State.OK if one.kind in ("tcp", "ping") else State.CRITICAL)) for one in candidates(address)]
    looked = suggestions(address, found)
    assert "Every port of h that was tried answers" in looked.note
    assert [one.candidate.name for one in looked.suggestions if one.is_ticked] == ["h ping"]
    assert len(looked.suggestions) == len(USUAL_PORTS) + 1


def test_when_nothing_answers_it_says_why() -> None:
    address = parse("h")
    silent = [(one, result(State.CRITICAL)) for one in candidates(address)]
    assert suggestions(address, silent).note == "The name h was not found: as it is."
    known = [(one, result(State.OK if one.kind == "dns" else State.CRITICAL)) for one in candidates(address)]
    assert "Nothing answered well at h, on the usual ports" in suggestions(address, known).note
    pinged = [(one, result(State.OK if one.kind == "ping" else State.CRITICAL)) for one in candidates(address)]
    assert suggestions(address, pinged).note == ""

"""What to look at when somebody gives an address: each a check that may be worth having."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from checks.suggestions.address import Address

NAME_CHARACTERS_MAX = 120  # As checks.model allows.
HTTPS_PORT, HTTP_PORT = 443, 80
USUAL_PORTS = {  # Of what small teams run; each costs one connection.
    22: "SSH",
    25: "SMTP",
    53: "DNS",
    993: "IMAP",
    1883: "MQTT",
    3306: "MySQL",
    3389: "remote desktop",
    5432: "PostgreSQL",
    6379: "Redis",
    27017: "MongoDB",
}
OTHER_WEB_PORTS = {8080: "http", 8443: "https"}
# A printer prints whatever comes on these; nmap leaves them alone for the same reason. They are connected to, no more.
PRINTER_PORTS = frozenset(range(9100, 9108))
TLS_ONLY_PORTS = frozenset({993})


class Reason(Enum):
    """Why a candidate is looked at; decides whether it is suggested when it is not well."""

    ASKED = "asked"  # It is what was typed.
    WEB = "web"
    UNVERIFIED = "unverified"  # As the web candidate before it, whatever its certificate is.
    CERTIFICATE = "certificate"
    PORT = "port"
    PING = "ping"
    NAME = "name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    name: str
    kind: str
    options: dict[str, Any]
    reason: Reason


def candidates(address: Address) -> list[Candidate]:
    """At most 20, in the order in which they are suggested."""
    return [*_of_services(address), *_of_host(address)]


def _of_services(address: Address) -> Iterator[Candidate]:
    if address.scheme:
        yield _web(address, address.scheme, address.port, reason=Reason.ASKED)
        if address.scheme == "https":
            yield _unverified(address, address.port)
            yield _certificate(address, address.port or HTTPS_PORT)
    elif address.port is not None:
        yield from _of_port(address, address.port)
    else:
        yield _web(address, "https", None)
        yield _unverified(address, None)
        yield _web(address, "http", None)
        yield _certificate(address, HTTPS_PORT)
        for port, scheme in OTHER_WEB_PORTS.items():
            yield _web(address, scheme, port)
            if scheme == "https":
                yield _unverified(address, port)
        for port in USUAL_PORTS:
            yield _port(address, port)


def _of_port(address: Address, port: int) -> Iterator[Candidate]:
    """A port that is known to be no web server is not sent a web request, which it would log as an attack."""
    is_unknown = port not in USUAL_PORTS and port not in PRINTER_PORTS
    if is_unknown:
        secure_port = None if port == HTTPS_PORT else port
        yield _web(address, "https", secure_port)
        yield _unverified(address, secure_port)
        yield _web(address, "http", None if port == HTTP_PORT else port)
    yield _port(address, port, reason=Reason.ASKED)
    if is_unknown or port in TLS_ONLY_PORTS:
        yield _certificate(address, port)


def _of_host(address: Address) -> Iterator[Candidate]:
    yield _named(f"{address.host} ping", "ping", {"host": address.host}, Reason.PING)
    if address.is_name:
        yield _named(f"{address.host} name", "dns", {"name": address.host}, Reason.NAME)


def _web(address: Address, scheme: str, port: int | None, *, reason: Reason = Reason.WEB) -> Candidate:
    url = address.url(scheme, port)
    is_other = scheme == "http" and reason is Reason.WEB  # Else http and https of a host had the same name.
    name = (url if is_other else url.partition("://")[2]).rstrip("/")
    return _named(name, "http", {"url": url}, reason)


def _unverified(address: Address, port: int | None) -> Candidate:
    """For the many devices of a local network that have signed their certificate themselves."""
    checked = _web(address, "https", port)
    return _named(
        f"{checked.name} (any certificate)", "http", {**checked.options, "verify_tls": False}, Reason.UNVERIFIED
    )


def _certificate(address: Address, port: int) -> Candidate:
    place = address.host if port == HTTPS_PORT else f"{address.host}:{port}"
    return _named(f"{place} certificate", "tls", {"host": address.host, "port": port}, Reason.CERTIFICATE)


def _port(address: Address, port: int, *, reason: Reason = Reason.PORT) -> Candidate:
    service = USUAL_PORTS.get(port, f"port {port}")
    return _named(f"{address.host} {service}", "tcp", {"host": address.host, "port": port}, reason)


def _named(name: str, kind: str, options: dict[str, Any], reason: Reason) -> Candidate:
    return Candidate(name=name[-NAME_CHARACTERS_MAX:], kind=kind, options=options, reason=reason)

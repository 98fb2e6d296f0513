"""What somebody types to say what shall be watched: a name, an IP address, either with a port, or a web address."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from checks.probes.options import OptionError, one_line

FIELD = "address"
CHARACTERS_MAX = 2_048  # As the address of an `http` check.
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?\.?", re.ASCII)
NETWORK = re.compile(r"/\d{1,3}", re.ASCII)
WEB_SCHEMES = ("http", "https")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """host is without brackets and in ASCII; port None: none was typed; path: with its question, "" if none was."""

    host: str
    port: int | None = None
    scheme: str = ""  # "http", "https", or "" when none of them was typed.
    path: str = ""

    @property
    def is_name(self) -> bool:
        return _literal(self.host) is None

    def url(self, scheme: str, port: int | None = None) -> str:
        """The web address of this host; port None: the usual one of the scheme."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}{f':{port}' if port is not None else ''}{self.path or '/'}"


def parse(text: str) -> Address:
    """Raises: OptionError on the field "address", with what to write instead."""
    text = text.strip()
    if not text:
        raise _wrong("write a name, an IP address or a web address, such as example.org, 10.0.0.5 or db:5432")
    if len(text) > CHARACTERS_MAX:
        raise _wrong(f"it has {len(text):,} characters of at most {CHARACTERS_MAX:,}")
    if re.search(r"[\s\x00-\x1f\x7f\\]", text):
        raise _wrong(f"{_shown(text)} has a blank in it; write one address")
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "", text
    place, path = _split(rest)
    if "@" in place:
        raise _wrong(f"{_shown(place)}: leave out what stands before the @; a check has fields for user and password")
    host, port = _host_and_port(place)
    if NETWORK.fullmatch(path) and _literal(host) is not None:
        raise _wrong(f"{_shown(text)} is a network; write one address of it")
    is_web = scheme.lower() in WEB_SCHEMES
    return Address(
        host=host,
        port=port,
        scheme=scheme.lower() if is_web else "",
        path="" if path == "/" or (scheme and not is_web) else path,
    )


def _split(rest: str) -> tuple[str, str]:
    """Before the path, and the path with its question, without a fragment, which no server gets to see."""
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    path = rest[len(place) :].partition("#")[0]
    return place, path if not path.startswith("?") else f"/{path}"


def _host_and_port(place: str) -> tuple[str, int | None]:
    if _literal(place) is not None:  # Also ::1, whose colons begin no port.
        return place, None
    try:
        parts = urlsplit(f"//{place}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _wrong(f"{_shown(place)} is not an address: {error}") from None
    if port == 0 or place.endswith(":"):
        raise _wrong(f"{_shown(place)} has no port behind the colon; ports are 1 to 65535")
    if _literal(host) is not None:
        return host, port
    try:
        host = host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        raise _wrong(f"{_shown(host)} is not a name that can be looked up") from None
    if not HOST.fullmatch(host) or ".." in host or len(host) > 253 or any(len(part) > 63 for part in host.split(".")):
        raise _wrong(f"{_shown(host)} is not the name of a host; write example.org, 10.0.0.5 or db:5432")
    return host, port


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _wrong(message: str) -> OptionError:
    return OptionError(FIELD, message)


def _shown(text: str) -> str:
    return repr(one_line(text, characters_max=80))

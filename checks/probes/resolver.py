"""Names to addresses, without threads that a silent name server could fill.

The resolver of the standard library is a pool of a few threads: 40 names whose server never answers keep healthy
checks waiting behind them. c-ares asks for any number of names at once, each with a time-out of its own. It reads the
hosts file and resolv.conf as the system's own resolver does.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Literal

import aiodns
import pycares
from aiohttp.abc import AbstractResolver, ResolveResult

from checks.model import State
from checks.probes.faults import NameFault

ASK_TIMEOUT_S = 2.0  # For the first question; c-ares doubles it for the next.
TRIES_COUNT = 2  # 2 s + 4 s at most for one name server.
RESOLVE_TIMEOUT_S = 5.0  # For all servers and search domains together.

NO_SUCH_NAME = {pycares.errno.ARES_ENOTFOUND, pycares.errno.ARES_ENODATA}
SERVER_FAULT = {pycares.errno.ARES_ESERVFAIL, pycares.errno.ARES_ENOTIMP, pycares.errno.ARES_EFORMERR}
IpVersion = Literal["any", "4", "6"]
FAMILIES = {"any": socket.AF_UNSPEC, "4": socket.AF_INET, "6": socket.AF_INET6}


class Resolver(AbstractResolver):
    """One for an event loop; made inside it. Also aiohttp's resolver."""

    def __init__(self, *, nameservers: list[str] | None = None, timeout_s: float = RESOLVE_TIMEOUT_S) -> None:
        self._channel = aiodns.DNSResolver(nameservers=nameservers, timeout=ASK_TIMEOUT_S, tries=TRIES_COUNT)
        self._timeout_s = timeout_s

    async def addresses(self, host: str, *, ip_version: IpVersion = "any") -> list[str]:
        """The addresses of a name, in the order of preference; an address is its own answer.

        Raises: NameFault.
        """
        return [found["host"] for found in await self.resolve(host, 0, FAMILIES[ip_version])]

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        host = host.strip("[]")
        literal = _literal(host)
        if literal is not None:
            if family not in (socket.AF_UNSPEC, literal):
                raise NameFault(State.CRITICAL, f"{host} is not an IPv{4 if family == socket.AF_INET else 6} address")
            return [_result(host, host, port, literal)]
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._channel.getaddrinfo(
                    _ascii(host), family=family, port=port, type=socket.SOCK_STREAM
                )
        except TimeoutError:
            raise NameFault(
                State.UNKNOWN, f"the name servers gave no answer for {host} within {self._timeout_s:g} s"
            ) from None
        except aiodns.error.DNSError as error:
            raise _fault(host, error, self._timeout_s) from None
        found = [
            _result(host, node.addr[0].decode("ascii"), port, socket.AddressFamily(node.family))
            for node in answer.nodes
        ]
        if not found:
            raise NameFault(State.CRITICAL, f"the name {host} has no address")
        return found

    async def close(self) -> None:
        await self._channel.close()


def _literal(host: str) -> socket.AddressFamily | None:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    return socket.AF_INET if version == 4 else socket.AF_INET6


def _ascii(host: str) -> str:
    try:
        return host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        raise NameFault(State.CRITICAL, f"{host!r} cannot be a host name") from None


def _result(hostname: str, address: str, port: int, family: socket.AddressFamily) -> ResolveResult:
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=hostname, host=address, port=port, family=family, proto=0, flags=flags)


def _fault(host: str, error: aiodns.error.DNSError, timeout_s: float) -> NameFault:
    number = error.args[0] if error.args else 0
    if number in NO_SUCH_NAME:
        return NameFault(State.CRITICAL, f"the name {host} is not known")
    if number == pycares.errno.ARES_EBADNAME:
        return NameFault(State.CRITICAL, f"{host!r} cannot be a host name")
    if number in SERVER_FAULT:
        return NameFault(State.CRITICAL, f"the name servers failed to resolve {host}")
    if number == pycares.errno.ARES_ETIMEOUT:
        return NameFault(State.UNKNOWN, f"the name servers gave no answer for {host} within {timeout_s:g} s")
    if number in (pycares.errno.ARES_ECONNREFUSED, pycares.errno.ARES_EREFUSED):
        return NameFault(State.UNKNOWN, f"the name servers of this machine refuse to resolve {host}")
    reason = error.args[1] if len(error.args) > 1 else str(error)
    return NameFault(State.UNKNOWN, f"{host} could not be resolved: {reason}")

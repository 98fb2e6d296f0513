"""A TCP connection for a probe: each address of the name in turn, with a line of evidence for each."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

from checks.model import State
from checks.probes.faults import NameFault, describe
from checks.probes.findings import Findings
from checks.probes.resolver import IpVersion, Resolver

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
READ_BYTES_MAX = 64 * 1024


@contextlib.asynccontextmanager
async def connected(
    host: str,
    port: int,
    resolver: Resolver,
    findings: Findings,
    *,
    tls: ssl.SSLContext | None = None,
    server_name: str = "",
    ip_version: IpVersion = "any",
) -> AsyncIterator[Stream]:
    """Connect, and close at the end. The time-out is the caller's.

    Raises: OSError of the last address (NameFault, when there was none).
    """
    addresses = await resolver.addresses(host, ip_version=ip_version)
    findings.note(f"{host} is {', '.join(addresses[:8])}")
    stream = await _first(addresses, port, findings, tls=tls, server_name=server_name or host.strip("[]"))
    try:
        yield stream
    finally:
        stream[1].transport.abort()  # The answer is known; nobody waits for a polite good-bye.


async def _first(
    addresses: list[str], port: int, findings: Findings, *, tls: ssl.SSLContext | None, server_name: str
) -> Stream:
    last: OSError = NameFault(State.CRITICAL, "the name has no address")
    for address in addresses:
        try:
            stream = await asyncio.open_connection(
                address, port, limit=READ_BYTES_MAX, ssl=tls, server_hostname=server_name if tls else None
            )
        except OSError as error:
            findings.note(f"{address} port {port}: {describe(error)[1]}")
            last = error
            if isinstance(error, ssl.SSLError):
                break  # It is there, and another address of the same name would show the same certificate.
        else:
            findings.note(f"connected to {address} port {port}{', TLS agreed' if tls else ''}")
            return stream
    raise last

"""The way out for HTTP: one connector for all checks, one session for each run.

A session of its own gives each run its own cookies; a connection of its own makes each run prove that the target
still accepts one.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.abc import AbstractResolver

from checks.probes.options import one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.connector import Connection

    from checks.probes.findings import Findings

USER_AGENT = "henge (monitoring)"


@dataclass(slots=True)
class Journey:
    """How far a request has come, told by aiohttp's trace; the last phase is what a time-out names."""

    findings: Findings
    phase: str = "resolving the name"


class JourneyResponse(aiohttp.ClientResponse):
    """Keeps the peer's address and certificate before the connection goes back."""

    certificate: dict[str, Any] | None = None
    peer: str = "?"

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        transport = connection.transport
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object") if transport is not None else None
        self.certificate = tls.getpeercert() if tls is not None else None
        peername = transport.get_extra_info("peername") if transport is not None else None
        self.peer = str(peername[0]) if peername else "?"
        return await super().start(connection)


class HttpDoor:
    """Made inside the event loop that it serves."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._connector = aiohttp.TCPConnector(
            limit=0,  # The scheduler bounds how many checks run at once.
            force_close=True,
            resolver=resolver,
            # c-ares keeps answers itself. aiohttp shares one lookup among all who wait for it and tells them nothing
            # of it, so a silent name server would look like a host that does not answer.
            use_dns_cache=False,
        )
        self._trace = _trace_config()

    def session(self, journey: Journey) -> aiohttp.ClientSession:
        """A session for one run, to be closed by it; the connector stays."""
        return aiohttp.ClientSession(
            connector=self._connector,
            connector_owner=False,
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            response_class=JourneyResponse,
            timeout=aiohttp.ClientTimeout(),  # The run has one limit, and it is the caller's.
            headers={"User-Agent": USER_AGENT},
            trace_configs=[self._trace],
        )

    async def close(self) -> None:
        await self._connector.close()


def _trace_config() -> aiohttp.TraceConfig:
    config = aiohttp.TraceConfig()
    config.on_dns_resolvehost_start.append(_step("resolving the name"))
    config.on_dns_resolvehost_end.append(_step("connecting"))
    config.on_connection_create_start.append(_step("connecting"))
    config.on_connection_create_end.append(_step("waiting for the answer", "connected"))
    config.on_request_redirect.append(_on_redirect)
    return config


def _step(phase: str, note: str = "") -> Callable[..., Awaitable[None]]:
    async def on_step(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
        journey: Journey = context.trace_request_ctx
        journey.phase = phase
        if note:
            journey.findings.note(note)

    return on_step


async def _on_redirect(
    _session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestRedirectParams
) -> None:
    journey: Journey = context.trace_request_ctx
    response = params.response
    journey.findings.note(f"{response.status} to {one_line(response.headers.get('Location', '?'))}")

"""Running a probe against real servers in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import trustme
from aiohttp import web

from appliance.clock import Clock, SystemClock
from checks.model import Result
from checks.probes.resolver import Resolver
from checks.probes.running import run_probe
from checks.probes.toolbox import Toolbox

StreamHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Bench:
    """Runs probes with the tools of a scheduler."""

    def __init__(self, toolbox: Toolbox) -> None:
        self.toolbox = toolbox

    async def run(self, kind: str, *, timeout_s: float = 5.0, check_id: str = "c1", **options: Any) -> Result:
        return await run_probe(kind, options, self.toolbox.context(check_id=check_id, timeout_s=timeout_s))


@contextlib.asynccontextmanager
async def bench(
    *, clock: Clock | None = None, nameserver_port: int | None = None, **tools: Any
) -> AsyncIterator[Bench]:
    """nameserver_port: on loopback, in place of the machine's own name servers."""
    resolver = None if nameserver_port is None else Resolver(nameservers=[f"127.0.0.1:{nameserver_port}"])
    toolbox = Toolbox(clock or SystemClock(), resolver=resolver, **tools)
    try:
        yield Bench(toolbox)
    finally:
        await toolbox.close()


@contextlib.asynccontextmanager
async def stream_server(handler: StreamHandler, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A TCP server on loopback; its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await handler(reader, writer)
        except asyncio.CancelledError:
            pass  # The end of the test.
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept, and stay silent."""
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def web_server(routes: list[web.RouteDef], *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A web server on loopback; its address without the last slash."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    server = site._server
    assert isinstance(server, asyncio.Server)
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


def server_tls(authority: trustme.CA, *names: str, **more: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names, **more).configure_cert(context)
    return context


async def refused_port() -> int:
    """A port on which nobody listens (it was free a moment ago)."""
    async with stream_server(say_nothing) as port:
        return port


@contextlib.contextmanager
def full_listener() -> Iterator[int]:
    """A port that takes no further connection: its short queue is full and nobody empties it."""
    with contextlib.ExitStack() as held:
        listening = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


ZONE: dict[tuple[str, str], list[str]] = {
    ("web.test.", "A"): ["127.0.0.1"],
    ("two.test.", "A"): ["192.0.2.1", "192.0.2.2"],
    ("alias.test.", "A"): ["192.0.2.1"],
    ("text.test.", "TXT"): ['"v=spf1 -all"', '"hello" " world"'],
    ("test.", "MX"): ["10 mail.test."],
    ("1.0.0.127.in-addr.arpa.", "PTR"): ["web.test."],
}


class NameServer(asyncio.DatagramProtocol):
    """Answers from ZONE; names under silent.test. get no answer, those under broken.test. SERVFAIL."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.DatagramTransport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        question = dns.message.from_wire(data)
        name, kind = question.question[0].name.to_text().lower(), dns.rdatatype.to_text(question.question[0].rdtype)
        self.asked.append(name)
        if name.endswith("silent.test."):
            return
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.RA
        if name.endswith("broken.test."):
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif (name, kind) in ZONE:
            answer.answer.append(dns.rrset.from_text_list(name, 60, "IN", kind, ZONE[name, kind]))
        elif not any(known == name for known, _ in ZONE):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(answer.to_wire(), address)


@contextlib.asynccontextmanager
async def name_server() -> AsyncIterator[int]:
    """A name server on loopback; its port (UDP)."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()

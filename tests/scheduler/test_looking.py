"""Looking at an address with the real probes: at a web server, at a port that only listens, at one that is shut."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import pytest
import trustme

from checks.model import Check, Result, State
from checks.probes.options import OptionError
from checks.probes.running import run_probe
from checks.suggestions.choice import Looked
from scheduler.looking import LOOK_TIMEOUT_S, LOOKS_AT_ONCE, Looker
from tests.checks.probes.probing import bench, stream_server
from tests.receiver import Receiver


def look(address: str) -> Looked:
    async def looked() -> Looked:
        async with bench() as tools:

            async def try_out(check: Check) -> Result:
                context = tools.toolbox.context(check_id="", timeout_s=check.timeout_s)
                return await run_probe(check.kind, check.options, context)

            return await Looker(try_out).look(address)

    return asyncio.run(looked())


def ticked(looked: Looked) -> list[str]:
    return [f"{one.candidate.kind} {one.result.state.word}" for one in looked.suggestions if one.is_ticked]


def test_a_web_server_on_an_unusual_port_is_recognised() -> None:
    with Receiver() as server:
        place = server.url.removeprefix("http://")
        looked = look(place)
        assert "http ok" in ticked(looked)
        assert looked.note == ""
        http = next(one.candidate for one in looked.suggestions if one.candidate.kind == "http")
        assert http.options == {"url": f"http://{place}/"}
        assert [one.path for one in server.received if one.method == "GET"] == ["/"]


def test_a_port_that_only_listens_is_watched_as_a_port() -> None:
    async def looked() -> Looked:
        async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, bench() as tools:

            async def try_out(check: Check) -> Result:
                return await tools.run(check.kind, timeout_s=check.timeout_s, **check.options)

            return await Looker(try_out).look(f"127.0.0.1:{port}")

    assert "tcp ok" in ticked(asyncio.run(looked()))


def test_what_was_typed_is_ticked_also_while_it_is_down() -> None:
    with socket.socket() as shut:
        shut.bind(("127.0.0.1", 0))
        looked = look(f"127.0.0.1:{shut.getsockname()[1]}")
    assert "tcp critical" in ticked(looked)


def test_what_is_no_address_is_refused_before_anything_is_looked_at() -> None:
    with pytest.raises(OptionError):
        look("10.0.0.0/8")


def test_looks_are_bounded_in_time_and_number() -> None:
    """Each probe is given its time-out; of more looks than may go on at once, the others wait."""
    timeouts: list[float] = []
    running: list[int] = []

    async def looked() -> Any:
        count, let_go = 0, asyncio.Event()

        async def try_out(check: Check) -> Result:
            nonlocal count
            count += check.kind == "ping"
            timeouts.append(check.timeout_s)
            await let_go.wait()
            count -= check.kind == "ping"
            return Result(state=State.OK, output="", duration_s=0.0, at_ms=1)

        looker = Looker(try_out)
        looks = [asyncio.create_task(looker.look("10.0.0.5:6379")) for _ in range(LOOKS_AT_ONCE + 3)]
        while count < LOOKS_AT_ONCE:
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        running.append(count)
        let_go.set()
        return await asyncio.gather(*looks)

    assert len(asyncio.run(looked())) == LOOKS_AT_ONCE + 3
    assert running == [LOOKS_AT_ONCE]
    assert set(timeouts) == {LOOK_TIMEOUT_S}


def test_a_certificate_that_nobody_knows_is_told_apart_from_a_server_that_is_away() -> None:
    """The device of a local network: its page answers, and only its certificate is refused."""

    async def looked(context: ssl.SSLContext) -> Looked:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            await writer.drain()
            writer.close()

        async with stream_server(answer, tls=context) as port, bench() as tools:

            async def try_out(check: Check) -> Result:
                return await tools.run(check.kind, timeout_s=check.timeout_s, **check.options)

            return await Looker(try_out).look(f"127.0.0.1:{port}")

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    found = asyncio.run(looked(context))
    states = {(one.candidate.kind, one.candidate.reason.value): one.result.state for one in found.suggestions}
    assert states["http", "unverified"] is State.OK
    assert states["tls", "certificate"] is State.CRITICAL
    assert ("http", "web") not in states
    assert "http ok" not in ticked(found)

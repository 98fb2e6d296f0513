"""The http probe against servers that answer well, badly, late and never."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from typing import Any

import pytest
import trustme
from aiohttp import web

from checks.model import State
from checks.probes.trust import client_context
from tests.checks.probes.probing import (
    bench,
    full_listener,
    name_server,
    refused_port,
    say_nothing,
    server_tls,
    stream_server,
    web_server,
)
from tests.waiting import busy

JSON = '{"status": {"checks": [{"ok": true, "lag": 12.5, "name": "db"}]}, "odd key": null, "tags": ["a", "b"]}'


async def echo(request: web.Request) -> web.Response:
    text = await request.text()
    return web.Response(text=f"{request.method} {request.headers.get('X-Team', '-')} {text}")


async def guarded(request: web.Request) -> web.Response:
    wanted = "Basic " + base64.b64encode("ann:grün".encode()).decode()
    return web.Response(status=200 if request.headers.get("Authorization") == wanted else 401)


async def slow(request: web.Request) -> web.Response:
    await asyncio.sleep(0.3)
    return web.Response(text="at last")


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65_536)


async def cookie_wall(request: web.Request) -> web.Response:
    """Sends everybody without its cookie round in a circle."""
    if request.cookies.get("seen") == "yes":
        return web.Response(text="welcome")
    response = web.Response(status=302, headers={"Location": "/wall"})
    response.set_cookie("seen", "yes")
    return response


def answer(text: str = "", **more: Any) -> Any:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=text, **more)

    return handler


ROUTES = [
    web.get("/ok", answer("Hello, version 1.2")),
    web.get("/missing", answer("no", status=404)),
    web.get("/err", answer("no", status=500)),
    web.get("/json", answer(JSON, content_type="application/json")),
    web.get("/latin", answer("caf\xe9", charset="latin-1")),
    web.get("/redirect", answer(status=302, headers={"Location": "/ok"})),
    web.get("/round", answer(status=302, headers={"Location": "/round"})),
    web.get("/file", answer(status=302, headers={"Location": "file:///etc/passwd"})),
    web.route("*", "/echo", echo),
    web.get("/guarded", guarded),
    web.get("/slow", slow),
    web.get("/endless", endless),
    web.get("/wall", cookie_wall),
]

CASES: dict[str, tuple[dict[str, Any], State, str]] = {
    # name: (options, with the path in place of the address; the state; a pattern that the output matches)
    "well": ({"url": "/ok"}, State.OK, r"HTTP 200 OK, 18 bytes in 0\.\d{3} s"),
    "404": ({"url": "/missing"}, State.CRITICAL, r"status 404, expected 200-399; HTTP 404 Not Found, 2 bytes"),
    "404 is expected": ({"url": "/missing", "expected_status": "200, 400-404"}, State.OK, "HTTP 404"),
    "500": ({"url": "/err"}, State.CRITICAL, "status 500, expected 200-399"),
    "keyword": ({"url": "/ok", "keyword": "version"}, State.OK, "HTTP 200"),
    "no keyword": ({"url": "/ok", "keyword": "Absent"}, State.CRITICAL, "the text 'Absent' is not in the answer"),
    "keyword must be absent": (
        {"url": "/ok", "keyword": "version", "keyword_absent": True}, State.CRITICAL,
        "the text 'version' is in the answer, and must not be",
    ),
    "keyword in another encoding": ({"url": "/latin", "keyword": "café"}, State.OK, "HTTP 200"),
    "JSON is true": (
        {"url": "/json", "json_path": "$.status.checks[0].ok", "json_operator": "==", "json_value": "true"},
        State.OK, "HTTP 200",
    ),
    "JSON is over the limit": (
        {"url": "/json", "json_path": "status.checks[0].lag", "json_operator": "<", "json_value": "10"},
        State.CRITICAL, r"status\.checks\[0\]\.lag is 12\.5, expected < 10",
    ),
    "JSON is missing": (
        {"url": "/json", "json_path": "$.status.nodes[3]"}, State.CRITICAL,
        r"the JSON answer has no \$\.status\.nodes;",
    ),
    "JSON key with a blank": (
        {"url": "/json", "json_path": "$['odd key']", "json_operator": "==", "json_value": "null"}, State.OK, "200",
    ),
    "JSON list contains": (
        {"url": "/json", "json_path": "$.tags", "json_operator": "contains", "json_value": "b"}, State.OK, "200",
    ),
    "not JSON": ({"url": "/ok", "json_path": "$.a"}, State.CRITICAL, "the answer is not JSON"),
    "redirect": ({"url": "/redirect", "keyword": "Hello"}, State.OK, "HTTP 200"),
    "redirect not followed": ({"url": "/redirect", "follow_redirects": False}, State.OK, "HTTP 302 Found"),
    "redirect round in a circle": (
        {"url": "/round", "redirect_count_max": 3}, State.CRITICAL, "more than 3 redirects",
    ),
    "redirect to a file": (
        {"url": "/file"}, State.CRITICAL, "redirected to 'file:///etc/passwd', which is not a web address",
    ),
    "method, header and body": (
        {"url": "/echo", "method": "POST", "headers": {"X-Team": "shop"}, "body": "päng", "keyword": "POST shop päng"},
        State.OK, "HTTP 200",
    ),
    "basic auth": ({"url": "/guarded", "username": "ann", "password": "grün"}, State.OK, "HTTP 200"),
    "basic auth, wrong": ({"url": "/guarded", "username": "ann", "password": "x"}, State.CRITICAL, "status 401"),
    "slower than the warning": (
        {"url": "/slow", "warning_s": 0.1}, State.WARNING, r"took 0\.\d{3} s is over 0\.1 s; HTTP 200",
    ),
    "slower than critical": (
        {"url": "/slow", "warning_s": 0.1, "critical_s": 0.2}, State.CRITICAL, r"took 0\.\d{3} s is over 0\.2 s",
    ),
    "an endless answer is read to the limit": (
        {"url": "/endless", "body_bytes_max": 1000}, State.OK, "HTTP 200 OK, 1,000 bytes",
    ),
    "cookies are kept from redirect to redirect": ({"url": "/wall", "keyword": "welcome"}, State.OK, "HTTP 200"),
}  # fmt: skip


def test_each_case() -> None:
    async def main() -> None:
        async with web_server(ROUTES) as address, bench() as b:
            for name, (options, state, pattern) in CASES.items():
                result = await b.run("http", **(options | {"url": address + options["url"]}))
                assert (result.state, bool(re.search(pattern, result.output))) == (state, True), (name, result)
                assert result.perfdata[0].label == "time", name
                assert result.transcript, name

    asyncio.run(main())


def test_time_and_size_are_performance_data() -> None:
    async def main() -> None:
        async with web_server(ROUTES) as address, bench() as b:
            result = await b.run("http", url=f"{address}/ok", warning_s=1, critical_s=2.5)
            by_label = {item.label: item for item in result.perfdata}
            assert by_label["size"].value == 18
            assert by_label["size"].unit == "B"
            found = by_label["time"]
            assert (found.unit, found.warning, found.critical, found.minimum, found.maximum) == ("s", "1", "2.5", 0, 5)
            assert found.value is not None
            assert 0 < found.value <= result.duration_s

    asyncio.run(main())


def test_servers_that_do_not_speak_http() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async def talk_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.test ESMTP\r\n")
        await reader.read()

    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        async with (
            stream_server(hang_up) as closing,
            stream_server(talk_nonsense) as nonsense,
            stream_server(break_off) as half,
            bench() as b,
        ):
            outputs = {
                closing: "the server closed the connection without an answer",
                nonsense: "not an HTTP answer: ",
                half: "the answer broke off before its end",
                await refused_port(): "connection refused",
            }
            for port, output in outputs.items():
                result = await b.run("http", url=f"http://127.0.0.1:{port}/")
                assert result.state is State.CRITICAL
                assert result.output.startswith(output), result.output

    asyncio.run(main())


def test_a_silent_server_is_critical_after_the_timeout() -> None:
    async def main() -> None:
        async with stream_server(say_nothing) as port, bench() as b:
            started_s = time.monotonic()
            result = await b.run("http", url=f"http://127.0.0.1:{port}/", timeout_s=0.3)
            assert time.monotonic() - started_s < busy(1)
            assert result.state is State.CRITICAL
            assert result.output == "no answer within 0.3 s, waiting for the answer"

    asyncio.run(main())


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with name_server() as names, web_server(ROUTES) as address, bench(nameserver_port=names) as b:
            port = address.rpartition(":")[2]
            well = await b.run("http", url=f"http://web.test:{port}/ok")
            assert well.state is State.OK, well
            unknown = await b.run("http", url="http://nobody.test/")
            assert (unknown.state, unknown.output) == (State.CRITICAL, "the name nobody.test is not known")
            broken = await b.run("http", url="http://broken.test/")
            assert broken.state is State.CRITICAL
            assert "broken.test" in broken.output
            for _ in range(2):  # The second run finds the lookup of the first still on its way.
                silent = await b.run("http", url="http://silent.test/", timeout_s=0.3)
                assert silent.state is State.UNKNOWN  # Our resolver's silence says nothing about the target.
                assert silent.output == "no answer within 0.3 s, resolving the name"

    asyncio.run(main())


def test_a_host_with_a_name_that_takes_no_connection_is_critical() -> None:
    async def main() -> None:
        async with name_server() as names, bench(nameserver_port=names) as b:
            with full_listener() as port:
                deaf = await b.run("http", url=f"http://web.test:{port}/", timeout_s=0.3)
            assert (deaf.state, deaf.output) == (State.CRITICAL, "no answer within 0.3 s, connecting")

    asyncio.run(main())


def test_silent_name_servers_and_silent_servers_hold_up_nobody() -> None:
    """200 of each hang; 50 healthy checks are done as quickly as if they were alone."""

    async def main() -> None:
        async with (
            name_server() as names,
            web_server(ROUTES) as address,
            stream_server(say_nothing) as mute,
            bench(nameserver_port=names) as b,
        ):
            hanging = [
                asyncio.ensure_future(b.run("http", url=url, timeout_s=30))
                for i in range(200)
                for url in (f"http://h{i}.silent.test/", f"http://127.0.0.1:{mute}/{i}")
            ]
            await asyncio.sleep(0)
            started_s = time.monotonic()
            results = await asyncio.gather(*(b.run("http", url=f"{address}/ok") for _ in range(50)))
            elapsed_s = time.monotonic() - started_s
            assert {result.state for result in results} == {State.OK}
            assert elapsed_s < busy(2)
            for task in hanging:
                task.cancel()
            await asyncio.gather(*hanging, return_exceptions=True)

    asyncio.run(main())


def test_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    trusted, stranger = trustme.CA(), trustme.CA()
    trusted.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    client_context.cache_clear()

    async def main() -> None:
        async with (
            web_server(ROUTES, tls=server_tls(trusted, "127.0.0.1")) as good,
            web_server(ROUTES, tls=server_tls(stranger, "127.0.0.1")) as bad,
            web_server(ROUTES, tls=server_tls(trusted, "other.test")) as other,
            web_server(ROUTES) as plain,
            bench() as b,
        ):
            well = await b.run("http", url=f"{good}/ok")
            assert well.state is State.OK, well
            assert "certificate_days" in {item.label for item in well.perfdata}
            for address, pattern in (
                (bad, "certificate refused: unable to get local issuer certificate"),
                (other, "certificate refused: IP address mismatch, certificate is not valid for '127.0.0.1'"),
                (plain.replace("http:", "https:"), "TLS failed: "),
            ):
                result = await b.run("http", url=f"{address}/ok")
                assert result.state is State.CRITICAL
                assert pattern in result.output
            assert (await b.run("http", url=f"{bad}/ok", verify_tls=False)).state is State.OK

    try:
        asyncio.run(main())
    finally:
        client_context.cache_clear()


def test_through_a_proxy() -> None:
    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        assert request.startswith(b"GET http://inside.test/ok HTTP/1.1\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nvia")
        await writer.drain()

    async def main() -> None:
        async with stream_server(proxy) as port, bench() as b:
            result = await b.run("http", url="http://inside.test/ok", proxy=f"http://127.0.0.1:{port}")
            assert result.state is State.OK, result
            closed = await refused_port()
            result = await b.run("http", url="http://inside.test/ok", proxy=f"http://127.0.0.1:{closed}")
            assert result.state is State.CRITICAL
            assert result.output == f"proxy 127.0.0.1:{closed}: connection refused"

    asyncio.run(main())


def test_a_check_that_was_stored_with_bad_options_is_unknown() -> None:
    async def main() -> None:
        async with bench() as b:
            result = await b.run("http", url="gopher://x")
            assert result.state is State.UNKNOWN
            assert result.output == "option url: 'gopher://x' must begin with http:// or https://"

    asyncio.run(main())

"""tcp, ping, dns and tls against real servers on loopback."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import icmplib
import pytest
import trustme

from checks.model import State
from checks.probes.tls.certificate import Certificate
from checks.probes.trust import client_context
from tests.checks.probes.probing import (
    bench,
    name_server,
    refused_port,
    say_nothing,
    server_tls,
    stream_server,
)


async def redis(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    line = await reader.readline()
    writer.write(b"+PO" if line == b"PING\r\n" else b"-ERR\r\n")
    await writer.drain()
    await asyncio.sleep(0.01)  # In two parts, as a network brings it.
    writer.write(b"NG\r\n")
    await writer.drain()


def test_tcp() -> None:
    async def main() -> None:
        async with stream_server(redis) as port, stream_server(say_nothing) as mute, bench() as b:
            closed = await refused_port()
            for options, state, pattern in (
                ({"port": port}, State.OK, rf"127\.0\.0\.1 port {port} answered in 0\.\d+ s"),
                ({"port": port, "send": r"PING\r\n", "expect": "PONG"}, State.OK, r"answered in .* s: '\+PONG'"),
                (
                    {"port": port, "send": "hello\\n", "expect": "PONG"}, State.CRITICAL,
                    "'PONG' did not come; received 10 bytes: '-ERR NG'",
                ),
                ({"port": closed}, State.CRITICAL, rf"^127\.0\.0\.1 port {closed}: connection refused$"),
                (
                    {"port": mute, "expect": "hi", "timeout_s": 0.2}, State.CRITICAL,
                    "no answer within 0.2 s, waiting for 'hi'; received nothing",
                ),
                ({"port": port, "warning_s": 0}, State.WARNING, r"took 0\.\d+ s is over 0 s; 127"),
            ):  # fmt: skip
                result = await b.run("tcp", host="127.0.0.1", **options)
                assert (result.state, bool(re.search(pattern, result.output))) == (state, True), result

    asyncio.run(main())


def test_tcp_tries_each_address_of_a_name() -> None:
    async def main() -> None:
        async with stream_server(redis) as port, bench() as b:  # It listens on IPv4 only.
            result = await b.run("tcp", host="localhost", port=port)
            assert result.state is State.OK, result

    asyncio.run(main())


def test_ping_of_loopback_and_of_nobody() -> None:
    async def main() -> None:
        async with name_server() as names, bench(nameserver_port=names) as b:
            result = await b.run("ping", host="127.0.0.1", count=2, interval_s=0.01)
            if "does not let us ping" in result.output:
                pytest.fail(result.output)
            assert result.state is State.OK, result
            assert re.match(r"127\.0\.0\.1: 0% loss, round trip \d+\.\d\d ms", result.output)
            assert [item.label for item in result.perfdata] == ["pl", "rta", "rtmax", "rtmin"]
            slow = await b.run("ping", host="127.0.0.1", count=1, critical_rtt_ms=0)
            assert slow.state is State.CRITICAL
            assert "is over 0 ms" in slow.output
            nobody = await b.run("ping", host="nobody.test")
            assert (nobody.state, nobody.output) == (State.CRITICAL, "the name nobody.test is not known")
            wrong = await b.run("ping", host="127.0.0.1", ip_version="6")
            assert wrong.output == "127.0.0.1 is not an IPv6 address"

    asyncio.run(main())


def test_ping_without_permission_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forbidden(*_: Any, privileged: bool, **__: Any) -> None:
        raise icmplib.SocketPermissionError(privileged)

    monkeypatch.setattr(icmplib, "async_ping", forbidden)

    async def main() -> None:
        async with bench() as b:
            result = await b.run("ping", host="127.0.0.1")
            assert result.state is State.UNKNOWN
            assert "net.ipv4.ping_group_range" in result.output
            assert "CAP_NET_RAW" in result.output

    asyncio.run(main())


def test_ping_with_all_packets_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts = []

    async def lost(address: str, *, count: int, timeout: float, **_: Any) -> icmplib.Host:
        timeouts.append(timeout)
        return icmplib.Host(address, count, [])

    monkeypatch.setattr(icmplib, "async_ping", lost)

    async def main() -> None:
        async with bench() as b:
            result = await b.run("ping", host="192.0.2.1", count=4, interval_s=0.1, timeout_s=2)
            assert result.state is State.CRITICAL
            assert result.output == "100% of 4 packets lost, the limit is 80%"
            assert timeouts[0] * 4 + 0.3 < 2  # So it ends by itself before its time-out.

    asyncio.run(main())


DNS_CASES: list[tuple[dict[str, Any], State, str]] = [
    ({"name": "web.test"}, State.OK, r"web\.test A is 127\.0\.0\.1, in 0\.\d+ s"),
    ({"name": "two.test", "expected": ["192.0.2.2"]}, State.OK, r"is 192\.0\.2\.1, 192\.0\.2\.2"),
    ({"name": "two.test", "expected": ["192.0.2.9"]}, State.CRITICAL, r"two\.test A lacks 192\.0\.2\.9; it is 192"),
    ({"name": "two.test", "expected": ["192.0.2.1", "192.0.2.9"], "match": "any"}, State.OK, "is 192"),
    ({"name": "two.test", "expected": ["192.0.2.9"], "match": "any"}, State.CRITICAL, r"expected one of 192\.0\.2\.9"),
    (
        {"name": "two.test", "expected": ["192.0.2.1"], "match": "exact"},
        State.CRITICAL,
        r"has also 192\.0\.2\.2, which is not expected",
    ),
    ({"name": "test", "record_type": "MX", "expected": ["10 MAIL.test."]}, State.OK, r"test MX is 10 mail\.test"),
    ({"name": "text.test", "record_type": "TXT", "expected": ["v=spf1 -all", "hello world"]}, State.OK, "v=spf1"),
    ({"name": "127.0.0.1", "record_type": "PTR", "expected": ["web.test"]}, State.OK, r"PTR is web\.test"),
    ({"name": "web.test", "record_type": "AAAA"}, State.CRITICAL, r"web\.test AAAA: there is no such record"),
    ({"name": "nobody.test"}, State.CRITICAL, "answered NXDOMAIN, expected NOERROR"),
    ({"name": "nobody.test", "rcode": "NXDOMAIN"}, State.OK, r"nobody\.test A is NXDOMAIN, as expected"),
    ({"name": "broken.test"}, State.CRITICAL, "answered SERVFAIL, expected NOERROR"),
    ({"name": "silent.test", "timeout_s": 0.4}, State.CRITICAL, r"no answer from 127\.0\.0\.1 within 0\.4 s"),
    ({"name": "web.test", "warning_s": 0}, State.WARNING, "is over 0 s"),
]


def test_dns() -> None:
    async def main() -> None:
        async with name_server() as port, bench() as b:
            for options, state, pattern in DNS_CASES:
                result = await b.run("dns", server="127.0.0.1", port=port, **options)
                assert (result.state, bool(re.search(pattern, result.output))) == (state, True), (options, result)

    asyncio.run(main())


def test_a_name_server_that_does_not_listen() -> None:
    async def main() -> None:
        async with bench() as b:
            closed = await refused_port()
            for transport in ("udp", "tcp"):
                result = await b.run(
                    "dns", name="web.test", server="127.0.0.1", port=closed, transport=transport, timeout_s=0.5
                )
                assert result.state is State.CRITICAL
                assert result.output.startswith(("no answer from 127.0.0.1", "127.0.0.1: connection refused"))

    asyncio.run(main())


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[trustme.CA]:
    """An authority that this machine trusts for the time of a test."""
    trusted = trustme.CA()
    trusted.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    client_context.cache_clear()
    yield trusted
    client_context.cache_clear()


def in_days(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def test_tls(authority: trustme.CA) -> None:
    async def main() -> None:
        ends = {"soon": in_days(10.2), "now": in_days(2.2), "past": in_days(-3.1)}
        servers = {name: server_tls(authority, "127.0.0.1", not_after=end) for name, end in ends.items()}
        async with (
            stream_server(say_nothing, tls=server_tls(authority, "127.0.0.1", "web.test")) as good,
            stream_server(say_nothing, tls=server_tls(trustme.CA(), "127.0.0.1")) as stranger,
            stream_server(say_nothing, tls=servers["soon"]) as soon,
            stream_server(say_nothing, tls=servers["now"]) as now,
            stream_server(say_nothing, tls=servers["past"]) as past,
            stream_server(say_nothing) as mute,
            bench() as b,
        ):
            for options, state, pattern in (
                ({"port": good}, State.OK, r"valid until \d{4}-.* days\), signed by .*, TLSv1\.3"),
                ({"port": good, "server_name": "web.test"}, State.OK, "valid until"),
                (
                    {"port": good, "server_name": "else.test"}, State.CRITICAL,
                    r"the certificate is for .*, not for else\.test",
                ),
                ({"port": good, "server_name": "else.test", "verify_name": False}, State.OK, "valid until"),
                ({"port": stranger}, State.CRITICAL, "certificate refused: unable to get local issuer certificate"),
                ({"port": stranger, "verify_chain": False}, State.OK, "valid until"),
                ({"port": soon}, State.WARNING, "^10.2 days left, under 21"),
                ({"port": now}, State.CRITICAL, "^2.2 days left, under 7"),
                ({"port": past}, State.CRITICAL, r"^the certificate expired 3\.1 days ago, at \d{4}"),
                ({"port": mute, "timeout_s": 0.3}, State.CRITICAL, r"no TLS agreed within 0\.3 s"),
                ({"port": await refused_port()}, State.CRITICAL, "connection refused"),
            ):  # fmt: skip
                result = await b.run("tls", host="127.0.0.1", **options)
                assert (result.state, bool(re.search(pattern, result.output))) == (state, True), (options, result)
            result = await b.run("tls", host="127.0.0.1", port=soon)
            assert (result.perfdata[0].label, result.perfdata[0].warning, result.perfdata[0].critical) == (
                "days", "21:", "7:",
            )  # fmt: skip

    asyncio.run(main())


@pytest.mark.parametrize(
    ("names", "name", "matches"),
    [
        (("example.org",), "EXAMPLE.org.", True),
        (("*.example.org",), "www.example.org", True),
        (("*.example.org",), "example.org", False),
        (("*.example.org",), "a.b.example.org", False),
        (("*.org",), "example.org", False),
        (("w*.example.org",), "www.example.org", False),
        (("127.0.0.1",), "127.0.0.1", True),
        (("2001:db8::1",), "[2001:db8:0::1]", True),
        (("*.0.0.1",), "127.0.0.1", False),
        ((), "example.org", False),
    ],
)
def test_names_of_certificates(names: tuple[str, ...], name: str, matches: bool) -> None:
    certificate = Certificate(subject="", issuer="", names=names, from_ms=0, until_ms=0, serial="")
    assert certificate.is_for(name) is matches

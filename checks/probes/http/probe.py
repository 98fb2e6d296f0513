"""The `http` probe: ask an address, look at status, text, JSON and time."""

from __future__ import annotations

import asyncio
import base64
import ssl
from http import HTTPStatus
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from checks.model import Result, State
from checks.probes import Probe, ProbeContext
from checks.probes.faults import describe
from checks.probes.findings import Findings
from checks.probes.http.door import HttpDoor, Journey, JourneyResponse
from checks.probes.http.expectation import json_at, json_holds, parse_json_path, parse_statuses
from checks.probes.http.options import HttpOptions
from checks.probes.options import one_line
from checks.probes.trust import client_context

DAY_S = 86_400


class HttpProbe(Probe[HttpOptions]):
    kind = "http"
    title = "HTTP"
    summary = "Asks a web address and looks at the status, the text and the time it took"
    options_type = HttpOptions

    def target(self, options: HttpOptions) -> str:
        return URL(options.url).host or ""

    async def run(self, options: HttpOptions, context: ProbeContext) -> Result:
        findings = Findings(context)
        if context.http is None:
            findings.fault(State.UNKNOWN, "this process cannot ask web addresses")
            return findings.result()
        journey = Journey(findings)
        text = ""
        try:
            async with asyncio.timeout(context.timeout_s):
                text = await _ask(options, context.http, journey)
        except TimeoutError:
            # A name server that is silent is our trouble, or at least not proof that the target is down.
            state = State.UNKNOWN if journey.phase == "resolving the name" else State.CRITICAL
            findings.fault(state, f"no answer within {context.timeout_s:g} s, {journey.phase}")
        except aiohttp.ClientError as error:
            findings.fault(*_client_fault(error, options))
        except (OSError, ValueError) as error:
            findings.fault(*(describe(error) if isinstance(error, OSError) else (State.CRITICAL, one_line(str(error)))))
        if not text:
            findings.measure("time", round(findings.elapsed_s, 6), "s", maximum=context.timeout_s)
        return findings.result(text)


async def _ask(options: HttpOptions, door: HttpDoor, journey: Journey) -> str:
    """Ask and hold the answer against the options; returns the line that describes the answer."""
    findings = journey.findings
    async with (
        door.session(journey) as session,
        session.request(
            options.method,
            options.url,
            headers=_headers(options),
            data=options.body.encode() if options.body else None,
            allow_redirects=options.follow_redirects,
            max_redirects=options.redirect_count_max + 1,  # aiohttp refuses when it reaches the number.
            ssl=client_context(verify_chain=options.verify_tls, alpn="http/1.1"),
            proxy=options.proxy or None,
            trace_request_ctx=journey,
        ) as response,
    ):
        journey.phase = "reading the answer"
        assert isinstance(response, JourneyResponse)
        findings.note(f"first byte from {response.peer}: HTTP {response.status}")
        body, is_whole = await _read(response, options.body_bytes_max)
        seconds = findings.elapsed_s
    findings.note(f"{len(body):,} bytes read{'' if is_whole else ', the limit; the rest was left'}")
    _judge_status(findings, options, response)
    findings.took(seconds, warning_s=options.warning_s, critical_s=options.critical_s)
    findings.measure("size", len(body), "B")
    if response.certificate:
        days = (ssl.cert_time_to_seconds(response.certificate["notAfter"]) - findings.at_ms / 1000) / DAY_S
        findings.measure("certificate_days", round(days, 2), "d", minimum=None)
    if options.keyword:
        _judge_keyword(findings, options, _text(body, response), is_whole=is_whole)
    if options.json_path:
        _judge_json(findings, options, body)
    return f"{_status_line(response)}, {len(body):,} bytes in {seconds:.3f} s"


def _headers(options: HttpOptions) -> dict[str, str]:
    """aiohttp leaves Authorization out when a redirect leads to another host."""
    if not options.username:
        return options.headers
    credentials = base64.b64encode(f"{options.username}:{options.password}".encode()).decode()
    return {**options.headers, "Authorization": f"Basic {credentials}"}


async def _read(response: aiohttp.ClientResponse, bytes_max: int) -> tuple[bytes, bool]:
    """The body, or its beginning, and whether it is the whole."""
    chunks: list[bytes] = []
    left = bytes_max
    async for chunk in response.content.iter_any():
        chunks.append(chunk[:left])
        left -= len(chunk)
        if left < 0:
            return b"".join(chunks), False
    return b"".join(chunks), True


def _status_line(response: aiohttp.ClientResponse) -> str:
    try:
        phrase = response.reason or HTTPStatus(response.status).phrase
    except ValueError:
        phrase = ""
    return one_line(f"HTTP {response.status} {phrase}", characters_max=80)


def _judge_status(findings: Findings, options: HttpOptions, response: aiohttp.ClientResponse) -> None:
    ranges = parse_statuses(options.expected_status)
    if not any(low <= response.status <= high for low, high in ranges):
        findings.fault(State.CRITICAL, f"status {response.status}, expected {options.expected_status}")


def _judge_keyword(findings: Findings, options: HttpOptions, text: str, *, is_whole: bool) -> None:
    is_there = options.keyword in text
    shown = repr(one_line(options.keyword, characters_max=60))
    if is_there and options.keyword_absent:
        findings.fault(State.CRITICAL, f"the text {shown} is in the answer, and must not be")
    if not is_there and not options.keyword_absent:
        where = "the answer" if is_whole else f"its first {options.body_bytes_max:,} bytes"
        findings.fault(State.CRITICAL, f"the text {shown} is not in {where}")


def _judge_json(findings: Findings, options: HttpOptions, body: bytes) -> None:
    try:
        document: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        findings.fault(State.CRITICAL, f"the answer is not JSON: {one_line(str(error), characters_max=80)}")
        return
    try:
        found = json_at(document, parse_json_path(options.json_path))
    except KeyError as error:
        findings.fault(State.CRITICAL, f"the JSON answer has no {error.args[0]}")
        return
    shown = one_line(msgspec.json.encode(found).decode(), characters_max=80)
    if not json_holds(found, options.json_operator, options.json_value):
        wanted = f"{options.json_operator} {options.json_value}"
        findings.fault(State.CRITICAL, f"{options.json_path} is {shown}, expected {wanted}")
    if isinstance(found, int | float) and not isinstance(found, bool):
        findings.measure("json_value", float(found), minimum=None)


def _text(body: bytes, response: aiohttp.ClientResponse) -> str:
    try:
        return body.decode(response.charset or "utf-8", "replace")
    except LookupError:  # The server names an encoding that does not exist.
        return body.decode("utf-8", "replace")


def _client_fault(error: aiohttp.ClientError, options: HttpOptions) -> tuple[State, str]:
    """What an error of aiohttp means."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return _connector_fault(error, options)
    if isinstance(error, aiohttp.TooManyRedirects):
        return State.CRITICAL, f"more than {options.redirect_count_max} redirects"
    if isinstance(error, aiohttp.NonHttpUrlRedirectClientError | aiohttp.InvalidUrlRedirectClientError):
        return State.CRITICAL, f"redirected to {one_line(str(error.args[0]))!r}, which is not a web address"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return State.CRITICAL, f"the proxy answered {error.status} {one_line(error.message)}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return State.CRITICAL, "the server closed the connection without an answer"
    if isinstance(error, aiohttp.ClientResponseError):
        return State.CRITICAL, f"not an HTTP answer: {one_line(error.message, characters_max=100)}"
    if isinstance(error, aiohttp.ClientPayloadError):
        return State.CRITICAL, "the answer broke off before its end"
    if isinstance(error, OSError):
        return describe(error)
    return State.CRITICAL, one_line(f"{type(error).__name__}: {error}")


def _connector_fault(error: aiohttp.ClientConnectorError, options: HttpOptions) -> tuple[State, str]:
    """No connection; says where to, when that is not the address of the check (a proxy, a redirect)."""
    where = ""
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        where = f"proxy {error.host}:{error.port}: "
    elif (error.host, error.port) != _place(options.url):
        where = f"{error.host}:{error.port}: "
    inner: Exception = error.os_error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        inner = error.certificate_error
    state, text = describe(inner) if isinstance(inner, OSError) else (State.CRITICAL, one_line(str(inner)))
    return state, where + text


def _place(url: str) -> tuple[str | None, int | None]:
    parsed = URL(url)
    return parsed.host, parsed.port

"""Signed JSON over HTTP.

    POST url
    X-Henge-Signature: sha256=<hex HMAC-SHA256 of the body's bytes with the channel's secret>
    Idempotency-Key: <the id of the message; the same at every attempt>

Delivered means an answer of 200 to 299.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec

from checks.channels import Webhook
from checks.probes.faults import describe
from checks.probes.options import one_line
from checks.probes.resolver import Resolver
from scheduler.notify import ANSWER_CHARACTERS_MAX, SEND_TIMEOUT_S, TransportError

ANSWER_BYTES_MAX = 4_096
CONNECTION_KEEP_S = 2.0  # For the messages of one outage; receivers keep idle connections for longer than this.
USER_AGENT = "henge (notification)"
# An answer of 4xx is about the message, but for these: log in again, slow down, be there later.
OF_CHANNEL = frozenset({401, 403, 404, 405, 407, 408, 410, 421, 425, 429})


class Webhooks:
    """Made inside the event loop that it serves."""

    def __init__(self) -> None:
        self._resolver = Resolver()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=self._resolver, ttl_dns_cache=10, keepalive_timeout=CONNECTION_KEEP_S
            ),
            timeout=aiohttp.ClientTimeout(total=SEND_TIMEOUT_S),
            headers={"User-Agent": USER_AGENT},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def send(self, options: Webhook, body: Mapping[str, Any], *, now_ms: int) -> str:
        content = msgspec.json.encode({**body, "sent_at_ms": now_ms})
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(body["id"])}
        if options.secret:
            headers["X-Henge-Signature"] = signature(content, options.secret)
        try:
            async with self._session.post(options.url, data=content, headers=headers, allow_redirects=False) as answer:
                text = one_line((await answer.content.read(ANSWER_BYTES_MAX)).decode(errors="replace"))
                return _judged(answer.status, answer.reason or "", text, answer.headers.get("Location"))
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise TransportError(_fault(error)) from error

    async def close(self) -> None:
        await self._session.close()
        await self._resolver.close()


def signature(content: bytes, secret: str) -> str:
    return "sha256=" + hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


def _judged(status: int, reason: str, text: str, location: str | None) -> str:
    """The receiver's answer, if it took the message. Raises: TransportError."""
    answer = f"HTTP {status} {reason}".strip()
    if 200 <= status <= 299:
        return answer
    if 300 <= status <= 399:
        raise TransportError(f"{answer}: redirects are not followed; write {location or 'the new address'} as the url")
    detail = f"{answer}: {text[:ANSWER_CHARACTERS_MAX]}" if text else answer
    raise TransportError(detail, is_of_message=400 <= status <= 499 and status not in OF_CHANNEL)


def _fault(error: Exception) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return f"no answer within {SEND_TIMEOUT_S:g} s"
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, OSError):
        return f"{error.host}:{error.port}: {describe(error.os_error)[1]}"
    return one_line(str(error)) or type(error).__name__

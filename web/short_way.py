"""The short way for remote-write: a sender that posts a thousand bodies a second is not led through the whole house.

A request that shows at first sight what the long way would find out (a token that may write, this host, the usual
headers, no browser) is passed on at once. Whatever differs takes the long way, through Flask and its guards; so does an
outcome that is no plain success, which the view then finds in the environment. In a process whose caches others use
meanwhile the long way costs about 1 ms, and this one a tenth.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from flask import Flask, current_app

from appliance.state.errors import StateError
from tsdb.client import WriteAnswer
from tsdb.errors import TsdbError
from web.auth import guard, tokens
from web.auth.identity import Identity
from web.auth.kit import Auth
from web.auth.roles import Role
from web.body import Stream
from web.headers import HEADERS
from web.services import Services

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

OUTCOME = "henge.write_outcome"
PATH = "/prometheus/api/v1/write"
ENDPOINT = "prometheus_write.write"
TOKEN_KEPT_S = 1.0  # Beside being told: the longest that a token works on after another process revoked it.
TOKEN_COUNT_MAX = 1_000
_HEADERS = [*HEADERS.items(), ("Cache-Control", "no-store")]
_USUAL = {
    "REQUEST_METHOD": "POST",
    "CONTENT_TYPE": "application/x-protobuf",
    "HTTP_CONTENT_ENCODING": "snappy",
    "HTTP_X_PROMETHEUS_REMOTE_WRITE_VERSION": "0.1.0",
    "SCRIPT_NAME": "",
}
# Of browsers, and of proxies.
_UNUSUAL = ("HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE", "HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED")
_LOOPBACK = ("127.0.0.1", "::1")


class KnownTokens:
    """Whose tokens were good a moment ago, by the Authorization header. Thread-safe."""

    def __init__(self, find: Callable[[str], Identity | None], monotonic_s: Callable[[], float]) -> None:
        self._find, self._monotonic_s = find, monotonic_s
        self._lock = threading.Lock()
        self._until_and_identity: dict[str, tuple[float, Identity]] = {}
        self._forgotten_count = 0

    def identity_of(self, authorization: str) -> Identity | None:
        """Raises: StateError."""
        now_s = self._monotonic_s()
        until_s, identity = self._until_and_identity.get(authorization, (now_s, None))
        if now_s < until_s:
            return identity
        forgotten_count = self._forgotten_count
        token = tokens.from_header(authorization)
        identity = None if token is None else self._find(token)
        with self._lock:
            if len(self._until_and_identity) >= TOKEN_COUNT_MAX:
                self._until_and_identity.clear()
            # What was read before a revocation must not be kept behind it.
            if identity is not None and forgotten_count == self._forgotten_count:
                self._until_and_identity[authorization] = now_s + TOKEN_KEPT_S, identity
        return identity

    def forget(self) -> None:
        """Tokens have changed."""
        with self._lock:
            self._forgotten_count += 1
            self._until_and_identity.clear()


class ShortWay:
    """A WSGI application before another one."""

    def __init__(self, app: Flask, services: Services, *, body_bytes_max: int, door: str) -> None:
        self._long_way: Wsgi = app.wsgi_app
        self._services = services
        self._auth: Auth = app.extensions["henge_auth"]
        own_names: frozenset[str] = app.extensions["own_names"]
        self._body_bytes_max, self._door = body_bytes_max, door
        self._host_allowed = lru_cache(maxsize=100)(lambda host: guard.host_allowed(host, own_names))
        self._requests = services.metrics.counter(
            "henge_web_requests_total", "Requests answered, by method and status."
        )
        self._seconds = services.metrics.counter(
            "henge_web_request_seconds_total", "Time that views have taken, by endpoint."
        )
        self.tokens = KnownTokens(lambda token: tokens.find(services.state, token), services.clock.monotonic_s)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        began_s = self._services.clock.monotonic_s()
        identity = self._writer(environ) if environ["PATH_INFO"] == PATH else None
        if identity is None:
            return self._long_way(environ, start_response)
        outcome = self._written(environ, identity)
        if isinstance(outcome, TsdbError) or outcome.refused:
            environ[OUTCOME] = outcome
            return self._long_way(environ, start_response)
        self._requests.inc(method="POST", status=204)
        self._seconds.inc(max(0.0, self._services.clock.monotonic_s() - began_s), endpoint=ENDPOINT)
        start_response("204 NO CONTENT", list(_HEADERS))
        return ()

    def _writer(self, environ: dict[str, Any]) -> Identity | None:
        """Who asks, if all is usual and he may write."""
        if not self._is_usual(environ):
            return None
        try:
            if environ.get("REMOTE_ADDR") not in _LOOPBACK and not self._auth.administrator_exists():
                return None
            identity = self.tokens.identity_of(environ["HTTP_AUTHORIZATION"])
        except StateError:
            return None
        return identity if identity is not None and identity.may(Role.EDITOR) else None

    def _is_usual(self, environ: dict[str, Any]) -> bool:
        get = environ.get
        length = get("CONTENT_LENGTH", "")
        return (
            all(get(name) == value for name, value in _USUAL.items())
            and not any(name in environ for name in _UNUSUAL)
            and length.isascii()
            and length.isdecimal()
            and int(length) <= self._body_bytes_max
            and get("HTTP_AUTHORIZATION", "").startswith("Bearer ")
            and self._host_allowed(get("HTTP_HOST", ""))
        )

    def _written(self, environ: dict[str, Any], identity: Identity) -> WriteAnswer | TsdbError:
        stream = environ["wsgi.input"]
        body = stream.whole if isinstance(stream, Stream) else stream.read(int(environ["CONTENT_LENGTH"]))
        try:
            return self._services.tsdb.write(self._door, body, sender=identity.name)
        except TsdbError as error:
            return error


def install(app: Flask, services: Services, *, body_bytes_max: int, door: str) -> None:
    """door: of intake, for a body in snappy's coding."""
    way = ShortWay(app, services, body_bytes_max=body_bytes_max, door=door)
    app.extensions["henge_known_tokens"] = way.tokens
    app.wsgi_app = way  # type: ignore[method-assign]


def known_tokens() -> KnownTokens:
    """Those of the application that answers the current request."""
    found = current_app.extensions["henge_known_tokens"]
    assert isinstance(found, KnownTokens)
    return found

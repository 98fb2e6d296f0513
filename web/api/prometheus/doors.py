"""The doors of the short way: one remote-write body, and the questions that a person waits for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from werkzeug.wrappers import Request

from tsdb.client import TsdbClient
from tsdb.errors import TsdbError
from web.api.prometheus import write
from web.api.prometheus.arguments import Arguments
from web.api.prometheus.compression import SIZE_MIN_BYTES, chosen, packed
from web.api.prometheus.reading import Reading
from web.api.prometheus.shape import JSON_TYPE
from web.auth.identity import Identity
from web.auth.roles import Role
from web.body import Stream
from web.services import Services
from web.short_way import OUTCOME, Door, Environ, Plain

PATH = "/prometheus/api/v1/"
FORM_TYPE = "application/x-www-form-urlencoded"
FORM_BYTES_MAX = 64 * 1024
Read = Callable[[Arguments, Mapping[str, Any]], list[bytes]]

_USUAL_WRITE = {
    "REQUEST_METHOD": "POST",
    "CONTENT_TYPE": "application/x-protobuf",
    "HTTP_CONTENT_ENCODING": "snappy",
    "HTTP_X_PROMETHEUS_REMOTE_WRITE_VERSION": "0.1.0",
}


def doors(services: Services, reading: Reading) -> dict[str, Door]:
    """By path."""
    reads: dict[str, Read] = {
        "query": reading.query,
        "query_range": reading.query_range,
        "series": reading.series,
        "labels": reading.labels,
    }
    found: dict[str, Door] = {PATH + name: ReadDoor(f"prometheus.{name}", read) for name, read in reads.items()}
    return found | {PATH + "write": WriteDoor(services.tsdb)}


def _has_body_of(environ: Environ, bytes_max: int) -> bool:
    length = environ.get("CONTENT_LENGTH", "")
    return length.isascii() and length.isdecimal() and int(length) <= bytes_max


@dataclass(frozen=True, slots=True)
class WriteDoor:
    """Remote-write 1.0 in snappy's coding."""

    tsdb: TsdbClient
    endpoint: str = "prometheus_write.write"
    role: Role = Role.EDITOR

    def is_usual(self, environ: Environ) -> bool:
        return (
            all(environ.get(name) == value for name, value in _USUAL_WRITE.items())
            and _has_body_of(environ, write.BODY_BYTES_MAX)
            and environ["HTTP_AUTHORIZATION"].startswith("Bearer ")  # A browser may send the other kind by itself.
        )

    def answer(self, environ: Environ, identity: Identity) -> Plain | None:
        stream = environ["wsgi.input"]
        body = stream.whole if isinstance(stream, Stream) else stream.read(int(environ["CONTENT_LENGTH"]))
        try:
            outcome = self.tsdb.write(write.DOOR_BY_ENCODING["snappy"], body, sender=identity.name)
        except TsdbError as error:
            environ[OUTCOME] = error
            return None
        if outcome.refused:
            environ[OUTCOME] = outcome
            return None
        return Plain("204 NO CONTENT", [], [])


@dataclass(frozen=True, slots=True)
class ReadDoor:
    """A question: its arguments in the address, or in a form."""

    endpoint: str
    read: Read
    role: Role = Role.VIEWER

    def is_usual(self, environ: Environ) -> bool:
        method = environ["REQUEST_METHOD"]
        return method == "GET" or (
            method == "POST"
            and environ.get("CONTENT_TYPE", "").partition(";")[0] == FORM_TYPE
            and _has_body_of(environ, FORM_BYTES_MAX)
        )

    def answer(self, environ: Environ, identity: Identity) -> Plain | None:
        del identity  # Samples belong to no team.
        try:
            given = Arguments(Request(environ, populate_request=False).values)
            pieces = self.read(given, environ)
        except Exception as error:  # noqa: BLE001 - The view raises it again, where every error is answered.
            environ[OUTCOME] = error
            return None
        headers = [("Content-Type", JSON_TYPE), ("Vary", "Accept-Encoding")]
        encoding = chosen(environ.get("HTTP_ACCEPT_ENCODING", ""))
        if encoding is not None and sum(map(len, pieces)) >= SIZE_MIN_BYTES:
            pieces = [packed(b"".join(pieces), encoding)]
            headers.append(("Content-Encoding", encoding))
        headers.append(("Content-Length", str(sum(map(len, pieces)))))
        return Plain("200 OK", headers, pieces)

"""One shape for every refusal: JSON under the interfaces, a page for people.

Errors of the rooms below are translated here, and only here, by what the caller can do.
"""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Flask, Response, current_app, g, make_response, render_template, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from appliance.bus import BusError, BusRefused, BusTimeout
from appliance.state.errors import StateError
from checks.channels import ChannelError
from checks.errors import CheckError
from checks.probes.options import OptionError
from tsdb.errors import BodyTooLarge, DiskFull, NotReady, QueryTimeout, RefusedQuery, RefusedSample, TsdbError

JSON_PATHS = ("/api/", "/metrics", "/health/", "/push/")

STATUS_BY_CODE = {
    "conflict": 409,
    "not_found": 404,
    "forbidden": 403,
    "busy": 503,
    "queue_full": 503,
    "not_ready": 503,
    "stale_epoch": 503,
    "disk_full": 507,
    "internal": 500,
    "invalid": 422,
    "bad_request": 400,
    "too_large": 413,
}


class Refusal(Exception):
    """A request that is answered with an error of our own choosing."""

    def __init__(self, status: int, code: str, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.field = status, code, message, field


def not_found(what: str, which: str) -> Refusal:
    return Refusal(404, "not_found", f"there is no {what} {which[:120]!r}")


def invalid(message: str, *, field: str | None = None) -> Refusal:
    return Refusal(422, "invalid", message, field=field)


def refusal_from(error: Exception) -> Refusal | None:
    """What an error of a room below means to the caller; None for an error of our own making."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, HTTPException):
        code = (error.name or "error").lower().replace(" ", "_").replace("'", "")
        return Refusal(error.code or 500, code, _words(error))
    if isinstance(error, BusTimeout):
        return Refusal(503, "not_ready", f"{error}; it is being restarted or is busy: try again in a moment")
    if isinstance(error, BusRefused):
        return Refusal(STATUS_BY_CODE.get(error.code, 400), error.code, error.message)
    if isinstance(error, BusError):
        return Refusal(503, "not_ready", str(error))
    if isinstance(error, TsdbError):
        return _refusal_from_tsdb(error)
    if isinstance(error, CheckError | OptionError | ChannelError):
        code = getattr(error, "code", "invalid")
        return Refusal(STATUS_BY_CODE.get(code, 422), code, str(error), field=error.field)
    if isinstance(error, StateError):
        return Refusal(STATUS_BY_CODE.get(error.code, 500), error.code, str(error))
    return None


def _words(error: HTTPException) -> str:
    """Ours for what Flask finds wrong with an address or a method: its own speak of a browser and of spelling."""
    match error:
        case NotFound():
            return f"there is nothing at {request.path[:200]}"
        case MethodNotAllowed():
            there = ", ".join(sorted(error.valid_methods or ()))
            return f"{request.path[:200]} does not take {request.method[:20]}; it takes {there or 'nothing'}"
    return error.description or error.name or "error"


def _refusal_from_tsdb(error: TsdbError) -> Refusal:
    if isinstance(error, DiskFull):
        return Refusal(507, error.code, str(error))
    if isinstance(error, BodyTooLarge):
        return Refusal(413, error.code, str(error))
    if isinstance(error, NotReady | QueryTimeout):
        return Refusal(503, error.code, str(error))
    status = 400 if isinstance(error, RefusedSample | RefusedQuery) else 500
    return Refusal(status, error.code, str(error))


def json_response(body: Any, status: int = 200, **headers: str) -> Response:
    response = Response(msgspec.json.encode(body), status, mimetype="application/json")
    for name, value in headers.items():
        response.headers[name.replace("_", "-")] = value
    return response


def error_body(refusal: Refusal) -> dict[str, Any]:
    body: dict[str, Any] = {"code": refusal.code, "message": refusal.message}
    if refusal.field:
        body["field"] = refusal.field
    return {"error": body}


def wants_json() -> bool:
    return request.path.startswith(JSON_PATHS)


def respond(refusal: Refusal) -> Response:
    """The refusal in the shape that belongs to the path."""
    g.refused_code = refusal.code
    if request.path.startswith("/prometheus/"):
        from web.api.prometheus.shape import error_response

        response = error_response(refusal)
    elif wants_json():
        response = json_response(error_body(refusal), refusal.status)
    elif request.path.startswith("/graphite/"):
        status = 400 if refusal.status == 422 else refusal.status  # graphite-web knows no 422.
        response = Response(f"{refusal.message}\n", status, mimetype="text/plain")
    else:
        response = make_response(render_template("error.html", refusal=refusal), refusal.status)
    if refusal.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="henge", Basic realm="henge"'
    if refusal.status in (429, 503):
        response.headers.setdefault("Retry-After", "1")
    return response


def install(app: Flask) -> None:
    @app.errorhandler(Exception)
    def answer(error: Exception) -> Response:
        refusal = refusal_from(error)
        if isinstance(error, HTTPException) and error.response is not None:
            return Response(error.response.get_data(), error.response.status_code)  # type: ignore[attr-defined]
        if refusal is None:
            current_app.logger.error("%s %s failed", request.method, request.path, exc_info=error)
            refusal = Refusal(500, "internal", "Henge failed at this request; the log names the reason")
        response = respond(refusal)
        if isinstance(error, MethodNotAllowed):
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        return response

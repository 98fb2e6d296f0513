"""The acknowledged way in: 200 means that every accepted sample is in the write-ahead log."""

from __future__ import annotations

from flask import Blueprint, Response, request

from tsdb.client import WriteAnswer
from web.auth.guard import needs
from web.auth.identity import identity
from web.auth.roles import Role
from web.body import raw_body
from web.errors import Refusal, json_response
from web.services import services

bp = Blueprint("api_series", __name__, url_prefix="/api/v1")

ARROW_TYPES = ("application/vnd.apache.arrow.stream", "application/octet-stream", "")
BODY_BYTES_MAX = 64 * 1024 * 1024  # About 2 M samples; a sender with more splits them.


@bp.post("/series")
@needs(Role.EDITOR)
def write() -> Response:
    """`[{"labels": {"__name__": …}, "samples": [[ms, value], …]}]`; the body is decoded by intake, not here."""
    answer = services().tsdb.write("json", raw_body(BODY_BYTES_MAX), sender=identity().name)
    if answer.refused and not answer.accepted_count:
        raise Refusal(400, "refused_sample", answer.first_error or f"every sample was refused: {answer.refused}")
    return _answered(answer)


@bp.post("/write/arrow")
@needs(Role.EDITOR)
def write_arrow() -> Response:
    """An Arrow IPC stream of the columns series, timestamp_ms and value; the body is decoded by intake, not here."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise Refusal(415, "unsupported_media_type", "send the stream as it is; its buffers may be lz4 or zstd")
    if request.mimetype not in ARROW_TYPES:
        raise Refusal(
            415, "unsupported_media_type", f"the body is {request.mimetype[:80]!r}; an Arrow stream is {ARROW_TYPES[0]}"
        )
    answer = services().tsdb.write("arrow", raw_body(BODY_BYTES_MAX), sender=identity().name)
    if answer.refused and not answer.accepted_count:
        raise Refusal(400, "refused_sample", answer.first_error or f"every sample was refused: {answer.refused}")
    return _answered(answer)


def _answered(answer: WriteAnswer) -> Response:
    return json_response(
        {"accepted_count": answer.accepted_count, "refused": answer.refused, "first_error": answer.first_error}
    )

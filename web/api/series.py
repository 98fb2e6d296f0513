"""The acknowledged way in: 200 means that every accepted sample is in the write-ahead log."""

from __future__ import annotations

from flask import Blueprint, Response, request

from web.auth.guard import needs
from web.auth.identity import identity
from web.auth.roles import Role
from web.errors import Refusal, json_response
from web.services import services

bp = Blueprint("api_series", __name__, url_prefix="/api/v1")

BODY_BYTES_MAX = 64 * 1024 * 1024  # About 2 M samples; a sender with more splits them.


@bp.post("/series")
@needs(Role.EDITOR)
def write() -> Response:
    """`[{"labels": {"__name__": …}, "samples": [[ms, value], …]}]`; the body is decoded by intake, not here."""
    request.max_content_length = BODY_BYTES_MAX
    answer = services().tsdb.write("json", request.get_data(cache=False), sender=identity().name)
    if answer.refused and not answer.accepted_count:
        raise Refusal(400, "refused_sample", answer.first_error or f"every sample was refused: {answer.refused}")
    return json_response(
        {"accepted_count": answer.accepted_count, "refused": answer.refused, "first_error": answer.first_error}
    )

"""Remote-write 1.0 and 2.0: what Prometheus, vmagent, Grafana Alloy and others send. Decoded by intake, not here.

A sender drops what is answered with 400 and sends again what is answered with 429 or 5xx; so 400 says that something
of the body was refused for good, while the good of it is stored all the same.

Source: prometheus.io/docs/specs/prw/remote_write_spec and remote_write_spec_2_0.
"""

from __future__ import annotations

from flask import Blueprint, Response, after_this_request, request

from tsdb.client import WriteAnswer
from tsdb.errors import TsdbError
from web.auth.guard import needs
from web.auth.identity import identity
from web.auth.roles import Role
from web.body import raw_body
from web.errors import Refusal
from web.services import services
from web.short_way import OUTCOME

bp = Blueprint("prometheus_write", __name__, url_prefix="/prometheus/api/v1")

BODY_BYTES_MAX = 32 * 1024 * 1024  # Compressed; decompressed it may not be more either, which intake looks after.
DOOR_BY_ENCODING = {"snappy": "remote_write", "": "remote_write", "zstd": "remote_write+zstd"}
DOOR_2_BY_ENCODING = {"snappy": "remote_write+2.0", "": "remote_write+2.0", "zstd": "remote_write+2.0+zstd"}
_MEDIA_TYPES = ("application/x-protobuf", "")  # Early senders named neither type nor encoding.
_MESSAGE_2 = "io.prometheus.write.v2.Request"
_MESSAGES = ("prometheus.WriteRequest", _MESSAGE_2, "")


def is_second() -> bool:
    """Whether the body is of version 2.0: the type says so, or says no message and the version does."""
    message = request.mimetype_params.get("proto", "")
    version = request.headers.get("X-Prometheus-Remote-Write-Version", "")
    return message == _MESSAGE_2 or (not message and version.startswith("2."))


def door() -> str:
    """The door of intake for the body. Raises: Refusal 415."""
    message = request.mimetype_params.get("proto", "")
    if request.mimetype not in _MEDIA_TYPES or message not in _MESSAGES:
        said = request.headers.get("Content-Type", "")[:120]
        known = ", ".join(filter(None, _MESSAGES))
        raise Refusal(
            415,
            "unsupported_media_type",
            f"the body is {said!r}; remote-write is application/x-protobuf, its message one of {known}",
        )
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in DOOR_BY_ENCODING:
        raise Refusal(415, "unsupported_media_type", f"the body is encoded as {encoding[:40]!r}; use snappy or zstd")
    return (DOOR_2_BY_ENCODING if is_second() else DOOR_BY_ENCODING)[encoding]


def refused_text(answer: WriteAnswer) -> str:
    """One line for the log of the sender."""
    counts = ", ".join(f"{reason} {count:,}" for reason, count in sorted(answer.refused.items()))
    return f"stored {answer.accepted_count:,} samples, refused {counts}; the first: {answer.first_error}"


def _with_counts(response: Response, written: dict[str, int]) -> Response:
    """Of a refusal as well: what a sender of 2.0 is to be told in either case."""
    for what, count in written.items():
        response.headers[f"X-Prometheus-Remote-Write-{what}-Written"] = str(count)
    return response


@bp.post("/write")
@needs(Role.EDITOR)
def write() -> Response:
    """204 means that every sample is in the write-ahead log."""
    answer = request.environ.get(OUTCOME)
    if answer is None:
        answer = services().tsdb.write(door(), raw_body(BODY_BYTES_MAX), sender=identity().name)
    elif isinstance(answer, TsdbError):
        raise answer
    if is_second():
        written = {"Samples": answer.accepted_count, "Histograms": 0, "Exemplars": 0}
        after_this_request(lambda response: _with_counts(response, written))
    if answer.refused:
        raise Refusal(400, "refused_sample", refused_text(answer))
    return Response(status=204)

"""Remote read: other servers, such as Prometheus and Thanos, read samples from here. Answered by the query process.

Source: prometheus.io/docs/prometheus/latest/querying/remote_read_api.
"""

from __future__ import annotations

import cramjam
from flask import Blueprint, Response

from web.api.prometheus.views import READ
from web.body import raw_body
from web.services import services

REQUEST_BYTES_MAX = 1024 * 1024
STREAMED_TYPE = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"

bp = Blueprint("prometheus_read", __name__, url_prefix="/prometheus/api/v1")


@bp.post("/read")
def read() -> Response:
    body, is_streamed = services().tsdb.remote_read(raw_body(REQUEST_BYTES_MAX))
    if is_streamed:
        return Response(body, content_type=STREAMED_TYPE)
    packed = bytes(cramjam.snappy.compress_raw(body))
    return Response(packed, content_type="application/x-protobuf", headers={"Content-Encoding": "snappy"})


read.access = READ  # type: ignore[attr-defined]

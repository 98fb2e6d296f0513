"""Prometheus' JSON: answers from columns, and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from flask import Response

from web.api.prometheus.numbers import number_texts, pair_heads, time_text

if TYPE_CHECKING:
    from tsdb.answer import QueryAnswer
    from web.errors import Refusal

ERROR_TYPE_BY_STATUS = {
    400: "bad_data",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    413: "bad_data",
    415: "bad_data",
    422: "execution",
    503: "unavailable",
    507: "unavailable",
}


def success(data: Any) -> Response:
    return Response(msgspec.json.encode({"status": "success", "data": data}), mimetype="application/json")


def error_response(refusal: Refusal) -> Response:
    """An error in Prometheus' shape: bad_data with 400, execution with 422, timeout and unavailable with 503.

    A method that a path does not have is answered before the API is reached, in plain text."""
    if refusal.status == 405:
        return Response("Method Not Allowed\n", 405, content_type="text/plain; charset=utf-8")
    status, error_type = refusal.status, ERROR_TYPE_BY_STATUS.get(refusal.status, "internal")
    if refusal.code == "execution":
        status, error_type = 422, "execution"
    elif refusal.code == "timeout":
        status, error_type = 503, "timeout"
    body = {"status": "error", "errorType": error_type, "error": refusal.message}
    return Response(msgspec.json.encode(body), status, mimetype="application/json")


def answer_response(answer: QueryAnswer) -> Response:
    """The result of a query, joined from texts of whole columns."""
    head = b'{"status":"success","data":{"resultType":"' + answer.kind.encode() + b'","result":'
    return Response([head, _result(answer), b"}", _annotations(answer), b"}"], mimetype="application/json")


def _annotations(answer: QueryAnswer) -> bytes:
    """The lists that are not empty, as further members of the answer."""
    lists = (("warnings", answer.warnings), ("infos", answer.infos))
    return b"".join(b',"' + name.encode() + b'":' + msgspec.json.encode(texts) for name, texts in lists if texts)


def _result(answer: QueryAnswer) -> bytes:
    if answer.kind == "string":
        time = time_text(int(answer.timestamp_ms[0])) if len(answer.timestamp_ms) else b"0"
        return b"[" + time + b"," + msgspec.json.encode(answer.text) + b"]"
    texts = number_texts(answer.value)
    if answer.kind == "scalar":
        return b"[" + time_text(int(answer.timestamp_ms[0])) + b',"' + texts[0] + b'"]'
    if answer.kind == "vector":
        rows = zip(answer.labels, answer.timestamp_ms.tolist(), texts, strict=True)
        return (
            b"["
            + b",".join(
                b'{"metric":' + msgspec.json.encode(labels) + b',"value":[' + time_text(time) + b',"' + text + b'"]}'
                for labels, time, text in rows
            )
            + b"]"
        )
    return _matrix(answer, texts)


def _matrix(answer: QueryAnswer, texts: list[bytes]) -> bytes:
    heads = pair_heads(answer.timestamp_ms)
    offsets = answer.offsets.tolist()
    series = []
    for index, labels in enumerate(answer.labels):
        first, last = offsets[index], offsets[index + 1]
        if first == last:
            continue
        parts = [b""] * (2 * (last - first))
        parts[0::2] = heads[first:last]
        parts[1::2] = texts[first:last]
        pairs = b"".join(parts)[3:]  # The first pair has none before it to close: `"],[…` becomes `[…`.
        series.append(b'{"metric":' + msgspec.json.encode(labels) + b',"values":[' + pairs + b'"]]}')
    return b"[" + b",".join(series) + b"]"

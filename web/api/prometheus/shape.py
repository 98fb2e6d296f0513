"""Prometheus' JSON: answers from columns, and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from flask import Response, request

from web.api.prometheus.matrix import matrix_pieces
from web.api.prometheus.numbers import number_texts, time_text

if TYPE_CHECKING:
    from tsdb.answer import QueryAnswer
    from web.errors import Refusal

SAMPLE_BYTES = 16
JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"
TEXT_PATHS = ("/api/v1/write", "/api/v1/read", "/federate")
ERROR_TYPE_BY_STATUS = {
    400: "bad_data",
    401: "unauthorized",
    403: "forbidden",
    413: "bad_data",
    415: "bad_data",
    422: "execution",
    503: "unavailable",
    507: "unavailable",
}
JOINED_BYTES_MAX = 256 * 1024
TRUNCATED = "results truncated due to limit"


def json_response(body: list[bytes]) -> Response:
    return Response(body, mimetype=JSON_TYPE)


def success(data: Any, *, warnings: Sequence[str] = ()) -> Response:
    return json_response(success_body(data, warnings=warnings))


def success_body(data: Any, *, warnings: Sequence[str] = ()) -> list[bytes]:
    return [msgspec.json.encode({"status": "success", "data": data} | ({"warnings": warnings} if warnings else {}))]


def error_response(refusal: Refusal) -> Response:
    """An error in Prometheus' shape: bad_data with 400, execution with 422, timeout and unavailable with 503.

    Text where Prometheus answers with text: what is not there, and the doors for whole bodies.
    """
    if refusal.status == 405:
        return Response("Method Not Allowed\n", 405, content_type=TEXT_TYPE)
    if refusal.status == 404 or request.path.endswith(TEXT_PATHS):
        return Response(f"{refusal.message}\n", refusal.status, content_type=TEXT_TYPE)
    status, error_type = refusal.status, ERROR_TYPE_BY_STATUS.get(refusal.status, "internal")
    if refusal.code == "execution":
        status, error_type = 422, "execution"
    elif refusal.code == "timeout":
        status, error_type = 503, "timeout"
    body = {"status": "error", "errorType": error_type, "error": refusal.message}
    return Response(msgspec.json.encode(body), status, mimetype=JSON_TYPE)


def answer_body(answer: QueryAnswer, limit: int | None = None, *, has_stats: bool = False) -> list[bytes]:
    """The result of a query, joined from texts of whole columns. limit: of series; None: all of them."""
    warnings = answer.warnings
    if limit is not None and len(answer.labels) > limit:
        answer = answer.first(limit)
        warnings = [*warnings, TRUNCATED]
    result = _result(answer)
    front = b'{"status":"success","data":{"resultType":"' + answer.kind.encode() + b'","result":'
    stats = [b',"stats":', msgspec.json.encode(_stats(answer.figures))] if has_stats else []
    back = b"".join((*stats, b"}", *_notes("warnings", warnings), *_notes("infos", answer.infos), b"}"))
    # Each piece is sent by a call of its own; large ones are not copied for the sake of small ones.
    return [b"".join((front, *result, back))] if sum(map(len, result)) <= JOINED_BYTES_MAX else [front, *result, back]


def _notes(name: str, notes: Sequence[str]) -> list[bytes]:
    return [b',"', name.encode(), b'":', msgspec.json.encode(notes)] if notes else []


def _stats(figures: Mapping[str, int | float]) -> dict[str, Any]:
    """Seconds by stage, and samples; the most that were held at once is told from bytes, 16 a sample.

    cache: of a range, how many of its steps came from earlier answers; Prometheus has no such thing.
    """
    seconds = {name.removesuffix("_ms"): value / 1_000 for name, value in figures.items() if name.endswith("_ms")}
    kept = {"steps": figures["step_count"], "keptSteps": figures["kept_step_count"]} if "step_count" in figures else {}
    return {
        "timings": {
            "evalTotalTime": seconds["evaluate"] + seconds["select"],
            "resultSortTime": 0,
            "queryPreparationTime": seconds["select"],
            "innerEvalTime": seconds["evaluate"],
            "execQueueTime": seconds["queue"],
            "execTotalTime": seconds["total"],
        },
        "samples": {
            "totalQueryableSamples": figures["samples_count"],
            "peakSamples": max(int(figures["bytes_peak"]) // SAMPLE_BYTES, int(figures["samples_count"])),
        },
        **({"cache": kept} if kept else {}),
    }


def _result(answer: QueryAnswer) -> list[bytes]:
    """In pieces."""
    return matrix_pieces(answer) if answer.kind == "matrix" else [_small_result(answer)]


def _small_result(answer: QueryAnswer) -> bytes:
    if answer.kind == "string":
        time = time_text(int(answer.timestamp_ms[0])) if len(answer.timestamp_ms) else b"0"
        return b"[" + time + b"," + msgspec.json.encode(answer.text) + b"]"
    texts = number_texts(answer.value).listed()
    if answer.kind == "scalar":
        return b"[" + time_text(int(answer.timestamp_ms[0])) + b',"' + texts[0] + b'"]'
    rows = zip(answer.labels, answer.timestamp_ms.tolist(), texts, strict=True)
    return (
        b"["
        + b",".join(
            b'{"metric":' + msgspec.json.encode(labels) + b',"value":[' + time_text(time) + b',"' + text + b'"]}'
            for labels, time, text in rows
        )
        + b"]"
    )

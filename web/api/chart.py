"""Columns for the charts of the pages: one grid of times, and for each series its values on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from flask import Blueprint, Response, request

from tsdb.errors import RefusedQuery
from web.api.prometheus import leaving
from web.errors import json_response
from web.services import services
from web.words import series_name

if TYPE_CHECKING:
    from tsdb.answer import QueryAnswer

bp = Blueprint("api_chart", __name__, url_prefix="/api/v1")

SERIES_COUNT_MAX = 50  # More lines than a person can tell apart; the answer says how many there are.
POINT_COUNT = 360  # About one per two pixels of a wide chart.
POINT_COUNT_MAX = 5_000
STEP_MS_MIN = 1_000
TIMEOUT_S = 20.0
TIME_MS_MAX = 2**53


def step_of(start_ms: int, end_ms: int) -> int:
    """A round step that makes about POINT_COUNT points."""
    wanted_ms = max(STEP_MS_MIN, (end_ms - start_ms) // POINT_COUNT)
    for round_ms in (1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000):
        if wanted_ms <= round_ms:
            return round_ms
    return -(-wanted_ms // 3_600_000) * 3_600_000


def _ms(name: str) -> int:
    text = request.args.get(name, "")
    try:
        number = int(text)
    except ValueError:
        number = None
    if number is None or abs(number) > TIME_MS_MAX:
        raise RefusedQuery(f"{name} is {text[:40]!r}; it must be epoch milliseconds")
    return number


@bp.get("/chart")
def chart() -> Response:
    """`?expression=&start_ms=&end_ms=[&step_ms=]` → {"time_s", "series": [{"name", "labels", "values"}], …}.

    null in values is a gap.
    """
    start_ms, end_ms = _ms("start_ms"), _ms("end_ms")
    step_ms = _ms("step_ms") if request.args.get("step_ms") else step_of(start_ms, end_ms)
    if not 0 <= start_ms < end_ms or step_ms < 1:
        raise RefusedQuery("start_ms must be before end_ms, and step_ms at least 1")
    if (end_ms - start_ms) // step_ms > POINT_COUNT_MAX:
        raise RefusedQuery(f"more than {POINT_COUNT_MAX:,} points a series; choose a longer step or a shorter range")
    start_ms, end_ms = start_ms // step_ms * step_ms, end_ms // step_ms * step_ms
    expression = request.args.get("expression", "")
    if not expression.strip():
        raise RefusedQuery("the expression is empty")
    tsdb = services().tsdb
    answer = leaving.while_here(
        lambda query_id: tsdb.query_range(expression, start_ms, end_ms, step_ms, timeout_s=TIMEOUT_S, query_id=query_id)
    )
    return json_response(aligned(answer, start_ms, end_ms, step_ms))


def aligned(answer: QueryAnswer, start_ms: int, end_ms: int, step_ms: int) -> dict[str, Any]:
    """The matrix on its grid; NaN and infinities are gaps."""
    grid_ms = np.arange(start_ms, end_ms + 1, step_ms, dtype=np.int64)
    series = []
    offsets = answer.offsets.tolist()
    for index, labels in enumerate(answer.labels[:SERIES_COUNT_MAX]):
        part = slice(offsets[index], offsets[index + 1])
        values = np.full(grid_ms.size, np.nan)
        values[(answer.timestamp_ms[part] - start_ms) // step_ms] = answer.value[part]
        values[np.isinf(values)] = np.nan
        series.append({"name": series_name(labels), "labels": labels, "values": values.tolist()})
    return {
        "start_ms": start_ms,
        "end_ms": end_ms,
        "step_ms": step_ms,
        "time_s": (grid_ms / 1_000).tolist(),
        "series": series,
        "series_count": len(answer.labels),
    }

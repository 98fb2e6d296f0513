"""Queries and look-ups: query, query_range, series, labels, label values."""

from __future__ import annotations

import re
from typing import TypeVar

from flask import Blueprint, Response, request

from tsdb.answer import QueryAnswer
from tsdb.client import Selectors
from tsdb.errors import RefusedQuery
from web.api.prometheus import arguments
from web.api.prometheus.leaving import while_asked
from web.api.prometheus.shape import TRUNCATED, answer_response, success
from web.auth.guard import Access
from web.auth.roles import Role
from web.services import services

bp = Blueprint("prometheus", __name__, url_prefix="/prometheus/api/v1")

POINT_COUNT_MAX = 11_000  # Per series, as in Prometheus: more than any screen is wide.
READ = Access(Role.VIEWER, csrf=False)  # A POST here only reads; its answer is closed to other sites.

Found = TypeVar("Found")


@bp.route("/query", methods=["GET", "POST"])
def query() -> Response:
    limit = arguments.limit()
    at_ms = arguments.optional_time_ms("time", services().clock.now_ms())
    timeout_s, lookback_ms = arguments.timeout_s(), arguments.lookback_ms()

    def ask(query_id: str) -> QueryAnswer:
        return services().tsdb.query_instant(
            arguments.text("query"), at_ms, timeout_s=timeout_s, lookback_ms=lookback_ms, query_id=query_id
        )

    return answer_response(
        arguments.named("query", lambda: while_asked(ask)), limit, has_stats=bool(arguments.text("stats"))
    )


@bp.route("/query_range", methods=["GET", "POST"])
def query_range() -> Response:
    limit = arguments.limit()
    start_ms, end_ms = arguments.time_ms("start"), arguments.time_ms("end")
    if end_ms < start_ms:
        raise arguments.invalid("end", "end timestamp must not be before start time")
    step_ms = arguments.step_ms()
    if (end_ms - start_ms) // step_ms > POINT_COUNT_MAX:
        raise RefusedQuery(
            f"exceeded maximum resolution of {POINT_COUNT_MAX:,} points per timeseries. "
            "Try decreasing the query resolution (?step=XX)"
        )
    timeout_s, lookback_ms = arguments.timeout_s(), arguments.lookback_ms()

    def ask(query_id: str) -> QueryAnswer:
        times = (start_ms, end_ms, step_ms)
        return services().tsdb.query_range(
            arguments.text("query"), *times, timeout_s=timeout_s, lookback_ms=lookback_ms, query_id=query_id
        )

    return answer_response(
        arguments.named("query", lambda: while_asked(ask)), limit, has_stats=bool(arguments.text("stats"))
    )


@bp.route("/series", methods=["GET", "POST"])
def series() -> Response:
    limit = arguments.series_limit()
    start_ms, end_ms = arguments.time_range_ms()
    if not request.values.getlist("match[]"):
        raise RefusedQuery("no match[] parameter provided")
    selectors = arguments.named("match[]", arguments.match_arguments)
    found = services().tsdb.series(selectors, start_ms, end_ms, limit=limit + 1)
    return limited(found, limit)


@bp.route("/labels", methods=["GET", "POST"])
def labels() -> Response:
    limit = arguments.series_limit()
    start_ms, end_ms = arguments.time_range_ms()
    selectors: Selectors = arguments.match_arguments()
    return limited(services().tsdb.label_names(selectors, start_ms, end_ms, limit=limit + 1), limit)


@bp.route("/label/<name>/values", methods=["GET"])
def label_values(name: str) -> Response:
    limit = arguments.series_limit()
    start_ms, end_ms = arguments.time_range_ms()
    selectors: Selectors = arguments.match_arguments()
    name = _unescaped_label(name)
    return limited(services().tsdb.label_values(name, selectors, start_ms, end_ms, limit=limit + 1), limit)


def limited(found: list[Found], limit: int) -> Response:
    """The first `limit` of what was found, and a warning when that is not all."""
    return success(found[:limit], warnings=[TRUNCATED] if len(found) > limit else ())


def _unescaped_label(name: str) -> str:
    """`U__my_2e_label` stands for `my.label` (Prometheus 3, "values escaping")."""
    if not name.startswith("U__"):
        return name
    return re.sub(
        r"__|_([0-9a-fA-F]{1,6})_", lambda found: "_" if found[0] == "__" else chr(int(found[1], 16)), name[3:]
    )


for _view in (query, query_range, series, labels):
    _view.access = READ  # type: ignore[attr-defined]

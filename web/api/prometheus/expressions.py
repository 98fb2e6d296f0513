"""Expressions as text: format_query, parse_query; and query_exemplars, which has none to give."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response

from web.api.prometheus import arguments
from web.api.prometheus.shape import success
from web.api.prometheus.views import READ
from web.services import services

bp = Blueprint("prometheus_expressions", __name__, url_prefix="/prometheus/api/v1")


@bp.route("/format_query", methods=["GET", "POST"])
def format_query() -> Response:
    return success(arguments.named("query", lambda: services().tsdb.formatted(arguments.text("query"))))


@bp.route("/parse_query", methods=["GET", "POST"])
def parse_query() -> Response:
    return success(msgspec.Raw(arguments.named("query", lambda: services().tsdb.syntax_tree(arguments.text("query")))))


@bp.route("/query_exemplars", methods=["GET", "POST"])
def query_exemplars() -> Response:
    """Exemplars are not stored (remote-write counts them as ignored), so a right question has an empty answer."""
    arguments.time_range_ms()
    services().tsdb.formatted(arguments.text("query"))
    return success([])


for _view in (format_query, parse_query, query_exemplars):
    _view.access = READ  # type: ignore[attr-defined]

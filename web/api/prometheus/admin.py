"""Prometheus' endpoints for administrators: delete series, give their space back, take a snapshot."""

from __future__ import annotations

from flask import Blueprint, Response

from web.api.prometheus.views import match_arguments, time_range
from web.auth.guard import needs
from web.auth.roles import Role
from web.services import services

bp = Blueprint("prometheus_admin", __name__, url_prefix="/prometheus/api/v1/admin/tsdb")


@bp.route("/delete_series", methods=["POST", "PUT"])
@needs(Role.ADMIN)
def delete_series() -> Response:
    selectors, (start_ms, end_ms) = match_arguments(required=True), time_range()
    services().tsdb.delete(selectors, start_ms, end_ms)
    return Response(status=204)


@bp.route("/clean_tombstones", methods=["POST", "PUT"])
@needs(Role.ADMIN)
def clean_tombstones() -> Response:
    services().tsdb.erase()
    return Response(status=204)

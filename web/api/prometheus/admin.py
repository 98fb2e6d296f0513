"""Prometheus' endpoints for administrators: delete series, give their space back, take a snapshot."""

from __future__ import annotations

from flask import Blueprint, Response

from web.api.prometheus import arguments
from web.api.prometheus.shape import success
from web.auth.guard import needs
from web.auth.roles import Role
from web.services import services

bp = Blueprint("prometheus_admin", __name__, url_prefix="/prometheus/api/v1/admin/tsdb")


@bp.route("/delete_series", methods=["POST", "PUT"])
@needs(Role.ADMIN)
def delete_series() -> Response:
    selectors, (start_ms, end_ms) = arguments.match_arguments(required=True), arguments.time_range_ms()
    if end_ms < start_ms:
        raise arguments.invalid("end", "end timestamp must not be before start time")
    services().tsdb.delete(selectors, start_ms, end_ms)
    return Response(status=204)


@bp.route("/clean_tombstones", methods=["POST", "PUT"])
@needs(Role.ADMIN)
def clean_tombstones() -> Response:
    services().tsdb.erase()
    return Response(status=204)


@bp.route("/snapshot", methods=["POST", "PUT"])
@needs(Role.ADMIN)
def snapshot() -> Response:
    return success({"name": services().tsdb.snapshot(skips_head=arguments.truth("skip_head")).name})

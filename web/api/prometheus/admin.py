"""Prometheus' endpoints for administrators: delete series, give their space back, take a snapshot."""

from __future__ import annotations

from flask import Blueprint, Response, request

from tsdb.errors import RefusedQuery
from web.api.prometheus.shape import success
from web.api.prometheus.views import match_arguments, time_range
from web.auth.guard import needs
from web.auth.roles import Role
from web.services import services

_TRUTH = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}

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


@bp.route("/snapshot", methods=["POST", "PUT"])
@needs(Role.ADMIN)
def snapshot() -> Response:
    text = request.values.get("skip_head", "") or "false"
    if text not in _TRUTH:
        raise RefusedQuery(f'invalid parameter "skip_head": {text[:60]!r} is neither true nor false')
    return success({"name": services().tsdb.snapshot(skips_head=_TRUTH[text]).name})

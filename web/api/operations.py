"""For the machines that look after Henge: /metrics and /health."""

from __future__ import annotations

from flask import Blueprint, Response

from appliance.metrics import render
from web.auth.guard import is_local, open_to_all, require
from web.auth.roles import Role
from web.errors import json_response
from web.gathering import answers_by_service, gather_metrics
from web.services import services

bp = Blueprint("operations", __name__)


@bp.get("/metrics")
@open_to_all()
def metrics() -> Response:
    """Prometheus text from every process; off this machine only with a token."""
    if not is_local():
        require(Role.VIEWER)
    text = render(gather_metrics(services()))
    return Response(text, mimetype="text/plain; version=0.0.4; charset=utf-8")


@bp.get("/health/live")
@open_to_all()
def live() -> Response:
    """This process answers."""
    return json_response({"live": True})


@bp.get("/health/ready")
@open_to_all()
def ready() -> Response:
    """200 when samples and queries can be served; else 503, naming who does not answer."""
    found = answers_by_service(services())
    is_ready = all(found.values())
    return json_response({"ready": is_ready, "services": found}, 200 if is_ready else 503)

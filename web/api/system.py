"""The appliance itself: processes, numbers, refusals, disk; and the record of what happened."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Blueprint, Response, request

from appliance.state import Event
from checks.model import DEFAULT_TEAM
from web.api.paging import LIMIT, asked_page
from web.api.plain_table import cardinality_text
from web.auth.identity import identity
from web.auth.roles import Role
from web.errors import invalid, json_response
from web.services import services
from web.system_report import report

CARDINALITY_ROWS = 20

bp = Blueprint("api_system", __name__, url_prefix="/api/v1")

PUBLIC_EVENTS = ("flip", "failure", "incident", "delivery")  # Log-ins and the like are nobody's but an administrator's.


@bp.get("/system")
def system() -> Response:
    return json_response(report(services()))


@bp.get("/system/cardinality")
def cardinality() -> Response:
    """Which metrics, labels and values have most series, and most new ones; `?format=text` for a plain table."""
    limit = asked_page().limit if "limit" in request.args else CARDINALITY_ROWS
    found = services().tsdb.cardinality(limit)
    wanted = request.args.get("format", "json")
    if wanted == "json":
        return json_response(found)
    if wanted != "text":
        raise invalid(f"format is {wanted[:40]!r}; it must be json or text", field="format")
    return Response(cardinality_text(found), mimetype="text/plain; charset=utf-8")


def _concerns(event: Event) -> bool:
    """Whether a token of a team may read of it: what happened to a check, channel or incident of that team."""
    if identity().team is None:
        return True
    reader = services().state.read
    check = reader.get("check", str(event.body.get("check_id") or event.subject))
    if check is not None:
        return identity().sees_team(str(check.body.get("labels", {}).get("team", DEFAULT_TEAM)))
    incident = reader.get("incident", str(event.body.get("incident_id") or event.subject))
    return incident is not None and identity().sees_team(str(incident.body.get("team", "")))


def event_view(event: Event) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(event)
    return body


@bp.get("/events")
def list_events() -> Response:
    """Newest first; `?kind=`, `?subject=`; the next piece by `?before_seq=` of the last one seen."""
    kind, subject = request.args.get("kind") or None, request.args.get("subject") or None
    before = request.args.get("before_seq", "")
    if before and (not before.isdecimal() or len(before) > 18):
        raise invalid(f"before_seq is {before[:40]!r}; it must be a whole number", field="before_seq")
    limit = asked_page().limit if "limit" in request.args else LIMIT
    found = services().state.read.events(
        kind=kind, subject=subject, before_seq=int(before) if before else None, limit=limit
    )
    is_admin = identity().may(Role.ADMIN)
    shown = [event for event in found if (is_admin or event.kind in PUBLIC_EVENTS) and _concerns(event)]
    following = f"{request.path}?before_seq={found[-1].seq}&limit={limit}" if len(found) == limit else None
    if following and kind:
        following += f"&kind={kind}"
    if following and subject:
        following += f"&subject={subject}"
    return json_response({"items": [event_view(event) for event in shown], "next": following})

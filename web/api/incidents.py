"""Incidents: what broke, from the first failure to the recovery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from flask import Blueprint, Response, request

from appliance.state import Document, PutDocument
from web.api.bodies import body
from web.api.paging import asked_page, list_response
from web.auth.identity import identity
from web.errors import invalid, json_response, not_found
from web.services import services

bp = Blueprint("api_incidents", __name__, url_prefix="/api/v1/incidents")


class IncidentChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    acknowledged: bool


@dataclass(frozen=True, slots=True)
class Incidents:
    """Those of the identity's team, newest first, narrowed by state and check; "" is any."""

    state: str = ""
    check_id: str = ""

    @property
    def _where(self) -> dict[str, Any]:
        asked = {"$.state": self.state or None, "$.check_id": self.check_id or None, "$.team": identity().team}
        return {path: value for path, value in asked.items() if value is not None}

    def count(self) -> int:
        return services().state.read.count("incident", where=self._where)

    def piece(self, *, limit: int, offset: int) -> list[Document]:
        return services().state.read.list(
            "incident", where=self._where, greatest_first="$.started_at_ms", limit=limit, offset=offset
        )


def get_document(incident_id: str) -> Document:
    found = services().state.read.get("incident", incident_id)
    if found is None or not identity().sees_team(str(found.body.get("team", ""))):
        raise not_found("incident", incident_id)
    return found


def view(document: Document) -> dict[str, Any]:
    return {"id": document.id, **document.body}


def acknowledge(document: Document, *, acknowledged: bool) -> None:
    """Note, or take back, that somebody is looking after it."""
    who = identity().name if acknowledged else None
    put = PutDocument(
        kind="incident",
        id=document.id,
        body=document.body | {"acknowledged_by": who},
        expected_version=document.version,
        unique=document.unique,
    )
    services().state.apply([put], actor=identity().actor)


@bp.get("")
def list_incidents() -> Response:
    """`?state=open|resolved` and `?check_id=` narrow the list; the newest come first."""
    page = asked_page()
    state = request.args.get("state", "")
    if state not in ("", "open", "resolved"):
        raise invalid(f"state is {state[:40]!r}; it must be open or resolved", field="state")
    found = Incidents(state, request.args.get("check_id", ""))
    part = found.piece(limit=page.limit, offset=page.offset)
    return list_response([view(incident) for incident in part], page, found.count())


@bp.get("/<incident_id>")
def get_incident(incident_id: str) -> Response:
    return json_response(view(get_document(incident_id)))


@bp.patch("/<incident_id>")
def change_incident(incident_id: str) -> Response:
    acknowledge(get_document(incident_id), acknowledged=body(IncidentChange).acknowledged)
    return json_response(view(get_document(incident_id)))

"""Downtimes: times in which checks may break without anybody being told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Blueprint, Response

from appliance.state import DeleteDocument, Document, PutDocument
from checks.downtimes import Downtime, downtime_of
from web.api.bodies import body_object
from web.api.paging import asked_page, list_response
from web.auth.identity import identity
from web.auth.keys import new_id
from web.board import EVERYTHING
from web.errors import Refusal, json_response, not_found
from web.services import services

bp = Blueprint("api_downtimes", __name__, url_prefix="/api/v1/downtimes")


def visible(document: Document) -> bool:
    """A token of a team sees what concerns its team: its checks, and matchers that name it."""
    team = identity().team
    if team is None or document.body.get("matchers", {}).get("team") == team:
        return True
    check = services().state.read.get("check", str(document.body.get("check_id")))
    return check is not None and check.body.get("labels", {}).get("team", "default") == team


def documents() -> list[Document]:
    """The latest beginning first."""
    found = [entry for entry in services().state.read.list("downtime", limit=EVERYTHING) if visible(entry)]
    return sorted(found, key=lambda entry: int(entry.body["from_ms"]), reverse=True)


def get_document(downtime_id: str) -> Document:
    found = services().state.read.get("downtime", downtime_id)
    if found is None or not visible(found):
        raise not_found("downtime", downtime_id)
    return found


def view(document: Document) -> dict[str, Any]:
    now_ms = services().clock.now_ms()
    body = document.body
    active = int(body["from_ms"]) <= now_ms < int(body["until_ms"])
    return {"id": document.id, **body, "active": active, "created_ms": document.created_ms}


def create(given: Mapping[str, Any]) -> str:
    """Store a downtime, by whoever asks, and give its id. Raises: CheckError, Refusal."""
    downtime: Downtime = downtime_of({"from_ms": services().clock.now_ms(), **given, "author": identity().name})
    _refuse_others(downtime)
    downtime_id = new_id()
    put = PutDocument(kind="downtime", id=downtime_id, body=msgspec.to_builtins(downtime), expected_version=0)
    services().state.apply([put], actor=identity().actor)
    return downtime_id


def _refuse_others(downtime: Downtime) -> None:
    """Raises: Refusal, for a check that is not there, or what would silence another team than the identity's."""
    if downtime.check_id is not None:
        check = services().state.read.get("check", downtime.check_id)
        if check is None or not identity().sees_team(check.body.get("labels", {}).get("team", "default")):
            raise Refusal(422, "invalid", f"there is no check {downtime.check_id!r}", field="check_id")
    elif identity().team is not None and downtime.matchers.get("team") != identity().team:
        raise Refusal(403, "forbidden", f"the matchers must name team={identity().team}", field="matchers.team")


def remove(document: Document) -> None:
    services().state.apply([DeleteDocument(kind="downtime", id=document.id)], actor=identity().actor)


@bp.get("")
def list_downtimes() -> Response:
    page = asked_page()
    found = documents()
    return list_response([view(entry) for entry in found[page.offset : page.offset + page.limit]], page, len(found))


@bp.post("")
def create_downtime() -> Response:
    downtime_id = create(body_object())
    return json_response(view(get_document(downtime_id)), 201, Location=f"/api/v1/downtimes/{downtime_id}")


@bp.get("/<downtime_id>")
def get_downtime(downtime_id: str) -> Response:
    return json_response(view(get_document(downtime_id)))


@bp.patch("/<downtime_id>")
def change_downtime(downtime_id: str) -> Response:
    document = get_document(downtime_id)
    body = body_object()
    changed = downtime_of({**document.body, **body, "author": document.body.get("author", "")})
    if {"check_id", "matchers"} & body.keys():
        _refuse_others(changed)
    put = PutDocument(
        kind="downtime", id=document.id, body=msgspec.to_builtins(changed), expected_version=document.version
    )
    services().state.apply([put], actor=identity().actor)
    return json_response(view(get_document(downtime_id)))


@bp.delete("/<downtime_id>")
def delete_downtime(downtime_id: str) -> Response:
    remove(get_document(downtime_id))
    return json_response({"deleted": downtime_id})

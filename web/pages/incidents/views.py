"""Incidents, open ones first, and planned downtimes."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, make_response, render_template, request

from appliance.state.reader import json_path
from web import htmx
from web.api import downtimes, incidents
from web.board import Row
from web.errors import invalid
from web.kit import board
from web.pages.numbered import PAGE_SIZE, Numbered, asked_number
from web.services import services

bp = Blueprint("incidents", __name__, url_prefix="/incidents", template_folder="templates")

MESSAGES_SHOWN = 200  # Of one incident; more than its channels and updates make.


@bp.get("")
def page() -> Response:
    """The whole page, or its live part for the poll that it carries."""
    etag = str(board().view().revision)
    if (same := htmx.unchanged(etag)) is not None:
        return same
    found, open_count = _asked_page()
    rows = board().view().rows
    now_ms = services().clock.now_ms()
    planned = [
        downtimes.view(entry) | {"what": _what(entry.body, rows)}
        for entry in downtimes.documents()
        if int(entry.body["until_ms"]) > now_ms - 7 * 86_400_000
    ]
    response = htmx.page_or_partial(
        "incidents/page.html",
        "incidents/_live.html",
        section="incidents",
        etag=etag,
        now_ms=now_ms,
        page=found,
        open_count=open_count,
        unresolved=[entry for entry in found.items if entry["state"] == "open"],
        resolved=[entry for entry in found.items if entry["state"] != "open"],
        downtimes=planned,
    )
    response.set_etag(etag)
    return response


def _asked_page() -> tuple[Numbered[dict[str, Any]], int]:
    """One page of all incidents, open ones first → (the page, how many are open). Only what it shows is read."""
    parts = [incidents.Incidents("open"), incidents.Incidents("resolved")]
    counts = [part.count() for part in parts]
    number = asked_number(sum(counts))
    offset = (number - 1) * PAGE_SIZE
    items: list[dict[str, Any]] = []
    for part, count in zip(parts, counts, strict=True):
        if offset < count and len(items) < PAGE_SIZE:
            items += map(incidents.view, part.piece(limit=PAGE_SIZE - len(items), offset=offset))
        offset = max(0, offset - count)
    return Numbered(items, sum(counts), number, path="/incidents"), counts[0]


def _what(body: dict[str, Any], rows: dict[str, Row]) -> str:
    check_id = body.get("check_id")
    if check_id:
        return rows[check_id].check.name if check_id in rows else f"deleted check {check_id}"
    return ", ".join(f"{name}={value}" for name, value in body.get("matchers", {}).items())


@bp.get("/<incident_id>")
def detail(incident_id: str) -> Response:
    document = incidents.get_document(incident_id)
    incident = incidents.view(document)
    started_ms = int(incident["started_at_ms"])
    ended_ms = incident.get("resolved_at_ms") or services().clock.now_ms()
    flips = [
        event
        for event in services().state.read.events(kind="flip", subject=incident["check_id"], limit=200)
        if started_ms <= event.at_ms <= ended_ms + 60_000
        and event.body.get("instance", {}) == incident.get("instance", {})
    ]
    told = services().state.read.newest_messages(where={json_path("incident", "id"): incident_id}, limit=MESSAGES_SHOWN)
    names = {entry.id: entry.body["name"] for entry in services().state.read.list("channel")}
    return make_response(
        render_template(
            "incidents/detail.html",
            section="incidents",
            incident=incident,
            check_exists=services().state.read.get("check", incident["check_id"]) is not None,
            flips=flips,
            messages=sorted(told, key=lambda message: message.created_ms),
            channel_names=names,
            now_ms=services().clock.now_ms(),
        )
    )


@bp.post("/<incident_id>/acknowledge")
def acknowledge(incident_id: str) -> Response:
    chosen = request.form.get("acknowledged", "yes")
    incidents.acknowledge(incidents.get_document(incident_id), acknowledged=chosen == "yes")
    return htmx.go_to((request.form.get("next") == "detail" and f"/incidents/{incident_id}") or "/incidents")


@bp.post("/downtimes")
def plan_downtime() -> Response:
    """A downtime for all checks with a label, such as team=shop."""
    name, sign, value = request.form.get("matcher", "").partition("=")
    if not sign or not name.strip() or not value.strip():
        raise invalid("write the label as name=value, such as team=shop or check=web", field="matcher")
    now_ms = services().clock.now_ms()
    hours = request.form.get("hours", "1")
    if not hours.isdecimal() or not 1 <= int(hours) <= 8_784:
        raise invalid(f"{hours[:20]!r} is not a whole number of hours from 1 to 8,784", field="hours")
    downtimes.create(
        {
            "matchers": {name.strip(): value.strip()},
            "from_ms": now_ms,
            "until_ms": now_ms + int(hours) * 3_600_000,
            "comment": request.form.get("comment", "")[:1_000],
        }
    )
    return htmx.go_to("/incidents")

"""The audit, for administrators: who changed what, from where, when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Response, request

from appliance.state import AuditEntry
from appliance.state.differences import differences
from web.api.paging import asked_page
from web.auth.guard import needs
from web.auth.roles import Role
from web.errors import invalid, json_response
from web.services import services

bp = Blueprint("api_audit", __name__, url_prefix="/api/v1")

FILTERS = ("kind", "id", "actor")


@dataclass(frozen=True, slots=True)
class Piece:
    """Entries, the newest first. next: what to ask for the piece further back; None at the end."""

    entries: list[AuditEntry]
    asked: dict[str, str]
    next: str | None


def asked_piece() -> Piece:
    """The piece that the address asks for: `kind`, `id`, `actor`, `before_seq`, `limit`. Raises: Refusal 422."""
    before = request.args.get("before_seq", "")
    if before and (not before.isdecimal() or len(before) > 18):
        raise invalid(f"before_seq is {before[:40]!r}; it must be a whole number", field="before_seq")
    limit = asked_page().limit
    asked = {name: request.args[name] for name in FILTERS if request.args.get(name)}
    entries = services().state.read.audit(
        limit + 1,
        kind=asked.get("kind"),
        id=asked.get("id"),
        actor=asked.get("actor"),
        before_seq=int(before) if before else None,
    )
    shown = entries[:limit]
    has_more = len(entries) > limit
    return Piece(shown, asked, urlencode({**asked, "limit": limit, "before_seq": shown[-1].seq}) if has_more else None)


def view(entry: AuditEntry) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(entry)
    return body | {"changed": [one._asdict() for one in differences(entry)]}


@bp.get("/audit")
@needs(Role.ADMIN)
def list_audit() -> Response:
    """Newest first; `?kind=`, `?id=`, `?actor=`; the next piece by `?before_seq=` of the last one seen."""
    piece = asked_piece()
    following = f"{request.path}?{piece.next}" if piece.next else None
    return json_response({"items": [view(entry) for entry in piece.entries], "next": following})

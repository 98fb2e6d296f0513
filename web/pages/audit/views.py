"""The audit as a page; for administrators."""

from __future__ import annotations

from flask import Blueprint, Response, make_response, render_template

from appliance.state.differences import differences
from web.api.audit import asked_piece
from web.auth.guard import needs
from web.auth.roles import Role
from web.services import services

bp = Blueprint("audit", __name__, url_prefix="/audit", template_folder="templates")


@bp.get("")
@needs(Role.ADMIN)
def page() -> Response:
    """One piece, newest first, of all changes or of those of a document or a person."""
    piece = asked_piece()
    return make_response(
        render_template(
            "audit/page.html",
            section="system",
            entries=[(entry, differences(entry)) for entry in piece.entries],
            asked=piece.asked,
            next_url=f"/audit?{piece.next}" if piece.next else None,
            now_ms=services().clock.now_ms(),
        )
    )

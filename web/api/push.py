"""The address that a job calls to say that it ran: /push/<secret>, the door of `push` checks.

`/push/<secret>`, or with how it went: `…/fail`, `…/1` (an exit status), `?status=warning&msg=text`. A body by POST is
kept as the text.
"""

from __future__ import annotations

import hmac

from flask import Blueprint, Response, request

from appliance.state import PutDocument
from checks.model import State
from checks.probes.push.probe import BEAT
from web.auth.guard import open_to_all
from web.board import Row
from web.errors import Refusal, json_response
from web.kit import board
from web.services import services

bp = Blueprint("push", __name__)

OUTPUT_BYTES_MAX = 8 * 1024
SAME_BEAT_MS = 1_000  # Beats of the same state closer than this are one: a loop gone wild must not fill the disk.
WORDS = {
    "": State.OK,
    "up": State.OK,
    "ok": State.OK,
    "success": State.OK,
    "warning": State.WARNING,
    "down": State.CRITICAL,
    "fail": State.CRITICAL,
    "critical": State.CRITICAL,
    "unknown": State.UNKNOWN,
}


def _said(word: str) -> State:
    """A word, or an exit status: those of plugins are 0 to 3, any other failure is critical."""
    if word.isdecimal():
        return State(int(word)) if word in ("0", "1", "2", "3") else State.CRITICAL
    if word.lower() not in WORDS:
        raise Refusal(400, "invalid", f"{word[:40]!r} is none of {', '.join(filter(None, WORDS))} and no exit status")
    return WORDS[word.lower()]


def _check_with(secret: str) -> Row | None:
    found = None
    for row in board().view().rows.values():
        if row.check.kind == "push" and hmac.compare_digest(
            str(row.check.options.get("secret", "")).encode(), secret.encode()
        ):
            found = row
    return found if secret else None


@bp.route("/push/<secret>", methods=["GET", "POST"])
@bp.route("/push/<secret>/<word>", methods=["GET", "POST"])
@open_to_all(csrf=False)
def beat(secret: str, word: str = "") -> Response:
    request.max_content_length = OUTPUT_BYTES_MAX
    row = _check_with(secret)
    if row is None:
        raise Refusal(404, "not_found", "no push check has this address")
    state = _said(word or request.args.get("status", ""))
    text = request.args.get("msg", "") or request.get_data().decode(errors="replace")
    now_ms = services().clock.now_ms()
    last = services().state.read.get(BEAT, row.id)
    if last is None or last.body.get("state") != state.word or abs(now_ms - int(last.body["at_ms"])) >= SAME_BEAT_MS:
        body = {"at_ms": now_ms, "state": state.word, "output": text[:OUTPUT_BYTES_MAX]}
        put = PutDocument(kind=BEAT, id=row.id, body=body, audited=False)
        services().state.apply([put], actor="push")
    return json_response({"check": row.check.name, "state": state.word, "at_ms": now_ms})

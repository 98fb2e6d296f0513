"""The own account, and for administrators users and tokens."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Blueprint, Response, make_response, render_template, request

from appliance.state import Document
from web import htmx
from web.auth import second_factor, sessions, tokens, users
from web.auth.guard import needs
from web.auth.identity import Kind, identity
from web.auth.kit import auth, clear_session_cookie
from web.auth.roles import Role
from web.errors import Refusal, not_found
from web.services import services
from web.short_way import known_tokens

bp = Blueprint("account", __name__, url_prefix="/account", template_folder="templates")

SHOWN_COUNT = 500


def _page(*, problems: dict[str, str] | None = None, new_token: str = "", status: int = 200) -> Response:
    is_admin = identity().may(Role.ADMIN)
    reader = services().state.read
    page = render_template(
        "account/page.html",
        section="account",
        problems=problems or {},
        new_token=new_token,
        users=[users.view(user) for user in auth().users.piece(limit=SHOWN_COUNT, offset=0)] if is_admin else [],
        tokens=[tokens.view(entry) for entry in reader.list("token", limit=SHOWN_COUNT)] if is_admin else [],
        sessions=_sessions_of(identity().id),
        second_factor=second_factor.shown(auth().second_factor.of(identity().id)),
        roles=[role.value for role in Role],
        now_ms=services().clock.now_ms(),
    )
    return make_response(page, status)


def _sessions_of(user_id: str) -> list[dict[str, Any]]:
    found = auth().sessions.of(user_id, now_ms=services().clock.now_ms())
    return [sessions.view(session, identity()) for session in found]


@bp.get("")
def page() -> Response:
    return _page()


@bp.post("/password")
@needs(Role.VIEWER)
def change_password() -> Response:
    """A new password ends all sessions of the account, this one too."""
    user = auth().users.get(identity().id) if identity().kind is Kind.USER else None
    if user is None:
        raise Refusal(403, "forbidden", "a token has no password")
    if not auth().passwords.verify(str(user.body["password_hash"]), request.form.get("current", "")):
        return _page(problems={"current": "This is not your password."}, status=422)
    if request.form.get("password", "") != request.form.get("again", ""):
        return _page(problems={"again": "The two passwords differ."}, status=422)
    try:
        change = users.UserChange(password=request.form.get("password", ""))
        auth().users.change(user, change, actor=identity().actor)
    except Refusal as refusal:
        return _page(problems={refusal.field or "password": refusal.message}, status=422)
    response = htmx.go_to("/login")
    clear_session_cookie(response)
    return response


@bp.post("/users")
@needs(Role.ADMIN)
def add_user() -> Response:
    sent = {name: request.form.get(name, "") for name in ("name", "password", "role")}
    try:
        auth().users.create(msgspec.convert(sent, users.NewUser), actor=identity().actor)
    except msgspec.ValidationError:
        return _page(
            problems={"user": "A name has 1 to 64 characters, no colon, and does not begin with a blank."}, status=422
        )
    except Refusal as refusal:
        return _page(problems={"user": refusal.message}, status=422)
    return htmx.go_to("/account")


def _user(user_id: str) -> Document:
    user = auth().users.get(user_id)
    if user is None:
        raise not_found("user", user_id)
    return user


@bp.get("/users/<user_id>")
@needs(Role.ADMIN)
def user_page(user_id: str) -> Response:
    """One account, for administrators: where it is signed in."""
    user = _user(user_id)
    return make_response(
        render_template(
            "account/user.html",
            section="account",
            user=users.view(user),
            sessions=_sessions_of(user_id),
            second_factor=second_factor.shown(auth().second_factor.of(user_id)),
            now_ms=services().clock.now_ms(),
        )
    )


@bp.post("/users/<user_id>/delete")
@needs(Role.ADMIN)
def delete_user(user_id: str) -> Response:
    user = _user(user_id)
    auth().users.delete(user, actor=identity().actor)
    return htmx.go_to("/account")


@bp.post("/tokens")
@needs(Role.ADMIN)
def add_token() -> Response:
    """The page that answers is the only one that ever shows the token."""
    sent = {name: request.form.get(name, "") for name in ("name", "role")}
    team = request.form.get("team", "").strip() or None
    try:
        new = msgspec.convert({**sent, "team": team}, tokens.NewToken)
    except msgspec.ValidationError:
        return _page(problems={"token": "Say what uses it, in 1 to 120 characters."}, status=422)
    _, token = tokens.create(services().state, new, actor=identity().actor)
    return _page(new_token=token)


@bp.post("/tokens/<token_id>/delete")
@needs(Role.ADMIN)
def delete_token(token_id: str) -> Response:
    tokens.delete(services().state, token_id, actor=identity().actor)
    known_tokens().forget()
    return htmx.go_to("/account")


@bp.post("/sessions/end")
@needs(Role.VIEWER)
def end_other_sessions() -> Response:
    """Log out everywhere else."""
    found = auth().sessions.of(identity().id, now_ms=services().clock.now_ms())
    others = [session for session in found if session.id != identity().session_id]
    auth().sessions.end_all(others, actor=identity().actor)
    return htmx.go_to("/account")


@bp.post("/sessions/<session_id>/end")
@needs(Role.VIEWER)
def end_session(session_id: str) -> Response:
    """End one session: of one's own account, or as an administrator of any."""
    session = auth().sessions.reachable(session_id, identity())
    auth().sessions.end(session.id, actor=identity().actor)
    if session.id == identity().session_id:
        response = htmx.go_to("/login")
        clear_session_cookie(response)
        return response
    owner = str(session.body["user_id"])
    return htmx.go_to("/account" if owner == identity().id else f"/account/users/{owner}")


@bp.post("/users/<user_id>/second-factor/remove")
@needs(Role.ADMIN)
def remove_second_factor(user_id: str) -> Response:
    """For somebody who has lost phone and recovery codes."""
    if removal := auth().second_factor.removal(_user(user_id).id):
        services().state.apply(removal, actor=identity().actor)
    return htmx.go_to(f"/account/users/{user_id}")


@bp.post("/users/<user_id>/sessions/end")
@needs(Role.ADMIN)
def end_sessions_of(user_id: str) -> Response:
    """Log somebody out everywhere."""
    found = auth().sessions.of(_user(user_id).id, now_ms=services().clock.now_ms())
    auth().sessions.end_all(found, actor=identity().actor)
    return htmx.go_to(f"/account/users/{user_id}")

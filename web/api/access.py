"""Users and tokens, for administrators, and sessions."""

from __future__ import annotations

from flask import Blueprint, Response, request

from appliance.state import Document
from web.api.bodies import body
from web.api.paging import asked_page, list_response
from web.auth import sessions, tokens, users
from web.auth.guard import needs, require
from web.auth.identity import identity
from web.auth.kit import auth
from web.auth.roles import Role
from web.errors import json_response, not_found
from web.services import services
from web.short_way import known_tokens

bp = Blueprint("api_access", __name__, url_prefix="/api/v1")


@bp.get("/users")
@needs(Role.ADMIN)
def list_users() -> Response:
    page = asked_page()
    found = auth().users.piece(limit=page.limit, offset=page.offset)
    return list_response([users.view(user) for user in found], page, services().state.read.count("user"))


@bp.post("/users")
@needs(Role.ADMIN)
def create_user() -> Response:
    created = auth().users.create(body(users.NewUser), actor=identity().actor)
    return json_response(users.view(created), 201, Location=f"/api/v1/users/{created.id}")


def _user(user_id: str) -> Document:
    found = auth().users.get(user_id)
    if found is None:
        raise not_found("user", user_id)
    return found


@bp.get("/users/<user_id>")
@needs(Role.ADMIN)
def get_user(user_id: str) -> Response:
    return json_response(users.view(_user(user_id)))


@bp.patch("/users/<user_id>")
@needs(Role.ADMIN)
def change_user(user_id: str) -> Response:
    auth().users.change(_user(user_id), body(users.UserChange), actor=identity().actor)
    return json_response(users.view(_user(user_id)))


@bp.delete("/users/<user_id>")
@needs(Role.ADMIN)
def delete_user(user_id: str) -> Response:
    auth().users.delete(_user(user_id), actor=identity().actor)
    return json_response({"deleted": user_id})


@bp.delete("/users/<user_id>/second-factor")
@needs(Role.ADMIN)
def delete_second_factor(user_id: str) -> Response:
    """For somebody who has lost phone and recovery codes; the password alone logs in then."""
    removal = auth().second_factor.removal(_user(user_id).id)
    if not removal:
        raise not_found("second factor of the user", user_id)
    services().state.apply(removal, actor=identity().actor)
    return json_response({"deleted": user_id})


@bp.get("/tokens")
@needs(Role.ADMIN)
def list_tokens() -> Response:
    page = asked_page()
    found = services().state.read.list("token", limit=page.limit, offset=page.offset)
    return list_response([tokens.view(token) for token in found], page, services().state.read.count("token"))


@bp.post("/tokens")
@needs(Role.ADMIN)
def create_token() -> Response:
    """The answer alone tells the token; only its hash is kept."""
    token_id, token = tokens.create(services().state, body(tokens.NewToken), actor=identity().actor)
    created = _token(token_id)
    return json_response(tokens.view(created) | {"token": token}, 201, Location=f"/api/v1/tokens/{token_id}")


@bp.get("/sessions")
def list_sessions() -> Response:
    """One's own sessions, those of a browser; `?user_id=` those of another, for administrators."""
    user_id = request.args.get("user_id") or identity().id
    if user_id != identity().id:
        require(Role.ADMIN)
    page = asked_page()
    found = auth().sessions.of(user_id, now_ms=services().clock.now_ms())
    shown = found[page.offset : page.offset + page.limit]
    return list_response([sessions.view(session, identity()) for session in shown], page, len(found))


@bp.delete("/sessions/<session_id>")
@needs(Role.VIEWER)
def delete_session(session_id: str) -> Response:
    """End a session of one's own, or as an administrator any."""
    auth().sessions.end(auth().sessions.reachable(session_id, identity()).id, actor=identity().actor)
    return json_response({"deleted": session_id})


def _token(token_id: str) -> Document:
    found = services().state.read.get("token", token_id)
    if found is None:
        raise not_found("token", token_id)
    return found


@bp.get("/tokens/<token_id>")
@needs(Role.ADMIN)
def get_token(token_id: str) -> Response:
    return json_response(tokens.view(_token(token_id)))


@bp.delete("/tokens/<token_id>")
@needs(Role.ADMIN)
def delete_token(token_id: str) -> Response:
    tokens.delete(services().state, _token(token_id).id, actor=identity().actor)
    known_tokens().forget()
    return json_response({"deleted": token_id})

"""The second factor of one's own account: turned on, and taken away."""

from __future__ import annotations

from flask import Blueprint, Response, make_response, render_template, request

from appliance.state import Document
from web import htmx
from web.auth import second_factor, totp
from web.auth.guard import needs
from web.auth.identity import Kind, identity
from web.auth.kit import auth
from web.auth.roles import Role
from web.draw.qr import qr
from web.errors import Refusal
from web.services import services

bp = Blueprint("second_factor", __name__, url_prefix="/account/second-factor", template_folder="templates")


def _own_user() -> Document:
    user = auth().users.get(identity().id) if identity().kind is Kind.USER else None
    if user is None:
        raise Refusal(403, "forbidden", "a token has no second factor")
    return user


def _page(user: Document, *, secret: str = "", problems: dict[str, str] | None = None, status: int = 200) -> Response:
    """secret: one that was shown already, when the form comes back with a mistake."""
    stored = second_factor.shown(auth().second_factor.of(user.id))
    secret = "" if stored else secret or totp.new_secret()
    url = totp.otpauth_url(secret, str(user.body["name"]), "Henge") if secret else ""
    page = render_template(
        "account/second_factor.html",
        section="account",
        stored=stored,
        secret=secret,
        pending=auth().second_factor.pending(secret) if secret else "",
        url=url,
        code=qr(url, label="QR code with the secret that stands below it as text") if url else "",
        problems=problems or {},
        codes=[],
        now_ms=services().clock.now_ms(),
    )
    return make_response(page, status)


@bp.get("")
def page() -> Response:
    return _page(_own_user())


def _password_is_right(user: Document) -> bool:
    return auth().passwords.verify(str(user.body["password_hash"]), request.form.get("current", ""))


@bp.post("")
@needs(Role.VIEWER)
def enrol() -> Response:
    """Turn it on, with the password and a code that shows that the app has the secret. The answer alone tells the
    recovery codes."""
    user = _own_user()
    if auth().second_factor.of(user.id) is not None:
        return htmx.go_to("/account/second-factor")
    secret = auth().second_factor.secret_of(request.form.get("pending", ""))
    if secret is None:
        return _page(user, problems={"code": "The form was too old; here is a new secret."}, status=422)
    if not _password_is_right(user):
        return _page(user, secret=secret, problems={"current": "This is not your password."}, status=422)
    codes = auth().second_factor.enrol(
        user.id, secret, request.form.get("code", ""), now_ms=services().clock.now_ms(), actor=identity().actor
    )
    if codes is None:
        problem = "This is not the code of now. Is the clock of the phone right?"
        return _page(user, secret=secret, problems={"code": problem}, status=422)
    return make_response(render_template("account/second_factor.html", section="account", codes=codes))


@bp.post("/remove")
@needs(Role.VIEWER)
def remove() -> Response:
    """Take it away, with the password: a browser that was left open is not enough."""
    user = _own_user()
    if not _password_is_right(user):
        return _page(user, problems={"current": "This is not your password."}, status=422)
    if removal := auth().second_factor.removal(user.id):
        services().state.apply(removal, actor=identity().actor)
    return htmx.go_to("/account/second-factor")

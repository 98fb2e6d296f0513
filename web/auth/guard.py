"""What stands before every view: the Host header, who asks, whether they may, and whether a form was ours.

A view that says nothing is closed: reading needs a viewer, everything else an editor.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode, urlsplit

from flask import Flask, current_app, g, request
from werkzeug.wrappers import Response

from appliance.bus import BusError
from web.auth import keys, tokens
from web.auth.identity import STRANGER, Identity, Kind, identity
from web.auth.kit import auth
from web.auth.roles import Role
from web.errors import Refusal, wants_json
from web.services import services

View = TypeVar("View", bound=Callable[..., object])

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_FIELD = "csrf"
CSRF_HEADER = "X-CSRF-Token"


@dataclass(frozen=True, slots=True)
class Access:
    """role None: open to strangers. csrf False: for doors whose secret stands in the address or the header."""

    role: Role | None
    csrf: bool = True


def open_to_all(*, csrf: bool = True) -> Callable[[View], View]:
    def mark(view: View) -> View:
        view.access = Access(None, csrf)  # type: ignore[attr-defined]
        return view

    return mark


def needs(role: Role) -> Callable[[View], View]:
    def mark(view: View) -> View:
        view.access = Access(role)  # type: ignore[attr-defined]
        return view

    return mark


def require(role: Role) -> None:
    """For views whose need depends on what is asked. Raises: Refusal 401 or 403."""
    asking = identity()
    if not asking.is_known:
        raise Refusal(401, "unauthorized", "log in, or send a token: Authorization: Bearer henge_…")
    if not asking.may(role):
        of_team = f" of team {asking.team!r} only" if asking.team is not None else ""
        raise Refusal(
            403, "forbidden", f"this needs the role {role}; {asking.name!r} has the role {asking.role}{of_team}"
        )


def install(app: Flask) -> None:
    app.before_request(check_host)
    app.before_request(identify)
    app.before_request(check_access)


def host_allowed(host: str, own_names: frozenset[str]) -> bool:
    """Refuse names that are not ours, against DNS rebinding: a page of evil.example that lets its name point here
    would otherwise read our answers. An address is safe, as no name can be rebound to it."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".").lower()
    except ValueError:
        return False
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(name.partition("%")[0])
        return True
    return name == "localhost" or name.endswith(".localhost") or name in own_names


def own_names(listen_host: str) -> frozenset[str]:
    hostname = socket.gethostname().lower()
    return frozenset({hostname, hostname.partition(".")[0], f"{hostname}.local", listen_host.lower()} - {""})


def check_host() -> None:
    names = current_app.extensions["own_names"]
    if not host_allowed(request.host, names):
        raise Refusal(421, "wrong_host", f"this is not {request.host[:120]!r}; use the address that `henge up` prints")


def is_local() -> bool:
    """Whether the request came from this machine, and not through a proxy on it."""
    if request.headers.get("X-Forwarded-For") or request.headers.get("Forwarded"):
        return False
    try:
        address = ipaddress.ip_address((request.remote_addr or "").partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def identify() -> None:
    """Set g.identity. Raises: Refusal 401 for a token that is not valid, rather than treating it as a stranger."""
    g.identity = STRANGER
    g.csrf_secret = ""
    if request.endpoint == "static":
        return
    authorization = request.headers.get("Authorization")
    if authorization and (token := tokens.from_header(authorization)) is not None:
        found = tokens.find(services().state, token)
        if found is None:
            raise Refusal(401, "unauthorized", "this token is not valid: it is mistyped or was revoked")
        g.identity = found
        return
    cookie = request.cookies.get(auth().session_cookie, "")
    if cookie:
        _identify_session(cookie)


def _identify_session(cookie: str) -> None:
    now_ms = services().clock.now_ms()
    found = auth().sessions.find(cookie, now_ms=now_ms)
    if found is None:
        return
    g.identity, g.csrf_secret = found, cookie
    with contextlib.suppress(BusError):  # Noting the use can wait; the page cannot.
        auth().sessions.touch(found.session_id, now_ms=now_ms)


def check_access() -> Response | None:
    view = current_app.view_functions.get(request.endpoint or "")
    if view is None or request.endpoint == "static":
        return None  # 404 or 405 answer for themselves.
    _refuse_strangers_far_away_at_first()
    access = getattr(view, "access", None) or Access(Role.VIEWER if request.method in SAFE_METHODS else Role.EDITOR)
    asking = identity()
    if access.role is not None and not asking.may(access.role):
        if not asking.is_known and not wants_json() and not request.path.startswith(("/prometheus/", "/graphite/")):
            return _to_login()
        require(access.role)
    if access.csrf and request.method not in SAFE_METHODS:
        refuse_other_sites()  # A token too: a browser that knows it for basic auth sends it along with any form.
        if asking.kind is not Kind.TOKEN:
            check_csrf()
    return None


def _refuse_strangers_far_away_at_first() -> None:
    if not is_local() and not auth().administrator_exists():
        raise Refusal(
            403, "forbidden", "Henge answers only its own machine until an administrator exists; create one there first"
        )


def _to_login() -> Response:
    if request.headers.get("HX-Request"):
        return Response(b"", 200, {"HX-Redirect": "/login"})
    target = request.full_path.rstrip("?") if request.method in SAFE_METHODS else "/"
    return Response(b"", 303, {"Location": "/login" + ("" if target == "/" else "?" + urlencode({"next": target}))})


def csrf_token() -> str:
    """The token for forms. A stranger's follows from a cookie that is set with the form (see session_cookies)."""
    if not g.get("csrf_secret"):
        g.csrf_secret = request.cookies.get(auth().stranger_cookie) or keys.new_secret()
        g.set_stranger_cookie = g.csrf_secret
    return keys.derived(g.csrf_secret, "csrf")


def refuse_other_sites() -> None:
    """Raises: Refusal 403, when a browser says that a page of somebody else sends this. Programs say neither.

    Sec-Fetch-Site comes only over loopback and TLS; Origin with every POST.
    """
    origin = request.headers.get("Origin")
    is_ours = origin is None or urlsplit(origin).netloc.lower() == request.host.lower()
    if not is_ours or request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Refusal(403, "csrf", "this request came from another site")


def check_csrf() -> None:
    """Raises: Refusal 403, when a form did not come from a page of ours."""
    secret = g.get("csrf_secret") or request.cookies.get(auth().stranger_cookie, "")
    sent = request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD, "")
    if not secret or not hmac.compare_digest(sent.encode(), keys.derived(secret, "csrf").encode()):
        if identity().kind is Kind.STRANGER and wants_json():
            require(Role.VIEWER)
        raise Refusal(
            403, "csrf", "the form is too old or did not come from Henge: load the page again and send it once more"
        )


def safe_target(target: str) -> str:
    """Where to go after log-in: only ever a path of ours, never another site."""
    parts = urlsplit(target)
    is_ours = target.startswith("/") and not target.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return target if is_ours and "\\" not in target and "\n" not in target and "\r" not in target else "/"


__all__ = ["Access", "Identity", "check_csrf", "csrf_token", "install", "is_local", "needs", "open_to_all", "require"]

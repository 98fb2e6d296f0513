"""The parts of auth, made once per application and found by the views."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import Response, current_app, g, request

from appliance.secrets import SecretBox
from appliance.state import StateClient
from web.auth.first_run import FirstRun
from web.auth.passwords import Passwords
from web.auth.second_factor import SecondFactor
from web.auth.sessions import LIFETIME_MS, Sessions
from web.auth.throttle import Throttle
from web.auth.users import Users


@dataclass(slots=True)
class Auth:
    """Cookies are named by port: browsers send them to every port of a host, and two appliances may share one."""

    state: StateClient
    port: int
    secrets: SecretBox
    passwords: Passwords = field(default_factory=Passwords)
    throttle: Throttle = field(default_factory=Throttle)
    users: Users = field(init=False)
    sessions: Sessions = field(init=False)
    second_factor: SecondFactor = field(init=False)
    first_run: FirstRun = field(init=False)
    _administrator_seen: bool = False

    def __post_init__(self) -> None:
        self.users = Users(self.state, self.passwords)
        self.sessions = Sessions(self.state)
        self.second_factor = SecondFactor(self.state, self.secrets)
        self.first_run = FirstRun(self.state)

    @property
    def session_cookie(self) -> str:
        return f"henge_session_{self.port}"

    @property
    def stranger_cookie(self) -> str:
        return f"henge_form_{self.port}"

    def administrator_exists(self) -> bool:
        """Asked at every request of a stranger; once true it stays so, as the last one cannot be removed."""
        self._administrator_seen = self._administrator_seen or self.users.administrator_exists()
        return self._administrator_seen


def auth() -> Auth:
    found = current_app.extensions["henge_auth"]
    assert isinstance(found, Auth)
    return found


def set_session_cookie(response: Response, secret: str) -> None:
    """SameSite=Lax, not Strict: a link in a mail must open the incident, and every change needs a CSRF token anyway."""
    response.set_cookie(
        auth().session_cookie,
        secret,
        max_age=LIFETIME_MS // 1_000,
        httponly=True,
        samesite="Lax",
        secure=request.is_secure,
    )
    response.delete_cookie(auth().stranger_cookie, httponly=True, samesite="Strict")


def clear_session_cookie(response: Response) -> None:
    response.delete_cookie(auth().session_cookie, httponly=True, samesite="Lax")


def set_stranger_cookie(response: Response) -> Response:
    """After each request: the cookie from which the CSRF token of a stranger's form follows."""
    if secret := g.get("set_stranger_cookie"):
        response.set_cookie(
            auth().stranger_cookie, secret, max_age=86_400, httponly=True, samesite="Strict", secure=request.is_secure
        )
    return response

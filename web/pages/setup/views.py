"""The first run, log-in and log-out."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response, make_response, render_template, request

from appliance.secrets import SecretError
from web import htmx
from web.auth.guard import open_to_all, safe_target
from web.auth.identity import identity
from web.auth.kit import auth, clear_session_cookie, set_session_cookie
from web.auth.passwords import complaint
from web.auth.roles import Role
from web.auth.throttle import keys_of
from web.auth.users import NewUser, unique_name
from web.errors import Refusal
from web.pages.start.progress import Progress, Step, stored
from web.services import services
from web.words import stamp

bp = Blueprint("setup", __name__, template_folder="templates")

NOT_SET_UP_HEADER = "Henge-Not-Set-Up"  # For `henge open`, which then asks for the link of the first run.
THEMES = ("auto", "light", "dark")


def _begin_session(user_id: str, target: str) -> Response:
    """A session for the user, and on to the target."""
    now_ms = services().clock.now_ms()
    secret, mutations = auth().sessions.beginning(
        user_id, address=request.remote_addr or "", agent=request.user_agent.string, now_ms=now_ms
    )
    services().state.apply(mutations, actor="web")
    response = htmx.go_to(target)
    set_session_cookie(response, secret)
    return response


@bp.get("/setup/<secret>")
@open_to_all()
def first_run(secret: str) -> Response:
    """The page behind the one-time link. Looking at it does not use the link up."""
    if auth().administrator_exists():
        return htmx.go_to("/" if identity().is_known else "/login")
    if not auth().first_run.is_valid(secret, now_ms=services().clock.now_ms()):
        raise Refusal(403, "forbidden", "this link is not valid any more; the newest one is printed by `henge up`")
    return make_response(render_template("setup/first.html", section="", problems={}, name="admin", steps=list(Step)))


@bp.post("/setup/<secret>")
@open_to_all()
def create_administrator(secret: str) -> Response:
    """The link is spent in the transaction that creates the user: of two who hold it, one becomes administrator."""
    if auth().administrator_exists():
        return htmx.go_to("/login")
    if not auth().first_run.is_valid(secret, now_ms=services().clock.now_ms()):
        raise Refusal(403, "forbidden", "this link is not valid any more; the newest one is printed by `henge up`")
    name, password = request.form.get("name", "").strip(), request.form.get("password", "")
    problems: dict[str, str] = {}
    if problem := complaint(password):
        problems["password"] = problem
    elif password != request.form.get("again", ""):
        problems["again"] = "The two passwords differ."
    try:
        new = msgspec.convert({"name": name, "password": password, "role": Role.ADMIN.value}, NewUser)
    except msgspec.ValidationError:
        problems["name"] = "A name has 1 to 64 characters, no colon, and does not begin with a blank."
    if not problems:
        try:
            user_id, creation = auth().users.creation(new)
        except Refusal as refusal:
            problems[refusal.field or "name"] = refusal.message
        else:
            begun = stored(Progress())
            services().state.apply([creation, begun, *auth().first_run.spending(secret)], actor=f"user:{name}")
            return _begin_session(user_id, "/start/watch")
    page = render_template("setup/first.html", section="", problems=problems, name=name, steps=list(Step))
    return make_response(page, 422)


@bp.get("/login")
@open_to_all()
def login() -> Response:
    target = safe_target(request.args.get("next", "/"))
    if identity().is_known:
        return htmx.go_to(target)
    is_new = not auth().administrator_exists()
    response = make_response(
        render_template("setup/login.html", section="", problem="", name="", target=target, is_new=is_new)
    )
    if is_new:
        response.headers[NOT_SET_UP_HEADER] = "1"
    return response


@bp.post("/login")
@open_to_all()
def check_login() -> Response:
    """Wrong names and wrong passwords are answered alike, after the same work."""
    name, password = request.form.get("name", ""), request.form.get("password", "")
    target = safe_target(request.form.get("next", "/"))
    now_ms = services().clock.now_ms()
    user = auth().users.by_name(name)
    address = request.remote_addr or ""
    is_known_here = user is not None and auth().sessions.begun_from(user.id, address, now_ms=now_ms)
    keys = keys_of(unique_name(name), address, is_known_here=is_known_here)
    if wait_ms := auth().throttle.begin(keys, now_ms):
        return _again(f"Too many tries. Wait {-(-wait_ms // 1_000)} s and try again.", 429, wait_ms)
    if not auth().passwords.verify(str(user.body["password_hash"]) if user else None, password):
        services().metrics.counter("henge_web_login_failures_total", "Log-ins with a wrong name or password.").inc()
        services().log.warning("log-in of %r from %s failed", name[:64], request.remote_addr)
        return _again("The name or the password is not right.", 401)
    assert user is not None
    auth().throttle.succeeded(keys)
    if auth().second_factor.of(user.id) is not None:
        return _ask_code(auth().second_factor.half(user, now_ms=now_ms), target)
    return _begin_session(user.id, target)


def _ask_code(half: str, target: str, *, problem: str = "", status: int = 200, wait_ms: int = 0) -> Response:
    page = render_template("setup/code.html", section="", problem=problem, half=half, target=target)
    return _with_wait(make_response(page, status), wait_ms)


@bp.post("/login/code")
@open_to_all()
def check_code() -> Response:
    """The second half of a log-in. Codes are throttled by a count of their own: the password was right already."""
    half, target = request.form.get("half", ""), safe_target(request.form.get("next", "/"))
    now_ms = services().clock.now_ms()
    user_id = auth().second_factor.user_id_of(half, now_ms=now_ms)
    if user_id is None:
        return _again("That took too long, or the account was changed meanwhile. Log in again.", 401)
    address = request.remote_addr or ""
    is_known_here = auth().sessions.begun_from(user_id, address, now_ms=now_ms)
    keys = keys_of(f"code of {user_id}", address, is_known_here=is_known_here)
    if wait_ms := auth().throttle.begin(keys, now_ms):
        problem = f"Too many tries. Wait {-(-wait_ms // 1_000)} s and try again."
        return _ask_code(half, target, problem=problem, status=429, wait_ms=wait_ms)
    try:
        is_right = auth().second_factor.take(user_id, request.form.get("code", ""), now_ms=now_ms, actor="web")
    except SecretError:
        problem = "This code cannot be checked, as the key file of Henge is another one. Use a recovery code."
        return _ask_code(half, target, problem=problem, status=503)
    if not is_right:
        services().metrics.counter("henge_web_login_failures_total", "Log-ins with a wrong name or password.").inc()
        services().log.warning("log-in of the user %s from %s failed: wrong code", user_id, address)
        problem = f"The code is not right, or was used already. Codes follow the clock; it is {stamp(now_ms)} here."
        return _ask_code(half, target, problem=problem, status=401)
    auth().throttle.succeeded(keys)
    return _begin_session(user_id, target)


def _with_wait(response: Response, wait_ms: int) -> Response:
    if wait_ms:
        response.headers["Retry-After"] = str(-(-wait_ms // 1_000))
    return response


def _again(problem: str, status: int, wait_ms: int = 0) -> Response:
    page = render_template(
        "setup/login.html",
        section="",
        problem=problem,
        name=request.form.get("name", "")[:64],
        target=safe_target(request.form.get("next", "/")),
        is_new=False,
    )
    return _with_wait(make_response(page, status), wait_ms)


@bp.post("/logout")
@open_to_all()
def logout() -> Response:
    if identity().session_id:
        auth().sessions.end(identity().session_id, actor=identity().actor)
    response = htmx.go_to("/login")
    clear_session_cookie(response)
    return response


@bp.post("/theme")
@open_to_all()
def theme() -> Response:
    """Light, dark, or as the system: a cookie, so that the page arrives in its colours and nothing flickers."""
    chosen = request.form.get("theme", "auto")
    response = htmx.go_to(safe_target(request.form.get("next", "/")))
    if chosen in THEMES:
        response.set_cookie("henge_theme", chosen, max_age=5 * 365 * 86_400, samesite="Lax", httponly=True)
    return response

"""Who may what, asked of every route that there is: nothing is open by accident."""

from __future__ import annotations

import re

import pytest
from werkzeug.routing import Rule

from tests.web.house import PASSWORD, House, csrf_of

OPEN = {
    "manual.home",
    "manual.page",
    "operations.metrics",
    "operations.live",
    "operations.ready",
    "push.beat",
    "setup.first_run",
    "setup.create_administrator",
    "setup.login",
    "setup.check_login",
    "setup.check_code",
    "setup.logout",
    "setup.theme",
    "prometheus_status.healthy",
    "prometheus_status.ready",
    "static",
}
MACHINE_PATHS = ("/api/", "/prometheus/", "/graphite/")


def routes(house: House) -> list[tuple[Rule, str, str]]:
    """(rule, method, a path that fits) of every route that is not open."""
    return [
        (rule, method, re.sub(r"<[^>]+>", "no-such-thing", str(rule)))
        for rule in house.app.url_map.iter_rules()
        if rule.endpoint not in OPEN
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


def test_a_stranger_gets_401_from_machines_doors_and_the_log_in_page_elsewhere(house: House) -> None:
    client = house.client()
    for rule, method, path in routes(house):
        answer = client.open(path, method=method)
        if path.startswith(MACHINE_PATHS):
            assert answer.status_code == 401, (rule, method)
            assert "Bearer" in answer.headers["WWW-Authenticate"]
        else:
            assert answer.status_code == 303, (rule, method)
            assert answer.headers["Location"].startswith("/login"), (rule, method)


def test_a_viewer_changes_nothing(house: House) -> None:
    own = {"account.change_password", "account.end_other_sessions", "account.end_session", "api_access.delete_session"}
    own |= {"second_factor.enrol", "second_factor.remove"}
    reading_posts = {"prometheus.query", "prometheus.query_range", "prometheus.series", "prometheus.labels"}
    reading_posts |= {"prometheus_expressions.format_query", "prometheus_expressions.parse_query"}
    reading_posts |= {"prometheus_expressions.query_exemplars", "prometheus_read.read", "graphite_render.render"}
    reading_posts |= {"graphite_find.find", "graphite_find.expand", "graphite_find.index"}
    reading_posts |= {"graphite_tags.find_series", "graphite_tags.tag_series", "graphite_tags.tag_many_series"}
    for rule, method, path in routes(house):
        if method == "GET" or rule.endpoint in own | reading_posts:
            continue
        answer = house.call(method, path, role="viewer")
        assert answer.status_code == 403, (rule, method, answer.status_code)


ROLES = ("stranger", "viewer", "editor", "admin")
ACCOUNTS = {  # (method, rule): the least role. Written by hand, for every route about accounts and the audit.
    ("GET", "/account"): "viewer",
    ("POST", "/account/password"): "viewer",
    ("GET", "/account/second-factor"): "viewer",
    ("POST", "/account/second-factor"): "viewer",
    ("POST", "/account/second-factor/remove"): "viewer",
    ("POST", "/account/sessions/end"): "viewer",
    ("POST", "/account/sessions/<session_id>/end"): "viewer",
    ("POST", "/account/tokens"): "admin",
    ("POST", "/account/tokens/<token_id>/delete"): "admin",
    ("POST", "/account/users"): "admin",
    ("GET", "/account/users/<user_id>"): "admin",
    ("POST", "/account/users/<user_id>/delete"): "admin",
    ("POST", "/account/users/<user_id>/second-factor/remove"): "admin",
    ("POST", "/account/users/<user_id>/sessions/end"): "admin",
    ("GET", "/api/v1/audit"): "admin",
    ("GET", "/api/v1/sessions"): "viewer",
    ("DELETE", "/api/v1/sessions/<session_id>"): "viewer",
    ("GET", "/api/v1/tokens"): "admin",
    ("POST", "/api/v1/tokens"): "admin",
    ("GET", "/api/v1/tokens/<token_id>"): "admin",
    ("DELETE", "/api/v1/tokens/<token_id>"): "admin",
    ("GET", "/api/v1/users"): "admin",
    ("POST", "/api/v1/users"): "admin",
    ("GET", "/api/v1/users/<user_id>"): "admin",
    ("PATCH", "/api/v1/users/<user_id>"): "admin",
    ("DELETE", "/api/v1/users/<user_id>"): "admin",
    ("DELETE", "/api/v1/users/<user_id>/second-factor"): "admin",
    ("GET", "/audit"): "admin",
    ("POST", "/login/code"): "stranger",
    ("GET", "/system/crashes/<name>"): "admin",
}
ABOUT_ACCOUNTS = re.compile(r"/(account|audit|login/code|system/[a-z]+|api/v1/(audit|sessions|tokens|users))\b")


def test_every_route_about_accounts_and_the_audit_stands_in_the_table(house: House) -> None:
    there = {
        (method, str(rule))
        for rule in house.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if ABOUT_ACCOUNTS.match(str(rule))
    }
    assert there == set(ACCOUNTS)


@pytest.mark.parametrize("role", ROLES)
def test_routes_about_accounts_and_the_audit_are_open_from_their_role_on(house: House, role: str) -> None:
    """In a browser with the token of the form, so that only the role decides. Nobody is there to be changed."""
    client = house.client(None if role == "stranger" else role)
    csrf = csrf_of(client.get("/login" if role == "stranger" else "/account").text)
    for (method, rule), least in ACCOUNTS.items():
        if rule in ("/account/password", "/account/sessions/end"):  # They would end the session of this test.
            continue
        path = re.sub(r"<[^>]+>", "no-such-thing", rule)
        answer = client.open(path, method=method, headers={"X-CSRF-Token": csrf})
        is_login = answer.status_code == 303 and answer.headers["Location"].startswith("/login")
        is_kept_out = is_login or (answer.status_code in (401, 403) and rule != "/login/code")
        assert is_kept_out == (ROLES.index(role) < ROLES.index(least)), (method, rule, answer.status_code)


FIRST_SET_UP = {  # Every route of it is for administrators; what changes something needs the token of a form as well.
    ("GET", "/start"),
    ("GET", "/start/channel"),
    ("GET", "/start/channel/<kind>"),
    ("POST", "/start/channel/<kind>"),
    ("POST", "/start/checks"),
    ("POST", "/start/dismiss"),
    ("GET", "/start/done"),
    ("POST", "/start/look"),
    ("POST", "/start/machine"),
    ("POST", "/start/on/<step>"),
    ("GET", "/start/received"),
    ("GET", "/start/test"),
    ("POST", "/start/test/<channel_id>"),
    ("GET", "/start/watch"),
    ("GET", "/start/watched"),
}


def test_the_first_set_up_is_for_administrators(house: House) -> None:
    there = {
        (method, str(rule))
        for rule in house.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if str(rule).startswith("/start")
    }
    assert there == FIRST_SET_UP
    clients = {role: house.client(role) for role in ROLES[1:]}
    for role, client in clients.items():
        csrf = csrf_of(client.get("/account").text)
        for method, rule in FIRST_SET_UP:
            path = re.sub(r"<[^>]+>", "no-such-thing", rule)
            if method == "POST" or role != "admin":
                token = {} if role == "admin" else {"X-CSRF-Token": csrf}
                answer = client.open(path, method=method, headers=token)
                assert answer.status_code == 403, (role, method, rule)
            else:
                assert client.get(path).status_code in (200, 303, 404), rule


def test_an_editor_is_no_administrator(house: House) -> None:
    for method, path in (
        ("GET", "/api/v1/users"),
        ("POST", "/api/v1/users"),
        ("GET", "/api/v1/tokens"),
        ("POST", "/api/v1/tokens"),
        ("DELETE", "/api/v1/tokens/x"),
        ("GET", "/api/v1/audit"),
        ("GET", "/audit"),
        ("GET", "/api/v1/sessions?user_id=x"),
        ("GET", "/account/users/x"),
        ("POST", "/account/users/x/sessions/end"),
        ("POST", "/account/users/x/second-factor/remove"),
        ("DELETE", "/api/v1/users/x/second-factor"),
        ("POST", "/account/users"),
        ("POST", "/account/tokens"),
    ):
        assert house.call(method, path, role="editor").status_code == 403, path
    command = {"kind": "nagios", "name": "runs a program", "options": {"argv": ["/bin/true"]}}
    for path in ("/api/v1/checks", "/api/v1/checks/try"):
        answer = house.call("POST", path, command, role="editor")
        assert answer.status_code == 403
        assert "runs a program on this machine" in answer.json["error"]["message"]
    assert house.client("editor").get("/checks/new/nagios").status_code == 403


def test_a_token_of_a_team_sees_and_makes_only_what_is_the_teams(house: House) -> None:
    other = house.add_check("of another team")
    mine = house.call("POST", "/api/v1/checks", {"kind": "host", "name": "ours"}, role="editor", team="shop").json
    assert mine["labels"] == {"team": "shop"}
    listed = house.call("GET", "/api/v1/checks?limit=1000", role="editor", team="shop").json
    assert [check["name"] for check in listed["items"]] == ["ours"]
    for method, path in (
        ("GET", f"/api/v1/checks/{other['id']}"),
        ("PATCH", f"/api/v1/checks/{other['id']}"),
        ("DELETE", f"/api/v1/checks/{other['id']}"),
        ("POST", f"/api/v1/checks/{other['id']}/run"),
        ("GET", f"/checks/{other['id']}"),
    ):
        assert house.call(method, path, {}, role="editor", team="shop").status_code == 404, path
    moved = house.call("PATCH", f"/api/v1/checks/{mine['id']}", {"labels": {"team": "x"}}, role="editor", team="shop")
    assert (moved.status_code, moved.json["error"]["field"]) == (403, "labels.team")


@pytest.mark.parametrize("scheme", ["bearer", "basic"])
def test_a_token_comes_as_bearer_or_as_the_password_of_basic_auth(house: House, scheme: str) -> None:
    token = house.token("viewer")["Authorization"].partition(" ")[2]
    client = house.app.test_client()
    if scheme == "bearer":
        answer = client.get("/api/v1/checks", headers={"Authorization": f"bearer {token}"})
    else:
        answer = client.get("/api/v1/checks", auth=("anything", token))
    assert answer.status_code == 200


def test_a_wrong_or_revoked_token_is_401_even_where_strangers_may_go(house: House) -> None:
    made = house.call("POST", "/api/v1/tokens", {"name": "short-lived", "role": "viewer"}).json
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert made["token"] not in str(house.services.state.read.list("token"))
    assert house.app.test_client().get("/api/v1/checks", headers=headers).status_code == 200
    assert house.call("DELETE", f"/api/v1/tokens/{made['id']}").status_code == 200
    for path in ("/api/v1/checks", "/metrics", "/"):
        assert house.app.test_client().get(path, headers=headers).status_code == 401
    assert house.app.test_client().get("/api/v1/checks", headers={"Authorization": "Bearer x"}).status_code == 401


def test_metrics_are_open_on_this_machine_and_closed_beyond_it(house: House) -> None:
    client = house.client()
    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics", environ_base={"REMOTE_ADDR": "::ffff:127.0.0.1"}).status_code == 200
    for far in ({"REMOTE_ADDR": "192.0.2.1"}, {"HTTP_X_FORWARDED_FOR": "192.0.2.1"}):
        assert client.get("/metrics", environ_base=far).status_code == 401
        assert client.get("/metrics", environ_base=far, headers=house.token("viewer")).status_code == 200
        assert client.get("/health/live", environ_base=far).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8420", 200),
        ("[::1]:8420", 200),
        ("localhost:8420", 200),
        ("192.0.2.1", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:8420", 421),
        ("", 421),
        ("a b", 421),
    ],
)
def test_a_name_that_is_not_ours_is_refused(house: House, host: str, status: int) -> None:
    assert house.client().get("/health/live", headers={"Host": host}).status_code == status


def test_every_answer_carries_the_headers_that_keep_a_browser_in_bounds(house: House) -> None:
    client = house.client("admin")
    for path in ("/", "/login", "/no-such-page", "/api/v1/checks", "/static/henge.js"):
        answer = client.get(path)
        answer.close()
        policy = answer.headers["Content-Security-Policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
    assert client.get("/").headers["Cache-Control"] == "no-store"
    with client.get("/static/henge.js?v=1") as answer:
        assert "immutable" in answer.headers["Cache-Control"]


def test_no_page_holds_inline_script_or_style(house: House) -> None:
    check = house.add_check("for its page")
    client = house.client("admin")
    for path in (
        "/",
        f"/checks/{check['id']}",
        "/checks/new/http",
        "/explore",
        "/incidents",
        "/channels",
        "/system",
        "/audit",
    ):
        page = client.get(path).text
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page), path
        assert all('src="' in script for script in re.findall(r"<script[^>]*>", page)), path


def test_a_stranger_comes_back_to_the_page_that_was_asked_for(house: House) -> None:
    client = house.client()
    target = client.get("/explore?expression=up").headers["Location"]
    page = client.get(target).text
    data = {"name": "viewer", "password": PASSWORD, "csrf": csrf_of(page), "next": "/explore?expression=up"}
    assert client.post("/login", data=data).headers["Location"] == "/explore?expression=up"


def test_refusals_are_counted_without_letting_strangers_name_the_series(house: House) -> None:
    client = house.client()
    client.open("/api/v1/no-such-thing", method="BREW")
    house.call("POST", "/api/v1/checks", {"kind": "none"})
    text = client.get("/metrics").text
    assert re.search(r'henge_web_refused_total\{code="invalid"\} [1-9]', text)
    assert 'henge_web_requests_total{method="other"' in text
    assert "BREW" not in text
    assert "no-such-thing" not in text

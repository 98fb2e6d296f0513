"""Log-in, sessions, CSRF tokens and throttling."""

from __future__ import annotations

import pytest

from tests.web.house import PASSWORD, House, csrf_of
from web.auth.guard import safe_target
from web.auth.throttle import FREE_COUNT, WAIT_MS_MAX, Throttle, wait_ms


def test_a_session_cookie_is_hard_to_steal_and_stored_as_a_hash(house: House) -> None:
    client = house.client()
    page = client.get("/login").text
    answer = client.post("/login", data={"name": "EDITOR", "password": PASSWORD, "csrf": csrf_of(page)})
    cookie = next(text for text in answer.headers.getlist("Set-Cookie") if text.startswith("henge_session_8420="))
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    secret = cookie.partition("=")[2].partition(";")[0]
    assert all(secret not in str(session) for session in house.services.state.read.list("session"))
    assert house.client("editor").get("/").status_code == 200


def test_log_out_ends_the_session_on_the_server(house: House) -> None:
    client = house.client("viewer")
    secret = client.get_cookie("henge_session_8420")
    assert secret is not None
    client.post("/logout", data={"csrf": csrf_of(client.get("/").text)})
    thief = house.app.test_client()
    thief.set_cookie("henge_session_8420", secret.value)
    assert thief.get("/").headers["Location"] == "/login"


def test_a_form_without_our_token_changes_nothing(house: House) -> None:
    check = house.add_check("csrf")
    client = house.client("admin")
    for data in ({}, {"csrf": "0" * 64}):
        answer = client.post(f"/checks/{check['id']}/delete", data=data)
        assert answer.status_code == 403
        assert "load the page again" in answer.text
    other_site = client.post(
        f"/checks/{check['id']}/delete",
        data={"csrf": csrf_of(client.get("/").text)},
        headers={"Sec-Fetch-Site": "cross-site"},
    )
    assert other_site.status_code == 403
    assert client.get(f"/checks/{check['id']}").status_code == 200


def test_a_browser_session_needs_the_token_in_the_api_too_and_a_program_does_not(house: House) -> None:
    client = house.client("editor")
    body = {"kind": "http", "name": "by session", "options": {"url": "http://127.0.0.1:1/"}}
    refused = client.post("/api/v1/checks", json=body)
    assert (refused.status_code, refused.json["error"]["code"]) == (403, "csrf")
    header = {"X-CSRF-Token": csrf_of(client.get("/").text)}
    assert client.post("/api/v1/checks", json=body, headers=header).status_code == 201
    assert house.call("POST", "/api/v1/checks", body | {"name": "by token"}).status_code == 201


def test_wrong_names_and_wrong_passwords_are_answered_alike(house: House) -> None:
    client = house.client()
    csrf = csrf_of(client.get("/login").text)
    texts = set()
    for name in ("editor", "nobody-of-that-name"):
        answer = client.post("/login", data={"name": name, "password": "not the password", "csrf": csrf})
        assert answer.status_code == 401
        texts.add(answer.text.replace(name, "NAME"))
    assert len(texts) == 1


def test_guessing_is_slowed_down_per_account_and_per_address(house: House) -> None:
    client = house.client()
    csrf = csrf_of(client.get("/login").text)
    addresses = [f"198.51.100.{number}" for number in range(FREE_COUNT + 1)]
    statuses = [
        client.post(
            "/login",
            data={"name": "guessed", "password": "wrong password", "csrf": csrf},
            environ_base={"REMOTE_ADDR": address},
        ).status_code
        for address in addresses
    ]
    assert statuses == [401] * FREE_COUNT + [429]
    one_address = {"REMOTE_ADDR": "203.0.113.9"}
    statuses = [
        client.post(
            "/login",
            data={"name": f"name{number}", "password": "wrong password", "csrf": csrf},
            environ_base=one_address,
        )
        for number in range(FREE_COUNT + 1)
    ]
    assert statuses[-1].status_code == 429
    assert int(statuses[-1].headers["Retry-After"]) >= 1


def test_waits_double_up_to_a_limit_and_a_success_ends_them() -> None:
    assert [wait_ms(count) for count in range(FREE_COUNT - 1, FREE_COUNT + 4)] == [0, 1_000, 2_000, 4_000, 8_000]
    assert wait_ms(100) == WAIT_MS_MAX
    throttle = Throttle()
    for _ in range(FREE_COUNT + 2):
        throttle.failed(("account:a",), 10_000)
    assert throttle.remaining_ms(("account:a", "account:b"), 11_000) == 3_000
    assert throttle.remaining_ms(("account:a",), 14_000) == 0
    assert throttle.remaining_ms(("account:a",), 5_000) == 0, "a clock that steps back locks nobody out"
    for _ in range(FREE_COUNT + 2):
        throttle.failed(("account:a",), 10_000)
    throttle.succeeded(("account:a",))
    assert throttle.remaining_ms(("account:a",), 10_001) == 0


@pytest.mark.parametrize(
    ("target", "want"),
    [
        ("/checks/1?range=1h", "/checks/1?range=1h"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x=1", "/"),
        ("", "/"),
    ],
)
def test_log_in_leads_only_to_pages_of_ours(target: str, want: str) -> None:
    assert safe_target(target) == want


def test_a_new_password_ends_every_session_and_is_the_only_one_that_works(house: House) -> None:
    admin = house.client("admin")
    added = admin.post(
        "/account/users",
        data={"name": "grace", "password": PASSWORD, "role": "editor", "csrf": csrf_of(admin.get("/account").text)},
    )
    assert added.status_code == 303
    first, second = house.app.test_client(), house.app.test_client()
    for client in (first, second):
        csrf = csrf_of(client.get("/login").text)
        assert client.post("/login", data={"name": "grace", "password": PASSWORD, "csrf": csrf}).status_code == 303
    form = {"current": PASSWORD, "password": "another long one", "again": "another long one"}
    wrong = first.post("/account/password", data=form | {"current": "no", "csrf": csrf_of(first.get("/account").text)})
    assert wrong.status_code == 422
    changed = first.post("/account/password", data=form | {"csrf": csrf_of(first.get("/account").text)})
    assert changed.status_code == 303
    assert second.get("/").status_code == 303
    csrf = csrf_of(second.get("/login").text)
    assert second.post("/login", data={"name": "grace", "password": PASSWORD, "csrf": csrf}).status_code == 401
    assert (
        second.post("/login", data={"name": "grace", "password": "another long one", "csrf": csrf}).status_code == 303
    )

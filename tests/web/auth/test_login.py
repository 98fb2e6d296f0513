"""Log-in, sessions, CSRF tokens and throttling."""

from __future__ import annotations

import pytest

from tests.web.house import PASSWORD, House, csrf_of
from web.auth.guard import safe_target
from web.auth.throttle import FREE_COUNT, SHARED_FREE_COUNT, WAIT_MS_MAX, Throttle, keys_of, wait_ms


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


def try_log_in(house: House, *, name: str, address: str, password: str = "a wrong password") -> int:
    client = house.client()
    data = {"name": name, "password": password, "csrf": csrf_of(client.get("/login").text)}
    answer = client.post("/login", data=data, environ_base={"REMOTE_ADDR": address})
    assert answer.status_code != 429 or int(answer.headers["Retry-After"]) >= 1
    return answer.status_code


def test_guessing_is_slowed_down_from_one_place_soon(house: House) -> None:
    statuses = [try_log_in(house, name="guessed", address="203.0.113.9") for _ in range(FREE_COUNT + 1)]
    assert statuses == [401] * FREE_COUNT + [429]


@pytest.mark.parametrize("shared", ["account", "address"])
def test_guessing_at_one_account_or_from_one_address_is_slowed_down_in_the_end(house: House, shared: str) -> None:
    def attempt(number: int) -> int:
        if shared == "account":
            return try_log_in(house, name="wanted", address=f"198.51.100.{number}")
        return try_log_in(house, name=f"name{number}", address="203.0.113.77")

    assert [attempt(number) for number in range(SHARED_FREE_COUNT + 1)] == [401] * SHARED_FREE_COUNT + [429]


def test_what_strangers_do_elsewhere_keeps_nobody_waiting_who_is_known_here(house: House) -> None:
    assert try_log_in(house, name="viewer", address="192.0.2.1", password=PASSWORD) == 303
    for number in range(SHARED_FREE_COUNT + 1):
        last = try_log_in(house, name="viewer", address=f"198.51.101.{number}")
    assert last == 429
    assert try_log_in(house, name="viewer", address="198.51.101.250", password=PASSWORD) == 429
    assert try_log_in(house, name="viewer", address="192.0.2.1", password=PASSWORD) == 303
    house.app.extensions["henge_auth"].throttle = Throttle()


def test_waits_double_up_to_a_limit() -> None:
    assert [wait_ms(count) for count in range(FREE_COUNT - 1, FREE_COUNT + 4)] == [0, 1_000, 2_000, 4_000, 8_000]
    assert wait_ms(100) == WAIT_MS_MAX
    throttle, keys = Throttle(), keys_of("a", "192.0.2.1", is_known_here=False)
    assert [throttle.begin(keys, 10_000) for _ in range(FREE_COUNT + 2)] == [0] * FREE_COUNT + [1_000] * 2
    assert throttle.begin(keys, 11_000) == 0
    assert throttle.begin(keys, 11_001) == 1_999
    assert throttle.begin(keys, 5_000) == 0, "a clock that steps back locks nobody out"


def test_a_success_forgives_the_account_here_and_clears_no_way_to_others() -> None:
    throttle, now_ms = Throttle(), 10_000
    for number in range(SHARED_FREE_COUNT):  # An attacker logs in to an account of their own after each guess.
        guess, own = (keys_of(name, "192.0.2.1", is_known_here=False) for name in (f"victim{number}", "own"))
        assert throttle.begin(guess, now_ms) == 0
        if throttle.begin(own, now_ms) == 0:
            throttle.succeeded(own)
    assert throttle.begin(keys_of("victim", "192.0.2.1", is_known_here=False), now_ms) > 0
    for _ in range(3):
        keys = keys_of("mistypes", "192.0.2.2", is_known_here=False)
        assert [throttle.begin(keys, now_ms) for _ in range(FREE_COUNT)] == [0] * FREE_COUNT
        throttle.succeeded(keys)


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

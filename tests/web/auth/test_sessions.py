"""Where one is signed in: seen and ended by its owner and by administrators, by nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.web.house import PASSWORD, House, csrf_of
from web.auth.roles import Role
from web.auth.users import NewUser


@pytest.fixture
def ann(house: House) -> Iterator[str]:
    """The id of an account of its own for each test."""
    users = house.app.extensions["henge_auth"].users
    user = users.create(NewUser(name="ann of sessions", password=PASSWORD, role=Role.VIEWER), actor="test")
    yield user.id
    users.delete(user, actor="test")


def log_in(house: House, agent: str) -> FlaskClient:
    client = house.app.test_client()
    data = {"name": "ann of sessions", "password": PASSWORD, "csrf": csrf_of(client.get("/login").text)}
    assert client.post("/login", data=data, headers={"User-Agent": agent}).status_code == 303
    return client


def sessions(client: FlaskClient) -> dict[str, dict[str, Any]]:
    return {session["agent"]: session for session in client.get("/api/v1/sessions").json["items"]}


def post(client: FlaskClient, path: str) -> int:
    return client.post(path, data={"csrf": csrf_of(client.get("/account").text)}).status_code


def test_one_session_is_ended_and_the_others_stay(house: House, ann: str) -> None:
    here, there = log_in(house, "here"), log_in(house, "there")
    found = sessions(here)
    assert {agent: session["is_this"] for agent, session in found.items()} == {"here": True, "there": False}
    assert "there" in here.get("/account").text
    assert post(here, f"/account/sessions/{found['there']['id']}/end") == 303
    assert there.get("/").headers["Location"] == "/login"
    assert list(sessions(here)) == ["here"]
    (entry,) = house.services.state.read.audit(kind="session", id=found["there"]["id"])
    assert (entry.actor, entry.after) == ("user:ann of sessions", None)


def test_ending_the_own_session_leads_to_the_log_in(house: House, ann: str) -> None:
    here = log_in(house, "here")
    own = sessions(here)["here"]["id"]
    answer = here.post(f"/account/sessions/{own}/end", data={"csrf": csrf_of(here.get("/account").text)})
    assert answer.headers["Location"] == "/login"
    assert here.get_cookie("henge_session_8420") is None


def test_nobody_but_an_administrator_ends_the_session_of_another(house: House, ann: str) -> None:
    here = log_in(house, "here")
    own = sessions(here)["here"]["id"]
    for role in ("viewer", "editor"):
        assert post(house.client(role), f"/account/sessions/{own}/end") == 404
        assert house.call("DELETE", f"/api/v1/sessions/{own}", role=role).status_code == 404
        assert house.call("GET", f"/api/v1/sessions?user_id={ann}", role=role).status_code == 403
    assert house.call("DELETE", f"/api/v1/sessions/{own}", team="shop").status_code == 404
    listed = house.call("GET", f"/api/v1/sessions?user_id={ann}").json["items"]
    assert [session["id"] for session in listed] == [own]
    assert house.call("DELETE", f"/api/v1/sessions/{own}").status_code == 200
    assert here.get("/").headers["Location"] == "/login"


def test_an_administrator_logs_somebody_out_everywhere(house: House, ann: str) -> None:
    clients = [log_in(house, agent) for agent in ("one", "two")]
    admin = house.client("admin")
    page = admin.get(f"/account/users/{ann}").text
    assert "ann of sessions" in page
    assert page.count("/account/sessions/") == 2
    assert post(admin, f"/account/users/{ann}/sessions/end") == 303
    assert [client.get("/").status_code for client in clients] == [303, 303]
    assert "Nowhere." in admin.get(f"/account/users/{ann}").text
    assert admin.get("/account/users/nobody").status_code == 404

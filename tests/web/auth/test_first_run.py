"""The way from a fresh installation to its administrator."""

from __future__ import annotations

from appliance.config import Address
from tests.web.house import PASSWORD, House, csrf_of
from web.process import login_link

FORM = {"name": "ada", "password": PASSWORD, "again": PASSWORD}


def link_of(house: House) -> str:
    link = login_link(house.app.extensions["henge_auth"], house.services, Address("127.0.0.1", 8420))
    assert link is not None
    return link["url"].removeprefix("http://127.0.0.1:8420")


def test_the_link_leads_to_an_administrator_who_is_signed_in(fresh_house: House) -> None:
    client = fresh_house.client()
    path = link_of(fresh_house)
    page = client.get(path)
    assert page.status_code == 200
    assert "Create the administrator" in page.text

    answer = client.post(path, data=FORM | {"csrf": csrf_of(page.text)})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/start/watch")
    assert "Nothing is watched yet" in client.get("/").text
    assert login_link(fresh_house.app.extensions["henge_auth"], fresh_house.services, Address("::1", 1)) is None

    stranger = fresh_house.client()
    assert stranger.get(path).headers["Location"] == "/login"
    assert stranger.post(path, data=FORM | {"csrf": csrf_of(stranger.get("/login").text)}).status_code == 303
    assert len(fresh_house.services.state.read.list("user")) == 1


def test_looking_at_the_link_does_not_use_it_up_and_a_wrong_one_is_refused(fresh_house: House) -> None:
    client = fresh_house.client()
    path = link_of(fresh_house)
    assert [client.get(path).status_code for _ in range(3)] == [200, 200, 200]
    assert client.get("/setup/something-else").status_code == 403


def test_what_is_wrong_stands_beside_its_field(fresh_house: House) -> None:
    client = fresh_house.client()
    path = link_of(fresh_house)
    csrf = csrf_of(client.get(path).text)
    for change, words in (
        ({"password": "short", "again": "short"}, "it needs at least 10"),
        ({"again": "something different"}, "The two passwords differ."),
        ({"name": ""}, "A name has 1 to 64 characters"),
    ):
        answer = client.post(path, data=FORM | change | {"csrf": csrf})
        assert answer.status_code == 422
        assert words in answer.text
    assert not fresh_house.services.state.read.list("user")


def test_before_an_administrator_exists_only_this_machine_is_answered(fresh_house: House) -> None:
    client = fresh_house.client()
    assert client.get("/login").status_code == 200
    assert "henge up" in client.get("/login").text
    far = {"REMOTE_ADDR": "192.0.2.7"}
    assert client.get("/login", environ_base=far).status_code == 403
    assert client.get("/api/v1/checks", environ_base=far, headers=fresh_house.token()).status_code == 403
    assert client.get("/api/v1/checks", headers=fresh_house.token()).status_code == 200


def test_the_secret_of_the_link_is_not_stored(fresh_house: House) -> None:
    secret = link_of(fresh_house).rpartition("/")[2]
    for link in fresh_house.services.state.read.list("login_link"):
        assert secret not in str(link)

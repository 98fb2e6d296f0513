"""The audit, as page and as answer: who, from where, what; secrets never."""

from __future__ import annotations

import pytest

from tests.web.house import PASSWORD, House, csrf_of


@pytest.fixture(scope="module")
def changed(house: House) -> str:
    """A check that was created and renamed by a program, and the account of <b>ob</b> that was made in a browser."""
    check = house.add_check("audited <i>")
    house.call("PATCH", f"/api/v1/checks/{check['id']}", {"interval_s": 77})
    client = house.client("admin")
    data = {"name": "<b>ob", "password": PASSWORD, "role": "viewer", "csrf": csrf_of(client.get("/account").text)}
    assert client.post("/account/users", data=data).status_code == 303
    return str(check["id"])


def test_entries_tell_who_from_where_and_each_field(house: House, changed: str) -> None:
    newest, oldest = house.call("GET", f"/api/v1/audit?kind=check&id={changed}").json["items"]
    assert newest["changed"] == [{"path": "interval_s", "before": "60", "after": "77.0"}]
    assert (newest["actor"], newest["origin"]) == ("token:admin None", "127.0.0.1")
    assert oldest["before"] is None
    (made,) = [entry for entry in house.call("GET", "/api/v1/audit?kind=user").json["items"] if "ob" in str(entry)]
    assert (made["actor"], made["after"]["password_hash"]) == ("user:admin", "(hidden)")


def test_the_page_shows_them_escaped_and_narrowed(house: House, changed: str) -> None:
    client = house.client("admin")
    page = client.get("/audit?kind=user").text
    assert "&lt;b&gt;ob" in page
    assert "<b>ob" not in page
    assert "argon2" not in page
    assert changed not in page
    assert changed in client.get(f"/audit?id={changed}").text
    assert "No change is on record of these." in client.get("/audit?actor=nobody").text


def test_pieces_go_back_to_the_first_entry(house: House, changed: str) -> None:
    url, seen = "/api/v1/audit?limit=3", []
    while url:
        answer = house.call("GET", url).json
        assert len(answer["items"]) <= 3
        seen += [entry["seq"] for entry in answer["items"]]
        url = answer["next"]
    assert seen == list(range(seen[0], 0, -1))
    page = house.client("admin").get("/audit?limit=2&kind=user").text
    assert 'href="/audit?kind=user&amp;limit=2&amp;before_seq=' in page
    assert house.call("GET", "/api/v1/audit?before_seq=x").status_code == 422


def test_what_the_web_room_does_is_a_whole_chain(house: House, changed: str) -> None:
    verdict = house.services.state.read.verify_audit()
    assert verdict.fault is None
    assert verdict.losses == []

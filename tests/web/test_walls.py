"""Ways around the walls that once were open: each of these has been tried with success."""

from __future__ import annotations

import pytest

from appliance.state import AppendEvent, PutDocument
from tests.web.house import PASSWORD, House, csrf_of

HUGE = "9" * 5_000  # More digits than Python turns into a number.


def test_an_editor_cannot_try_another_command_as_a_version_of_an_administrators(house: House) -> None:
    command = house.call(
        "POST", "/api/v1/checks", {"kind": "nagios", "name": "an administrator's", "options": {"argv": ["/bin/true"]}}
    ).json
    house.asked.clear()
    body = {"id": command["id"], "options": {"argv": ["/bin/sh", "-c", "id"]}}
    assert house.call("POST", "/api/v1/checks/try", body, role="editor").status_code == 403
    assert house.asked == []


def test_a_token_of_a_team_makes_no_token_beyond_it(house: House) -> None:
    for method, path, body in (
        ("POST", "/api/v1/tokens", {"name": "wider", "role": "admin"}),
        ("POST", "/api/v1/users", {"name": "wider", "password": PASSWORD, "role": "admin"}),
        ("GET", "/api/v1/users", None),
        ("POST", "/api/v1/checks", {"kind": "nagios", "name": "runs", "options": {"argv": ["/bin/true"]}}),
    ):
        assert house.call(method, path, body, role="admin", team="shop").status_code == 403, path
    refused = house.call("GET", "/api/v1/tokens", role="admin", team="shop").json["error"]["message"]
    assert refused == "this needs the role admin; 'admin shop' has the role admin of team 'shop' only"


def test_a_token_of_a_team_cannot_turn_its_downtime_against_others(house: House) -> None:
    other = house.add_check("not the shop's")
    until_ms = house.services.clock.now_ms() + 3_600_000
    made = house.call(
        "POST",
        "/api/v1/downtimes",
        {"matchers": {"team": "shop"}, "until_ms": until_ms},
        role="editor",
        team="shop",
    ).json
    path = f"/api/v1/downtimes/{made['id']}"
    for change, status in (({"matchers": {"team": "default"}}, 403), ({"check_id": other["id"], "matchers": {}}, 422)):
        assert house.call("PATCH", path, change, role="editor", team="shop").status_code == status
    assert house.call("PATCH", path, {"comment": "ours"}, role="editor", team="shop").json["comment"] == "ours"
    house.call("DELETE", path)


def test_a_token_of_a_team_reads_no_events_of_others(house: House) -> None:
    ours = house.add_check("the shop's own", labels={"team": "shop"})
    other = house.add_check("somebody else's")
    now_ms = house.services.clock.now_ms()
    house.services.state.apply(
        [
            PutDocument(kind="incident", id="i-other", body={"team": "default", "check_id": other["id"]}),
            AppendEvent(kind="flip", subject=ours["id"], at_ms=now_ms, body={"output": "our words"}),
            AppendEvent(kind="failure", subject=other["id"], at_ms=now_ms, body={"output": "their words"}),
            AppendEvent(kind="incident", subject="i-other", at_ms=now_ms, body={"output": "their words"}),
            AppendEvent(kind="delivery", subject="c", at_ms=now_ms, body={"check_id": other["id"], "e": "their words"}),
        ],
        actor="test",
    )
    text = house.call("GET", "/api/v1/events?limit=50", role="viewer", team="shop").text
    assert "our words" in text
    assert "their words" not in text
    assert "their words" in house.call("GET", "/api/v1/events?limit=50", role="viewer").text


def test_a_viewer_learns_neither_the_address_of_a_job_nor_what_stands_in_headers(house: House) -> None:
    push = house.call("POST", "/api/v1/checks", {"kind": "push", "name": "nightly job", "options": {}}).json
    secret = push["options"]["secret"]
    http = house.add_check(
        "asks with a token",
        options={"url": "http://127.0.0.1:1/", "headers": {"Authorization": "Bearer abc123"}, "password": "def456"},
    )
    viewer, editor = house.client("viewer"), house.client("editor")
    for check in (push, http):
        for path in (f"/api/v1/checks/{check['id']}", f"/api/v1/checks?q={check['name']}", f"/checks/{check['id']}"):
            page = viewer.get(path).text
            assert check["name"] in page, path
            for word in (secret, "abc123", "def456"):
                assert word not in page, path
    assert secret in editor.get(f"/checks/{push['id']}").text
    for part in (secret[:6], "abc123"):
        assert house.call("GET", f"/api/v1/checks?q={part}").json["items"] == []


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}]
)
def test_another_site_cannot_use_what_a_browser_knows_for_basic_auth(house: House, headers: dict[str, str]) -> None:
    check = house.add_check(f"forged {headers}")
    token = house.token("admin")["Authorization"].partition(" ")[2]
    client = house.app.test_client()
    for path in (f"/checks/{check['id']}/delete", f"/api/v1/checks/{check['id']}/run"):
        answer = client.post(path, auth=("any", token), headers=headers)
        assert (answer.status_code, "another site" in answer.text) == (403, True), path
    own = client.post(f"/api/v1/checks/{check['id']}/run", auth=("any", token), headers={"Origin": "http://localhost"})
    assert own.status_code == 200


def test_guessing_at_an_account_does_not_lock_its_owner_out(house: House) -> None:
    owner, guesser = {"REMOTE_ADDR": "192.0.2.50"}, {"REMOTE_ADDR": "192.0.2.66"}
    client = house.client()
    csrf = csrf_of(client.get("/login").text)
    right = {"name": "viewer", "password": PASSWORD, "csrf": csrf}
    wrong = right | {"password": "a wrong password"}
    for _ in range(8):
        last = client.post("/login", data=wrong, environ_base=guesser)
    assert last.status_code == 429
    assert client.post("/login", data=right, environ_base=owner).status_code == 303


@pytest.mark.parametrize(
    "path",
    [
        f"/api/v1/checks?limit={HUGE}",
        f"/api/v1/events?before_seq={HUGE}",
        "/api/v1/events?before_seq=9223372036854775808",
        "/api/v1/checks/ID/results?end_ms=" + HUGE,
        "/api/v1/chart?expression=1&start_ms=0&end_ms=100000&step_ms=9223372036854775808",
        f"/prometheus/api/v1/labels?limit={HUGE}",
        "/prometheus/api/v1/query_range?query=1&start=0&end=100&step=9223372036854775808",
    ],
)
def test_a_number_beyond_every_bound_is_refused_as_such(house: House, path: str) -> None:
    if "ID" in path:
        path = path.replace("ID", house.add_check(f"bound {len(path)}")["id"])
    assert house.call("GET", path).status_code in (400, 422), path


def test_an_exit_status_beyond_every_bound_is_a_failure(house: House) -> None:
    check = house.call("POST", "/api/v1/checks", {"kind": "push", "name": "exits oddly", "options": {}}).json
    answer = house.client().get(f"/push/{check['options']['secret']}/{HUGE}")
    assert (answer.status_code, answer.json["state"]) == (200, "critical")

"""/api/v1/checks, and the shape of lists and errors."""

from __future__ import annotations

from typing import Any

import pytest
from markupsafe import escape

from tests.web.house import RESULT, House, csrf_of

BODY: dict[str, Any] = {
    "kind": "http",
    "name": "web",
    "options": {"url": "http://127.0.0.1:9/", "password": "open sesame"},
    "interval_s": 10,
    "timeout_s": 5,
    "retry_interval_s": 2,
    "max_check_attempts": 3,
    "labels": {"team": "api"},
    "channels": [],
}


def test_a_check_lives_from_post_to_delete(house: House) -> None:
    made = house.call("POST", "/api/v1/checks", BODY)
    assert made.status_code == 201
    path = made.headers["Location"]
    assert path == f"/api/v1/checks/{made.json['id']}"
    assert {name: made.json[name] for name in BODY if name != "options"} == {k: BODY[k] for k in BODY if k != "options"}
    assert made.json["options"] == {"url": "http://127.0.0.1:9/", "password": "********"}
    assert (made.json["state"], made.json["last_result"], made.json["next_run_ms"]) == ("pending", None, None)
    assert "open sesame" not in str(house.services.state.read.get("check", made.json["id"]))

    changed = house.call("PATCH", path, {"paused": True, "options": {"method": "POST"}})
    assert changed.status_code == 200
    assert changed.json["paused"] is True
    assert changed.json["options"] == {"url": "http://127.0.0.1:9/", "password": "********", "method": "POST"}
    assert house.call("GET", path).json == changed.json

    assert house.call("DELETE", path).status_code == 200
    gone = house.call("GET", path)
    assert (gone.status_code, gone.json["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"options": {"url": "nonsense"}}, 422, "options.url"),
        ({"options": {}}, 422, "options.url"),
        ({"options": {"url": "http://x/", "urk": 1}}, 422, "options.urk"),
        ({"kind": "htpp"}, 422, "kind"),
        ({"interval_s": 0}, 422, "interval_s"),
        ({"interval_s": "often"}, 422, "interval_s"),
        ({"name": ""}, 422, "name"),
        ({"channels": ["nobody"]}, 422, "channels"),
        ({"colour": "blue"}, 422, "colour"),
        ({"name": "taken"}, 409, "name"),
    ],
)
def test_what_is_wrong_is_named(house: House, change: dict[str, Any], status: int, field: str) -> None:
    house.call("POST", "/api/v1/checks", BODY | {"name": "taken"})
    answer = house.call("POST", "/api/v1/checks", BODY | {"name": "not made"} | change)
    assert answer.status_code == status, answer.text
    assert answer.json["error"]["field"] == field
    assert set(answer.json["error"]) == {"code", "message", "field"}


@pytest.mark.parametrize(
    ("raw", "status"), [(b"", 400), (b"{", 400), (b"\xff", 400), (b"[]", 422), (b"[" * 100_000, 400)]
)
def test_a_body_that_is_no_json_object_is_refused(house: House, raw: bytes, status: int) -> None:
    answer = house.app.test_client().post("/api/v1/checks", data=raw, headers=house.token())
    assert answer.status_code == status, answer.text
    assert answer.json["error"]["message"]


def test_a_body_that_is_too_large_is_refused_before_it_is_read(house: House) -> None:
    answer = house.app.test_client().post("/api/v1/checks", data=b" " * 1_100_000, headers=house.token())
    assert (answer.status_code, answer.json["error"]["code"]) == (413, "request_entity_too_large")


def test_two_changes_at_once_are_not_mixed(house: House) -> None:
    made = house.call("POST", "/api/v1/checks", BODY | {"name": "versioned"})
    path = made.headers["Location"]
    etag = house.call("GET", path).headers["ETag"]
    client = house.app.test_client()
    first = client.patch(path, json={"interval_s": 20}, headers=house.token() | {"If-Match": etag})
    second = client.patch(path, json={"interval_s": 30}, headers=house.token() | {"If-Match": etag})
    assert (first.status_code, second.status_code) == (200, 409)
    assert house.call("GET", path).json["interval_s"] == 20


def test_lists_come_in_pieces_that_join_to_the_whole(house: House) -> None:
    names = {f"piece {number}" for number in range(5)}
    for name in names:
        house.add_check(name, labels={"team": "pieces"})
    seen, path = [], "/api/v1/checks?team=pieces&limit=2"
    while path:
        answer = house.call("GET", path).json
        assert (answer["total_count"], len(answer["items"]) <= 2) == (5, True)
        seen += [check["name"] for check in answer["items"]]
        path = answer["next"]
    assert sorted(seen) == sorted(names)
    for wrong in ("limit=0", "limit=1001", "limit=x", "offset=-1"):
        refused = house.call("GET", f"/api/v1/checks?{wrong}")
        assert (refused.status_code, refused.json["error"]["field"]) == (422, wrong.partition("=")[0])
    assert [c["name"] for c in house.call("GET", "/api/v1/checks?q=piece+3").json["items"]] == ["piece 3"]


def test_run_and_try_answer_the_result(house: House) -> None:
    made = house.add_check("to run")
    answer = house.call("POST", f"/api/v1/checks/{made['id']}/run", role="editor")
    assert (answer.status_code, answer.json) == (200, RESULT)
    assert house.asked[-1] == ("run", {"check_id": made["id"]})

    count = house.services.state.read.count("check")
    tried = house.call("POST", "/api/v1/checks/try", {"kind": "http", "options": {"url": "http://x/"}}, role="editor")
    assert (tried.status_code, tried.json) == (200, RESULT)
    assert house.asked[-1][1]["options"] == {"url": "http://x/"}
    assert house.services.state.read.count("check") == count
    wrong = house.call("POST", "/api/v1/checks/try", {"kind": "http", "options": {"url": "x"}}, role="editor")
    assert (wrong.status_code, wrong.json["error"]["field"]) == (422, "options.url")
    assert house.call("POST", "/api/v1/checks/no-such/run").status_code == 404


def test_results_are_what_is_stored_newest_first(house: House) -> None:
    made = house.add_check("with a past")
    now_ms = house.services.clock.now_ms()
    labels = {"check": "with a past", "team": "default", "kind": "http", "host": "127.0.0.1"}
    series = [
        {
            "labels": labels | {"__name__": name},
            "samples": [[now_ms - 60_000 + 1_000 * i, v] for i, v in enumerate(values)],
        }
        for name, values in (("henge_check_state", [0, 2, 0]), ("henge_check_duration_seconds", [0.1, 0.2, 0.3]))
    ]
    assert house.call("POST", "/api/v1/series", series).status_code == 200
    answer = house.call("GET", f"/api/v1/checks/{made['id']}/results").json
    assert [(item["state"], item["duration_s"]) for item in answer["items"]] == [
        ("ok", 0.3),
        ("critical", 0.2),
        ("ok", 0.1),
    ]
    second = house.call("GET", f"/api/v1/checks/{made['id']}/results?limit=1&offset=1").json
    assert [item["state"] for item in second["items"]] == ["critical"]
    assert second["total_count"] == 3


@pytest.mark.parametrize("expression", ["sum((", "no_such_function(up)", "up +"])
def test_an_expression_that_can_never_be_answered_is_not_saved(house: House, expression: str) -> None:
    body = {"kind": "query", "name": f"metric {expression}", "options": {"expression": expression, "critical": "> 1"}}
    refused = house.call("POST", "/api/v1/checks", body)
    assert (refused.status_code, refused.json["error"]["field"]) == (422, "options.expression")
    made = house.call("POST", "/api/v1/checks", body | {"options": {"expression": "up", "critical": "> 1"}}).json
    path = f"/api/v1/checks/{made['id']}"
    assert house.call("PATCH", path, {"options": {"expression": expression}}).status_code == 422
    assert house.call("PATCH", path, {"options": {"expression": "sum by (job) (rate(up[5m])) / 2"}}).status_code == 200
    client = house.client("editor")
    form = {
        "csrf": csrf_of(client.get("/").text),
        "name": "by the form",
        "options.expression": expression,
        "options.critical": "> 1",
    }
    page = client.post("/checks/new/query", data=form)
    assert page.status_code == 422
    assert escape(expression) in page.text, "what was written is kept"
    assert 'aria-invalid="true"' in page.text

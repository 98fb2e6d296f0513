"""Rule files over /api/v1/rules: who may do what with them, and what becomes of the checks of their alerts."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.web.house import House
from web.app import BODY_BYTES_MAX

TEXT = """groups:
- name: web
  interval: 30s
  rules:
  - {record: job:up:sum, expr: sum by (job) (up), labels: {kept: by_rule}}
  - alert: Down
    expr: up == 0
    for: 5m
    keep_firing_for: 1m
    labels: {severity: critical}
    annotations: {summary: "{{ $labels.job }} is down"}
"""


def made(house: House, name: str, *, text: str = TEXT, **more: Any) -> dict[str, Any]:
    answer = house.call("POST", "/api/v1/rules", {"name": name, "text": text, **more})
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json
    return created


def alert(name: str, expression: str = "up == 0") -> str:
    return json.dumps({"groups": [{"name": "g", "rules": [{"alert": name, "expr": expression}]}]})


def test_a_rule_file_is_made_read_changed_and_deleted(house: House) -> None:
    answer = house.call("POST", "/api/v1/rules", {"name": "made", "text": TEXT})
    assert answer.status_code == 201
    path = answer.headers["Location"]
    got = house.call("GET", path)
    assert got.json == answer.json
    assert (got.json["name"], got.json["team"], got.json["text"]) == ("made", "default", TEXT)
    assert (got.json["group_count"], got.json["rule_count"], got.json["alert_count"]) == (1, 2, 1)
    (group,) = got.json["groups"]
    recording, alerting = group.pop("rules")
    assert group == {
        "name": "web",
        "interval_s": 30.0,
        "query_offset_s": 0.0,
        "limit": 0,
        "labels": {},
        "last_evaluation_ms": None,
        "evaluation_s": None,
        "trouble": "",
    }
    assert recording == {
        "type": "recording",
        "name": "job:up:sum",
        "expression": "sum by (job) (up)",
        "labels": {"kept": "by_rule"},
        "line": 5,
        "health": "unknown",
        "last_error": "",
        "last_evaluation_ms": None,
        "evaluation_s": None,
    }
    assert (alerting["type"], alerting["for_s"], alerting["keep_firing_for_s"]) == ("alerting", 300.0, 60.0)
    check = house.call("GET", f"/api/v1/checks/{alerting['check_id']}").json
    assert (check["name"], check["rules"], check["options"]) == ("Down", got.json["id"], {"expression": "up == 0"})

    changed = house.call("PATCH", path, {"paused": True})
    assert (changed.status_code, changed.json["paused"], changed.json["version"]) == (200, True, 2)
    assert house.call("GET", f"/api/v1/checks/{alerting['check_id']}").json["paused"] is True
    assert house.call("DELETE", path).json == {"deleted": got.json["id"]}
    assert house.call("GET", path).status_code == 404
    assert house.call("GET", f"/api/v1/checks/{alerting['check_id']}").status_code == 404


def test_the_list_has_no_texts_and_comes_in_pieces(house: House) -> None:
    for name in ("list b", "list a"):
        made(house, name, text=alert(name))
    answer = house.call("GET", "/api/v1/rules?limit=1&name=list+a&name=list+b").json
    assert [item["name"] for item in answer["items"]] == ["list a"]
    assert "text" not in answer["items"][0]
    assert answer["total_count"] == 2
    rest = house.call("GET", answer["next"]).json
    assert [item["name"] for item in rest["items"]] == ["list b"]
    assert house.call("GET", "/api/v1/rules?team=nosuch").json["items"] == []


def test_a_bad_text_is_refused_with_the_words_and_lines_of_the_checker(house: House) -> None:
    answer = house.call("POST", "/api/v1/rules", {"name": "bad", "text": "groups:\n- rules:\n  - {expr: sum(}\n"})
    assert answer.status_code == 422
    assert answer.json["error"]["field"] == "text"
    lines = answer.json["error"]["message"].split("\n")
    assert lines[0] == "2: Groupname must not be empty"
    assert lines[1] == "3: one of 'record' or 'alert' must be set"
    assert lines[2].startswith('3: could not parse expression of rule "": ')


def test_what_is_wrong_with_other_fields_is_named(house: House) -> None:
    made(house, "taken", text=alert("Taken"))
    for body, status, field in (
        ({"name": "taken", "text": TEXT}, 409, "name"),
        ({"name": "x"}, 422, "text"),
        ({"name": "x", "text": TEXT, "channels": ["nobody"]}, 422, "channels"),
        ({"name": "x", "text": TEXT, "team": "a/b"}, 422, "team"),
        ({"name": "x", "text": TEXT, "unknown": 1}, 422, "unknown"),
    ):
        answer = house.call("POST", "/api/v1/rules", body)
        assert (answer.status_code, answer.json["error"]["field"]) == (status, field)


def test_the_longest_text_passes(house: House) -> None:
    """A text of many line breaks is the one that JSON makes longest."""
    text = alert("Longest") + "\n" * (500 * 1024 - len(alert("Longest")))
    assert len(json.dumps({"name": "longest", "text": text})) < BODY_BYTES_MAX
    created = made(house, "longest", text=text)
    refused = house.call("PATCH", f"/api/v1/rules/{created['id']}", {"text": text + "\n"})
    assert (refused.status_code, refused.json["error"]["field"]) == (422, "text")


def test_the_most_rules_pass(house: House) -> None:
    rules = [{"alert": "Many", "expr": f"up == {index}"} for index in range(1_000)]
    created = made(house, "many", text=json.dumps({"groups": [{"name": "many", "rules": rules}]}))
    assert created["alert_count"] == 1_000
    assert house.call("GET", "/api/v1/checks?kind=query&q=Many&limit=1").json["total_count"] == 1_000
    assert house.call("DELETE", f"/api/v1/rules/{created['id']}").status_code == 200
    assert house.call("GET", "/api/v1/checks?kind=query&q=Many").json["total_count"] == 0


def test_a_change_of_an_older_version_is_refused(house: House) -> None:
    created = made(house, "versions", text=alert("Versions"))
    path = f"/api/v1/rules/{created['id']}"
    etag = house.call("GET", path).headers["ETag"]
    headers = house.token() | {"If-Match": etag}
    client = house.app.test_client()
    assert client.patch(path, json={"paused": True}, headers=headers).status_code == 200
    assert client.patch(path, json={"paused": False}, headers=headers).status_code == 409


def test_a_check_of_a_rule_is_changed_in_its_file_alone(house: House) -> None:
    created = made(house, "owner", text=alert("Owned"))
    check_id = created["groups"][0]["rules"][0]["check_id"]
    path = f"/api/v1/checks/{check_id}"
    for method, where, body in (("PATCH", path, {"interval_s": 5}), ("DELETE", path, None)):
        answer = house.call(method, where, body)
        assert answer.status_code == 409
        assert answer.json["error"]["message"] == (
            f"check 'Owned' belongs to the rule file 'owner'; change it there: /rules/{created['id']}"
        )
    assert house.call("POST", f"{path}/run").status_code == 200, "its group is evaluated"
    now_ms = house.services.clock.now_ms()
    quiet = {"check_id": check_id, "from_ms": now_ms, "until_ms": now_ms + 1_000}
    assert house.call("POST", "/api/v1/downtimes", quiet).status_code == 201


def test_each_change_is_audited_with_its_checks(house: House) -> None:
    created = made(house, "audited", text=alert("Audited"))
    house.call("DELETE", f"/api/v1/rules/{created['id']}")
    check_id = created["groups"][0]["rules"][0]["check_id"]
    for kind, document_id in (("rules", created["id"]), ("check", check_id)):
        last, first = house.services.state.read.audit(kind=kind, id=document_id)
        assert first.actor.startswith("token:admin")
        assert (first.before, last.after) == (None, None)


ACCESS = [  # (method, role, team, status for a rule file of team bakery)
    ("GET", "viewer", None, 200),
    ("GET", "viewer", "bakery", 200),
    ("GET", "editor", "other", 404),
    ("PATCH", "viewer", None, 403),
    ("PATCH", "editor", "bakery", 200),
    ("PATCH", "editor", "other", 404),
    ("DELETE", "viewer", "bakery", 403),
    ("DELETE", "editor", "other", 404),
]


@pytest.mark.parametrize(("method", "role", "team", "status"), ACCESS)
def test_roles_and_teams(house: House, method: str, role: str, team: str | None, status: int) -> None:
    name = f"access {method} {role} {team}"
    path = f"/api/v1/rules/{made(house, name, text=alert(name), team='bakery')['id']}"
    body = {"paused": False} if method == "PATCH" else None
    assert house.call(method, path, body, role=role, team=team).status_code == status
    assert house.app.test_client().open(path, method=method, json=body).status_code == 401


def test_a_token_of_a_team_writes_for_its_team_alone(house: House) -> None:
    body = {"name": "of a team", "text": alert("OfTeam")}
    created = house.call("POST", "/api/v1/rules", body, role="editor", team="bakery")
    assert (created.status_code, created.json["team"]) == (201, "bakery")
    path = f"/api/v1/rules/{created.json['id']}"
    for answer in (
        house.call("PATCH", path, {"team": "other"}, role="editor", team="bakery"),
        house.call("POST", "/api/v1/rules", body | {"team": "other"}, role="editor", team="bakery"),
    ):
        assert (answer.status_code, answer.json["error"]["field"]) == (403, "team")


def test_a_trial_says_what_would_be_recorded_and_alerted_and_writes_nothing(house: House) -> None:
    now_s = int(time.time())
    series = [
        {"labels": {"__name__": "trial_up", "job": job}, "samples": [[now_s * 1_000, value]]}
        for job, value in (("a", 1), ("b", 0))
    ]
    assert house.call("POST", "/api/v1/series", series).status_code == 200
    text = TEXT.replace("(up)", "(trial_up)").replace("up == 0", "trial_up == 0") + (
        "  - {alert: Wrong, expr: 'trial_up + on () trial_up'}\n  - {alert: Now, expr: trial_up == 1}\n"
    )
    answer = house.call("POST", "/api/v1/rules/try", {"text": text})
    assert answer.status_code == 200, answer.text
    (group,) = answer.json["groups"]
    recording, pending, wrong, firing = group["rules"]
    assert recording["series_count"] == 2
    assert recording["series"][1] == {"labels": {"__name__": "job:up:sum", "job": "b", "kept": "by_rule"}, "value": 0.0}
    assert pending["series"] == [
        {
            "labels": {"alertname": "Down", "job": "b", "severity": "critical"},
            "value": 0.0,
            "annotations": {"summary": "b is down"},
            "state": "pending",
        }
    ]
    assert "many" in wrong["error"]
    assert wrong["series"] == []
    assert (firing["error"], firing["series"][0]["state"]) == ("", "firing")
    assert house.services.tsdb.query_instant("job:up:sum", now_s * 1_000).labels == []
    refused = house.call("POST", "/api/v1/rules/try", {"text": "groups: 1"})
    assert (refused.status_code, refused.json["error"]["field"]) == (422, "text")
    assert house.call("POST", "/api/v1/rules/try", {"text": text}, role="viewer").status_code == 403


def test_it_is_part_of_the_description(house: House) -> None:
    described = house.call("GET", "/api/v1/openapi.json").json
    assert set(described["paths"]["/api/v1/rules"]) == {"get", "post"}
    assert set(described["paths"]["/api/v1/rules/{rules_id}"]) == {"get", "patch", "delete"}
    assert set(described["components"]["schemas"]["RuleFile"]["required"]) == {"name", "text"}


@pytest.mark.parametrize("text", ["", "groups: []", "groups: [{name: web}]"])
def test_a_text_without_a_rule_does_not_remove_the_rules_there_are(house: House, text: str) -> None:
    created = made(house, f"emptied {len(text)}", text=alert(f"Emptied{len(text)}"))
    path = f"/api/v1/rules/{created['id']}"
    answer = house.call("PATCH", path, {"text": text})
    assert (answer.status_code, answer.json["error"]["field"]) == (422, "text")
    assert "remove the rule file" in answer.json["error"]["message"]
    assert house.call("GET", path).json["groups"] == created["groups"]

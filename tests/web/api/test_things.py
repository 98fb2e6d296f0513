"""Channels, downtimes, incidents, users, tokens, events, system, series: the rest of /api/v1."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.web.house import PASSWORD, House

HOUR_MS = 3_600_000


def test_a_channel_keeps_its_secret_and_cannot_go_while_a_check_tells_it(house: House) -> None:
    body = {"kind": "webhook", "name": "hook", "options": {"url": "http://127.0.0.1:9/", "secret": "hush hush"}}
    made = house.call("POST", "/api/v1/channels", body)
    assert made.status_code == 201
    path = made.headers["Location"]
    assert made.json["options"]["secret"] == "********"
    assert "hush" not in str(house.services.state.read.get("channel", made.json["id"]))
    taken = house.call("POST", "/api/v1/channels", body)
    assert (taken.status_code, taken.json["error"]["field"]) == (409, "name")
    wrong = house.call("POST", "/api/v1/channels", body | {"name": "b", "options": {"url": "ftp://x"}})
    assert (wrong.status_code, wrong.json["error"]["field"]) == (422, "options.url")

    changed = house.call("PATCH", path, {"options": {"url": "http://127.0.0.1:10/", "secret": "********"}})
    assert changed.json["options"] == {"url": "http://127.0.0.1:10/", "secret": "********"}
    tested = house.call("POST", f"{path}/test")
    assert (tested.status_code, tested.json["delivered"]) == (200, True)

    check = house.add_check("tells the hook", channels=["hook"])
    refused = house.call("DELETE", path)
    assert refused.status_code == 409
    assert "tells the hook" in refused.json["error"]["message"]
    house.call("DELETE", f"/api/v1/checks/{check['id']}")
    assert house.call("DELETE", path).status_code == 200
    assert house.call("GET", path).status_code == 404


def test_a_downtime_begins_and_ends(house: House) -> None:
    check = house.add_check("quiet one")
    now_ms = house.services.clock.now_ms()
    body = {"check_id": check["id"], "from_ms": now_ms - 1_000, "until_ms": now_ms + HOUR_MS, "comment": "new disk"}
    made = house.call("POST", "/api/v1/downtimes", body)
    assert made.status_code == 201
    assert (made.json["active"], made.json["author"]) == (True, "admin None")
    assert "downtime" in house.client("viewer").get(f"/checks/{check['id']}").text
    path = made.headers["Location"]
    assert house.call("PATCH", path, {"until_ms": now_ms - 500}).json["active"] is False
    for wrong, field in (
        ({"until_ms": now_ms - HOUR_MS}, "until_ms"),
        ({"check_id": "no-such"}, "check_id"),
        ({"check_id": None}, "check_id"),
    ):
        refused = house.call("POST", "/api/v1/downtimes", body | wrong)
        assert (refused.status_code, refused.json["error"]["field"]) == (422, field)
    assert house.call("DELETE", path).status_code == 200
    assert house.call("DELETE", path).status_code == 404


def incident(check: dict[str, Any], **change: Any) -> dict[str, Any]:
    now_ms = 1_790_000_000_000
    return {
        "id": "i1",
        "check_id": check["id"],
        "title": f"CRITICAL: {check['name']}",
        "state": "open",
        "instance": {},
        "current": "critical",
        "worst": "critical",
        "output": "it broke",
        "started_at_ms": now_ms,
        "resolved_at_ms": None,
        "updated_at_ms": now_ms,
        "last_ok_ms": None,
        "told": "critical",
        "was_quiet": False,
        "acknowledged_by": None,
        "check_name": check["name"],
        "check_kind": "http",
        "team": "default",
    } | change


def test_an_incident_is_listed_shown_and_looked_after(house: House) -> None:
    check = house.add_check("breaks")
    house.put("incident", "i1", incident(check))
    house.put("incident", "i2", incident(check, id="i2", state="resolved", resolved_at_ms=1_790_000_060_000))
    listed = house.call("GET", f"/api/v1/incidents?state=open&check_id={check['id']}").json
    assert [entry["id"] for entry in listed["items"]] == ["i1"]
    assert house.call("GET", "/api/v1/incidents?state=shut").json["error"]["field"] == "state"
    acknowledged = house.call("PATCH", "/api/v1/incidents/i1", {"acknowledged": True}, role="editor")
    assert acknowledged.json["acknowledged_by"] == "editor None"
    client = house.client("viewer")
    assert "it broke" in client.get("/incidents").text
    page = client.get("/incidents/i1").text
    assert "editor None looks after it" in page
    assert client.get("/incidents/no-such").status_code == 404


def test_users_come_and_go_but_the_last_administrator_stays(house: House) -> None:
    made = house.call("POST", "/api/v1/users", {"name": "linus", "password": PASSWORD, "role": "editor"})
    assert made.status_code == 201
    assert "password" not in str(made.json)
    path = made.headers["Location"]
    same = house.call("POST", "/api/v1/users", {"name": "LINUS", "password": PASSWORD})
    assert (same.status_code, same.json["error"]["field"]) == (409, "name")
    weak = house.call("POST", "/api/v1/users", {"name": "x", "password": "short"})
    assert (weak.status_code, weak.json["error"]["field"]) == (422, "password")
    assert house.call("PATCH", path, {"role": "admin"}).json["role"] == "admin"
    assert house.call("PATCH", path, {"role": "viewer"}).json["role"] == "viewer"
    assert house.call("DELETE", path).status_code == 200
    users = house.call("GET", "/api/v1/users?limit=1000").json["items"]
    admins = [user for user in users if user["role"] == "admin"]
    assert len(admins) == 1
    assert house.call("DELETE", f"/api/v1/users/{admins[0]['id']}").status_code == 409
    assert house.call("PATCH", f"/api/v1/users/{admins[0]['id']}", {"role": "viewer"}).status_code == 409


def test_series_are_acknowledged_and_queried(house: House) -> None:
    now_ms = house.services.clock.now_ms()
    good = {"labels": {"__name__": "written", "to": "the api"}, "samples": [[now_ms, 2.5]]}
    answer = house.call("POST", "/api/v1/series", [good])
    assert (answer.status_code, answer.json["accepted_count"]) == (200, 1)
    found = house.call("GET", "/prometheus/api/v1/query?query=written").json["data"]["result"]
    assert [(row["metric"]["to"], row["value"][1]) for row in found] == [("the api", "2.5")]
    future = good | {"samples": [[now_ms + 10 * 86_400_000, 1]]}
    partly = house.call("POST", "/api/v1/series", [good | {"samples": [[now_ms + 1, 3]]}, future])
    assert partly.status_code == 200
    assert (partly.json["accepted_count"], sum(partly.json["refused"].values())) == (1, 1)
    refused = house.call("POST", "/api/v1/series", [future])
    assert refused.status_code == 400
    assert house.app.test_client().post("/api/v1/series", data=b"{", headers=house.token()).status_code == 400
    assert house.call("POST", "/api/v1/series", [good], role="viewer").status_code == 403


def test_events_are_paged_and_log_ins_are_for_administrators(house: House) -> None:
    house.client("viewer")
    assert any(event["kind"] == "login" for event in house.call("GET", "/api/v1/events?limit=500").json["items"])
    assert not any(
        event["kind"] == "login" for event in house.call("GET", "/api/v1/events?limit=500", role="viewer").json["items"]
    )
    first = house.call("GET", "/api/v1/events?limit=1").json
    second = house.call("GET", first["next"]).json
    assert second["items"][0]["seq"] < first["items"][0]["seq"]


def test_system_names_who_is_silent_and_shows_the_rest(house: House) -> None:
    answer = house.call("GET", "/api/v1/system", role="viewer").json
    assert "supervisor" in answer["silent"], "no supervisor runs in this test"
    assert answer["store"]["series_count"] >= 0
    assert answer["disk"]["total_bytes"] > 0
    assert "supervisor" in house.client("viewer").get("/system").text


def test_cardinality_as_json_and_as_plain_tables(house: House) -> None:
    samples = [[int(time.time() * 1_000), 1.0]]
    series = [{"labels": {"__name__": "card", "pod": str(pod), "odd": "a\nb"}, "samples": samples} for pod in range(30)]
    assert house.call("POST", "/api/v1/series", series).status_code == 200
    answer = house.call("GET", "/api/v1/system/cardinality?limit=5", role="viewer").json
    assert answer["metrics"][0] == {"metric": "card", "series_count": 30, "new_count": 30}
    assert {"name": "pod", "series_count": 30, "new_count": 30, "value_count": 30} in answer["label_names"]
    assert {"name": "odd", "value": "a\nb", "series_count": 30, "new_count": 30} in answer["label_values"]
    assert len(answer["label_values"]) == 5
    text = house.call("GET", "/api/v1/system/cardinality?format=text", role="viewer").text
    assert "Metrics by series" in text
    assert any(line.split() == ["odd", "a\\nb", "30", "30"] for line in text.splitlines())
    assert house.call("GET", "/api/v1/system/cardinality?format=xml").status_code == 422


def test_the_description_covers_every_route_of_the_api(house: House) -> None:
    described = house.call("GET", "/api/v1/openapi.json").json
    assert described["openapi"].startswith("3.1")
    assert described["paths"]["/api/v1/checks"]["post"]["requestBody"]
    for rule in house.app.url_map.iter_rules():
        if str(rule).startswith("/api/v1"):
            operations = described["paths"][str(rule).replace("<", "{").replace(">", "}")]
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                done = [answer for code, answer in operations[method.lower()]["responses"].items() if code < "300"]
                assert [answer["content"]["application/json"]["schema"] for answer in done], (rule, method)
                assert "401" in operations[method.lower()]["responses"]
    references = [text.split('"')[0] for text in str(described).replace("'", '"').split("#/components/schemas/")[1:]]
    assert set(references) <= set(described["components"]["schemas"])


def test_a_push_check_hears_its_beats(house: House) -> None:
    made = house.call("POST", "/api/v1/checks", {"kind": "push", "name": "backup", "options": {"period_s": 60}}).json
    path = f"/push/{made['options']['secret']}"
    stranger = house.app.test_client()
    assert stranger.get(path).json["state"] == "ok"
    assert house.services.state.read.get("beat", made["id"]).body["state"] == "ok"
    failed = stranger.post(f"{path}/1", data=b"disk full")
    assert failed.json["state"] == "warning"
    assert house.services.state.read.get("beat", made["id"]).body["output"] == "disk full"
    assert stranger.get(f"{path}?status=down&msg=oh").json["state"] == "critical"
    assert stranger.get(f"{path}/127").json["state"] == "critical"
    assert stranger.get(f"{path}/purple").status_code == 400
    assert stranger.get("/push/guessed").status_code == 404
    assert path in house.client("editor").get(f"/checks/{made['id']}").text


def test_the_page_about_the_interfaces_names_every_address(house: House) -> None:
    text = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
    for rule in house.app.url_map.iter_rules():
        if str(rule).startswith("/api/v1"):
            assert f"`{str(rule).replace('<', '{').replace('>', '}')}`" in text, rule


def test_the_system_page_shows_room_forecast_limits_and_doors(house: House) -> None:
    text = house.client("viewer").get("/system").text
    for wanted in ("Active series", "Rollups", "Disk budget", "Forecast", "Remote-write", "Queries", "cardinality"):
        assert wanted in text, wanted


def test_a_sample_beyond_a_limit_is_refused_with_limit_and_setting(house: House) -> None:
    series = [{"labels": {"__name__": "early"}, "samples": [[2**45, 1]]}]
    refused = house.call("POST", "/api/v1/series", series, role="editor")
    assert refused.status_code == 400
    assert "store.future_max" in refused.json["error"]["message"]

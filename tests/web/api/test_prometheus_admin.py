"""Prometheus' endpoints for administrators."""

from __future__ import annotations

import pytest

from tests.web.house import House

ADMIN = "/prometheus/api/v1/admin/tsdb"


@pytest.fixture(scope="module")
def now_s(house: House) -> int:
    """A sample of each of three rooms."""
    now_s = house.services.clock.now_ms() // 10_000 * 10
    series = [
        {
            "labels": {"__name__": "admin_temperature", "room": room},
            "samples": [[now_s * 1_000, 1], [now_s * 1_000 - 60_000, 2]],
        }
        for room in ("lab", "hall", "attic")
    ]
    assert house.call("POST", "/api/v1/series", series).status_code == 200
    return now_s


def rooms(house: House, now_s: int) -> list[str]:
    answer = house.call("GET", f"/prometheus/api/v1/query?query=admin_temperature&time={now_s}")
    return sorted(row["metric"]["room"] for row in answer.json["data"]["result"])


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_series_are_deleted_and_the_others_stay(house: House, now_s: int, method: str) -> None:
    room = {"POST": "lab", "PUT": "hall"}[method]
    answer = house.call(method, f'{ADMIN}/delete_series?match[]=admin_temperature{{room="{room}"}}')
    assert (answer.status_code, answer.data) == (204, b"")
    assert room not in rooms(house, now_s)
    assert "attic" in rooms(house, now_s)


def test_a_range_is_deleted_both_ends_included(house: House, now_s: int) -> None:
    arguments = f"match[]=admin_temperature&start={now_s - 60}&end={now_s - 60}"
    assert house.call("POST", f"{ADMIN}/delete_series?{arguments}").status_code == 204
    found = house.call("GET", f'/prometheus/api/v1/query?query=admin_temperature{{room="attic"}}[5m]&time={now_s}')
    (row,) = found.json["data"]["result"]
    assert row["values"] == [[now_s, "1"]]


def test_tombstones_are_cleaned(house: House, now_s: int) -> None:
    assert house.call("POST", f"{ADMIN}/clean_tombstones").status_code == 204
    assert rooms(house, now_s)[:1] == ["attic"]


@pytest.mark.parametrize("arguments", ["", "?skip_head=true"])
def test_a_snapshot_is_taken_and_named(house: House, now_s: int, arguments: str) -> None:
    answer = house.call("POST", f"{ADMIN}/snapshot{arguments}")
    assert answer.status_code == 200, answer.text
    name = answer.json["data"]["name"]
    assert answer.json == {"status": "success", "data": {"name": name}}
    (found,) = house.context.config.data_dir.glob(f"snapshots/{name}/MANIFEST.json")
    assert found.is_file()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("snapshot?skip_head=perhaps", "strconv.ParseBool"),
        ("delete_series", "no match[] parameter provided"),
        ("delete_series?match[]=rate(a[5m])", 'unexpected "("'),
        ("delete_series?match[]={", "parse error"),
        ('delete_series?match[]={a=~".*"}', "non-empty matcher"),
        ("delete_series?match[]=up&start=5&end=1", "end timestamp must not be before start"),
    ],
)
def test_wrong_deletes_are_refused(house: House, path: str, words: str) -> None:
    answer = house.call("POST", f"{ADMIN}/{path}")
    assert answer.status_code == 400, answer.text
    assert answer.json["status"] == "error"
    assert words in answer.json["error"]


@pytest.mark.parametrize("path", ["delete_series?match[]=up", "clean_tombstones", "snapshot"])
@pytest.mark.parametrize(("role", "team"), [("viewer", None), ("editor", None), ("admin", "shop")])
def test_only_administrators_may(house: House, path: str, role: str, team: str | None) -> None:
    assert house.call("POST", f"{ADMIN}/{path}", role=role, team=team).status_code == 403
    assert house.app.test_client().post(f"{ADMIN}/{path}").status_code == 401
    assert house.call("GET", f"{ADMIN}/{path}").status_code == 405

"""`/rules` and `/alerts` of Prometheus' HTTP API: filters, pages, teams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.web.house import House

PATH = "/prometheus/api/v1/"


def rule(name: str, **labels: str) -> dict[str, Any]:
    """An alerting rule with an alert if its name begins with a capital, else a recording rule."""
    if name[0].islower():
        return {
            "name": name,
            "type": "recording",
            "query": "up",
            "health": "ok",
            **({"labels": labels} if labels else {}),
        }
    alert = {"labels": {"alertname": name}, "state": "firing", "value": "1e+00"}
    return {"name": name, "type": "alerting", "state": "firing", "labels": labels, "alerts": [alert]}


def group(name: str, *rules: dict[str, Any], file: str = "one", team: str = "shop") -> dict[str, Any]:
    return {"id": f"{team} {file}", "team": team, "name": name, "file": file, "rules": list(rules), "interval": 60.0}


GROUPS = [
    group("a", rule("r", job="web"), rule("Down", severity="page")),
    group("b", rule("s")),
    group("a", rule("Down", severity="warning"), file="two"),
    group("a", rule("Slow"), file="two", team="infra"),
]


@pytest.fixture(autouse=True)
def _groups(house: House) -> Iterator[None]:
    house.rule_groups = GROUPS
    yield
    house.rule_groups = []


def ask(house: House, path: str, team: str | None = None, **arguments: Any) -> Any:
    answer = house.call("GET", f"{PATH}{path}?{urlencode(arguments, doseq=True)}", team=team)
    assert answer.status_code == 200, answer.text
    return answer.json["data"]


def names(found: Any) -> list[str]:
    return [
        f"{one['file']}/{one['name']}: " + " ".join(rule["name"] for rule in one["rules"]) for one in found["groups"]
    ]


ALL = ["one/a: r Down", "one/b: s", "two/a: Down", "two/a: Slow"]
FILTERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, ALL),
    "alerts": ({"type": "alert"}, ["one/a: Down", "two/a: Down", "two/a: Slow"]),
    "records": ({"type": "Record"}, ["one/a: r", "one/b: s"]),
    "by name": ({"rule_name[]": ["Down", "s"]}, ["one/a: Down", "one/b: s", "two/a: Down"]),
    "by group": ({"rule_group[]": "b"}, ["one/b: s"]),
    "by file": ({"file[]": "two"}, ["two/a: Down", "two/a: Slow"]),
    "by label": ({"match[]": '{severity="page"}'}, ["one/a: Down"]),
    "by any of several selectors": ({"match[]": ['{severity=~"w.*"}', '{job="web"}']}, ["one/a: r", "two/a: Down"]),
    "by what is not there": ({"match[]": '{severity=~"p.+|w.+",job=""}'}, ["one/a: Down", "two/a: Down"]),
    "by what is not so": ({"match[]": '{severity=~".+",severity!="page",severity!~"x.*"}'}, ["two/a: Down"]),
    "nobody": ({"rule_name[]": "nosuch"}, []),
}


@pytest.mark.parametrize(("arguments", "wanted"), FILTERS.values(), ids=FILTERS.keys())
def test_rules_are_filtered(house: House, arguments: dict[str, Any], wanted: list[str]) -> None:
    assert names(ask(house, "rules", **arguments)) == wanted


def test_pages_hold_every_group_once(house: House) -> None:
    found: list[str] = []
    more: dict[str, str] = {}
    for _ in range(5):
        page = ask(house, "rules", group_limit=1, **more)
        found += names(page)
        if "groupNextToken" not in page:
            break
        more = {"group_next_token": page["groupNextToken"]}
    assert found == ALL
    answer = house.call("GET", f"{PATH}rules?group_limit=1&group_next_token=nosuch")
    assert answer.status_code == 400
    assert answer.json["error"] == (
        "invalid parameter \"group_next_token\": invalid group_next_token 'nosuch'. were rule groups changed?"
    )


def test_groups_are_in_prometheus_shape_and_alerts_can_be_left_out(house: House) -> None:
    first = ask(house, "rules")["groups"][0]
    assert set(first) == {"name", "file", "rules", "interval"}
    assert len(first["rules"][1]["alerts"]) == 1
    without = ask(house, "rules", exclude_alerts="true")["groups"][0]["rules"]
    assert "alerts" not in without[0]
    assert without[1]["alerts"] is None


def test_alerts_are_those_of_all_rules(house: House) -> None:
    found = ask(house, "alerts")["alerts"]
    assert [alert["labels"]["alertname"] for alert in found] == ["Down", "Down", "Slow"]


def test_a_team_sees_its_own_rules(house: House) -> None:
    assert names(ask(house, "rules", team="infra")) == ["two/a: Slow"]
    assert [alert["labels"]["alertname"] for alert in ask(house, "alerts", team="infra")["alerts"]] == ["Slow"]

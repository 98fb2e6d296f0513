"""A rule file in a real appliance: from samples to recorded series and a critical check, across a kill -9."""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from tests.endtoend.looking import metric
from tests.receiver import Receiver
from tests.running import Appliance
from tests.waiting import wait_until

TEXT = """
groups:
- name: shop
  interval: 1s
  labels: {area: sales}
  rules:
  - {record: "shop:orders:sum", expr: sum by (shop) (orders)}
  - {record: "shop:orders:age", expr: 'time() - timestamp(shop:orders:sum{shop="north"})'}
  - alert: TooManyOrders
    expr: shop:orders:sum > 90
    for: 3s
    labels: {severity: page}
    annotations: {summary: "{{ $labels.shop }} has {{ $value }} orders"}
"""


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with Appliance(tmp_path_factory.mktemp("rules")) as running:
        yield running


def send(appliance: Appliance, value: float) -> None:
    body = [{"labels": {"__name__": "orders", "shop": "north"}, "samples": [[int(time.time() * 1000), value]]}]
    status, answer = appliance.call("POST", "/api/v1/series", body)
    assert status == 200, answer


def ask(appliance: Appliance, path: str, **arguments: Any) -> Any:
    status, answer = appliance.call("GET", f"/prometheus/api/v1/{path}?{urllib.parse.urlencode(arguments, doseq=True)}")
    assert status == 200, answer
    return answer["data"]


def alert_state(appliance: Appliance) -> str:
    groups = ask(appliance, "rules", type="alert")["groups"]
    return str(groups[0]["rules"][0]["state"]) if groups else ""


def test_a_rule_file_records_alerts_and_outlives_its_scheduler(appliance: Appliance) -> None:
    with Receiver() as phone:
        channel = {"kind": "webhook", "name": "hook", "options": {"url": phone.url}}
        assert appliance.call("POST", "/api/v1/channels", channel)[0] == 201
        status, created = appliance.call(
            "POST", "/api/v1/rules", {"name": "shop rules", "text": TEXT, "channels": ["hook"]}
        )
        assert status == 201, created

        send(appliance, 30)
        (recorded,) = wait_until(lambda: appliance.query("shop:orders:sum"), what="the recorded series")
        assert recorded["metric"] == {"__name__": "shop:orders:sum", "area": "sales", "shop": "north"}
        assert recorded["value"][1] == "30"
        (age,) = wait_until(lambda: appliance.query("shop:orders:age"), what="the rule that is made of it")
        assert age["value"][1] == "0", "it saw the sample of its own evaluation"

        send(appliance, 95)
        wait_until(lambda: alert_state(appliance) == "firing", what="the alert to fire")
        (pending,) = appliance.query('count_over_time(ALERTS{alertstate="pending"}[1m])')
        assert pending["metric"]["alertname"] == "TooManyOrders"
        (alert,) = ask(appliance, "alerts")["alerts"]
        assert alert["labels"] == {
            "alertname": "TooManyOrders", "area": "sales", "severity": "page", "shop": "north",
        }  # fmt: skip
        assert alert["annotations"] == {"summary": "north has 95 orders"}
        assert alert["value"] == "9.5e+01"

        (group,) = appliance.call("GET", f"/api/v1/rules/{created['id']}")[1]["groups"]
        check_path = f"/api/v1/checks/{group['rules'][2]['check_id']}"
        wait_until(lambda: appliance.call("GET", check_path)[1]["state"] == "critical", what="the check to be critical")
        assert "north has 95 orders" in appliance.call("GET", check_path)[1]["last_result"]["output"]
        wait_until(lambda: phone.received, what="the alert to be told")

        appliance.wait_restarted("scheduler", appliance.kill("scheduler"))
        wait_until(lambda: alert_state(appliance) == "firing", what="the groups to be there again")
        (again,) = ask(appliance, "alerts")["alerts"]
        assert again["activeAt"][:19] == alert["activeAt"][:19], "the alert goes on where it was"
        count = metric(appliance, "henge_rule_group_iterations_total")
        wait_until(lambda: metric(appliance, "henge_rule_group_iterations_total") > count + 2, what="more evaluations")
        assert len(phone.received) == 1, "nobody is told of the restart"
        assert appliance.call("POST", f"{check_path}/run")[1]["state"] == "critical"

        (group,) = ask(appliance, "rules", **{"rule_name[]": ["shop:orders:sum", "TooManyOrders"]})["groups"]
        assert (group["name"], group["file"], group["interval"]) == ("shop", "shop rules", 1)
        assert [(rule["name"], rule["type"], rule["health"]) for rule in group["rules"]] == [
            ("shop:orders:sum", "recording", "ok"),
            ("TooManyOrders", "alerting", "ok"),
        ]
        assert metric(appliance, "henge_rule_evaluation_failures_total") == 0

        assert appliance.call("DELETE", f"/api/v1/rules/{created['id']}")[0] in (200, 204)
        wait_until(lambda: not appliance.query("shop:orders:sum"), what="the recorded series to end")
        assert ask(appliance, "rules") == {"groups": []}
        wait_until(lambda: len(phone.received) == 2, what="the end of the incident to be told")

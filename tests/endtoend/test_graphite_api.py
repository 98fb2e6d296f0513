"""What graphite-web answered over HTTP, asked of a real appliance: every request but the known exceptions."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import random
import urllib.request
from collections.abc import Iterator
from typing import Any
from unittest.mock import ANY

import pytest

from tests.running import Appliance
from tests.scripts.graphite import KNOWN
from tests.scripts.graphite_http import Answer, answered, holding_datasets, load, report_of
from tests.scripts.report import judged, known_exceptions
from tests.shared import shared

NAME = "http.json"


@pytest.fixture(scope="module")
def content() -> Any:
    return json.loads(shared(f"conformance/graphite/{NAME}").read_bytes())


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with holding_datasets(tmp_path_factory.mktemp("graphite")) as running:
        load(running)
        yield running


@pytest.fixture(scope="module")
def answers(content: Any, fresh: Appliance) -> dict[int, Answer]:
    return answered(content, fresh)


@pytest.fixture(scope="module")
def appliance(answers: dict[int, Answer], fresh: Appliance) -> Appliance:
    """Behind the recorded requests, which count what there is."""
    return fresh


def test_what_was_recorded_is_answered_alike(content: Any, answers: dict[int, Answer]) -> None:
    report = report_of(content, NAME, answers)
    assert report.passed > 0
    verdict = judged([report], known_exceptions(KNOWN))
    assert verdict.unknown == set(), [one for one in report.failures if one["case"] in verdict.unknown]
    assert verdict.outlived == set(), "these pass now: take them off the list"


def test_twenty_changed_expectations_are_the_twenty_failures(content: Any, answers: dict[int, Answer]) -> None:
    before = report_of(content, NAME, answers)
    changed = copy.deepcopy(content)
    passing = [
        one
        for one in changed["requests"]
        if one["id"] in answers and f"{NAME}:{one['id']}" not in before.failed and one["expect"]["status"] < 500
    ]
    picked = random.Random(7).sample(passing, 20)
    for request in picked:
        _change(request["expect"])
    after = report_of(changed, NAME, answers)
    assert after.failed - before.failed == {f"{NAME}:{request['id']}" for request in picked}


def _change(expected: dict[str, Any]) -> None:
    """Another answer than was recorded, in the part that is compared."""
    if expected["status"] >= 400 or "html_bytes" in expected:
        expected["status"] += 1
    elif "json" in expected:
        expected["json"] = [expected["json"]]
    elif "base64" in expected:
        other = pickle.dumps(1) if "pickle" in expected["content_type"] else b"\x01"
        expected["base64"] = base64.b64encode(other).decode()
    else:
        expected["body"] += "x"


def test_a_name_that_is_a_series_and_a_branch_is_both(appliance: Appliance) -> None:
    sent = [{"labels": {"__name__": name}, "samples": [[1_699_999_200_000, 1]]} for name in ("two.way", "two.way.sub")]
    assert appliance.call("POST", "/api/v1/series", sent)[0] == 200
    _, tree = appliance.call("GET", "/graphite/metrics/find?query=two.*")
    assert tree == [{"text": "way", "id": "two.way", "allowChildren": 1, "expandable": 1, "leaf": 1}]
    _, found = appliance.call("GET", "/graphite/metrics/find?query=two.*&format=completer")
    assert [one["path"] for one in found["metrics"]] == ["two.way.", "two.way"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("metrics/find?query=a{b", "the pattern 'a{b': } is missing"),
        ("metrics/find?query=a&position=x&format=nodelist", "position: 'x' is no whole number"),
        ("metrics/find?query=a&from=nevermore", "the time 'nevermore' is none"),
        ("render?target=a&format=pdf", "format: 'pdf' cannot be drawn here; take png or svg"),
        ("render?target=a&format=json&jsonp=alert(1)", "jsonp: 'alert(1)' is no name of a function"),
    ],
)
def test_what_is_wrong_is_refused_in_plain_words(appliance: Appliance, path: str, words: str) -> None:
    status, body = appliance.call("GET", f"/graphite/{path}")
    assert (status, words in body) == (400, True), body


def test_deleting_a_series_leaves_those_that_have_more_tags(appliance: Appliance) -> None:
    labels = [
        {"__name__": "gone", "k": "1"},
        {"__name__": "gone", "k": "1", "more": "x"},
        {"__name__": "gone", "k": "2"},
    ]
    sent = [{"labels": one, "samples": [[1_699_999_200_000, 1]]} for one in labels]
    assert appliance.call("POST", "/api/v1/series", sent)[0] == 200
    find = "/graphite/tags/findSeries?expr=name=gone"
    assert appliance.call("GET", find) == (200, ["gone;k=1", "gone;k=1;more=x", "gone;k=2"])
    assert appliance.call("POST", "/graphite/tags/delSeries?path=gone;k=1&path=gone;k=3") == (200, True)
    assert appliance.call("GET", find) == (200, ["gone;k=1;more=x", "gone;k=2"])
    assert appliance.call("GET", "/graphite/tags/more") == (
        200,
        {"id": ANY, "tag": "more", "values": [{"id": ANY, "value": "x", "count": 1}]},
    )


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"what": "x", "when": "soon"}, "when: 'soon' is no time"),
        ({"what": "x", "when": 1e20}, "when: '1e+20' is no time"),
        ({"what": "x" * 2_000}, "what must be a text of at most 1,024 characters"),
        ({"what": "x", "tags": ["t"] * 33}, "tags: there may be 32"),
        ({"what": "x", "tags": [1]}, "tags must be a list of texts"),
    ],
)
def test_a_note_that_is_none_is_refused(appliance: Appliance, event: dict[str, Any], words: str) -> None:
    status, body = appliance.call("POST", "/graphite/events/", event)
    assert (status, words in body["error"]) == (400, True), body


class Grafana:
    """The requests of Grafana's Graphite data source, for the quarter of an hour that the recorded series have."""

    RANGE = "from=1699999200&until=1700000100"

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance

    def get(self, path: str) -> Any:
        status, body = self._appliance.call("GET", f"/graphite/{path}")
        assert status == 200, body
        return body

    def post(self, path: str, form: str) -> Any:
        request = urllib.request.Request(
            f"{self._appliance.url}/graphite/{path}",
            form.encode(),
            {
                "Authorization": f"Bearer {self._appliance.token}",
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())


@pytest.fixture(scope="module")
def grafana(appliance: Appliance) -> Grafana:
    return Grafana(appliance)


def test_grafana_draws_a_panel(grafana: Grafana) -> None:
    targets = "target=aliasByNode(std.*.cpu.user%2C%201)&target=seriesByTag('name%3Ddisk.used'%2C'dc%3Dlon')"
    found = grafana.post("render", f"{targets}&{grafana.RANGE}&format=json&maxDataPoints=5")
    assert [one["target"] for one in found] == [
        *("db01", "db02", "web01", "web02"),
        *("disk.used;dc=lon;host=a", "disk.used;dc=lon;host=b"),
    ]
    assert all(len(one["datapoints"]) <= 5 for one in found)


def test_grafana_tests_the_source_and_completes_paths(grafana: Grafana) -> None:
    assert "std" in [one["text"] for one in grafana.get("metrics/find?query=*")]
    found = grafana.post(f"metrics/find?{grafana.RANGE}", "query=std.*")
    assert [(one["text"], one["expandable"]) for one in found] == [
        (name, 1) for name in ("db01", "db02", "web01", "web02")
    ]
    assert grafana.get(f"metrics/find?query=std.*&{grafana.RANGE.replace('16', '17')}") == []
    assert grafana.get("metrics/expand?query=std.web*.cpu.user")["results"] == [
        "std.web01.cpu.user",
        "std.web02.cpu.user",
    ]


def test_grafana_learns_functions_and_version(grafana: Grafana) -> None:
    assert grafana.get("version").strip() == "1.2.0"
    functions = grafana.get("functions")
    assert len(functions) > 150
    assert functions["movingAverage"]["params"][0]["name"] == "seriesList"
    limit = functions["keepLastValue"]["params"][1]
    assert (limit["type"], limit["default"]) == ("intOrInf", float("inf"))


def test_grafana_completes_tags(grafana: Grafana) -> None:
    when = f"limit=100&{grafana.RANGE}"
    assert grafana.get(f"tags/autoComplete/tags?expr=name%3Ddisk.used&{when}") == ["dc", "host", "rack"]
    assert grafana.get(f"tags/autoComplete/values?expr=name%3Ddisk.used&tag=dc&{when}") == ["lon", "nyc", "sfo"]
    assert grafana.get(f"tags/autoComplete/values?tag=name&valuePrefix=disk&{when}") == ["disk.free", "disk.used"]
    later = grafana.RANGE.replace("16", "17")
    assert grafana.get(f"tags/autoComplete/values?tag=dc&{later}") == []
    assert [one["tag"] for one in grafana.get(f"tags?{grafana.RANGE}&filter=d")] == ["dc"]


def test_grafana_shows_annotations(grafana: Grafana) -> None:
    found = grafana.get(f"events/get_data?{grafana.RANGE}&tags=deploy")
    assert [(one["when"], one["what"]) for one in found] == [(1_699_999_325, "deploy v1"), (1_699_999_810, "deploy v2")]

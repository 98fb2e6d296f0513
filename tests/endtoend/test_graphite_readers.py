"""Programs that read Graphite read the appliance unchanged: the real graphite-web as a member of its cluster, and the
requests that Grafana's Graphite data source makes."""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.graphite_web import MISSING, GraphiteWeb, python
from tests.running import Appliance
from tests.waiting import wait_until

NOW_S = int(time.time()) // 60 * 60
STEP_S = 10
POINTS = 180
TARGETS = (
    "shop.web*.load",
    "shop.{web1,db}.load",
    "shop.web[12].orders",
    "sumSeries(shop.*.load)",
    "scale(shop.db.load,2)|alias('twice')",
    "movingAverage(shop.web1.load,5)",
    "timeShift(shop.web1.load,'5min')",
    "seriesByTag('name=disk.used','dc=~l.*')|groupByTags('sum','dc')",
    "disk.used;dc=lon;host=a",
    "shop.nothing.*",
)
FINDS = ("*", "shop.*", "shop.web*.l*", "shop.{web1,db}.*", "none.*")


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with Appliance(tmp_path_factory.mktemp("readers")) as running:
        names = [f"shop.{host}.{what}" for host, what in product(("db", "web1", "web2"), ("load", "orders"))]
        names += ["disk.used;dc=lon;host=a", "disk.used;dc=lon;host=b", "disk.used;dc=nyc;host=c"]
        running.send_graphite(
            "".join(
                f"{name} {number * 10 + step % 7 + 0.25} {NOW_S - STEP_S * step}\n"
                for number, name in enumerate(names)
                for step in range(POINTS)
            )
        )
        wait_until(lambda: stored_count(running) == POINTS * len(names), what="the samples")
        yield running


def stored_count(appliance: Appliance) -> int:
    found = appliance.query('{__name__=~"(shop|disk)[.].*"}[1h]', time_s=NOW_S + 1)
    return sum(len(one["values"]) for one in found)


def basic(appliance: Appliance) -> dict[str, str]:
    """The token as the password of basic auth, the name empty."""
    return {"Authorization": "Basic " + base64.b64encode(f":{appliance.token}".encode()).decode()}


# -- graphite-web -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[("pickle", False), ("msgpack", True)], ids=["pickle-get", "msgpack-post"])
def front(
    request: pytest.FixtureRequest, appliance: Appliance, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GraphiteWeb]:
    """A graphite-web without a sample of its own, in the two ways in which it can ask others."""
    if python() is None:
        pytest.skip(MISSING)
    form, posts = request.param
    server = f"{appliance.url}/graphite?format={form}"
    folder: Path = tmp_path_factory.mktemp("graphite-web")
    with GraphiteWeb(folder, servers=[server], posts=posts) as running:
        yield running


@pytest.mark.parametrize("target", TARGETS)
def test_graphite_web_renders_what_henge_renders(appliance: Appliance, front: GraphiteWeb, target: str) -> None:
    """Its own functions over our series give what ours give."""
    path = "/render?" + urlencode({"target": target, "from": NOW_S - 900, "until": NOW_S, "format": "json"})
    status, wanted = appliance.call("GET", f"/graphite{path}")
    assert status == 200, wanted
    found = front.json(path, basic(appliance))
    assert isinstance(found, list)
    assert [one["target"] for one in found] == [one["target"] for one in wanted]
    assert [one["datapoints"] for one in found] == [one["datapoints"] for one in wanted]
    assert bool(found) == (target != "shop.nothing.*")


@pytest.mark.parametrize("query", FINDS)
def test_graphite_web_finds_what_henge_finds(appliance: Appliance, front: GraphiteWeb, query: str) -> None:
    for path in ("/metrics/find", "/metrics/expand"):
        asked = f"{path}?{urlencode({'query': query})}"
        status, wanted = appliance.call("GET", f"/graphite{asked}")
        assert status == 200, wanted
        assert front.json(asked, basic(appliance)) == wanted


@pytest.mark.parametrize(
    "path",
    [
        "/metrics/index.json",
        "/tags/autoComplete/tags?tagPrefix=d",
        "/tags/autoComplete/tags?expr=name%3Ddisk.used&expr=dc%3Dlon",
        "/tags/autoComplete/values?tag=host&expr=dc%3Dlon",
        "/tags/autoComplete/values?tag=dc&valuePrefix=n&limit=1",
    ],
)
def test_graphite_web_lists_what_henge_lists(appliance: Appliance, front: GraphiteWeb, path: str) -> None:
    status, wanted = appliance.call("GET", f"/graphite{path}")
    assert (status, bool(wanted)) == (200, True)
    assert front.json(path, basic(appliance)) == wanted


def test_graphite_web_passes_a_wrong_token_on_and_is_refused(front: GraphiteWeb) -> None:
    status, body = front.get("/render?target=shop.db.load&format=json", {"Authorization": "Bearer wrong"})
    assert (status, b"Error response 401" in body) == (500, True), body[-500:]


# -- Grafana ------------------------------------------------------------------------------------------------------


def asked(appliance: Appliance, path: str, form: Sequence[tuple[str, str]] = ()) -> Any:
    """As Grafana's data source asks: a form where it posts, basic auth with the token as the password."""
    headers: Mapping[str, str] = basic(appliance) | (
        {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
    )
    request = urllib.request.Request(
        f"{appliance.url}/graphite{path}", data=urlencode(form).encode() if form else None, headers=dict(headers)
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 200
        body = answer.read()
        return json.loads(body) if answer.headers["Content-Type"].startswith("application/json") else body.decode()


def test_a_panel_of_grafana_is_one_form(appliance: Appliance) -> None:
    """Both ways in which it writes times: as they are typed, and in seconds."""
    targets = [("target", "aliasByNode(shop.web*.load, 1)"), ("target", "seriesByTag('name=disk.used', 'dc=nyc')")]
    for since, until in (("-15min", "now"), (str(NOW_S - 900), str(NOW_S))):
        form = [*targets, ("from", since), ("until", until), ("format", "json"), ("maxDataPoints", "45")]
        found = asked(appliance, "/render", form)
        assert [one["target"] for one in found] == ["web1", "web2", "disk.used;dc=nyc;host=c"]
        assert found[2]["tags"] == {"name": "disk.used", "dc": "nyc", "host": "c"}
        assert all(0 < len(one["datapoints"]) <= 45 for one in found)
        assert any(value is not None for value, _ in found[0]["datapoints"])


def test_what_grafana_tries_a_data_source_with_is_answered(appliance: Appliance) -> None:
    form = [("target", "constantLine(100)"), ("from", "-1h"), ("until", "now"), ("format", "json")]
    (found,) = asked(appliance, "/render", [*form, ("maxDataPoints", "300")])
    assert {value for value, _ in found["datapoints"]} == {100}


def test_the_editor_of_grafana_walks_the_tree(appliance: Appliance) -> None:
    """By GET in older Grafanas, in newer ones by POST with the range in the address."""
    times = urlencode({"from": NOW_S - 900, "until": NOW_S})
    for query, names in (("shop.*", ["db", "web1", "web2"]), ("shop.db.*", ["load", "orders"])):
        posted = asked(appliance, f"/metrics/find?{times}", [("query", query)])
        assert posted == asked(appliance, f"/metrics/find?{times}&query={query}")
        assert [one["text"] for one in posted] == names
        assert {bool(one["expandable"]) for one in posted} == {query == "shop.*"}
    assert asked(appliance, f"/metrics/expand?query=shop.*.load&{times}")["results"][0] == "shop.db.load"


def test_the_editor_of_grafana_completes_tags(appliance: Appliance) -> None:
    times = urlencode({"from": NOW_S - 900, "until": NOW_S})
    assert {one["tag"] for one in asked(appliance, f"/tags?{times}")} >= {"name", "dc", "host"}
    assert [one["value"] for one in asked(appliance, f"/tags/dc?{times}")["values"]] == ["lon", "nyc"]
    expression = urlencode([("expr", "name=disk.used"), ("expr", "dc=lon")])
    values = asked(appliance, f"/tags/autoComplete/values?{expression}&tag=host&limit=10000&{times}")
    assert values == ["a", "b"]
    found = asked(appliance, f"/tags/autoComplete/tags?{urlencode({'expr': 'name=disk.used'})}&tagPrefix=h&{times}")
    assert found == ["host"]


def test_grafana_learns_the_functions_and_the_version(appliance: Appliance) -> None:
    found = asked(appliance, "/functions")
    assert len(found) > 100
    for one in found.values():  # What its parser of definitions reads.
        assert {"name", "description", "group", "params"} <= one.keys()
        assert all({"name", "type"} <= parameter.keys() for parameter in one["params"])
    major, minor, *_ = asked(appliance, "/version").strip().split(".")
    assert (int(major), int(minor)) >= (1, 1)


def test_annotations_of_grafana_are_events(appliance: Appliance) -> None:
    event = {"what": "deployed", "tags": ["shop", "v2"], "when": NOW_S - 60, "data": "by a test"}
    status, answer = appliance.call("POST", "/graphite/events/", event)
    assert status == 200, answer
    times = urlencode({"from": NOW_S - 900, "until": NOW_S})
    (found,) = asked(appliance, f"/events/get_data?{times}&tags=v2")
    assert (found["what"], found["when"], found["data"]) == ("deployed", NOW_S - 60, "by a test")
    assert found["tags"] == ["shop", "v2"]
    assert asked(appliance, f"/events/get_data?{times}&tags=v3") == []

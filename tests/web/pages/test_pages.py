"""Each page, asked by administrator, editor and viewer; what forms do without script; polls that find nothing new."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from tests.web.house import RESULT, House, csrf_of

PAGES = ("/", "/explore", "/explore/functions", "/incidents", "/rules", "/channels", "/system", "/account")
CHANGES = ("Add a check", "Run now", "Delete", "Send a test")


def latest(state: str, **change: Any) -> dict[str, Any]:
    now_ms = 1_790_000_000_000
    return {
        "state": state,
        "state_type": "hard",
        "attempt": 1,
        "output": f"this is {state}",
        "duration_s": 0.02,
        "at_ms": now_ms,
        "since_ms": now_ms - 60_000,
        "next_run_ms": now_ms + 10_000,
    } | change


@pytest.fixture(scope="module")
def check(house: House) -> dict[str, Any]:
    made = house.add_check("shop <front>", labels={"team": "pages"}, paused=True)
    house.put("result", made["id"], latest("ok"))
    return made


@pytest.mark.parametrize("role", ["admin", "editor", "viewer"])
def test_every_page_is_there_for_everyone_with_an_account(house: House, check: dict[str, Any], role: str) -> None:
    client = house.client(role)
    for path in (*PAGES, f"/checks/{check['id']}"):
        page = client.get(path)
        assert page.status_code == 200, path
        if role == "viewer":
            assert not any(f">{word}<" in page.text for word in CHANGES), path


def test_forms_are_for_editors(house: House, check: dict[str, Any]) -> None:
    paths = ("/checks/new", "/checks/new/http", f"/checks/{check['id']}/edit", "/channels/new/webhook")
    for path in paths:
        assert house.client("viewer").get(path).status_code == 403
        assert house.client("editor").get(path).status_code == 200
    assert house.client("editor").get("/checks/new/htpp").status_code == 404


def test_text_of_strangers_is_escaped(house: House, check: dict[str, Any]) -> None:
    house.put("result", check["id"], latest("critical", output="<script>alert(1)</script>"))
    for path in ("/?q=pages", f"/checks/{check['id']}"):
        page = house.client("viewer").get(path).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "shop &lt;front&gt;" in page


def test_the_overview_shows_problems_first_with_icon_and_word(house: House) -> None:
    made = {state: house.add_check(f"is {state}", labels={"team": "mix"}) for state in ("ok", "critical", "warning")}
    for state, entry in made.items():
        house.put("result", entry["id"], latest(state))
    page = house.client("viewer").get("/").text
    problems = page[page.index('id="problems-title"') : page.index('id="checks-title"')]
    assert problems.index("is critical") < problems.index("is warning")
    assert "is ok" not in problems
    listed = house.client("viewer").get("/?q=team%3Dmix").text
    assert listed.index("is critical") < listed.index("is warning") < listed.index("is ok")
    for state in made:
        assert re.search(rf'class="state {state}"><svg.*?</svg>{state}</span>', listed, re.DOTALL)


def test_search_and_filter_live_in_the_address(house: House) -> None:
    client = house.client("viewer")
    entry = house.add_check("needle in the hay", options={"url": "http://hay.example/"}, paused=True)
    for query, found in (
        ("q=NEEDLE", True),
        ("q=hay.example", True),
        ("q=needle+missing", False),
        ("q=needle&state=paused", True),
        ("q=needle&state=ok", False),
        ("q=needle&kind=http", True),
        ("q=needle&kind=tcp", False),
        ("q=needle&page=999", True),
        ("q=needle&page=x", True),
    ):
        page = client.get(f"/?{query}").text
        assert (f"/checks/{entry['id']}" in page) is found, query


def test_a_long_list_is_paged_at_a_hundred(house: House) -> None:
    for number in range(105):
        house.add_check(f"many {number:03}", labels={"team": "many"}, paused=True)
    client = house.client("viewer")
    first, second = (client.get(f"/?q=team%3Dmany&page={number}").text for number in (1, 2))
    assert (first.count('<td class="name">'), second.count('<td class="name">')) == (100, 5)
    assert "1–100 of 105" in first
    assert "q=team%3Dmany&amp;page=2" in first


def test_a_poll_that_finds_nothing_new_is_empty_and_keeps_the_connection(house: House, check: dict[str, Any]) -> None:
    client = house.client("viewer")
    for path in ("/", f"/checks/{check['id']}", "/incidents"):
        whole = client.get(path)
        assert "<!doctype html>" in whole.text
        etag = whole.headers["ETag"]
        assert html.unescape(re.search(r"hx-headers='([^']*)'", whole.text)[1]).count(etag.strip('"')) == 1
        poll = client.get(path, headers={"HX-Request": "true", "If-None-Match": etag})
        assert (poll.status_code, poll.data, poll.headers["HX-Reswap"]) == (200, b"", "none"), path
        house.put("setting", "anything", {"at": path})
        changed = client.get(path, headers={"HX-Request": "true", "If-None-Match": etag})
        assert "<!doctype html>" not in changed.text
        assert 'id="live"' in changed.text
        restored = client.get(path, headers={"HX-Request": "true", "HX-History-Restore-Request": "true"})
        assert "<!doctype html>" in restored.text


def test_a_check_is_added_without_script_by_way_of_a_trial(house: House) -> None:
    client = house.client("editor")
    page = client.get("/checks/new/http").text
    form = {"csrf": csrf_of(page), "options.url": "http://127.0.0.1:9/health", "options.method": "GET"}
    tried = client.post("/checks/new/http", data=form | {"do": "try"})
    assert tried.status_code == 200
    assert RESULT["output"] in tried.text
    assert "http://127.0.0.1:9/health" in tried.text, "what was typed is still there"
    saved = client.post("/checks/new/http", data=form | {"do": "save", "interval_s": "30", "labels": "tier=1"})
    assert saved.status_code == 303
    made = house.call("GET", "/api/v1" + saved.headers["Location"]).json
    assert (made["name"], made["interval_s"], made["labels"]) == ("127.0.0.1:9/health", 30, {"tier": "1"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"options.url": "nonsense"}, "must begin with http://"),
        ({"options.url": ""}, "url is required"),
        ({"interval_s": "soon"}, "is not a number"),
        ({"interval_s": "0"}, "from 1 to 86,400"),
        ({"labels": "no sign"}, "not written as name=value"),
        ({"channels": "nobody"}, "has no channel"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(house: House, change: dict[str, str], words: str) -> None:
    client = house.client("editor")
    form = {"csrf": csrf_of(client.get("/").text), "name": "wrong", "options.url": "http://x/", "do": "save"} | change
    answer = client.post("/checks/new/http", data=form)
    assert answer.status_code == 422
    assert words in html.unescape(answer.text)
    trial = client.post("/checks/trial/http", data=form | {"do": "try"}, headers={"HX-Request": "true"})
    if "channels" not in change:
        assert words in html.unescape(trial.text)


def test_an_edit_keeps_the_secret_and_takes_back_what_was_emptied(house: House) -> None:
    made = house.add_check("edited", options={"url": "http://x/", "password": "hush", "keyword": "well"})
    client = house.client("editor")
    path = f"/checks/{made['id']}/edit"
    page = client.get(path).text
    assert "hush" not in page
    form = {"csrf": csrf_of(page), "name": "edited", "options.url": "http://x/y", "options.password": "", "do": "save"}
    form["options.verify_tls"] = "on"
    assert client.post(path, data=form).status_code == 303
    after = house.call("GET", f"/api/v1/checks/{made['id']}").json["options"]
    assert after["url"] == "http://x/y"
    assert after["password"] == "********"
    assert not after.get("keyword")
    form["options.url"] = "http://y/"
    refused = client.post(path, data=form)
    assert refused.status_code == 422
    assert "write the secret again" in refused.text


def test_buttons_of_the_check_page_work_as_plain_forms(house: House) -> None:
    made = house.add_check("buttons")
    client = house.client("editor")
    path = f"/checks/{made['id']}"
    csrf = csrf_of(client.get(path).text)
    api = f"/api/v1{path}"
    assert client.post(f"{path}/pause", data={"csrf": csrf}).status_code == 303
    assert house.call("GET", api).json["paused"] is True
    assert client.post(f"{path}/resume", data={"csrf": csrf}).status_code == 303
    assert client.post(f"{path}/run", data={"csrf": csrf}).headers["Location"] == path
    swapped = client.post(f"{path}/run", data={"csrf": csrf}, headers={"HX-Request": "true"})
    assert 'id="live"' in swapped.text
    assert client.post(f"{path}/downtime", data={"csrf": csrf, "hours": "4", "comment": "new disk"}).status_code == 303
    page = client.get(path).text
    assert "new disk" in page
    ending = re.search(r'action="(/checks/downtimes/\w+/end)"', page)
    assert ending is not None
    assert client.post(ending[1], data={"csrf": csrf, "next": path}).headers["Location"] == path
    assert "new disk" not in client.get(path).text
    assert client.post(f"{path}/downtime", data={"csrf": csrf, "hours": "5"}).status_code == 422
    assert client.post(f"{path}/delete", data={"csrf": csrf}).headers["Location"] == "/"
    assert client.get(path).status_code == 404


def test_channels_are_added_tested_and_deleted(house: House) -> None:
    client = house.client("editor")
    csrf = csrf_of(client.get("/channels").text)
    wrong = client.post("/channels/new/webhook", data={"csrf": csrf, "name": "pager", "options.url": "x"})
    assert wrong.status_code == 422
    form = {"csrf": csrf, "name": "pager", "options.url": "http://127.0.0.1:9/", "options.secret": "hush"}
    assert client.post("/channels/new/webhook", data=form).status_code == 303
    page = client.get("/channels").text
    path = re.search(r'action="(/channels/\w+)/test"', page)
    assert path is not None
    edited = client.post(f"{path[1]}/edit", data=form | {"options.url": "http://127.0.0.1:10/", "options.secret": ""})
    assert edited.status_code == 303
    stored = house.call("GET", f"/api/v1{path[1]}").json
    assert stored["options"] == {"url": "http://127.0.0.1:10/", "secret": "********"}
    tested = client.post(f"{path[1]}/test", data={"csrf": csrf}, headers={"HX-Request": "true"})
    assert "the receiver answered 200" in tested.text
    assert client.post(f"{path[1]}/delete", data={"csrf": csrf}).status_code == 303


def test_the_chart_is_columns_on_one_grid(house: House) -> None:
    now_ms = house.services.clock.now_ms() // 10_000 * 10_000
    house.call(
        "POST",
        "/api/v1/series",
        [{"labels": {"__name__": "gappy"}, "samples": [[now_ms - 600_000, 1], [now_ms, 3]]}],
    )
    path = f"/api/v1/chart?expression=gappy&start_ms={now_ms - 600_000}&end_ms={now_ms}&step_ms=10000"
    answer = house.call("GET", path, role="viewer").json
    assert len(answer["time_s"]) == 61
    values = answer["series"][0]["values"]
    assert (values[0], values[40], values[60]) == (1, None, 3)
    for wrong in ("", "start_ms=1", "expression=x&start_ms=5&end_ms=4", "expression=&start_ms=1&end_ms=2000"):
        refused = house.call("GET", f"/api/v1/chart?{wrong}")
        assert refused.status_code == 400
        assert refused.json["error"]["message"]


def test_the_theme_is_kept_without_script(house: House) -> None:
    client = house.client()
    page = client.get("/login").text
    assert 'data-theme="auto"' in page
    chosen = client.post("/theme", data={"csrf": csrf_of(page), "theme": "dark", "next": "/login"})
    assert (chosen.status_code, chosen.headers["Location"]) == (303, "/login")
    assert 'data-theme="dark"' in client.get("/login").text
    client.post("/theme", data={"csrf": csrf_of(page), "theme": '"><script>', "next": "//evil.example"})
    assert 'data-theme="dark"' in client.get("/login").text


def test_a_page_that_is_not_there_says_so_in_words(house: House) -> None:
    for path in ("/no-such-page", "/checks/no-such-check"):
        answer = house.client("viewer").get(path)
        assert answer.status_code == 404
        assert "Not here" in answer.text

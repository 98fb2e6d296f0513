"""The first set-up, step by step: done, left out, gone on with, done twice, done wrongly, and by whom it may not be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest
from flask.testing import FlaskClient

from appliance.bus import BusRefused
from tests.web.auth.test_first_run import link_of
from tests.web.house import PASSWORD, House, csrf_of, running_house
from tsdb.sample import labels_from
from web.pages.start.progress import ID, KIND, Ending, Progress, Step, progress_of, stored
from web.pages.start.sender import received, sender

SHOP = {"kind": "http", "name": "shop.example", "options": {"url": "https://shop.example/"}}
MAIL = {"kind": "tcp", "name": "shop.example SMTP", "options": {"host": "shop.example", "port": 25}}
WEBHOOK = {"name": "hook", "options.url": "http://127.0.0.1:9/hook"}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house whose set-up is open, whatever a test has made of it before."""
    with running_house(tmp_path_factory.mktemp("start")) as running:
        yield running


@pytest.fixture
def admin(started: House) -> FlaskClient:
    started.services.state.apply([stored(Progress())], actor="test")
    return started.client("admin")


def send(
    client: FlaskClient, path: str, data: Mapping[str, object] | None = None, *, swap: bool = False
) -> tuple[int, str]:
    """A form of the set-up → the status, and where it leads or the page."""
    csrf = csrf_of(client.get("/account").text)
    answer = client.post(path, data={**(data or {}), "csrf": csrf}, headers={"HX-Request": "true"} if swap else {})
    return answer.status_code, answer.headers.get("Location") or answer.text


def names(house: House) -> list[str]:
    return sorted(str(entry.body["name"]) for entry in house.services.state.read.list("check"))


def clear(house: House) -> None:
    for kind in ("checks", "channels"):
        for entry in house.call("GET", f"/api/v1/{kind}").json["items"]:
            house.call("DELETE", f"/api/v1/{kind}/{entry['id']}")


MOVES = {  # name: (before, the step that is done, after)
    "the first": (Progress(), Step.WATCH, Progress(Step.CHANNEL)),
    "the second": (Progress(Step.CHANNEL), Step.CHANNEL, Progress(Step.TEST)),
    "the last": (Progress(Step.TEST), Step.TEST, Progress(Step.TEST, Ending.DONE)),
    "again": (Progress(Step.TEST), Step.WATCH, Progress(Step.TEST)),
    "ahead of the others": (Progress(), Step.CHANNEL, Progress(Step.TEST)),
    "after the end": (Progress(Step.TEST, Ending.DONE), Step.WATCH, Progress(Step.TEST, Ending.DONE)),
    "after it was dismissed": (
        Progress(Step.WATCH, Ending.DISMISSED),
        Step.TEST,
        Progress(Step.WATCH, Ending.DISMISSED),
    ),
}


@pytest.mark.parametrize(("before", "step", "after"), MOVES.values(), ids=MOVES.keys())
def test_where_a_step_leads(before: Progress, step: Step, after: Progress) -> None:
    assert before.after(step) == after


LISTENERS = {  # name: (listening, host of the page; words of the line, words of the note)
    "off": ("", "127.0.0.1", "", "henge reload"),
    "loopback": ("127.0.0.1:2003", "henge.lan", "nc -w 1 127.0.0.1 2003", "0.0.0.0:2003"),
    "loopback, IPv6": ("[::1]:2003", "henge.lan", "nc -w 1 ::1 2003", "Only programs on this machine"),
    "every address": ("0.0.0.0:2005", "henge.lan", "nc -w 1 henge.lan 2005", "every machine"),
    "every address, seen from here": ("[::]:2005", "127.0.0.1", "nc -w 1 127.0.0.1 2005", "this machine's name"),
    "one address": ("10.0.0.5:2003", "127.0.0.1", "nc -w 1 10.0.0.5 2003", "reaches this address"),
}


@pytest.mark.parametrize(("listening", "host", "line", "note"), LISTENERS.values(), ids=LISTENERS.keys())
def test_the_line_to_paste_reaches_the_listener(listening: str, host: str, line: str, note: str) -> None:
    found = sender(listening, host)
    assert found.line.endswith(line)
    assert bool(found.line) == bool(line)
    assert note in found.note


def test_the_administrator_goes_on_with_step_two_and_may_leave_all_out(fresh_house: House) -> None:
    client = fresh_house.client()
    path = link_of(fresh_house)
    page = client.get(path).text
    assert page.count('aria-current="step"') == 1
    form = {"name": "ada", "password": PASSWORD, "again": PASSWORD, "csrf": csrf_of(page)}
    assert client.post(path, data=form).headers["Location"] == "/start/watch"
    assert "Next is step 2 of 4: what to watch" in client.get("/").text
    for step, following in (("watch", "/start/channel"), ("channel", "/start/test"), ("test", "/start/done")):
        assert "Skip this step" in client.get(f"/start/{step}").text
        assert client.get("/start").headers["Location"] == f"/start/{step}"
        assert send(client, f"/start/on/{step}") == (303, following)
    assert "Henge is set up" in client.get("/start/done").text
    assert "not finished" not in client.get("/").text
    assert fresh_house.services.state.read.list("check") == fresh_house.services.state.read.list("channel") == []


def test_it_is_offered_until_it_is_dismissed_and_to_administrators_alone(started: House, admin: FlaskClient) -> None:
    assert send(admin, "/start/on/watch") == (303, "/start/channel")
    assert "Next is step 3 of 4: how you are told" in admin.get("/").text
    assert "set-up is not finished" not in started.client("editor").get("/").text
    assert send(admin, "/start/dismiss") == (303, "/")
    assert "set-up is not finished" not in admin.get("/").text
    assert admin.get("/start/watch").status_code == 200, "who knows the address may still go there"
    assert send(admin, "/start/on/channel") == (303, "/start/test")
    assert progress_of(started.services.state.read.get(KIND, ID)) == Progress(Step.CHANNEL, Ending.DISMISSED)


def test_an_appliance_that_was_set_up_before_is_offered_nothing(house: House) -> None:
    client = house.client("admin")
    assert "set-up is not finished" not in client.get("/").text
    assert client.get("/start").headers["Location"] == "/start/watch"
    assert send(client, "/start/on/watch") == (303, "/start/channel")
    assert house.services.state.read.get(KIND, ID) is None


def test_this_machine_is_watched_once(started: House, admin: FlaskClient) -> None:
    clear(started)
    assert "Watch this machine" in admin.get("/start/watch").text
    assert [send(admin, "/start/machine") for _ in range(2)] == [(303, "/start/watch")] * 2
    assert names(started) == ["This machine"]
    assert "Watch this machine" not in admin.get("/start/watch").text


def test_an_address_is_looked_at_and_what_is_ticked_is_watched(started: House, admin: FlaskClient) -> None:
    clear(started)
    status, page = send(admin, "/start/look", {"address": " shop.example "}, swap=True)
    assert (status, started.asked[-1]) == (200, ("look", {"address": " shop.example "}))
    assert "What suits shop.example<" in page
    assert "<html" not in page
    assert page.count(" checked") == 1
    assert "HTTP 200 OK" in page
    values = [json.dumps(one) for one in (SHOP, MAIL)]
    assert send(admin, "/start/checks", {"check": values}) == (303, "/start/watch")
    assert send(admin, "/start/checks", {"check": values}) == (303, "/start/watch"), "a second click"
    assert names(started) == ["shop.example", "shop.example SMTP"]
    _, again = send(admin, "/start/look", {"address": "shop.example"})
    assert "<html" in again
    assert "watched already" in again
    assert "shop.example SMTP" in admin.get("/start/watched").text


def test_a_name_that_is_taken_gets_a_number(started: House, admin: FlaskClient) -> None:
    clear(started)
    started.add_check("shop.example")
    assert send(admin, "/start/checks", {"check": json.dumps(SHOP)}) == (303, "/start/watch")
    assert names(started) == ["shop.example", "shop.example 2"]


WRONG = {  # name: (path, form, words of the answer)
    "no address": ("/start/look", {"address": ""}, "write a name"),
    "a network": ("/start/look", {"address": "10.0.0.0/8"}, "is a network"),
    "nothing ticked": ("/start/checks", {}, "Nothing was ticked"),
    "not JSON": ("/start/checks", {"check": "{"}, "cannot be read"),
    "more than a check": ("/start/checks", {"check": json.dumps(SHOP | {"paused": True})}, "cannot be read"),
    "an unknown kind": ("/start/checks", {"check": json.dumps(SHOP | {"kind": "x"})}, "unknown kind"),
    "wrong options": ("/start/checks", {"check": json.dumps(SHOP | {"options": {}})}, "Not created"),
    "too many": ("/start/checks", {"check": [json.dumps(SHOP)] * 41}, "at most 40"),
    "no such step": ("/start/on/nowhere", {}, "there is no step"),
    "no such kind of channel": ("/start/channel/pigeon", {}, "there is no kind of channel"),
    "a channel without address": ("/start/channel/webhook", {"name": "x"}, "Not saved"),
    "no such channel": ("/start/test/none", {}, "there is no channel"),
}


@pytest.mark.parametrize(("path", "form", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_and_nothing_is_created(
    started: House, admin: FlaskClient, path: str, form: dict[str, object], words: str
) -> None:
    clear(started)
    status, page = send(admin, path, form)
    assert status in (404, 422)
    assert words in page
    assert names(started) == []
    assert started.services.state.read.list("channel") == []


def test_a_wrong_address_is_said_where_the_suggestions_would_stand(admin: FlaskClient) -> None:
    """htmx swaps no answer that is an error, so it is a 200 there."""
    status, page = send(admin, "/start/look", {"address": "two words"}, swap=True)
    assert (status, "has a blank" in page, "<html" in page) == (200, True, False)


def test_a_scheduler_that_does_not_answer_is_said(
    started: House, admin: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def restarting(_: object) -> object:
        raise BusRefused("stopping", "the scheduler is being restarted; try again in a moment")

    monkeypatch.setattr(started, "look", restarting)
    assert "being restarted; try again" in send(admin, "/start/look", {"address": "shop.example"}, swap=True)[1]


def test_series_of_senders_are_counted_and_those_of_checks_are_not(
    started: House, admin: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Received: nothing so far" in admin.get("/start/received").text
    before = received(started.services)["series"]
    ours = labels_from({"__name__": "henge_check_up", "check": "a check"})
    started.services.tsdb.append([(ours, 1_700_000_000_000, 1.0)])
    assert received(started.services)["series"] == before
    theirs = [{"labels": {"__name__": "shop.orders"}, "samples": [[started.services.clock.now_ms(), 1]]}]
    assert started.call("POST", "/api/v1/series", theirs).status_code == 200
    assert received(started.services)["series"] == before + 1
    monkeypatch.setattr("web.pages.start.sender.COUNTED_SERIES_MAX", 0)
    assert received(started.services)["series"] is None, "counting would keep the store from its work"


def test_what_polls_is_replaced_only_by_something_new(started: House, admin: FlaskClient) -> None:
    """Else it would take the focus from who has come to a link in it."""
    clear(started)
    for path in ("/start/watched", "/start/received"):
        etag = admin.get(path).headers["ETag"]
        polled = admin.get(path, headers={"HX-Request": "true", "If-None-Match": etag})
        assert (polled.data, polled.headers["HX-Reswap"]) == (b"", "none")
        assert etag.strip('"') in admin.get("/start/watch").text
    etag = admin.get("/start/watched").headers["ETag"]
    started.add_check("new")
    assert b"new" in admin.get("/start/watched", headers={"HX-Request": "true", "If-None-Match": etag}).data


def test_a_channel_is_added_and_told_by_the_checks_that_told_nobody(started: House, admin: FlaskClient) -> None:
    clear(started)
    other = started.call(
        "POST", "/api/v1/channels", {"kind": "webhook", "name": "other", "options": {"url": "http://x/"}}
    )
    assert other.status_code == 201
    silent, told = started.add_check("silent"), started.add_check("told", channels=["other"])
    assert "The check that tells nobody yet" in admin.get("/start/channel/webhook").text
    assert send(admin, "/start/channel/webhook", {**WEBHOOK, "tells_all": "on"}) == (303, "/start/test")
    read = started.services.state.read
    assert [read.get("check", one["id"]).body["channels"] for one in (silent, told)] == [["hook"], ["other"]]  # type: ignore[union-attr]

    assert "Next is step 4 of 4: a test alert" in admin.get("/").text
    later = started.add_check("later")
    status, page = send(admin, "/start/channel/webhook", WEBHOOK)
    assert (status, "has a channel named" in page) == (422, True)
    assert send(admin, "/start/channel/webhook", WEBHOOK | {"name": "second"}) == (303, "/start/test")
    assert read.get("check", later["id"]).body["channels"] == [], "not ticked"  # type: ignore[union-attr]


def test_the_test_says_whether_it_arrived(started: House, admin: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    clear(started)
    assert "Nobody can be told yet" in admin.get("/start/test").text
    assert send(admin, "/start/channel/webhook", WEBHOOK) == (303, "/start/test")
    channel_id = started.call("GET", "/api/v1/channels").json["items"][0]["id"]
    for swap in (True, False):
        status, page = send(admin, f"/start/test/{channel_id}", swap=swap)
        assert (status, "<html" in page) == (200, not swap)
        assert "Delivered.</span> the receiver answered 200." in page
    monkeypatch.setattr(started, "test_answer", {"delivered": False, "detail": "connection refused"})
    assert "Not delivered.</span> Nothing listens there" in send(admin, f"/start/test/{channel_id}", swap=True)[1]


@pytest.mark.parametrize("role", ["viewer", "editor", None])
def test_others_are_refused(started: House, role: str | None) -> None:
    client = started.client(role)
    for path in ("", "/watch", "/watched", "/received", "/channel", "/channel/email", "/test", "/done"):
        answer = client.get(f"/start{path}")
        assert answer.status_code == (303 if role is None else 403), path
    csrf = csrf_of(client.get("/login" if role is None else "/account").text)
    for path in ("/on/watch", "/dismiss", "/machine", "/look", "/checks", "/channel/email", "/test/x"):
        answer = client.post(f"/start{path}", data={"csrf": csrf})
        assert answer.status_code == (303 if role is None else 403), path

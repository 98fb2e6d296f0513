"""The short way: taken for usual requests alone, and never with another answer than the long one."""

from __future__ import annotations

import json
import threading
from typing import Any
from unittest import mock

import pytest
from werkzeug.test import TestResponse

from appliance.child import ChildContext
from appliance.state import PutDocument
from tests.tsdb.ingest import remote_write_bytes as wire
from tests.waiting import wait_until
from tests.web.house import House
from tsdb.client import TsdbClient, WriteAnswer
from tsdb.errors import NotReady, TsdbError
from web.api.prometheus import leaving
from web.auth import keys, tokens
from web.auth.identity import Identity, Kind
from web.auth.roles import Role
from web.process import follow
from web.short_way import TOKEN_KEPT_S, KnownTokens

WRITE = "/prometheus/api/v1/write"
HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


def body(house: House) -> bytes:
    now_ms = house.services.clock.now_ms()
    return wire.snappy(wire.request([wire.series([("__name__", "short"), ("job", "a")], [(now_ms, 1.0)])]))


def opened(house: House, path: str, headers: dict[str, str], **further: Any) -> tuple[TestResponse, bool]:
    """The answer, and whether the long way was taken."""
    long_way = house.app.wsgi_app._long_way  # type: ignore[attr-defined]
    with mock.patch.object(house.app.wsgi_app, "_long_way", side_effect=long_way) as taken:
        answer = house.app.test_client().open(path, headers=headers, **further)
    return answer, bool(taken.called)


def sent(house: House, headers: dict[str, str], *, far: str = "127.0.0.1") -> tuple[int, dict[str, str], bool]:
    """The same of a write: the status, the headers, the way."""
    answer, is_long = opened(
        house, WRITE, headers, method="POST", data=body(house), environ_overrides={"REMOTE_ADDR": far}
    )
    return answer.status_code, dict(answer.headers), is_long


def test_both_ways_answer_with_the_same_headers(house: House) -> None:
    status, headers, is_long = sent(house, {**house.token("editor"), **HEADERS})
    assert (status, is_long) == (204, False)
    long_status, long_headers, is_long = sent(house, {**house.token("editor"), **HEADERS, "Forwarded": "for=127.0.0.1"})
    assert (long_status, is_long) == (204, True)
    long_headers.pop("Content-Type")  # Of a body that is not there.
    assert headers == long_headers


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer henge_nobody"}, 401),
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"X-Prometheus-Remote-Write-Version": "2.0.0"}, 400),
        ({"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}, 400),
        ({"Content-Encoding": "br"}, 415),
        ({"X-Forwarded-For": "192.0.2.1"}, 204),
    ],
)
def test_whatever_is_not_usual_takes_the_long_way(house: House, change: dict[str, str], status: int) -> None:
    found, _, is_long = sent(house, {**house.token("editor"), **HEADERS, **change})
    assert (found, is_long) == (status, True)


def test_a_viewer_is_refused_by_the_long_way(house: House) -> None:
    found, _, is_long = sent(house, {**house.token("viewer"), **HEADERS})
    assert (found, is_long) == (403, True)


def test_from_far_away_it_is_taken_once_an_administrator_exists(house: House, fresh_house: House) -> None:
    assert sent(house, {**house.token("editor"), **HEADERS}, far="192.0.2.1")[::2] == (204, False)
    assert sent(fresh_house, {**fresh_house.token("editor"), **HEADERS}, far="192.0.2.1")[::2] == (403, True)


@pytest.mark.parametrize("outcome", [NotReady("away"), WriteAnswer(1, {"too_old": 2}, "the first")])
def test_an_outcome_that_is_no_success_is_told_by_the_view_and_written_once(
    house: House, outcome: TsdbError | WriteAnswer
) -> None:
    effect: dict[str, Any] = {"side_effect": outcome} if isinstance(outcome, TsdbError) else {"return_value": outcome}
    with mock.patch.object(TsdbClient, "write", **effect) as write:
        status, _, is_long = sent(house, {**house.token("editor"), **HEADERS})
    assert (status, is_long) == (503 if isinstance(outcome, TsdbError) else 400, True)
    assert write.call_count == 1


def test_a_revoked_token_is_refused_at_once(house: House) -> None:
    created = house.call("POST", "/api/v1/tokens", {"name": "short lived", "role": "editor"}).json
    headers = {"Authorization": f"Bearer {created['token']}", **HEADERS}
    assert sent(house, headers)[::2] == (204, False)
    assert house.call("DELETE", f"/api/v1/tokens/{created['id']}").status_code == 200
    assert sent(house, headers)[::2] == (401, True)


RANGE = {"start": "100", "end": "400.5", "step": "100"}
QUESTIONS = {  # name: (path, arguments, whether the answer is a plain success)
    "a number": ("query", {"query": "1", "time": "100"}, True),
    "a text": ("query", {"query": '"ü"', "time": "100", "limit": "1"}, True),
    "a vector": ("query", {"query": "vector(time())", "time": "1970-01-01T00:01:40Z", "timeout": "5s"}, True),
    "a long answer": ("query_range", {"query": "vector(time())", **RANGE, "step": "1"}, True),
    "another lookback": ("query_range", {"query": "time()", **RANGE, "lookback_delta": "10s"}, True),
    "notes": ("query", {"query": "rate(short[5m])", "time": "100"}, True),
    "series": ("series", {"match[]": ["short", "nothing"], "limit": "1"}, True),
    "labels": ("labels", {"limit": "9"}, True),
    "labels of some": ("labels", {"match[]": "short", "start": "0"}, True),
    "no expression": ("query", {}, False),
    "a wrong expression": ("query", {"query": "rate("}, False),
    "no start": ("query_range", {"query": "1"}, False),
    "a range backwards": ("query_range", {"query": "1", **RANGE, "end": "50"}, False),
    "a wrong limit": ("query", {"query": "1", "limit": "-1"}, False),
    "too many points": ("query_range", {"query": "1", **RANGE, "step": "0.001"}, False),
    "an evaluation that fails": ("query", {"query": "label_replace(vector(1), 'x', '', 'job', '(')"}, False),
    "nothing to match": ("series", {}, False),
    "a wrong selector": ("series", {"match[]": "{"}, False),
}


def told(answer: TestResponse) -> tuple[int, bytes, dict[str, str]]:
    return answer.status_code, answer.data, dict(answer.headers)


@pytest.mark.parametrize("encoding", ["identity", "gzip", "gzip, zstd;q=0"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("path", "arguments", "is_plain"), QUESTIONS.values(), ids=QUESTIONS.keys())
def test_both_ways_answer_a_question_alike(
    house: House, path: str, arguments: dict[str, Any], is_plain: bool, method: str, encoding: str
) -> None:
    assert sent(house, {**house.token("editor"), **HEADERS})[0] == 204
    headers = {**house.token("viewer"), "Accept-Encoding": encoding}
    where = {"query_string" if method == "GET" else "data": arguments}
    path = f"/prometheus/api/v1/{path}"
    short, is_long = opened(house, path, headers, method=method, **where)
    assert is_long is not is_plain
    long, is_long = opened(house, path, {**headers, "Forwarded": "for=127.0.0.1"}, method=method, **where)
    assert is_long
    assert told(short) == told(long)
    assert (short.status_code == 200) is is_plain


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer henge_nobody"}, 401),
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 200),
        ({"X-Forwarded-For": "192.0.2.1"}, 200),
    ],
)
def test_a_question_that_is_not_usual_takes_the_long_way(house: House, change: dict[str, str], status: int) -> None:
    headers = {**house.token("viewer"), **change}
    answer, is_long = opened(house, "/prometheus/api/v1/query?query=1", headers)
    assert (answer.status_code, is_long) == (status, True)


OTHER = {  # name: what is sent instead of a form, or of a GET
    "another method": {"method": "HEAD"},
    "JSON": {"method": "POST", "json": {"query": "1"}},
    "parts": {"method": "POST", "data": {"query": "1"}, "content_type": "multipart/form-data"},
    "a large form": {"method": "POST", "data": {"query": "1" + " " * 65_536}},
    "a path below": {"path": "/prometheus/api/v1/query/"},
}


@pytest.mark.parametrize("other", OTHER.values(), ids=OTHER.keys())
def test_other_questions_take_the_long_way(house: House, other: dict[str, Any]) -> None:
    asked = {"path": "/prometheus/api/v1/query", **other}
    assert opened(house, headers=house.token("viewer"), **asked)[1]


def test_a_fault_of_ours_is_told_by_the_long_way_and_happens_once(house: House) -> None:
    with mock.patch.object(TsdbClient, "query_instant", side_effect=ZeroDivisionError) as asked:
        answer, is_long = opened(house, "/prometheus/api/v1/query?query=1", house.token("viewer"))
    assert (answer.status_code, answer.json["errorType"], is_long) == (500, "internal", True)
    assert asked.call_count == 1


def test_a_question_is_counted_under_the_name_of_its_view(house: House) -> None:
    def counted() -> dict[str, float]:
        samples = house.services.metrics.snapshot()
        return {
            json.dumps(one.labels): one.value
            for one in samples
            if one.labels in ({"method": "GET", "status": "200"}, {"endpoint": "prometheus.labels"})
        }

    before = counted()
    assert not opened(house, "/prometheus/api/v1/labels", house.token("viewer"))[1]
    after = counted()
    assert len(after) == 2
    assert all(value > before.get(name, 0) for name, value in after.items())


def test_a_token_as_the_password_of_basic_auth_is_read_too(house: House) -> None:
    token = house.token("viewer")["Authorization"].removeprefix("Bearer ")
    answer = house.app.test_client().get("/prometheus/api/v1/query?query=1", auth=("grafana", token))
    assert answer.status_code == 200


def test_what_was_read_before_a_revocation_is_not_kept_behind_it() -> None:
    editor = Identity(kind=Kind.TOKEN, name="t", role=Role.EDITOR)
    now_s, found = [0.0], [editor]
    known: KnownTokens

    def find(_: str) -> Identity | None:
        answer = found[0] if found else None
        known.forget()
        found.clear()
        return answer

    known = KnownTokens(find, lambda: now_s[0])
    assert known.identity_of("Bearer x") is editor
    assert known.identity_of("Bearer x") is None


def test_a_token_is_looked_up_again_after_a_second() -> None:
    editor = Identity(kind=Kind.TOKEN, name="t", role=Role.EDITOR)
    now_s, asked = [0.0], list[str]()

    def find(token: str) -> Identity:
        asked.append(token)
        return editor

    known = KnownTokens(find, lambda: now_s[0])
    for now_s[0] in (0.0, 0.9, 1.0):
        assert known.identity_of("Bearer x") is editor
    assert asked == ["x", "x"]


def test_a_revocation_elsewhere_is_heard_of(house: House) -> None:
    token_id, token = tokens.create(
        house.services.state, tokens.NewToken(name="elsewhere", role=Role.EDITOR), actor="test"
    )
    headers = {"Authorization": f"Bearer {token}", **HEADERS}
    assert sent(house, headers)[0] == 204
    tokens.delete(house.services.state, token_id, actor="test")
    wait_until(lambda: sent(house, headers)[0] == 401)


def test_a_revoked_token_that_nobody_told_of_ends_within_the_time_that_is_documented() -> None:
    viewer = Identity(kind=Kind.TOKEN, name="t", role=Role.VIEWER)
    now_s, found = [0.0], [viewer]
    known = KnownTokens(lambda _: found[0] if found else None, lambda: now_s[0])
    assert known.identity_of("Bearer x") is viewer
    found.clear()
    for now_s[0], want in ((TOKEN_KEPT_S - 0.001, viewer), (TOKEN_KEPT_S, None)):
        assert known.identity_of("Bearer x") is want


def test_a_token_that_is_used_all_the_time_is_looked_up_as_often() -> None:
    """To be used does not make it last longer."""
    viewer = Identity(kind=Kind.TOKEN, name="t", role=Role.VIEWER)
    now_s, found = [0.0], [viewer]
    known = KnownTokens(lambda _: found[0] if found else None, lambda: now_s[0])
    for now_s[0] in (0.0, 0.4, 0.8):
        assert known.identity_of("Bearer x") is viewer
    found.clear()
    now_s[0] = 1.1
    assert known.identity_of("Bearer x") is None


@pytest.mark.parametrize("change", [{"role": "viewer"}, {"team": "shop"}], ids=["role", "team"])
def test_a_change_of_a_token_elsewhere_is_heard_of(house: House, change: dict[str, str]) -> None:
    state, known = house.services.state, house.app.extensions["henge_known_tokens"]
    _, token = tokens.create(state, tokens.NewToken(name="changing", role=Role.EDITOR), actor="test")
    was = known.identity_of(f"Bearer {token}")
    assert (was.role, was.team) == (Role.EDITOR, None)
    document = state.read.by_unique("token", keys.digest(token))
    put = PutDocument(kind="token", id=document.id, body=document.body | change, unique=document.unique)
    state.apply([put], actor="test")

    def is_changed() -> bool:
        now = known.identity_of(f"Bearer {token}")
        return now is not None and all(str(getattr(now, name)) == value for name, value in change.items())

    wait_until(is_changed)


def test_whoever_begins_to_follow_the_state_process_forgets_what_was_known_before(house: House) -> None:
    """As after a restart of the state process, or a hint that was lost: nobody knows what was missed."""
    known = house.app.extensions["henge_known_tokens"]
    authorization = house.token("viewer")["Authorization"]
    wait_until(lambda: known.identity_of(authorization) and known._until_and_identity)
    mine = ChildContext(
        name="test",
        config=house.context.config,
        clock=house.context.clock,
        metrics=house.context.metrics,
        log=house.context.log,
    )
    follower = threading.Thread(target=follow, args=(house.app, mine))
    follower.start()
    try:
        wait_until(lambda: not known._until_and_identity)
    finally:
        mine.stop()
        follower.join()


def test_a_query_after_a_pause_is_watched_as_the_first_one_was() -> None:
    cancelled: list[str] = []

    class Tsdb:
        def cancel_query(self, query_id: str) -> int:
            cancelled.append(query_id)
            return 1

    with mock.patch.object(leaving, "LOOK_S", 0.001), mock.patch.object(leaving, "IDLE_LOOKS_MAX", 2):
        watch = leaving.Watch(Tsdb())  # type: ignore[arg-type]
        for query_id in ("first", "second"):
            watch.add("stays", lambda: False)
            watch.add(query_id, lambda: True)
            wait_until(lambda: query_id in cancelled)  # noqa: B023 - Asked at once.
            watch.remove("stays")
            wait_until(lambda: watch._is_asleep)
    assert cancelled == ["first", "second"]

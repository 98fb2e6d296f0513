"""The short way of remote-write: taken for usual requests alone, and never with another answer than the long one."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from tests.tsdb.ingest import remote_write_bytes as wire
from tests.waiting import wait_until
from tests.web.house import House
from tsdb.client import TsdbClient, WriteAnswer
from tsdb.errors import NotReady, TsdbError
from web import short_way
from web.auth import tokens
from web.auth.identity import Identity, Kind
from web.auth.roles import Role
from web.short_way import KnownTokens

HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


def body(house: House) -> bytes:
    now_ms = house.services.clock.now_ms()
    return wire.snappy(wire.request([wire.series([("__name__", "short"), ("job", "a")], [(now_ms, 1.0)])]))


def sent(house: House, headers: dict[str, str], *, far: str = "127.0.0.1") -> tuple[int, dict[str, str], bool]:
    """The status, the headers, and whether the long way was taken."""
    long_way = house.app.wsgi_app._long_way  # type: ignore[attr-defined]
    with mock.patch.object(house.app.wsgi_app, "_long_way", side_effect=long_way) as taken:
        answer = house.app.test_client().post(
            short_way.PATH, data=body(house), headers=headers, environ_overrides={"REMOTE_ADDR": far}
        )
    return answer.status_code, dict(answer.headers), bool(taken.called)


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

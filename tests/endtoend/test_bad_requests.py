"""Requests that cannot be carried out: the right status, one JSON shape, words that help, and nobody falls over."""

from __future__ import annotations

import http.client
import json
import random
import socket
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from tests.endtoend.looking import pids
from tests.running import Appliance

HTTP_CHECK = {"kind": "http", "name": "web", "options": {"url": "http://127.0.0.1:9"}, "paused": True}


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with Appliance(tmp_path_factory.mktemp("bad-requests")) as running:
        before = pids(running)
        yield running
        assert pids(running) == before, "a process was restarted by a request"


def send(
    appliance: Appliance,
    method: str,
    path: str,
    body: bytes | None = None,
    *,
    token: str | None = "",
    **headers: str,
) -> tuple[int, dict[str, str], bytes]:
    """One request as raw as HTTP allows. token: empty for the administrator's, None for none at all."""
    where = urllib.parse.urlsplit(appliance.url)
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=20)
    sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        sent["Authorization"] = f"Bearer {token or appliance.token}"
    try:
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        return answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def refusal(raw: bytes) -> dict[str, str]:
    """The error of an answer, in the one shape: {"error": {"code", "message", "field"?}}."""
    body: dict[str, Any] = json.loads(raw)
    assert set(body) == {"error"}, body
    error: dict[str, str] = body["error"]
    assert {"code", "message"} <= set(error) <= {"code", "message", "field"}, body
    assert all(isinstance(text, str) and text for text in error.values()), body
    assert "Traceback" not in error["message"]
    return error


def as_json(body: object) -> bytes:
    return json.dumps(body).encode()


DEEP = b'{"options": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"

BAD_BODIES: dict[str, tuple[str, str, bytes, int, str, str | None]] = {
    # name: (method, path, body, status, a part of the message, the field)
    "no JSON": ("POST", "/api/v1/checks", b'{"kind": "http",', 400, "not JSON", None),
    "nothing": ("POST", "/api/v1/checks", b"", 400, "not JSON", None),
    "not UTF-8": ("POST", "/api/v1/checks", b'{"kind": "\xff\xfe"}', 400, "not JSON", None),
    "100,000 levels deep": ("POST", "/api/v1/checks", DEEP, 400, "not JSON", None),
    "a list": ("POST", "/api/v1/checks", b"[1, 2]", 422, "must be a JSON object", None),
    "no kind": ("POST", "/api/v1/checks", b'{"name": "x"}', 422, "kind", "kind"),
    "an unknown kind": ("POST", "/api/v1/checks", as_json(HTTP_CHECK | {"kind": "htpp"}), 422, "http", "kind"),
    "an unknown field": ("POST", "/api/v1/checks", as_json(HTTP_CHECK | {"intervall_s": 5}), 422, "interval", None),
    "an unknown option": (
        "POST",
        "/api/v1/checks",
        as_json(HTTP_CHECK | {"options": {"url": "http://x", "metod": "GET"}}),
        422,
        "did you mean",
        "options.metod",
    ),
    "a text for a number": (
        "POST",
        "/api/v1/checks",
        as_json(HTTP_CHECK | {"interval_s": "10"}),
        422,
        "'10' is not a number from 1 to 86,400",
        "interval_s",
    ),
    "a number out of range": (
        "POST",
        "/api/v1/checks",
        as_json(HTTP_CHECK | {"interval_s": 0}),
        422,
        "0 is not a number from 1 to 86,400",
        "interval_s",
    ),
    "a list for a text": (
        "POST",
        "/api/v1/checks",
        as_json(HTTP_CHECK | {"name": ["x"]}),
        422,
        "not a text of at most 120 characters",
        "name",
    ),
    "a null for options": ("POST", "/api/v1/checks", as_json(HTTP_CHECK | {"options": None}), 422, "object", "options"),
    "an unknown channel": (
        "POST",
        "/api/v1/checks",
        as_json(HTTP_CHECK | {"channels": ["hok"]}),
        422,
        "hok",
        "channels",
    ),
    "a channel without a URL": (
        "POST",
        "/api/v1/channels",
        as_json({"kind": "webhook", "name": "h", "options": {}}),
        422,
        "url",
        "options.url",
    ),
    "a downtime that ends before it begins": (
        "POST",
        "/api/v1/downtimes",
        as_json({"matchers": {"team": "x"}, "from_ms": 2_000, "until_ms": 1_000}),
        422,
        "the end is not after the start",
        "until_ms",
    ),
    "samples that are no list": ("POST", "/api/v1/series", b'{"labels": {}}', 400, "array", None),
    "a sample without a time": (
        "POST",
        "/api/v1/series",
        as_json([{"labels": {"__name__": "x"}, "samples": [[1]]}]),
        400,
        "",
        None,
    ),
    "a text for a value": (
        "POST",
        "/api/v1/series",
        as_json([{"labels": {"__name__": "x"}, "samples": [[1, "2"]]}]),
        400,
        "",
        None,
    ),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_answered_with_what_is_wrong_where(appliance: Appliance, name: str) -> None:
    method, path, body, status, message, field = BAD_BODIES[name]
    found, headers, raw = send(appliance, method, path, body)
    error = refusal(raw)
    assert found == status, error
    assert headers["content-type"] == "application/json"
    assert message in error["message"], error
    if field is not None:
        assert error.get("field") == field, error


BAD_REQUESTS: dict[str, tuple[str, str, int, str]] = {  # name: (method, path, status, code)
    "a check that is not there": ("GET", "/api/v1/checks/nobody", 404, "not_found"),
    "a run of a check that is not there": ("POST", "/api/v1/checks/nobody/run", 404, "not_found"),
    "a deletion of what is not there": ("DELETE", "/api/v1/channels/nobody", 404, "not_found"),
    "an incident that is not there": ("GET", "/api/v1/incidents/nobody", 404, "not_found"),
    "a path that is not there": ("GET", "/api/v1/chekcs", 404, "not_found"),
    "a path out of the folder": ("GET", "/api/v1/checks/..%2F..%2Fetc%2Fpasswd", 404, "not_found"),
    "a method that is not there": ("PUT", "/api/v1/checks", 405, "method_not_allowed"),
    "a limit that is no number": ("GET", "/api/v1/checks?limit=all", 422, "invalid"),
    "a limit out of range": ("GET", "/api/v1/checks?limit=100000", 422, "invalid"),
    "a negative offset": ("GET", "/api/v1/checks?offset=-1", 422, "invalid"),
    "a heartbeat that is not there": ("POST", "/push/nothing", 404, "not_found"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_bad_request_is_answered_in_the_same_shape(appliance: Appliance, name: str) -> None:
    method, path, status, code = BAD_REQUESTS[name]
    found, _, raw = send(appliance, method, path)
    error = refusal(raw)
    assert (found, error["code"]) == (status, code), error


def test_without_a_token_and_with_a_wrong_one_it_is_401(appliance: Appliance) -> None:
    for method, path in (("GET", "/api/v1/checks"), ("POST", "/api/v1/checks"), ("POST", "/api/v1/series")):
        for token in (None, "henge_notatoken", "Ünï".encode().decode("latin-1")):
            status, headers, raw = send(appliance, method, path, b"{}", token=token)
            assert status == 401, (method, path, token, raw)
            assert refusal(raw)["code"] == "unauthorized"
            assert "Bearer" in headers["www-authenticate"]


def test_a_viewer_may_read_and_not_write(appliance: Appliance) -> None:
    viewer = appliance.henge("token", "create", "--name", "guest", "--role", "viewer").split()[-1]
    assert send(appliance, "GET", "/api/v1/checks", token=viewer)[0] == 200
    for method, path in (
        ("POST", "/api/v1/checks"),
        ("POST", "/api/v1/checks/try"),
        ("POST", "/api/v1/series"),
        ("POST", "/api/v1/channels"),
        ("DELETE", "/api/v1/checks/x"),
        ("GET", "/api/v1/tokens"),
    ):
        status, _, raw = send(appliance, method, path, b"{}", token=viewer)
        assert status == 403, (method, path, raw)
        error = refusal(raw)
        assert error["code"] == "forbidden"
        assert "viewer" in error["message"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8420", "127.0.0.1.evil.example", "[::1", ""])
def test_a_host_header_that_is_not_ours_is_turned_away(appliance: Appliance, host: str) -> None:
    """Against DNS rebinding: a page of another site must not read our answers through a name of its own."""
    status, _, raw = send(appliance, "GET", "/api/v1/checks", Host=host)
    assert status in (400, 421), raw
    assert "henge up" in refusal(raw)["message"]


def test_a_huge_body_is_turned_away_with_its_limit(appliance: Appliance) -> None:
    status, _, raw = send(appliance, "POST", "/api/v1/checks", b'{"name": "' + b"x" * 3_000_000 + b'"}')
    assert status == 413
    refusal(raw)
    status, _, raw = send(appliance, "POST", "/api/v1/series", b"[" + b" " * (80 * 2**20) + b"]")
    assert status == 413
    assert "split it" in refusal(raw)["message"]
    assert send(appliance, "GET", "/health/live")[0] == 200


def test_what_is_no_http_is_answered_in_the_same_shape(appliance: Appliance) -> None:
    """Headers without end, a length that is none, an encoding that nobody knows; refused before any view sees them."""
    where = urllib.parse.urlsplit(appliance.url)
    for sent, status in (
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 400_000 + b"\r\n\r\n", 431),
        (b"POST /api/v1/checks HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n", 400),
        (b"POST /api/v1/checks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: magic\r\n\r\n", 501),
    ):
        with socket.create_connection((str(where.hostname), int(where.port or 0)), timeout=10) as connection:
            connection.sendall(sent)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert answer.status == status
            refusal(answer.read())
            answer.close()


ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    1e308,
    2**53,
    2**64,
    "",
    "x",
    "\0",
    "\ud800",
    "a" * 5_000,
    "../..",
    "NaN",
)
ODD += ("\r\nX: y", "{{7*7}}", [], [[]], [None], {}, {"": ""})
RIGHT_BODIES: tuple[tuple[str, Any], ...] = (
    ("/api/v1/checks", HTTP_CHECK | {"interval_s": 10, "labels": {"team": "a"}, "channels": []}),
    ("/api/v1/checks", {"kind": "nagios", "name": "n", "options": {"argv": ["/bin/true"]}, "paused": True}),
    ("/api/v1/checks", {"kind": "query", "name": "q", "options": {"expression": "up", "critical": "> 1"}}),
    ("/api/v1/checks/try", {"kind": "tcp", "name": "t", "options": {"host": "127.0.0.1", "port": 9}, "timeout_s": 0.1}),
    ("/api/v1/channels", {"kind": "webhook", "name": "h", "options": {"url": "http://127.0.0.1:9", "secret": "s"}}),
    ("/api/v1/downtimes", {"matchers": {"team": "a"}, "from_ms": 1, "until_ms": 2, "comment": "c"}),
    ("/api/v1/series", [{"labels": {"__name__": "m"}, "samples": [[1_700_000_000_000, 1.5]]}]),
    ("/api/v1/tokens", {"name": "t", "role": "viewer"}),
)


def bent(value: Any, random: random.Random) -> Any:
    """A right body with some of its parts replaced, left out, or beside a strange one."""
    if random.random() < 0.15:
        return random.choice(ODD)
    if isinstance(value, dict):
        kept = {key: bent(part, random) for key, part in value.items() if random.random() > 0.05}
        return kept | ({"zz": random.choice(ODD)} if random.random() < 0.05 else {})
    if isinstance(value, list):
        return [bent(part, random) for part in value]
    return value


def test_bodies_bent_at_random_are_taken_or_refused_and_never_a_fault_of_ours(appliance: Appliance) -> None:
    seed = 7
    numbers = random.Random(seed)
    for _ in range(400):
        path, right = numbers.choice(RIGHT_BODIES)
        body = bent(right, numbers)
        status, _, raw = send(appliance, "POST", path, as_json(body))
        assert status < 500, (seed, path, body, raw)
        if status >= 400:
            refusal(raw)


def test_two_checks_of_one_name_are_a_conflict(appliance: Appliance) -> None:
    assert send(appliance, "POST", "/api/v1/checks", as_json(HTTP_CHECK | {"name": "twice"}))[0] == 201
    status, _, raw = send(appliance, "POST", "/api/v1/checks", as_json(HTTP_CHECK | {"name": "twice"}))
    assert status == 409
    assert refusal(raw)["code"] == "conflict"


RANGE = {"start": "0", "end": "60", "step": "15"}
BAD_EXPRESSIONS = {
    "30 KB of brackets": "(" * 15_000 + "1" + ")" * 15_000,
    "30 KB of minus signs": "-" * 30_000 + "1",
    "30 KB of or": " or ".join(["up"] * 5_000),
    "16 KB of nested calls": "abs(" * 3_200 + "up" + ")" * 3_200,
    "30 KB of subqueries": "max_over_time(" * 1_000 + "up" + "[1m:])" * 1_000,
    "30 KB in a string": 'up{x="' + "\\" * 30_000,
    "an open bracket": "sum(rate(up[5m])",
    "half a selector": "up{",
    "a NUL": "up\0",
    "nothing but a blank": " ",
}


@pytest.mark.parametrize("name", BAD_EXPRESSIONS)
@pytest.mark.parametrize("endpoint", ["query", "query_range"])
def test_an_expression_that_is_too_much_is_400_in_prometheus_shape(
    appliance: Appliance, name: str, endpoint: str
) -> None:
    form = urllib.parse.urlencode(
        {"query": BAD_EXPRESSIONS[name]}
        | ({"start": "0", "end": "60", "step": "15"} if endpoint == "query_range" else {})
    )
    status, _, raw = send(
        appliance,
        "POST",
        f"/prometheus/api/v1/{endpoint}",
        form.encode(),
        Content_Type="application/x-www-form-urlencoded",
    )
    body = json.loads(raw)
    assert status == 400, body
    assert (body["status"], body["errorType"]) == ("error", "bad_data")
    assert body["error"]
    assert len(body["error"]) < 1_000, "the message shows where, not 30 KB of what was sent"


def test_the_same_expression_is_refused_as_a_check(appliance: Appliance) -> None:
    expression = BAD_EXPRESSIONS["30 KB of brackets"]
    check = {"kind": "query", "name": "deep", "options": {"expression": expression, "critical": "> 1"}}
    status, _, raw = send(appliance, "POST", "/api/v1/checks", as_json(check))
    assert status == 422
    assert refusal(raw)["field"] == "options.expression"

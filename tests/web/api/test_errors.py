"""Addresses and methods that there are not: each interface answers in its own form and in our words."""

from __future__ import annotations

import pytest

from tests.web.house import House


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "query?query=up"),
        ("DELETE", "labels"),
        ("POST", "label/job/values"),
        ("GET", "write"),
        ("GET", "admin/tsdb/snapshot"),
    ],
)
def test_a_method_that_prometheus_does_not_have_is_answered_as_there(house: House, method: str, path: str) -> None:
    answer = house.call(method, f"/prometheus/api/v1/{path}")
    assert (answer.status_code, answer.text) == (405, "Method Not Allowed\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    allowed = answer.headers["Allow"].split(", ")
    assert method not in allowed
    assert "OPTIONS" in allowed


def test_an_address_that_there_is_not_is_named(house: House) -> None:
    answer = house.call("GET", "/prometheus/api/v1/status/nosuch")
    assert (answer.status_code, answer.mimetype) == (404, "text/plain")  # As Prometheus.
    assert answer.text == "there is nothing at /prometheus/api/v1/status/nosuch\n"
    ours = house.call("GET", "/api/v1/nosuch")
    assert ours.json == {"error": {"code": "not_found", "message": "there is nothing at /api/v1/nosuch"}}


def test_a_method_that_our_interface_does_not_take_is_refused_with_those_that_it_takes(house: House) -> None:
    answer = house.call("DELETE", "/api/v1/checks")
    assert answer.status_code == 405
    assert answer.json["error"]["code"] == "method_not_allowed"
    assert answer.json["error"]["message"] == "/api/v1/checks does not take DELETE; it takes GET, HEAD, OPTIONS, POST"
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


def test_a_body_of_another_kind_is_bad_data(house: House) -> None:
    answer = house.call("POST", "/prometheus/api/v1/write", {})
    assert (answer.status_code, answer.mimetype) == (415, "text/plain")

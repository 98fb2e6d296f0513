"""Remote-write by HTTP: what senders get to hear, and what is in the store afterwards."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from tests.tsdb.ingest import remote_write_bytes as wire
from tests.web.house import House
from tsdb.client import TsdbClient
from tsdb.errors import DiskFull, NotReady

PATH = "/prometheus/api/v1/write"
TWO = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


def send(house: House, body: bytes, *, role: str = "editor", **headers: str) -> Any:
    sent = {**house.token(role), **HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return house.app.test_client().post(PATH, data=body, headers=sent)


def body(house: House, name: str, *values: float) -> bytes:
    now_ms = house.services.clock.now_ms()
    return wire.request(
        [wire.series([("__name__", name), ("job", str(at))], [(now_ms, v)]) for at, v in enumerate(values)]
    )


def values_of(house: House, name: str) -> list[str]:
    found = house.call("GET", f"/prometheus/api/v1/query?query={name}").json["data"]["result"]
    return [row["value"][1] for row in found]


@pytest.mark.parametrize("encoding", ["snappy", "zstd"])
def test_samples_are_stored_and_answered_with_204(house: House, encoding: str) -> None:
    raw = body(house, f"written_{encoding}", 1.5, 0.0, float("-inf"))
    answer = send(house, wire.snappy(raw) if encoding == "snappy" else wire.zstd(raw), Content_Encoding=encoding)
    assert (answer.status_code, answer.data) == (204, b"")
    assert values_of(house, f"written_{encoding}") == ["1.5", "0", "-Inf"]


def test_the_good_of_a_body_is_stored_and_the_bad_is_named_in_a_400(house: House) -> None:
    now_ms = house.services.clock.now_ms()
    bad = wire.series([("__name__", "partly"), ("a", "1"), ("a", "2")], [(now_ms, 1.0)])
    future = wire.series([("__name__", "partly"), ("job", "0")], [(now_ms + 86_400_000, 1.0), (-5, 1.0)])
    answer = send(house, wire.snappy(body(house, "partly", 7.0) + wire.request([bad, future])))
    assert answer.status_code == 400
    said = answer.text
    assert "stored 1 samples, refused duplicate_label 1, negative_time 1, too_far_in_future 1" in said
    assert "label 'a' is given twice" in said
    assert values_of(house, "partly") == ["7"]


WRITTEN = "X-Prometheus-Remote-Write-{}-Written"


def of_version_2(house: House, name: str, *more: tuple[str, str]) -> bytes:
    now_ms = house.services.clock.now_ms()
    bad = ([("job", "0")], [wire.sample(now_ms, 1.0)])
    series = [([("__name__", name), ("job", job)], [wire.sample(now_ms, 7.0)]) for job in "ab"]
    return wire.request_2([*series, *([bad] if more else [])])


@pytest.mark.parametrize(
    ("encoding", "headers"),
    [
        ("snappy", {"Content_Type": TWO, "X_Prometheus_Remote_Write_Version": "2.0.0"}),
        ("zstd", {"Content_Type": TWO}),
        ("snappy", {"X_Prometheus_Remote_Write_Version": "2.0.0"}),
    ],
)
def test_version_2_is_told_what_was_written(house: House, encoding: str, headers: dict[str, str]) -> None:
    name = f"second_{encoding}_{len(headers)}"
    raw = of_version_2(house, name)
    sent = wire.snappy(raw) if encoding == "snappy" else wire.zstd(raw)
    answer = send(house, sent, Content_Encoding=encoding, **headers)
    counts = [answer.headers[WRITTEN.format(what)] for what in ("Samples", "Histograms", "Exemplars")]
    assert (answer.status_code, answer.data, counts) == (204, b"", ["2", "0", "0"])
    assert values_of(house, name) == ["7", "7"]


def test_version_2_is_told_so_in_a_400_as_well(house: House) -> None:
    answer = send(house, wire.snappy(of_version_2(house, "second_partly", ("job", "0"))), Content_Type=TWO)
    assert (answer.status_code, answer.headers[WRITTEN.format("Samples")]) == (400, "2")
    assert "stored 2 samples, refused no_metric_name 1" in answer.text
    assert WRITTEN.format("Samples") not in send(house, wire.snappy(body(house, "first", 1.0))).headers


def test_what_is_no_remote_write_is_refused_with_415(house: House) -> None:
    good = wire.snappy(body(house, "never", 1.0))
    for headers, word in (
        ({"Content_Type": "application/x-protobuf;proto=io.prometheus.write.v3.Request"}, "v2.Request"),
        ({"Content_Type": "application/json"}, "application/x-protobuf"),
        ({"Content_Encoding": "gzip"}, "snappy"),
    ):
        answer = send(house, good, **headers)
        assert (answer.status_code, word in answer.text) == (415, True), answer.text
    named = "application/x-protobuf; proto=prometheus.WriteRequest"
    assert send(house, wire.snappy(body(house, "named", 1.0)), Content_Type=named).status_code == 204


def test_bad_bodies_are_refused_and_large_ones_with_413(house: House) -> None:
    assert send(house, b"").status_code == 400
    assert send(house, b"up 1\n").status_code == 400
    large = send(house, wire.varint(2**31) + b"a")
    assert (large.status_code, "split it" in large.text) == (413, True)
    assert send(house, bytes(32 * 2**20 + 1)).status_code == 413


def test_writing_needs_an_editor(house: House) -> None:
    good = wire.snappy(body(house, "never", 1.0))
    assert send(house, good, role="viewer").status_code == 403
    assert house.app.test_client().post(PATH, data=good, headers=HEADERS).status_code in (401, 403)
    assert values_of(house, "never") == []


@pytest.mark.parametrize(("error", "status"), [(NotReady("the store is away"), 503), (DiskFull("no space left"), 507)])
def test_a_sender_is_told_to_try_again_when_the_store_cannot_take_it(
    house: House, error: Exception, status: int
) -> None:
    with mock.patch.object(TsdbClient, "write", side_effect=error):
        answer = send(house, wire.snappy(body(house, "never", 1.0)))
    assert (answer.status_code, answer.mimetype) == (status, "text/plain")
    assert status != 503 or answer.headers["Retry-After"] == "1"

"""Odd and bad samples by every door of the real appliance: stored bit for bit, or refused with a counted reason."""

from __future__ import annotations

import http.client
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.endtoend.looking import metric, pids
from tests.running import Appliance
from tests.tsdb.ingest import arrow_bytes
from tests.tsdb.ingest import remote_write_bytes as wire
from tests.waiting import wait_until
from tsdb.client import TsdbClient
from tsdb.sample import Matcher, MatchOp

NOW_MS = int(time.time()) * 1_000
Pairs = Sequence[tuple[str | bytes, str | bytes]]


@dataclass(frozen=True)
class Row:
    labels: Pairs
    time_ms: int
    bits: int

    @property
    def value(self) -> float:
        return float(struct.unpack("<d", struct.pack("<Q", self.bits))[0])


def bits_of(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


def _text(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _notation(labels: Pairs) -> bytes:
    return b"{" + b",".join(b'"%s"="%s"' % (_text(name), _text(value)) for name, value in labels) + b"}"


def _as_json(rows: Sequence[Row]) -> bytes:
    """Written by hand: json.dumps can neither say a label twice nor write what is no UTF-8."""
    words = {bits_of(float("inf")): '"+Inf"', bits_of(float("-inf")): '"-Inf"', bits_of(float("nan")): '"NaN"'}
    series = []
    for row in rows:
        labels = b",".join(b'"%s":"%s"' % (_text(name), _text(value)) for name, value in row.labels)
        value = words.get(row.bits) or repr(row.value)
        series.append(b'{"labels":{%s},"samples":[[%d,%s]]}' % (labels, row.time_ms, value.encode()))
    return b"[" + b",".join(series) + b"]"


def _as_remote_write(rows: Sequence[Row]) -> bytes:
    parts = [
        b"".join(wire.label(name, value) for name, value in row.labels)
        + wire.sample(row.time_ms, struct.pack("<Q", row.bits), always=True)
        for row in rows
    ]
    return wire.snappy(wire.request(parts))


def _as_arrow(rows: Sequence[Row]) -> bytes:
    body = arrow_bytes.Body()
    body.texts(arrow_bytes.LARGE_UTF8, [_notation(row.labels) for row in rows])
    body.numbers("q", [row.time_ms for row in rows])
    body.column(len(rows), None, struct.pack(f"<{len(rows)}Q", *(row.bits for row in rows)))
    names = arrow_bytes.column("series", arrow_bytes.LARGE_UTF8)
    schema = arrow_bytes.schema(names, arrow_bytes.times_column(), arrow_bytes.values_column())
    return schema + body.records(len(rows)) + arrow_bytes.END


@dataclass(frozen=True)
class Door:
    path: str
    headers: dict[str, str]
    encoded: Callable[[Sequence[Row]], bytes]


DOORS = {
    "json": Door("/api/v1/series", {"Content-Type": "application/json"}, _as_json),
    "remote_write": Door(
        "/prometheus/api/v1/write",
        {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"},
        _as_remote_write,
    ),
    "arrow": Door("/api/v1/write/arrow", {"Content-Type": "application/vnd.apache.arrow.stream"}, _as_arrow),
}


class Sender:
    """Posts rows and reads back what is stored, with the bits of the values."""

    def __init__(self, appliance: Appliance) -> None:
        self.appliance = appliance
        self.client = TsdbClient(appliance.data_dir / "run")

    def send(self, door: Door, rows: Sequence[Row]) -> tuple[int, str]:
        where = urlsplit(self.appliance.url)
        connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=30)
        headers = {"Authorization": f"Bearer {self.appliance.token}", **door.headers}
        connection.request("POST", door.path, door.encoded(rows), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def stored(self, name: str) -> list[tuple[int, int]]:
        """Times and bits of all series with a metric name."""
        found = self.client.select([Matcher("__name__", MatchOp.EQUAL, name)], -(2**62), 2**62)
        return sorted(zip(found.timestamp_ms.tolist(), found.value.view(np.uint64).tolist(), strict=True))


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sender]:
    with Appliance(tmp_path_factory.mktemp("bad-samples"), settings=("store.retention=forever",)) as appliance:
        running = Sender(appliance)
        before = pids(appliance)
        yield running
        assert pids(appliance) == before, "a process was restarted"
        running.client.close()


ODD_BITS = {
    "the quiet NaN": 0x7FF8000000000000,
    "a NaN with a payload": 0x7FF8000000000123,
    "a NaN with a sign and a payload": 0xFFF80000DEADBEEF,
    "a signalling NaN": 0x7FF0000000000001,
    "Prometheus' stale marker": 0x7FF0000000000002,
    "+Inf": bits_of(float("inf")),
    "-Inf": bits_of(float("-inf")),
    "-0.0": bits_of(-0.0),
    "the smallest denormal": 1,
    "the largest denormal, negative": 0x800FFFFFFFFFFFFF,
    "the largest number": 0x7FEFFFFFFFFFFFFF,
    "0.1 + 0.2": bits_of(0.1 + 0.2),
}


@pytest.mark.parametrize("protocol", DOORS)
def test_odd_values_are_stored_bit_for_bit(sender: Sender, protocol: str) -> None:
    """NaNs that differ in their payload are told apart; JSON has one NaN only."""
    odd = [
        bits for name, bits in ODD_BITS.items() if protocol != "json" or name == "the quiet NaN" or "NaN" not in name
    ]
    odd = [bits for bits in odd if protocol != "json" or bits != ODD_BITS["Prometheus' stale marker"]]
    name = f"odd_{protocol}"
    rows = [Row([("__name__", name)], NOW_MS - 1_000 * at, bits) for at, bits in enumerate(odd)]
    rows += [Row([("__name__", name)], time_ms, 1) for time_ms in (0, 1)]  # The first of 1970.
    status, text = sender.send(DOORS[protocol], rows)
    assert status in (200, 204), text
    assert sender.stored(name) == sorted((row.time_ms, row.bits) for row in rows)


def _named(name: str, *labels: tuple[str | bytes, str | bytes]) -> Pairs:
    return [("__name__", name), *labels]


DAY_MS = 86_400_000
BAD: dict[str, tuple[Callable[[str], Row], dict[str, str]]] = {
    # name: (the row with the metric name given, the reason by protocol)
    "a time before 1970": (
        lambda name: Row(_named(name), -1, 0),
        {"json": "bad_timestamp", "remote_write": "negative_time", "arrow": "negative_time"},
    ),
    "a day ahead": (lambda name: Row(_named(name), NOW_MS + DAY_MS, 0), dict.fromkeys(DOORS, "too_far_in_future")),
    "the last time there is": (
        lambda name: Row(_named(name), 2**63 - 1, 0),
        {"json": "bad_timestamp", "remote_write": "too_far_in_future", "arrow": "too_far_in_future"},
    ),
    "a label twice": (
        lambda name: Row(_named(name, ("a", "1"), ("a", "2")), NOW_MS, 0),
        dict.fromkeys(DOORS, "duplicate_label"),
    ),
    "a label without a name": (
        lambda name: Row(_named(name, ("", "1")), NOW_MS, 0),
        {"json": "empty_label_name", "remote_write": "empty_label_name", "arrow": "empty_label_name"},
    ),
    "no label at all": (lambda _: Row([], NOW_MS, 0), dict.fromkeys(DOORS, "empty_labels")),
    "a value of 1 MB": (
        lambda name: Row(_named(name, ("a", "x" * 2**20)), NOW_MS, 0),
        {"json": "label_too_long", "remote_write": "label_too_long", "arrow": "name_too_long"},
    ),
    "a name of 1 MB": (
        lambda name: Row(_named(name, ("x" * 2**20, "a")), NOW_MS, 0),
        {"json": "label_too_long", "remote_write": "label_too_long", "arrow": "name_too_long"},
    ),
    "10,000 labels": (
        lambda name: Row(_named(name, *((f"a{number:05}", "1") for number in range(10_000))), NOW_MS, 0),
        dict.fromkeys(DOORS, "too_many_labels"),
    ),
    "what is no UTF-8": (
        lambda name: Row(_named(name, ("a", b"\xff\xfe")), NOW_MS, 0),
        {"json": "bad_json", "remote_write": "invalid_utf8", "arrow": "invalid_utf8"},
    ),
}


@pytest.mark.parametrize("protocol", DOORS)
@pytest.mark.parametrize("what", BAD)
def test_a_bad_sample_is_refused_with_a_counted_reason_and_its_neighbours_are_kept(
    sender: Sender, what: str, protocol: str
) -> None:
    make, reasons = BAD[what]
    reason = reasons[protocol]
    name = f"bad_{protocol}_{list(BAD).index(what)}"
    before = metric(sender.appliance, "henge_ingest_refused_total", protocol=protocol, reason=reason)
    beside = [Row(_named(f"{name}_beside"), NOW_MS - at, at) for at in range(2)]
    status, text = sender.send(DOORS[protocol], [beside[0], make(name), beside[1]])
    is_body_lost = reason == "bad_json"
    assert is_body_lost or reason in text, (status, text[:500])
    assert status == (400 if protocol == "remote_write" or is_body_lost else 200), text[:500]
    wait_until(
        lambda: metric(sender.appliance, "henge_ingest_refused_total", protocol=protocol, reason=reason) == before + 1,
        what=f"one more {reason}",
    )
    assert sender.stored(name) == []
    assert len(sender.stored(f"{name}_beside")) == (0 if is_body_lost else 2)
    _, system = sender.appliance.call("GET", "/api/v1/system")
    recent = [
        one for one in system["intake"]["recent_refusals"] if (one["protocol"], one["reason"]) == (protocol, reason)
    ]
    assert recent, system["intake"]["recent_refusals"]
    assert recent[-1]["sender"] == "test", "the name of the token that it came with"

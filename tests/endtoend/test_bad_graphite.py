"""Malformed Graphite input: each line is refused by its reason where a person looks, and its neighbours are kept."""

from __future__ import annotations

import json
import pickle
import random
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.endtoend.looking import log, metric, page, pids
from tests.running import Appliance
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with Appliance(tmp_path_factory.mktemp("bad-graphite")) as running:
        yield running


NOW_S = int(time.time())
BAD_LINES: dict[str, tuple[bytes, str]] = {  # name: (the line without its feed, the reason under which it is counted)
    "one field": (b"cpu.load", "fields_missing"),
    "two fields": (b"cpu.load 17", "fields_missing"),
    "four fields": (b"cpu.load 17 %d now" % NOW_S, "too_many_fields"),
    "a word as the value": (b"cpu.load high %d" % NOW_S, "not_a_number"),
    "a hexadecimal value": (b"cpu.load 0x11 %d" % NOW_S, "not_a_number"),
    "nan": (b"cpu.load nan %d" % NOW_S, "nan"),
    "a word as the time": (b"cpu.load 17 yesterday", "bad_timestamp"),
    "a negative time": (b"cpu.load 17 -86400", "bad_timestamp"),
    "a day ahead": (b"cpu.load 17 %d" % (NOW_S + 86_400), "too_far_in_future"),
    "milliseconds for seconds": (b"cpu.load 17 %d" % (NOW_S * 1000), "too_far_in_future"),
    "beyond the retention": (b"cpu.load 17 86400", "too_old"),
    "invalid UTF-8": (b"cpu.\xff\xfe.load 17 %d" % NOW_S, "invalid_utf8"),
    "1 MB without a blank": (b"x" * 2**20, "line_too_long"),
    "1 MB that looks right": (b"cpu." + b"x" * 2**20 + b" 17 %d" % NOW_S, "line_too_long"),
}


def refused(appliance: Appliance, reason: str) -> float:
    return metric(appliance, "henge_ingest_refused_total", protocol="graphite", reason=reason)


def neighbours(name: str, count: int) -> list[bytes]:
    return [b"%s.%d 1 %d" % (name.encode(), number, NOW_S) for number in range(count)]


def kept_count(appliance: Appliance, name: str) -> int:
    found = appliance.query(f'count({{__name__=~"{name}[.].*"}})', time_s=NOW_S + 1)
    return int(found[0]["value"][1]) if found else 0


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_counted_by_its_reason_and_its_neighbours_are_kept(appliance: Appliance, name: str) -> None:
    line, reason = BAD_LINES[name]
    metric_name = "beside." + name.replace(" ", "_").replace("-", "_")
    around = neighbours(metric_name, 20)
    before = refused(appliance, reason)
    appliance.send_graphite(b"\n".join([*around[:10], line, *around[10:], b""]))
    wait_until(lambda: refused(appliance, reason) == before + 1, what=f"one more line refused as {reason}")
    wait_until(lambda: kept_count(appliance, metric_name.replace(".", "[.]")) == 20, what="20 neighbours")


def test_a_line_from_everyone_is_shown_with_its_sender_where_people_look(appliance: Appliance) -> None:
    appliance.send_graphite(b"shown.here not-a-number 1\n")

    def example() -> dict[str, str] | None:
        _, system = appliance.call("GET", "/api/v1/system")
        recent = (system["intake"] or {}).get("recent_refusals", [])
        return next((one for one in recent if "shown.here" in one["line"]), None)

    shown = wait_until(example, what="the example in the system answer")
    assert shown is not None
    assert shown["message"] == "the value is not a number"
    assert shown["sender"].startswith("127.0.0.1")
    _, system = appliance.call("GET", "/api/v1/system")
    assert system["refused"]["graphite"]["not_a_number"] >= 1
    assert "the value is not a number" in page(appliance, "/system")
    assert "refused" in log(appliance)


def test_binary_noise_stops_nobody(appliance: Appliance) -> None:
    """Random bytes on TCP and UDP, then good lines on the same connection and the same port: all of them arrive."""
    before = pids(appliance)
    refused_before = metric(appliance, "henge_ingest_refused_total", protocol="graphite")
    noise = random.Random(4).randbytes(300_000)
    around = neighbours("after.noise", 100)
    appliance.send_graphite(noise + b"\n" + b"\n".join(around) + b"\n")
    host, port = appliance.ready["graphite"].rsplit(":", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        for start in range(0, 60_000, 1_000):
            datagrams.sendto(noise[start : start + 1_000], (host, int(port)))
        datagrams.sendto(b"after.noise.udp 1 %d\n" % NOW_S, (host, int(port)))
    wait_until(lambda: kept_count(appliance, "after[.]noise") == 101, what="the lines after the noise")
    assert metric(appliance, "henge_ingest_refused_total", protocol="graphite") > refused_before
    assert pids(appliance) == before


def test_half_a_line_and_silence_hold_up_nobody_and_store_no_wrong_value(appliance: Appliance) -> None:
    host, port = appliance.ready["graphite"].rsplit(":", 1)
    before = refused(appliance, "incomplete_line")
    silent = [socket.create_connection((host, int(port)), timeout=10) for _ in range(50)]
    try:
        for connection in silent:
            connection.sendall(b"whole.line.before 1 %d\nhalf.line 1" % NOW_S)  # Of `half.line 17 …`.
        appliance.send_graphite(b"\n".join([*neighbours("beside.silence", 20), b""]))
        wait_until(lambda: kept_count(appliance, "beside[.]silence") == 20, what="the lines of the others")
        assert kept_count(appliance, "whole[.]line") == 1
    finally:
        for connection in silent:
            connection.close()
    wait_until(lambda: refused(appliance, "incomplete_line") == before + 50, what="50 incomplete lines")
    assert kept_count(appliance, "half") == 0


def test_what_the_json_door_refuses_is_answered_and_counted(appliance: Appliance) -> None:
    now_ms = NOW_S * 1000
    good = {"labels": {"__name__": "json_neighbour"}, "samples": [[now_ms, 1]]}
    far = {"labels": {"__name__": "json_far"}, "samples": [[now_ms + 86_400_000, 1]]}
    status, answer = appliance.call("POST", "/api/v1/series", [good, far])
    assert status == 200
    assert answer["accepted_count"] == 1
    assert answer["refused"] == {"too_far_in_future": 1}
    assert metric(appliance, "henge_ingest_refused_total", protocol="json", reason="too_far_in_future") == 1
    assert len(appliance.query("json_neighbour", time_s=NOW_S + 1)) == 1
    status, answer = appliance.call("POST", "/api/v1/series", [far])
    assert status == 400, answer
    assert "future" in json.dumps(answer), answer


class _Evil:
    """A pickle of it would write a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (self.path, "w")


def test_a_pickle_that_wants_to_run_code_runs_nothing_and_its_neighbours_are_kept(
    appliance: Appliance, tmp_path: Path
) -> None:
    texts = [
        pickle.dumps(found, protocol)
        for protocol in range(6)
        for found in ([(f"beside.pickles.{protocol}", (NOW_S, 1))], _Evil(str(tmp_path / "evil")))
    ]
    host, port = appliance.ready["graphite_pickle"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"".join(struct.pack(">I", len(text)) + text for text in texts))
    wait_until(lambda: kept_count(appliance, "beside[.]pickles") == 6, what="the frames between the bad ones")
    counted = {"protocol": "graphite_pickle", "reason": "unsafe_pickle"}
    wait_until(lambda: metric(appliance, "henge_ingest_refused_total", **counted) == 6, what="6 refused")
    assert not (tmp_path / "evil").exists()

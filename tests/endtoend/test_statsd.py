"""StatsD on a real appliance: packets in over UDP and TCP, what statsd derives from them out by query."""

from __future__ import annotations

import random
import socket
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.running import Appliance
from tests.udp_buffer import DEBIAN_RMEM_MAX, set_udp_buffer
from tests.waiting import wait_until


def values_of(appliance: Appliance, query: str) -> set[float]:
    """All values of the last minutes."""
    status, body = appliance.call("GET", f"/prometheus/api/v1/query?{urlencode({'query': query})}")
    assert status == 200, body
    return {float(value) for one in body["data"]["result"] for _, value in one["values"]}


def test_packets_become_series(tmp_path: Path) -> None:
    with Appliance(
        tmp_path, settings=("statsd.listen=127.0.0.1:0", "statsd.flush_interval=1s", "statsd.percentiles=50,-10")
    ) as appliance:
        host, port = appliance.ready["statsd"].rsplit(":", 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"shop.orders:3|c|@0.5|#env:prod\nshop.fuel:7|g\nno metric", (host, int(port)))
        with socket.create_connection((host, int(port))) as stream:
            stream.sendall(b"shop.reply:10|ms\nshop.reply:30|ms\n")
            wait_until(lambda: 6.0 in values_of(appliance, '{"stats_counts.shop.orders", env="prod"}[5m]'))
            wait_until(lambda: 7.0 in values_of(appliance, '{"stats.gauges.shop.fuel"}[5m]'))
            wait_until(lambda: 20.0 in values_of(appliance, '{"stats.timers.shop.reply.mean"}[5m]'))
            assert 10.0 in values_of(appliance, '{"stats.timers.shop.reply.upper_50"}[5m]')
            wait_until(lambda: 1.0 in values_of(appliance, '{"stats_counts.statsd.bad_lines_seen"}[5m]'))


def test_events_and_service_checks_of_dogstatsd_arrive(tmp_path: Path) -> None:
    settings = ("statsd.listen=127.0.0.1:0", "statsd.flush_interval=1s", "statsd.dogstatsd=true")
    with Appliance(tmp_path, settings=settings) as appliance:
        status, check = appliance.call("POST", "/api/v1/checks", {"kind": "push", "name": "backup", "options": {}})
        assert status == 201, check

        def state() -> str:
            return str(appliance.call("POST", f"/api/v1/checks/{check['id']}/run")[1]["state"])

        host, port = appliance.ready["statsd"].rsplit(":", 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for line in (
                b"_sc|backup|1|#env:prod|m:disk is slow",
                b"_sc|nobody|0",
                b"_e{6,5}:deploy|of 42|t:info|#web",
            ):
                sender.sendto(line, (host, int(port)))
        wait_until(lambda: state() == "warning", what="the state of the job")
        wait_until(lambda: appliance.call("GET", "/graphite/events/get_data?tags=web")[1] != [], what="the event")
        (event,) = appliance.call("GET", "/graphite/events/get_data?tags=web")[1]
        assert (event["what"], event["data"], event["tags"]) == ("deploy", "of 42", ["alert_type:info", "web"])
        wait_until(lambda: refused(appliance).get("unknown_check") == 1, what="the count of what nobody knows")
        recent = appliance.call("GET", "/api/v1/system")[1]["intake"]["recent_refusals"]
        assert "there is no push check 'nobody'" in recent[0]["message"]


def refused(appliance: Appliance) -> dict[str, float]:
    """Of StatsD, by reason."""
    found: dict[str, float] = appliance.call("GET", "/api/v1/system")[1]["refused"].get("statsd", {})
    return found


def test_what_a_small_buffer_loses_is_counted_to_the_last_packet(tmp_path: Path) -> None:
    """With the buffer of Debian's net.core.rmem_max, as wide as it is without privileges; see tests/udp_buffer.py."""
    with Appliance(tmp_path, settings=("statsd.listen=127.0.0.1:0", "statsd.flush_interval=1s")) as appliance:
        host, port = appliance.ready["statsd"].rsplit(":", 1)
        try:
            set_udp_buffer(appliance.ready["processes"]["intake"], int(port), DEBIAN_RMEM_MAX)
        except PermissionError as error:
            pytest.skip(f"another process's socket may not be changed here: {error}")
        sent_count = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect((host, int(port)))
            until_s = time.monotonic() + 2
            while time.monotonic() < until_s:
                for _ in range(1_000):
                    sender.send(b"a:1|c")
                sent_count += 1_000

        def told() -> float:
            received = {"query": 'sum_over_time({"stats_counts.a"}[10m])'}
            found = appliance.call("GET", f"/prometheus/api/v1/query?{urlencode(received)}")[1]["data"]["result"]
            stats = appliance.call("GET", "/api/v1/system")[1]["intake"]
            return sum(float(one["value"][1]) for one in found) + stats["udp_dropped"]["statsd_udp"]

        wait_until(lambda: told() == sent_count, what=f"{sent_count:,} packets, stored or counted as dropped")


def test_garbage_at_full_rate_is_counted_and_other_doors_answer(tmp_path: Path) -> None:
    garbage = random.Random(3).randbytes(200)
    packets = [garbage, b"a:1|c|@", b"x" * 300, b"|" * 100, b"a:NaN|g\na:nan|c", garbage.replace(b"\n", b"") + b":1|c"]
    with Appliance(tmp_path, settings=("statsd.listen=127.0.0.1:0", "statsd.flush_interval=1s")) as appliance:
        host, port = appliance.ready["statsd"].rsplit(":", 1)
        ended = threading.Event()

        def flood() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.connect((host, int(port)))
                while not ended.is_set():
                    for packet in packets * 20:
                        sender.send(packet)

        flooding = threading.Thread(target=flood)
        flooding.start()
        try:
            wait_until(lambda: refused(appliance).get("bad_sample_rate", 0) > 1_000, what="garbage that is counted")
            graphite_host, graphite_port = appliance.ready["graphite"].rsplit(":", 1)
            with socket.create_connection((graphite_host, int(graphite_port))) as stream:
                stream.sendall(b"beside.the.flood 7 %d\n" % time.time())
                wait_until(lambda: 7.0 in values_of(appliance, '{"beside.the.flood"}[5m]'), what="the Graphite line")
            with socket.create_connection((host, int(port))) as stream:
                stream.sendall(b"through.the.flood:5|c\n")
                wait_until(lambda: 5.0 in values_of(appliance, '{"stats_counts.through.the.flood"}[5m]'))
        finally:
            ended.set()
            flooding.join()
        assert refused(appliance)["not_a_number"] > refused(appliance)["bad_sample_rate"]
        processes = appliance.call("GET", "/api/v1/system")[1]["processes"]
        assert {one["name"]: one["restarts"] for one in processes}["intake"] == 0

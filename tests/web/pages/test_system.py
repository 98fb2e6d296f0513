"""The System page: what the kernel dropped, and the setting that cures it."""

from __future__ import annotations

import re

import pytest

from appliance import crashes
from appliance.crashes import Crash
from tests.web.house import House
from tsdb.ingest.listen import UDP_BUFFER_BYTES
from web.pages.system.views import UDP_BUFFER_BYTES_WANTED, udp_cure

LARGE = {"statsd_udp": UDP_BUFFER_BYTES}
SMALL = {"statsd_udp": 212_992}
CURES = {  # name: (dropped, granted; words that are in the sentence)
    "nothing dropped": ({"statsd_udp": 0}, SMALL, ""),
    "a small buffer": ({"statsd_udp": 5}, SMALL, "sysctl -w net.core.rmem_max=8388608, then henge reload"),
    "its size": ({"statsd_udp": 5}, SMALL, "208 KiB is all"),
    "as large as wanted": ({"statsd_udp": 5}, LARGE, "several metrics into a packet"),
    "another listener's is small": (
        {"graphite_udp": 0, "statsd_udp": 5},
        LARGE | {"graphite_udp": 1},
        "several metrics",
    ),
    "intake is silent": ({"statsd_udp": 5}, {}, "several metrics"),
}


@pytest.mark.parametrize(("dropped", "granted", "words"), CURES.values(), ids=CURES.keys())
def test_the_cure_is_what_would_help(dropped: dict[str, float], granted: dict[str, int], words: str) -> None:
    found = udp_cure(dropped, granted)
    assert words in found
    assert bool(words) == bool(found)


def test_the_page_asks_for_what_the_listeners_want() -> None:
    assert UDP_BUFFER_BYTES_WANTED == UDP_BUFFER_BYTES


def test_dropped_packets_are_on_the_page(house: House) -> None:
    client = house.client("admin")
    assert "UDP lost" not in client.get("/system").text
    house.services.metrics.counter("henge_udp_dropped_total", "As of intake.").inc(7, listener="statsd_udp")
    page = client.get("/system").text
    assert "UDP lost, statsd_udp" in page
    assert re.search(r"UDP lost, statsd_udp\s+[1-9][0-9]*\s+packets", re.sub(r"<[^>]*>", " ", page))
    assert "let senders put several metrics into a packet" in page


def test_an_administrator_reads_the_reports_of_crashes(house: House) -> None:
    crash = Crash(process="query", pid=7, exit="SIGSEGV", at_ms=1_800_000_000_000, lived_ms=5, lines=("its last",))
    path = crashes.write(house.context.config.data_dir, crash)
    assert path is not None
    try:
        assert f'/system/crashes/{path.name}">SIGSEGV' in house.client("admin").get("/system").text
        page = house.client("viewer").get("/system").text
        assert "SIGSEGV" in page
        assert path.name not in page
        answer = house.client("admin").get(f"/system/crashes/{path.name}")
        assert answer.content_type == "text/plain; charset=utf-8"
        assert "its last" in answer.text
        assert house.client("admin").get("/system/crashes/20260101T000000Z-web-1.txt").status_code == 404
    finally:
        path.unlink()

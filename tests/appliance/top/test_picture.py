"""What two looks at an appliance come to: figures, words, and their place in a terminal of 80 columns."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.commands.running_appliance import Row, Status
from appliance.top.look import Key, Look, Usage, usage_from
from appliance.top.picture import BAD, PLAIN, QUEUE, REQUESTS, Figures, Line, picture

NAMES = ("state", "store", "intake", "query", "spawner", "scheduler", "web")
MIB = 2**20
SAMPLES = "henge_ingest_samples_total"


def row(name: str, pid: int | None, **changes: object) -> Row:
    fields = {"state": "up" if pid else "starting", "restarts": 0, "last_exit": None, "last_words": None} | changes
    return Row(name=name, pid=pid, rss_bytes=0, started_ms=0, **fields)  # type: ignore[arg-type]


def key(process: str, metric: str, **labels: str) -> Key:
    return (process, metric, tuple(sorted(labels.items())))


STATUS = Status(
    pid=10,
    version="1.2.3",
    started_ms=0,
    reloading=False,
    addresses={"web": "http://127.0.0.1:8420"},
    processes=[row(name, 11 + index) for index, name in enumerate(NAMES)],
)
BEFORE = Look(
    at_s=100.0,
    now_ms=7_000_000,
    status=STATUS,
    values={
        key("intake", SAMPLES, protocol="graphite"): 1_000,
        key("intake", SAMPLES, protocol="statsd"): 50,
        key("intake", "henge_ingest_refused_total", protocol="graphite", reason="not_a_number"): 4,
        key("store", "henge_bus_requests_total", service="store", op="append"): 70,
    },
    usage_by_pid={pid: Usage(1.0, 64 * MIB) for pid in range(10, 18)},
    answered=frozenset((*NAMES, "supervisor")),
)
NOW = replace(
    BEFORE,
    at_s=102.0,
    now_ms=7_002_000,
    values={
        key("intake", SAMPLES, protocol="graphite"): 3_001_000,
        key("intake", SAMPLES, protocol="statsd"): 50,
        key("intake", "henge_ingest_refused_total", protocol="graphite", reason="not_a_number"): 4,
        key("store", "henge_bus_requests_total", service="store", op="append"): 90,
        key("store", "henge_bus_queue_length", service="store"): 12,
        key("scheduler", "henge_check_lateness_seconds", quantile="0.5"): 0.0012,
        key("scheduler", "henge_check_lateness_seconds", quantile="0.99"): 2.5,
    },
    usage_by_pid={**BEFORE.usage_by_pid, 12: Usage(2.5, 512 * MIB)},
)


def text(lines: list[Line]) -> str:
    return "\n".join(line.text for line in lines)


def line_with(lines: list[Line], words: str) -> Line:
    (found,) = [line for line in lines if words in line.text]
    return found


def test_the_picture_of_an_appliance_at_work() -> None:
    assert [line.rstrip() for line in text(picture(NOW, BEFORE, "/srv/henge")).splitlines()] == [
        "Henge 1.2.3  http://127.0.0.1:8420  up 1 h 56 min  /srv/henge",
        "7 of 7 processes up, 0 restarts, CPU 75.0 %, 960 MiB",
        "",
        "PROCESS          PID  STATE    RESTARTS     CPU    MEMORY QUEUE ASKED/S",
        "henge up          10  up              0   0.0 %    64 MiB     0       0",
        "├─ state          11  up              0   0.0 %    64 MiB     0       0",
        "├─ store          12  up              0  75.0 %   512 MiB    12      10",
        "├─ intake         13  up              0   0.0 %    64 MiB     0       0",
        "├─ query          14  up              0   0.0 %    64 MiB     0       0",
        "├─ spawner        15  up              0   0.0 %    64 MiB     0       0",
        "├─ scheduler      16  up              0   0.0 %    64 MiB     0       0",
        "└─ web            17  up              0   0.0 %    64 MiB     0       0",
        "",
        "Samples         1.5 M/s  3.0 M in all, 0 connections",
        "Refused             0/s  4 in all, 0 datagrams lost",
        "Store                    0 series, 0 in memory, disk 0 B of 0 B",
        "Queries             0/s  0 running, 0 waiting, 0 refused",
        "Checks              0/s  0 running, 0 late, lateness p50 1.2 ms, p99 2.5 s",
        "Messages                 0 wait for their receivers",
        "Page, API           0/s  requests",
        "q or Ctrl-C ends",
    ]


def test_the_first_look_has_no_rates_yet() -> None:
    lines = picture(NOW, None, "/srv/henge")
    assert "–/s  3.0 M in all" in line_with(lines, "Samples").text
    assert "CPU –" in lines[1].text


def test_a_counter_that_is_new_counts_from_nought_and_one_that_began_anew_never_falls() -> None:
    refused = key("intake", "henge_ingest_refused_total", protocol="graphite", reason="name_too_long")
    figures = Figures(replace(NOW, values={refused: 8.0}), BEFORE)
    assert figures.rate("henge_ingest_refused_total") == 4.0
    assert Figures(replace(NOW, values={key("intake", SAMPLES, protocol="statsd"): 3}), BEFORE).rate(SAMPLES) == 0.0


def test_a_process_that_was_silent_before_brings_no_leap() -> None:
    silent = replace(BEFORE, values={}, answered=BEFORE.answered - {"intake"}, silent=("intake",))
    assert Figures(NOW, silent).rate(SAMPLES) is None
    back = picture(BEFORE, NOW, "/srv/henge")  # A clock that runs backwards is no rate either.
    assert "–/s" in line_with(back, "Samples").text


def test_a_process_that_is_silent_is_named_and_has_no_figures() -> None:
    silent = replace(NOW, values={}, answered=NOW.answered - {"intake"}, silent=("intake",))
    lines = picture(silent, BEFORE, "/srv/henge")
    assert line_with(lines, "Silent") == Line("Silent      intake", BAD)
    assert line_with(lines, "├─ intake").style == BAD
    assert line_with(lines, "├─ intake").text.endswith("     –       –")
    assert line_with(lines, "├─ store").style == PLAIN
    assert "–/s" in line_with(lines, "Samples").text
    assert " 0/s  0 running" in line_with(lines, "Queries").text, "another process counts these"


def test_refusals_that_come_now_stand_out_and_old_ones_do_not() -> None:
    assert line_with(picture(NOW, BEFORE, "/srv"), "Refused").style == PLAIN
    refused = key("intake", "henge_ingest_refused_total", protocol="graphite", reason="not_a_number")
    lines = picture(replace(NOW, values={**NOW.values, refused: 1_004.0}), BEFORE, "/srv")
    assert line_with(lines, "Refused") == Line("Refused           500/s  1,004 in all, 0 datagrams lost", BAD)


def test_a_process_that_is_down_says_how_it_ended() -> None:
    broken = Status(**{name: getattr(STATUS, name) for name in STATUS.__struct_fields__})
    broken.processes = [row("web", None, state="starting", restarts=3, last_exit="SIGKILL\x1b[2J")]
    lines = picture(replace(NOW, status=broken), BEFORE, "/srv\x1b]0;x")
    assert line_with(lines, "└─ web").text.endswith("  SIGKILL?[2J")
    assert line_with(lines, "└─ web").style == BAD
    assert lines[1].text.startswith("0 of 1 processes up, 3 restarts")
    assert "\x1b" not in text(lines)


def test_an_appliance_that_is_gone_is_said_so() -> None:
    lines = picture(replace(NOW, status=None, values={}), BEFORE, "/srv/henge")
    assert lines[1].style == BAD
    assert "does not answer" in lines[1].text


def test_figures_of_the_largest_appliance_fit_80_columns_and_24_lines() -> None:
    small = {"henge_check_lateness_seconds": 980.0, QUEUE: 4_000.0, REQUESTS: 99_999.0}
    huge = {each: small.get(each[1], 987_654_321_000.0) for each in NOW.values} | {
        key("store", f"henge_store_{name}"): 2e12 for name in ("series_count", "head_samples", "disk_bytes")
    }
    huge_status = Status(**{name: getattr(STATUS, name) for name in STATUS.__struct_fields__})
    huge_status.processes = [row(name, 4_194_304, restarts=99_999, last_exit="SIGKILL") for name in NAMES]
    huge |= {key("store", "henge_store_disk_bytes_max"): 2e13, key("intake", "henge_udp_dropped_total"): 1e12}
    lines = picture(replace(NOW, status=huge_status, values=huge, silent=("state",)), BEFORE, "/srv/henge")
    assert len(lines) <= 24
    assert [line.text for line in lines if len(line.text) > 80] == []


@pytest.mark.parametrize("name", ["henge", "a ) b (", "x) R 1 1"])
def test_a_name_with_brackets_does_not_shift_the_kernels_fields(name: str) -> None:
    fields = ["S", *map(str, range(4, 53))]
    assert usage_from(f"77 ({name}) {' '.join(fields)}\n") == Usage((14 + 15) / 100, 24 * 4096)

"""What `henge doctor` makes of the samples' folder and of what the store says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from appliance.config import load
from appliance.doctor.finding import Finding
from appliance.doctor.patient import Patient
from tests.running import CHECKOUT
from tsdb.doctor import budget, damage, datagrams
from tsdb.ingest.listen import UDP_BUFFER_BYTES
from tsdb.store.budget import FILE_NAME, Remembered

GIB = 2**30
ROWS = {
    "no budget yet": ([budget.judge(budget.Reading(None, 0, 0))], "ok", "80 %"),
    "room in both": ([budget.judge(budget.Reading(10 * GIB, GIB, 20 * GIB))], "ok", "1.0 GiB of 10.0 GiB used"),
    "a disk smaller than the budget": (
        [budget.judge(budget.Reading(10 * GIB, GIB, 2 * GIB))],
        "advice",
        "only 2.0 GiB are free",
    ),
    "a budget nearly used": ([budget.judge(budget.Reading(100, 97, GIB))], "advice", "store.retention"),
    "a budget overrun": ([budget.judge(budget.Reading(100, 101, GIB))], "fault", "store.disk_bytes_max"),
    "a budget that cannot be read": ([budget.judge(budget.Reading(None, 1, 1, "the checksum"))], "advice", "checksum"),
    "whole samples": (damage.judge(damage.Reading({}, ())), "ok", "henge db verify"),
    "lost samples": (damage.judge(damage.Reading({"lost_samples": 1_200}, ())), "fault", "1,200 samples lost"),
    "files set aside": (
        damage.judge(damage.Reading({}, ("a", "b", "c", "d"))),
        "advice",
        "4 damaged files, a, b, c, …",
    ),
    "no listener": (datagrams.judge(datagrams.Reading(False, 1, {})), "ok", "no listener takes UDP"),
    "small buffers": (
        datagrams.judge(datagrams.Reading(True, 212_992, {})),
        "advice",
        "the kernel gives 208.0 KiB, of 8.0 MiB",
    ),
    "large buffers": (datagrams.judge(datagrams.Reading(True, 2**24, {})), "ok", "8.0 MiB each"),
    "drops": (
        datagrams.judge(datagrams.Reading(True, 2**24, {"statsd_udp": 5_000})),
        "advice",
        "statsd_udp has lost: 5,000",
    ),
}


@pytest.mark.parametrize(("found", "verdict", "said"), ROWS.values(), ids=ROWS.keys())
def test_a_reading_gets_its_verdict_and_its_value(found: Iterable[Finding], verdict: str, said: str) -> None:
    findings = list(found)
    text = " ".join(f"{one.what}: {one.value} → {one.way_out}" for one in findings if one.verdict == verdict)
    assert said in text, findings
    assert {one.verdict for one in findings} <= {"ok", verdict}


def resting(folder: Path) -> Patient:
    return Patient(load(data_dir=folder, environ={}))


def test_without_an_appliance_the_folder_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "samples" / "quarantine").mkdir(parents=True)
    remembered = Remembered(disk_bytes_max=GIB, free_bytes=GIB, at_ms=1).encoded()
    (tmp_path / "samples" / FILE_NAME).write_bytes(remembered)
    (tmp_path / "samples" / "quarantine" / "w-1.bad").write_bytes(b"x" * 100)
    found = budget.read(resting(tmp_path))
    assert (found.bytes_max, found.used_bytes, found.damage) == (GIB, len(remembered) + 100, "")
    assert damage.read(resting(tmp_path)).set_aside_names == ("w-1.bad",)
    (tmp_path / "samples" / FILE_NAME).write_bytes(remembered[:-9])
    assert FILE_NAME in budget.read(resting(tmp_path)).damage


def test_with_an_appliance_its_store_and_intake_are_believed(tmp_path: Path) -> None:
    config = load(data_dir=tmp_path, environ={})
    (tmp_path / "samples").mkdir()
    stats = {
        "store": {"disk_bytes": 7, "disk_bytes_max": 9, "damaged_blocks": 2, "lost_samples": 0},
        "intake": {
            "udp_dropped": {"statsd_udp": 3, "graphite_udp": 0},
            "udp_buffer_bytes": {"statsd_udp": 5, "graphite_udp": 2**23},
        },
    }
    running = Patient(config, 1, None, stats)
    assert (budget.read(running).bytes_max, budget.read(running).used_bytes) == (9, 7)
    assert damage.read(running).count_by_key == {"damaged_blocks": 2}
    assert datagrams.read(running).dropped_by_listener == {"statsd_udp": 3}
    assert datagrams.read(running).given_bytes == 5, "the smallest that a listener was given, whatever the limit says"


def test_without_an_appliance_a_socket_is_asked_what_it_gets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "widened", lambda _socket: 2**23)
    assert datagrams.read(resting(tmp_path)).given_bytes == 2**23
    monkeypatch.undo()
    assert datagrams.read(resting(tmp_path)).given_bytes


def test_the_package_allows_the_buffer_that_the_listeners_ask_for() -> None:
    (line,) = re.findall(
        r"^net\.core\.rmem_max = (\d+)$", (CHECKOUT / "installer/debian/sysctl.conf").read_text(), re.MULTILINE
    )
    assert int(line) == UDP_BUFFER_BYTES

"""`henge doctor` on real folders, ports and processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.config import load
from appliance.doctor import locales
from appliance.doctor.examination import EXAMINERS, examine
from appliance.doctor.finding import Finding, ok
from appliance.doctor.patient import Patient, meet
from appliance.processes import resolved
from appliance.secrets import SecretBox
from appliance.state import state_path
from appliance.state.safekeeping import back_up, open_for_writing
from tests.appliance.house import ENVIRONMENT, run_henge, running

FREE = ("web.listen=127.0.0.1:0", "graphite.listen=127.0.0.1:0", "graphite.pickle_listen=", "statsd.listen=")
HERE = "tests.appliance.doctor.test_doctor"
never = threading.Event()


def patient(folder: Path, *settings: str) -> Patient:
    return meet(load(data_dir=folder, overrides=(*FREE, *settings), environ={}))


def looked(which: Patient, name: str) -> list[Finding]:
    (look,) = examine(which, {name: EXAMINERS[name]})
    return list(look.findings)


def faults(findings: list[Finding]) -> list[str]:
    return [f"{one.what}: {one.value}" for one in findings if one.verdict == "fault"]


def hang(_patient: Patient) -> Iterator[Finding]:
    never.wait()
    yield ok("never", "seen")


def fail(_patient: Patient) -> Iterator[Finding]:
    raise ZeroDivisionError("the well is dry")


def be_well(_patient: Patient) -> Iterator[Finding]:
    yield ok("this", "well")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with a key and a state file, as an appliance leaves it."""
    path = tmp_path / "a päth with spaces"
    path.mkdir(mode=0o700)
    SecretBox(path)
    open_for_writing(state_path(path), 1_700_000_000_000).close()
    return path


def test_every_look_of_the_table_is_there() -> None:
    for target in EXAMINERS.values():
        assert callable(resolved(target))


def test_a_look_that_fails_or_hangs_takes_only_its_own(tmp_path: Path) -> None:
    targets = {name: f"{HERE}:{name}" for name in ("hang", "fail", "be_well")}
    by_name = {look.name: look.findings[0] for look in examine(patient(tmp_path), targets, look_s_max=0.3)}
    never.set()
    assert (by_name["hang"].verdict, by_name["hang"].what) == ("advice", "this look did not end")
    assert by_name["fail"].value == "ZeroDivisionError: the well is dry"
    assert by_name["be_well"] == ok("this", "well")


def test_a_folder_as_an_appliance_leaves_it_is_well_and_nothing_in_it_changes(folder: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    findings = [one for look in examine(patient(folder)) for one in look.findings]
    assert [one for one in findings if "this look" in one.what] == []
    about_folder = [one for name in ("folder", "state", "samples") for one in looked(patient(folder), name)]
    assert {one.verdict for one in about_folder} == {"ok"}
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before


def test_a_damaged_state_file_is_found_and_left_as_it_is(folder: Path) -> None:
    path = state_path(folder)
    content = bytearray(path.read_bytes())
    content[4096 : 4096 + 64] = os.urandom(64)
    path.write_bytes(content)
    assert faults(looked(patient(folder), "state"))
    assert path.read_bytes() == content
    path.write_bytes(b"this is no state file at all" * 100)
    (said,) = faults(looked(patient(folder), "state"))
    assert "not a database" in said


def test_the_newest_backup_has_its_age(folder: Path) -> None:
    back_up(state_path(folder), 1_700_000_000_000, "daily")
    assert "the newest is 0 hours old" in [one.value for one in looked(patient(folder), "state")]


def test_a_key_and_a_folder_that_are_open_are_found(folder: Path) -> None:
    (folder / "secret.key").chmod(0o644)
    folder.chmod(0o757)
    said = faults(looked(patient(folder), "folder"))
    assert [text.rpartition(", ")[2] for text in said] == ["others may write it", "others may read it"]


def test_a_file_of_the_future_is_a_clock_set_back(folder: Path) -> None:
    os.utime(state_path(folder), (4_000_000_000, 4_000_000_000))
    (said,) = faults(looked(patient(folder), "clock"))
    assert "state.db was written" in said


def test_a_port_that_another_program_has_names_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (said,) = faults(looked(patient(tmp_path, f"graphite.listen=127.0.0.1:{port}"), "ports"))
    assert said.startswith(f"graphite.listen: 127.0.0.1:{port} is in use by another program, held by ")
    assert f"(process {os.getpid()})" in said


def test_a_datagram_port_that_is_taken_is_a_fault_too(tmp_path: Path) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert faults(looked(patient(tmp_path, f"statsd.listen=127.0.0.1:{port}"), "ports"))


def test_a_locale_that_is_not_there_is_known_and_changes_nothing() -> None:
    assert locales.judge(locales.read({"LANG": "xx_YY.UTF-8", "LC_ALL": ""})).verdict == "advice"
    assert locales.judge(locales.read({"LC_ALL": "C.UTF-8", "LANG": "xx_YY"})).verdict == "ok"
    assert locales.read({}).name == "C"


def test_a_folder_of_somebody_else_is_one_line_with_the_way_out(tmp_path: Path) -> None:
    """Root may read everything, so it becomes nobody, after what has to be imported."""
    (tmp_path / "data").mkdir(mode=0)
    program = (
        "import os, sys, appliance.cli, appliance.commands.doctor\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "sys.argv[1:1] = ['doctor', '--data']; appliance.cli.main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "data")],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr == (
        f"henge: the data folder {tmp_path / 'data'} may not be read by this user; call this as its owner, or as the "
        f"administrator: sudo henge doctor --data {tmp_path / 'data'}\n"
    )


def test_a_running_appliance_is_asked_and_the_command_ends_with_0_or_1(tmp_path: Path) -> None:
    with running("web_tree", tmp_path) as house:
        told = house.wait_ready()
        ended = run_henge("doctor", "--json", "--data", str(house.data_dir), "--set", "web.listen=127.0.0.1:0")
        found: dict[str, Any] = json.loads(ended.stdout)
        assert ended.returncode == (1 if found["counts"]["fault"] else 0), ended.stderr
        assert found["pid"] == told["pid"]
        rows = [(row["look"], row["verdict"], row["what"], row["value"]) for row in found["findings"]]
        assert ("processes", "ok", "echo", f"up, process {told['processes']['echo']}") in rows
        assert ("ports", "ok", "web.listen", f"{told['web'].removeprefix('http://')}, open by this appliance") in rows
        (house.data_dir / "secret.key").write_bytes(b"short")
        ended = run_henge("doctor", "--data", str(house.data_dir))
    assert ended.returncode == 1
    assert "fault   secret.key: mode" in ended.stdout
    assert "→ bring a copy back" in ended.stdout

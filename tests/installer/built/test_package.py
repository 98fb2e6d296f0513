"""The Debian package on fresh machines without Python: install, the main job, upgrade, roll back, remove, purge."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import time
from pathlib import Path

import pytest

from installer.deb import build_deb
from installer.origin import origin
from tests.installer.built.machine import Machine
from tests.receiver import Receiver
from tests.running import CHECKOUT, Appliance
from tests.waiting import wait_until

SUITES = ("bookworm", "trixie")
NEXT_VERSION = "999.0"


@pytest.fixture(scope="session")
def package(executable: Path) -> Path:
    return next(executable.parents[1].glob("henge_*.deb"))


@pytest.fixture(scope="session")
def next_package(executable: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same files under a later version."""
    where = dataclasses.replace(origin(CHECKOUT), version=NEXT_VERSION)
    return build_deb(executable.parent, tmp_path_factory.mktemp("next"), where, root=CHECKOUT)


@pytest.fixture(params=SUITES)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(request.param, tmp_path)


def installed_version(machine: Machine) -> str:
    return machine.run("dpkg-query", "-W", "-f", "${Version} ${db:Status-Status}", "henge").stdout


def stored(appliance: Appliance) -> tuple[list[str], list[str]]:
    """The names of the checks, and the value that was sent."""
    _, listed = appliance.call("GET", "/api/v1/checks")
    names = [check["name"] for check in listed["items"]]
    return names, [row["value"][1] for row in appliance.query("last_over_time(package_test[1h])")]


def test_from_installing_to_purging(machine: Machine, package: Path, next_package: Path) -> None:
    assert machine.run("sh", "-c", "command -v python3").returncode != 0
    old, new = machine.put(package), machine.put(next_package)
    done = machine.run("dpkg", "-i", old)
    assert done.returncode == 0, done.stderr
    assert machine.run("/usr/bin/henge", "--version").stdout.startswith("henge ")

    with Receiver() as server, machine.service() as appliance:
        options = {"kind": "http", "name": "web", "options": {"url": server.url}, "interval_s": 1, "timeout_s": 1}
        status, check = appliance.call("POST", "/api/v1/checks", options)
        assert status == 201, check
        now_ms = time.time_ns() // 1_000_000
        body = [{"labels": {"__name__": "package_test"}, "samples": [[now_ms, 42]]}]
        assert appliance.call("POST", "/api/v1/series", body)[0] == 200
        wait_until(
            lambda: appliance.call("GET", f"/api/v1/checks/{check['id']}")[1]["state"] == "ok", what="the check's OK"
        )
        kept = stored(appliance)
        assert kept == (["web"], ["42"])
    assert {path.stat().st_uid for path in machine.path("/var/lib/henge").iterdir()} != {0}

    for packed, version in ((new, NEXT_VERSION), (old, None)):
        done = machine.run("dpkg", "-i", packed)
        assert done.returncode == 0, done.stderr
        assert version is None or installed_version(machine).startswith(version)
        with machine.service() as appliance:
            assert stored(appliance) == kept

    assert machine.run("dpkg", "-r", "henge").returncode == 0
    assert not machine.path("/usr/lib/henge").exists()
    assert machine.path("/etc/henge/henge.toml").exists()
    assert machine.path("/var/lib/henge/state.db").exists()

    purged = machine.run("dpkg", "-P", "henge")
    assert (purged.returncode, "is kept" in purged.stderr) == (0, True)
    assert machine.path("/var/lib/henge/state.db").exists()
    assert not machine.path("/etc/henge").exists()


@pytest.fixture
def bookworm(tmp_path: Path) -> Machine:
    return Machine("bookworm", tmp_path)


def test_a_purge_deletes_the_data_when_somebody_says_so(bookworm: Machine, package: Path) -> None:
    assert bookworm.run("dpkg", "-i", bookworm.put(package)).returncode == 0
    data = bookworm.path("/var/lib/henge")
    data.mkdir()
    (data / "state.db").write_text("somebody's")
    assert bookworm.run("debconf-set-selections", stdin="henge henge/purge_data boolean true\n").returncode == 0
    assert bookworm.run("dpkg", "-P", "henge").returncode == 0
    assert not data.exists()
    assert bookworm.run("getent", "passwd", "henge").returncode != 0


def test_an_interrupted_installation_is_finished_by_installing_again(bookworm: Machine, package: Path) -> None:
    packed = bookworm.put(package)
    interrupted = subprocess.Popen(
        bookworm.enter("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "dpkg", "-i", packed),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    unpacked = bookworm.path("/usr/lib/henge/_internal")
    wait_until(unpacked.exists, what="the first files", timeout_s=60)
    interrupted.send_signal(signal.SIGKILL)
    interrupted.wait()
    assert "installed" not in installed_version(bookworm).split()
    done = bookworm.run("dpkg", "-i", packed)
    assert done.returncode == 0, done.stderr
    assert bookworm.run("/usr/bin/henge", "--version").returncode == 0


def test_the_service_has_few_rights_and_its_file_no_mistakes(executable: Path, tmp_path: Path) -> None:
    unit = tmp_path / "henge.service"
    text = (CHECKOUT / "installer/debian/henge.service").read_text()
    unit.write_text(text.replace("/usr/lib/henge/henge", str(executable)))
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=30", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert rated.returncode == 0, rated.stdout[-300:]

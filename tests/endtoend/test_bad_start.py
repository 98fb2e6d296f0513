"""What `henge up` says when it cannot start: one line that names what, which value, and the way out."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.endtoend.smalldisk import small_disk
from tests.running import CHECKOUT, HENGE, Appliance

FREE_PORTS = (
    "--set",
    "web.listen=127.0.0.1:0",
    "--set",
    "graphite.listen=127.0.0.1:0",
    "--set",
    "graphite.pickle_listen=127.0.0.1:0",
    "--set",
    "statsd.listen=127.0.0.1:0",
)


def refused_start(data_dir: Path, *arguments: str, environ: dict[str, str] | None = None) -> str:
    """The one line on which `henge up` ended, with exit status 1, without a traceback."""
    done = subprocess.run(
        [*HENGE, "up", "--no-browser", "--data", str(data_dir), *FREE_PORTS, *arguments],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        env={**os.environ, **(environ or {})},
        timeout=60,
    )
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


WRONG_SETTINGS: dict[str, tuple[Sequence[str], dict[str, str], str, str]] = {
    # name: (arguments, environment, what the line must name, the way out that it must show)
    "an unknown key after --set": (
        ("--set", "store.fsink=always"),
        {},
        "store.fsink: there is no such setting",
        "did you mean store.fsync?",
    ),
    "an unknown section": (("--set", "stor.fsync=always"), {}, "stor.fsync", "did you mean store.fsync?"),
    "an unknown variable": (
        (),
        {"HENGE_STORE__HEAD_BYTE_MAX": "1MiB"},
        "HENGE_STORE__HEAD_BYTE_MAX",
        "did you mean HENGE_STORE__HEAD_BYTES_MAX?",
    ),
    "a value that is no duration": (("--set", "store.fsync=soon"), {}, "soon", "200ms"),
    "a value that is no size": (("--set", "store.head_bytes_max=many"), {}, "many", "512MiB"),
    "an address without a port": (("--set", "web.listen=127.0.0.1"), {}, "web.listen: '127.0.0.1'", "host:port"),
    "a negative count": (("--set", "store.series_count_max=-1"), {}, "-1", "store.series_count_max"),
}


@pytest.mark.parametrize("name", WRONG_SETTINGS)
def test_a_wrong_setting_is_named_with_its_value_and_its_source(tmp_path: Path, name: str) -> None:
    arguments, environ, what, way_out = WRONG_SETTINGS[name]
    told = refused_start(tmp_path / "data", *arguments, environ=environ)
    assert what in told
    assert way_out in told
    assert not (tmp_path / "data").exists(), "nothing is made before the settings are known to be right"


def test_an_unknown_key_in_the_file_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "henge.toml"
    file.write_text('# Ours.\n[graphite]\nlisten = "127.0.0.1:0"\n[store]\nretension = "raw:1d"\n')
    told = refused_start(tmp_path / "data", "--config", str(file))
    assert "store.retension: there is no such setting; did you mean store.retention?" in told
    assert f"{file}, line 5" in told


def test_a_file_that_is_not_toml_and_a_file_that_is_not_there_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[store\n")
    assert f"{broken}: this is not TOML" in refused_start(tmp_path / "data", "--config", str(broken))
    assert str(tmp_path / "absent.toml") in refused_start(tmp_path / "data", "--config", str(tmp_path / "absent.toml"))


@pytest.mark.parametrize("setting", ["web.listen", "graphite.listen", "graphite.pickle_listen", "statsd.listen"])
def test_a_port_in_use_is_named_with_its_setting_and_another_way(tmp_path: Path, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        told = refused_start(tmp_path / "data", "--set", f"{setting}={address}")
    assert told.startswith(f"henge: {setting}: {address} is in use by ")
    assert f"--set {setting}=127.0.0.1:0" in told


def test_a_udp_port_in_use_is_found_as_well(tmp_path: Path) -> None:
    """The TCP port of the same number is free: half a listener must not start."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        told = refused_start(tmp_path / "data", "--set", f"graphite.listen={address}")
    assert f"graphite.listen: {address} is in use" in told


def test_a_data_folder_that_is_read_only_or_full_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 256 * 1024) as disk:
        disk.fill()
        full = refused_start(disk.path)
        assert f"the data folder {disk.path} cannot be written: No space left on device" in full
        disk.free()
        disk.make_read_only()
        read_only = refused_start(disk.path / "data")
        assert f"the data folder {disk.path / 'data'} cannot be written: Read-only file system" in read_only
    for told in (full, read_only):
        assert "choose another with --data DIR" in told


def test_a_second_appliance_on_the_folder_is_turned_away_and_the_first_goes_on(tmp_path: Path) -> None:
    with Appliance(tmp_path) as first:
        before = first.ready
        told = refused_start(first.data_dir)
        assert f"the data folder {first.data_dir} is in use by the appliance with pid {before['pid']}" in told
        assert re.search(rf"stop it \(kill {before['pid']}\), or choose another folder with --data DIR", told)
        status, answer = first.call(
            "POST",
            "/api/v1/series",
            [{"labels": {"__name__": "still_here"}, "samples": [[int(time.time() * 1000), 1]]}],
        )
        assert status == 200, answer
        assert len(first.query("still_here")) == 1
        assert first.ready == before


def test_the_folder_of_an_appliance_that_was_killed_is_free_at_once(tmp_path: Path) -> None:
    appliance = Appliance(tmp_path)
    with appliance:
        appliance.stop(by=signal.SIGKILL)
        appliance.start()
        assert appliance.call("GET", "/health/ready")[0] == 200

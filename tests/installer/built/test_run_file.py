"""The file for a double click: unpacked whole or not at all, started once, opened again, taken away."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.lock import running_pid
from tests.waiting import wait_until


@pytest.fixture
def file(executable: Path) -> Path:
    return next(executable.parents[1].glob("henge-*.run"))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home folder with a blank and a letter beyond ASCII in its name; what was started there is ended."""
    folder = tmp_path / "Zoë's home"
    folder.mkdir()
    yield folder
    if (pid := running_pid(folder / ".local/share/henge")) is not None:
        os.kill(pid, 15)
        wait_until(lambda: running_pid(folder / ".local/share/henge") is None, what="the appliance's end", timeout_s=30)


def environ(home: Path) -> dict[str, str]:
    settings = {f"HENGE_{key}__LISTEN": "127.0.0.1:0" if key == "WEB" else "" for key in ("WEB", "GRAPHITE", "STATSD")}
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "HENGE_GRAPHITE__PICKLE_LISTEN": "", **settings}


def run(file: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(file), *words], env=environ(home), capture_output=True, text=True, timeout=120, check=False
    )


def test_a_double_click_starts_it_and_a_second_one_opens_it(file: Path, home: Path) -> None:
    first = run(file, home)
    assert first.returncode == 0, first.stderr
    assert "/setup/" in first.stdout
    pid = running_pid(home / ".local/share/henge")
    assert pid is not None
    second = run(file, home)
    assert second.returncode == 0, second.stderr
    assert second.stdout.partition("/setup/")[0] == first.stdout.partition("/setup/")[0]
    assert running_pid(home / ".local/share/henge") == pid
    entry = (home / ".local/share/applications/henge.desktop").read_text()
    assert f'Exec="{home}/.local/share/henge-program/' in entry
    assert (home / ".local/share/icons/hicolor/scalable/apps/henge.svg").exists()

    removed = run(file, home, "--remove")
    assert removed.returncode == 0, removed.stderr
    wait_until(lambda: running_pid(home / ".local/share/henge") is None, what="its end", timeout_s=30)
    assert not (home / ".local/share/henge-program").exists()
    assert (home / ".local/share/henge/state.db").exists()


def test_a_damaged_file_unpacks_nothing(file: Path, home: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.run"
    content = file.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    answer = run(broken, home, "--extract", str(tmp_path / "out"))
    assert (answer.returncode, "get it again" in answer.stderr) == (1, True)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("out.unpacking.*"))


def test_it_unpacks_into_a_folder_and_overwrites_none(file: Path, home: Path, tmp_path: Path) -> None:
    assert run(file, home, "--extract", str(tmp_path / "out")).returncode == 0
    version = subprocess.run(
        [tmp_path / "out/henge", "--version"], env=environ(home), capture_output=True, text=True, check=True
    )
    assert version.stdout.startswith("henge ")
    again = run(file, home, "--extract", str(tmp_path / "out"))
    assert (again.returncode, "is there already" in again.stderr) == (1, True)

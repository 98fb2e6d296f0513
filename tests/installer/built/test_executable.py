"""The built executable starts every process and every command, and says what it is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path

import pytest

from appliance.cli import COMMANDS
from appliance.config import load
from appliance.processes import processes_of, tree
from appliance.version import version
from installer.glibc import oldest_glibc
from tests.installer.commands import all_commands
from tests.running import CHECKOUT, Appliance

CLEAN = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}  # Nothing of the checkout, of Python or of the tests.


def run(executable: Path, *arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [executable, *arguments], env=environ or CLEAN, capture_output=True, text=True, timeout=60, check=False, cwd="/"
    )


def test_it_names_its_commit_and_platform(executable: Path) -> None:
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert re.fullmatch(
        rf"henge {re.escape(version())}, commit {commit}\+?, linux-\w+\n", run(executable, "--version").stdout
    )


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_every_command_is_there(executable: Path, words: tuple[str, ...]) -> None:
    answer = run(executable, *words, "--help")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "Not available here" not in answer.stdout
    assert answer.stdout.startswith(f"Usage: henge {' '.join(words)}".rstrip())


def test_no_command_is_left_out(executable: Path) -> None:
    listed = run(executable, "--help").stdout
    assert all(re.search(rf"^  {name} ", listed, re.MULTILINE) for name in COMMANDS)


def test_every_process_starts_and_answers(executable: Path, tmp_path: Path) -> None:
    assert os.environ["HENGE_EXECUTABLE"] == str(executable)
    names = [row.name for row in processes_of(tree(load(data_dir=tmp_path, environ={})))]
    with Appliance(tmp_path) as appliance:
        assert list(appliance.ready["processes"]) == names
        for name, pid in appliance.ready["processes"].items():
            assert Path(f"/proc/{pid}/exe").resolve() == executable.resolve(), name
        system = appliance.call("GET", "/api/v1/system")[1]
        assert {row["name"]: row["restarts"] for row in system["processes"]} == dict.fromkeys(names, 0)


def test_a_picture_is_drawn_by_a_process_of_the_executable(executable: Path, tmp_path: Path) -> None:
    """The library and the font for it are inside."""
    with Appliance(tmp_path) as appliance:
        request = urllib.request.Request(
            appliance.url + "/graphite/render?target=constantLine(5)&from=-1h",
            headers={"Authorization": f"Bearer {appliance.token}"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert (answer.status, answer.read(8)) == (200, b"\x89PNG\r\n\x1a\n")


def test_a_plugin_gets_no_library_of_ours(executable: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "check_libraries"
    plugin.write_text('#!/bin/sh\necho "libraries: $LD_LIBRARY_PATH."\n')
    plugin.chmod(0o755)
    with Appliance(tmp_path) as appliance:
        check = {"kind": "nagios", "name": "libraries", "options": {"command": str(plugin)}, "interval_s": 60}
        status, result = appliance.call("POST", "/api/v1/checks/try", check)
        assert (status, result["output"]) == (200, "libraries: .")


def test_the_parts_and_their_licences_are_named(executable: Path) -> None:
    folder = executable.parent
    document = json.loads((folder / "sbom.cdx.json").read_text())
    assert (document["bomFormat"], document["metadata"]["component"]["name"]) == ("CycloneDX", "henge")
    packages = {part["name"]: part for part in document["components"] if "purl" in part}
    assert {"Flask", "numpy", "polars", "pcodec", "promql-parser"} <= packages.keys()
    assert not {"pytest", "mypy", "ruff", "hypothesis", "pip"} & packages.keys()
    for name in [*packages, "python"]:
        assert any(file.stat().st_size for file in (folder / "licences" / name).iterdir()), name


def test_the_glibc_it_needs_is_at_most_that_of_debian_12(executable: Path) -> None:
    assert tuple(map(int, oldest_glibc(executable.parent).split("."))) <= (2, 36)

"""What keeps the house tidy: sizes, names, marks, and the imports of light processes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import CHECKOUT

ROOMS = ("appliance", "tsdb", "checks", "scheduler", "web", "installer")
FILE_LINES_MAX = 600  # The median of the models is 100 to 300; past this a second noun hides in the file.
FUNCTION_LINES_MAX = 80
NAMES_WITHOUT_MEANING = {"utils", "util", "helpers", "common", "manager", "data", "info", "misc"}


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (CHECKOUT / folder).rglob("*.py"))


def test_no_file_hides_a_second_noun() -> None:
    long = {
        str(path.relative_to(CHECKOUT)): count
        for path in python_files(*ROOMS)
        if (count := path.read_text().count("\n")) > FILE_LINES_MAX
    }
    assert not long


def test_no_function_grows_past_what_one_screen_shows() -> None:
    long = [
        f"{path.relative_to(CHECKOUT)}:{node.lineno} {node.name}"
        for path in python_files(*ROOMS)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= FUNCTION_LINES_MAX
    ]
    assert not long


def test_no_module_has_a_name_without_meaning() -> None:
    assert not [path for path in python_files(*ROOMS) if path.stem in NAMES_WITHOUT_MEANING]


def test_nothing_is_left_for_later() -> None:
    mark = re.compile(r"#.*\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
    left = [
        f"{path.relative_to(CHECKOUT)}:{number}"
        for path in python_files(*ROOMS, "tests")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if mark.search(line)
    ]
    assert not left


def test_docs_name_no_path_of_the_machine_they_were_written_on() -> None:
    pages = [CHECKOUT / "README.md", CHECKOUT / "CHANGELOG.md", *(CHECKOUT / "docs").rglob("*.md")]
    found = [str(page.relative_to(CHECKOUT)) for page in pages if re.search(r"/work/|\.\./shared", page.read_text())]
    assert not found


LIGHT = {  # process: what it must never import, because each costs tens of megabytes or of milliseconds
    "appliance.commands.up": ("numpy", "polars", "flask", "aiohttp", "apprise"),
    "appliance.state.process": ("polars", "flask", "aiohttp", "apprise"),  # sqlite-utils imports numpy where it is.
    "checks.nagios.spawner": ("numpy", "polars", "flask", "aiohttp", "apprise"),
    "web.process": ("polars", "pcodec", "apprise", "aiohttp", "apscheduler"),
    "scheduler.process": ("polars", "pcodec", "flask", "apprise"),
}


@pytest.mark.parametrize(("module", "heavy"), LIGHT.items(), ids=LIGHT.keys())
def test_a_light_process_stays_light(module: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=True)
    assert done.stdout.strip() == "[]"

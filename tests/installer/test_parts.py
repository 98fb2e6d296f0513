"""What goes into the built folder: nothing that a table names may be missing."""

from __future__ import annotations

import tomllib
from pathlib import Path

from appliance.cli import COMMANDS, HIDDEN_COMMANDS
from appliance.config import load
from appliance.processes import processes_of, tree
from checks.probes import KINDS as PROBES
from installer.parts import ROOMS, data_files, first_party_modules
from scheduler.notify import KINDS as CHANNELS
from tests.running import CHECKOUT


def test_the_rooms_are_those_of_the_walls_between_them() -> None:
    """installer and handbook build, and stay at home."""
    walls = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
    assert {*ROOMS, "installer", "handbook"} == set(walls)


def test_every_module_that_a_table_names_is_there(tmp_path: Path) -> None:
    modules = set(first_party_modules(CHECKOUT))
    named = [
        *COMMANDS.values(),
        *HIDDEN_COMMANDS.values(),
        *(row.entry for row in processes_of(tree(load(data_dir=tmp_path, environ={})))),
    ]
    named += [*PROBES.values(), *CHANNELS.values()]
    assert {target.partition(":")[0] for target in named} <= modules


def test_templates_styles_and_scripts_are_there_with_their_licences() -> None:
    files = {(Path(folder) / Path(file).name).as_posix() for file, folder in data_files(CHECKOUT)}
    wanted = [
        path.relative_to(CHECKOUT).as_posix()
        for path in (CHECKOUT / "web").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc", ".md")
    ]
    assert len(wanted) > 20
    assert set(wanted) <= files

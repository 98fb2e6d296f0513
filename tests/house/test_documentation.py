"""Settings, commands and formats are documented, and the pages say what is true."""

from __future__ import annotations

import subprocess

import click
import pytest

from appliance.cli import COMMANDS, henge
from appliance.config import SETTINGS
from tests.running import CHECKOUT, HENGE


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_every_setting_is_documented_with_its_default(setting: object) -> None:
    page = (CHECKOUT / "docs" / "settings.md").read_text()
    key, default = setting.key, setting.default  # type: ignore[attr-defined]
    row = next((line for line in page.splitlines() if line.startswith(f"| `{key}` |")), "")
    assert row, f"{key} has no row in docs/settings.md"
    assert str(default) in row, f"docs/settings.md does not give {default!r} as the default of {key}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_a_row(name: str) -> None:
    context = click.Context(henge)
    command = henge.get_command(context, name)
    assert command is not None
    assert command.help or command.short_help
    assert f"`henge {name}" in (CHECKOUT / "docs" / "commands.md").read_text()
    for sub in getattr(command, "commands", {}).values():
        assert sub.help or sub.short_help, f"henge {name} {sub.name}"
        assert f"`henge {name} {sub.name}" in (CHECKOUT / "docs" / "commands.md").read_text()


def test_the_root_command_lists_every_command() -> None:
    done = subprocess.run([*HENGE, "--help"], capture_output=True, text=True, cwd=CHECKOUT, check=True)
    for name in COMMANDS:
        assert f"  {name} " in done.stdout

"""The root command: commands by name, each loaded alone."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from appliance import cli
from appliance.version import version
from tests.appliance.house import ENVIRONMENT, run_henge


def test_version() -> None:
    answer = CliRunner().invoke(cli.henge, ["--version"])
    assert (answer.exit_code, answer.output) == (0, f"henge {version()}, from a checkout\n")


def test_a_command_that_cannot_be_loaded_says_so_and_breaks_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.COMMANDS, "lost", "appliance.not_there:lost")
    listing = CliRunner().invoke(cli.henge, ["--help"])
    assert listing.exit_code == 0
    assert "lost " in listing.output
    assert "Not available here" in listing.output
    called = CliRunner().invoke(cli.henge, ["lost", "--any", "thing"])
    assert str(called.exception) == (
        "the command 'lost' cannot be loaded: ModuleNotFoundError: No module named 'appliance.not_there'"
    )
    assert CliRunner().invoke(cli.henge, ["status", "--help"]).exit_code == 0


def test_unknown_command_is_refused() -> None:
    ended = run_henge("uq")
    assert ended.returncode == 2
    assert "No such command 'uq'" in ended.stderr


def _commands(command: click.Command, name: str) -> list[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        return [(name, command)]
    context = click.Context(command)
    found = [(name, command)] if name else []
    for inner in command.list_commands(context):
        got = command.get_command(context, inner)
        assert got is not None
        found += _commands(got, f"{name} {inner}".strip())
    return found


@pytest.mark.parametrize("name", ["up", "run", "status", "reload", "doctor", "top"])
def test_every_own_command_has_help_and_so_has_each_option(name: str) -> None:
    command = cli.henge.get_command(click.Context(cli.henge), name)
    assert command is not None
    for path, each in _commands(command, name):
        assert each.help, path
        assert "Exit status" in each.help, path
        for parameter in each.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.help, f"{path} {parameter.name}"


def test_a_fault_of_ours_is_not_hidden_behind_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "henge", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_help_loads_no_command_of_another_when_one_is_called() -> None:
    program = (
        "import sys; sys.argv = ['henge', 'status', '--help']\nimport appliance.cli\n"
        "try:\n    appliance.cli.main()\nexcept SystemExit:\n    print('appliance.running' in sys.modules)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert ended.stdout.endswith("False\n")

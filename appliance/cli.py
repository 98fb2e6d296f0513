"""The root command. Sub-commands are strings, resolved when needed: `henge up` loads nothing that it does not use,
and a room that cannot be loaded takes only its own commands with it.
"""

from __future__ import annotations

import importlib
import sys

import click

from appliance.errors import CannotStart

COMMANDS = {  # name: "module:function"
    "up": "appliance.commands.up:up",
    "open": "appliance.commands.open:open_",
    "link": "appliance.commands.open:link",
    "run": "appliance.commands.run:run",
    "reload": "appliance.commands.reload:reload",
    "status": "appliance.commands.status:status",
    "top": "appliance.commands.top:top",
    "trace": "appliance.commands.trace:trace",
    "doctor": "appliance.commands.doctor:doctor",
    "check": "checks.cli:check",
    "channel": "scheduler.cli:channel",
    "downtime": "scheduler.cli:downtime",
    "query": "tsdb.cli:query",
    "rules": "checks.rules_cli:rules",
    "db": "tsdb.cli:db",
    "backup": "tsdb.commands.backup:backup",
    "export": "tsdb.commands.export:export",
    "import": "tsdb.commands.imports:import_",
    "token": "web.cli:token",
    "user": "web.cli:user",
    "audit": "appliance.state.audit_cli:audit",
}
HIDDEN_COMMANDS = {"nursery": "appliance.commands.nursery:nursery", "painter": "web.draw.painting:painter"}
STATUS_REFUSED = 1


class _Commands(click.Group):
    """A group whose commands are loaded one by one, by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = (COMMANDS | HIDDEN_COMMANDS).get(cmd_name)
        if target is None:
            return None
        module, _, function = target.partition(":")
        try:
            command = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError) as error:
            return _unavailable(cmd_name, f"{type(error).__name__}: {error}")
        assert isinstance(command, click.Command), target
        return command


def _unavailable(name: str, reason: str) -> click.Command:
    """What stands in for a command that cannot be loaded: it says so when it is called, and in the list."""

    @click.command(name, help=f"Not available here ({reason}).", context_settings={"ignore_unknown_options": True})
    @click.argument("_arguments", nargs=-1, type=click.UNPROCESSED)
    def refuse(_arguments: tuple[str, ...]) -> None:
        raise CannotStart(f"the command {name!r} cannot be loaded: {reason}")

    return refuse


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from appliance.version import version_text

        click.echo(f"henge {version_text()}")
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Say which Henge it is."
)
def henge() -> None:
    """Henge, a monitoring appliance: checks, metrics and alerts in one executable.

    `henge up` starts it and prints where its page is."""


def main() -> None:
    """Run a command. What a person has to act on is one line on standard error, and exit status 1."""
    try:
        henge(prog_name="henge")
    except Exception as error:
        # Refusals of every room carry a code for machines and a text for people; anything else is a fault of ours.
        if not isinstance(getattr(error, "code", None), str):
            raise
        click.echo(f"henge: {error}", err=True)
        sys.exit(STATUS_REFUSED)


if __name__ == "__main__":
    main()

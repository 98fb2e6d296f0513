"""Every command of the command line, sub-commands included."""

from __future__ import annotations

from collections.abc import Iterator

import click

from appliance.cli import henge


def all_commands() -> list[tuple[str, ...]]:
    """The words of each, such as ("db", "inspect"); () is the root."""
    return [*_below(henge, ())]


def _below(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _below(found, (*words, name))

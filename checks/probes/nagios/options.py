"""The options of a `nagios` check: any external check_* program."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from checks.probes.options import Options

ARGUMENT_COUNT_MAX = 200
ARGUMENT_BYTES_MAX = 16 * 1024


class NagiosOptions(Options, frozen=True):
    command: Annotated[
        str,
        Meta(
            max_length=ARGUMENT_BYTES_MAX,
            description="The plugin and its arguments; quotes group words, but no shell reads them: no pipes, no $VAR",
            extra={"placeholder": "/usr/lib/nagios/plugins/check_disk -w 20% -c 10% -p /"},
        ),
    ] = ""
    argv: Annotated[
        list[str],
        Meta(
            max_length=ARGUMENT_COUNT_MAX,
            description="The same as a list, one argument a line; instead of the command",
            extra={"group": "program"},
        ),
    ] = msgspec.field(default_factory=list)
    env: Annotated[
        dict[str, str],
        Meta(max_length=50, description="Variables added to its clean environment", extra={"group": "program"}),
    ] = msgspec.field(default_factory=dict)
    cwd: Annotated[str, Meta(max_length=1024, description="The folder it starts in", extra={"group": "program"})] = "/"
    host: Annotated[
        str, Meta(max_length=253, description="The host that it watches, for the label; empty means this machine")
    ] = ""
    timeout_state: Annotated[
        Literal["critical", "warning", "unknown"],
        Meta(description="The result when it takes too long", extra={"group": "program"}),
    ] = "critical"

    def words(self) -> list[str]:
        """The argv list, however it was given. Raises: ValueError, if the command's quotes do not close."""
        return list(self.argv) or shlex.split(self.command)

    def problems(self) -> Iterator[tuple[str, str]]:
        field = "argv" if self.argv else "command"
        if self.argv and self.command:
            yield "argv", "give the command or the argv list, not both"
        try:
            words = self.words()
        except ValueError as error:
            yield "command", f"cannot be split into words: {error}"
            return
        if not words or not words[0]:
            yield field, "the program to run is missing, such as /usr/lib/nagios/plugins/check_ping"
        elif "/" in words[0] and not words[0].startswith("/"):
            yield field, f"{words[0]!r} must be a full path, or a name alone, such as check_ping"
        if any("\0" in word for word in words):
            yield field, "an argument contains a NUL character"
        if not self.cwd.startswith("/"):
            yield "cwd", f"{self.cwd!r} must be a full path"
        for name, value in self.env.items():
            if not name or "=" in name or "\0" in name + value:
                yield "env", f"{name!r} cannot be the name of a variable"

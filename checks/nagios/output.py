"""What a plugin's exit code and output mean. Pure.

    first line of text | performance data
    long text, any number of lines
    last line of long text | more performance data
    and more of it on all lines that follow

Source: Nagios Core, "Nagios Plugin API", section "Plugin Output Spec".
"""

from __future__ import annotations

from dataclasses import dataclass

from checks.model import Perfdata, State
from checks.nagios.perfdata import parse_perfdata

NOT_EXECUTABLE, NOT_FOUND = 126, 127  # What a shell ends with when it cannot start a program (POSIX, section 2.8.2).


@dataclass(frozen=True, slots=True)
class PluginOutput:
    text: str  # The first line.
    long_text: tuple[str, ...]
    perfdata: tuple[Perfdata, ...]


def parse_output(stdout: str) -> PluginOutput:
    """Take a plugin's output apart."""
    lines = stdout.replace("\r\n", "\n").strip("\n").split("\n")
    first, _, data = lines[0].partition("|")
    perfdata, long_text = [data], []
    is_data = False
    for line in lines[1:]:
        if is_data:
            perfdata.append(line)
            continue
        text, bar, data = line.partition("|")
        is_data = bool(bar)
        perfdata.append(data)
        if text.strip() or not bar:
            long_text.append(text.rstrip())
    while long_text and not long_text[-1]:
        long_text.pop()
    return PluginOutput(first.strip(), tuple(long_text), parse_perfdata("\n".join(perfdata)))


def state_of_exit(exit_status: int) -> tuple[State, str]:
    """The state that an exit code means, and what is to be said about it when it means none."""
    if 0 <= exit_status <= 3:
        return State(exit_status), ""
    why = {NOT_EXECUTABLE: ", a program that cannot be executed", NOT_FOUND: ", a program that is missing"}
    return State.UNKNOWN, f"exit code {exit_status} is none of 0, 1, 2, 3{why.get(exit_status, '')}"

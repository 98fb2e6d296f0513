"""`henge top`: the processes of a running appliance and what they do, live."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from appliance.commands.options import data_option
from appliance.commands.running_appliance import Supervisor

if TYPE_CHECKING:
    from rich.text import Text

    from appliance.top.look import Look, Looker
    from appliance.top.picture import Line

EVERY_S = 1.0
END_KEYS = frozenset(b"qQ\x03\x04")  # q, and what a terminal sends for Ctrl-C and Ctrl-D where they are no signals.
KEYS_BYTES_MAX = 64


@click.command()
@data_option
@click.option("--once", is_flag=True, help="Print one picture, after two looks a second apart, and end.")
def top(data: Path | None, once: bool) -> None:
    """Show the processes of the running appliance and what they do, every second. Changes nothing.

    Each process with state, restarts, CPU, memory, and how much waits before it; samples, refusals, queries, checks.
    q or Ctrl-C ends; where there is no terminal, it is --once. Exit status 1 when no appliance runs on the folder."""
    from appliance.top.look import Looker
    from appliance.top.picture import METRICS, picture

    data_dir = Supervisor(data).data_dir
    looker = Looker(data_dir / "run", METRICS)
    try:
        if once or not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
            for line in _one_picture(looker, str(data_dir)):
                click.echo(line.text.rstrip())
        else:
            _live(looker, lambda now, before: picture(now, before, str(data_dir)))
    finally:
        looker.close()


def _one_picture(looker: Looker, data_dir: str) -> list[Line]:
    from appliance.top.picture import picture

    before = looker.look()
    time.sleep(EVERY_S)
    return picture(looker.look(), before, data_dir)[:-1]  # Without the line about keys.


def _live(looker: Looker, picture: Callable[[Look, Look | None], list[Line]]) -> None:
    """Until a key or a signal. The terminal is given back as it was, whatever happens."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    before: Look | None = None
    with (
        _keys() as is_ended,
        contextlib.suppress(KeyboardInterrupt),
        Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live,
    ):
        while True:
            now = looker.look()
            live.update(_shown(picture(now, before), console.height), refresh=True)
            before = now
            if is_ended(EVERY_S):
                return


def _shown(lines: list[Line], height: int) -> Text:
    """Each on one row of the terminal, cut at its edges."""
    from rich.text import Text

    text = Text(no_wrap=True, overflow="ellipsis")
    for index, line in enumerate(lines[: max(1, height)]):
        text.append(("\n" if index else "") + line.text, line.style)
    return text


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """Whether a key that ends was pressed, asked by waiting so long. SIGTERM and SIGHUP end as Ctrl-C does."""

    def end(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    former = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    fd = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    mode = termios.tcgetattr(fd) if fd is not None else None
    try:
        if fd is not None:
            tty.setcbreak(fd)
        yield lambda wait_s: _is_ended(fd, wait_s)
    finally:
        if fd is not None and mode is not None:
            termios.tcsetattr(fd, termios.TCSADRAIN, mode)
        for number, handler in former.items():
            signal.signal(number, handler)


def _is_ended(fd: int | None, wait_s: float) -> bool:
    """A key that means nothing here is passed over, and the time goes on."""
    if fd is None:
        time.sleep(wait_s)
        return False
    deadline_s = time.monotonic() + wait_s
    while (rest_s := deadline_s - time.monotonic()) > 0:
        if not select.select([fd], [], [], rest_s)[0]:
            return False
        keys = os.read(fd, KEYS_BYTES_MAX)
        if not keys or END_KEYS & set(keys):  # Nothing to read is a terminal that has gone.
            return True
    return False

"""`henge reload`: what has changed in the settings is applied, and whoever reads it is restarted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import click

from appliance.bus import BusGone, BusTimeout
from appliance.changes import Report
from appliance.commands.options import data_option
from appliance.commands.running_appliance import Supervisor
from appliance.errors import CannotStart

POLL_EVERY_S = 0.1
RELOAD_WAIT_S = 600.0  # Longer than every start and stop limit of the tree together, but for a store that recovers.
VALUE_CHARS_MAX = 40


@click.command()
@data_option
@click.option("--all", "wants_all", is_flag=True, help="Restart every process, also where nothing has changed.")
@click.option("--exec", "wants_exec", is_flag=True, help="Replace the supervisor as well, by the code on disk.")
@click.option(
    "--executable",
    type=click.Path(dir_okay=False, exists=True, resolve_path=True, path_type=Path),
    metavar="FILE",
    help="With --exec: the henge that takes over.",
)
def reload(data: Path | None, wants_all: bool, wants_exec: bool, executable: Path | None) -> None:
    """Apply the settings as they are now to the running appliance.

    Says what has changed, and restarts the processes that read it one at a time. The listening sockets stay open:
    nobody is refused. A changed address is opened before the old one is closed.
    With --exec the supervisor becomes the executable on disk, or another one: sockets and processes are kept, then each
    process is restarted. One that cannot take over, or whose processes do not start, gives way to the one before; the
    settings stay as they were accepted last.
    Exit status 1 when the settings cannot be used or an address is taken (nothing changes then), or a process does not
    come back."""
    supervisor = Supervisor(data)
    if wants_exec:
        _replace(supervisor, executable)
        return
    if executable is not None:
        raise CannotStart("--executable needs --exec")
    before = {row.name: row.pid for row in supervisor.status().processes}
    report = supervisor.reload(wants_all)
    for line in _table(report):
        click.echo(line)
    _wait(supervisor, before, set(report.restarting))


def _replace(supervisor: Supervisor, executable: Path | None) -> None:
    """Raises: CannotStart."""
    number = supervisor.status().succession.number
    checked = supervisor.replace(str(executable) if executable else None)
    click.echo(f"Henge {checked.version} takes over")
    deadline_s = time.monotonic() + RELOAD_WAIT_S
    while time.monotonic() < deadline_s:
        time.sleep(POLL_EVERY_S)
        try:
            status = supervisor.status()
        except BusTimeout as error:
            raise CannotStart(f"the appliance stopped while it was handed over; its log says why ({error})") from error
        except BusGone:
            continue  # Between the two.
        found = status.succession
        if found.number > number and not found.on_trial:
            if found.gone_back_because is not None:
                raise CannotStart(f"Henge {status.version} is back: {found.gone_back_because}")
            click.echo(f"Henge {status.version} runs, every process is restarted")
            return
    raise CannotStart(f"not handed over after {RELOAD_WAIT_S:g} s; see henge status")


def _table(report: Report) -> Iterator[str]:
    """What was found, as rows: setting, old, new, who is restarted for it."""
    if not report.changes:
        yield "no setting has changed" + ("" if report.restarting else "; every process goes on as it is")
        return
    rows = [("SETTING", "OLD", "NEW", "RESTARTED")]
    for each in report.changes:
        new = _short(each.new)
        if (real := report.addresses.get(each.setting)) and real != each.new:
            new += f" (now {real})"
        rows.append((each.setting, _short(each.old), new, ", ".join(each.processes) or "nobody"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        yield "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])


def _short(text: str) -> str:
    if not text:
        return "(off)"
    return text if len(text) <= VALUE_CHARS_MAX else text[: VALUE_CHARS_MAX - 1] + "…"


def _wait(supervisor: Supervisor, before: dict[str, int | None], waiting: set[str]) -> None:
    """Raises: CannotStart."""
    deadline_s = time.monotonic() + RELOAD_WAIT_S
    while waiting:
        if time.monotonic() > deadline_s:
            raise CannotStart(f"{', '.join(sorted(waiting))} not restarted after {RELOAD_WAIT_S:g} s; see henge status")
        time.sleep(POLL_EVERY_S)
        try:
            rows = supervisor.status().processes
        except BusTimeout as error:
            raise CannotStart(f"the appliance stopped during the reload; its log says why ({error})") from error
        for row in rows:
            if row.name in waiting and row.kept_because is not None:
                raise CannotStart(f"the new {row.name} ended: {row.kept_because}; the one before it goes on")
            if row.name in waiting and row.state == "up" and row.pid != before[row.name]:
                waiting.remove(row.name)
                click.echo(f"{row.name} restarted, process {row.pid}")

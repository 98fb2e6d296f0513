"""`henge reload`: restart the processes one at a time."""

from __future__ import annotations

import time
from pathlib import Path

import click

from appliance.bus import BusTimeout
from appliance.commands.options import data_option
from appliance.commands.running_appliance import Supervisor
from appliance.errors import CannotStart

POLL_EVERY_S = 0.1
RELOAD_WAIT_S = 600.0  # Longer than every start and stop limit of the tree together, but for a store that recovers.


@click.command()
@data_option
def reload(data: Path | None) -> None:
    """Restart the processes of the running appliance one at a time, with the settings as they are now.

    The listening sockets stay open: nobody is refused. Addresses and ports do not change by this.
    Exit status 1 when the settings cannot be used (nothing is restarted then) or a process does not come back."""
    supervisor = Supervisor(data)
    before = {row.name: row.pid for row in supervisor.status().processes}
    supervisor.reload()
    waiting = set(before)
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
            if row.name in waiting and row.state == "up" and row.pid != before[row.name]:
                waiting.remove(row.name)
                click.echo(f"{row.name} restarted, process {row.pid}")

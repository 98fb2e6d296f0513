"""`henge open`, what a double click runs, and `henge link`: the page of the appliance, started when it does not run."""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path

import click
import msgspec

from appliance.commands.options import Settings, data_option, settings_options
from appliance.commands.running_appliance import Status, Supervisor
from appliance.commands.service_page import page_of_service
from appliance.errors import CannotStart

START_TIMEOUT_S = 60.0  # The store may have a long log to read.
POLL_S = 0.05
LINK_TIMEOUT_S = 3.0
STARTING_LOG = "start.log"  # Beside henge.log: what was said before that one was open.


@click.command("open")
@settings_options
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--service", is_flag=True, help="The appliance that this machine runs as a service, from the package.")
def open_(data: Path | None, config: Path | None, overrides: tuple[str, ...], no_browser: bool, service: bool) -> None:
    """Open the page in the browser; start the appliance first, if none runs on the data folder.

    It goes on when this command ends; `henge status` shows it. The first page of a new appliance is opened by a link
    that works once."""
    from appliance.browser import open_page

    if service:
        page = page_of_service()
    else:
        settings = Settings(data, config, overrides)
        data_dir = settings.load().data_dir
        page = _page(_running(settings, data_dir), data_dir)
    click.echo(page)
    if not no_browser and not open_page(page):
        click.echo("There is no browser to open it in; open this address in one on this machine.", err=True)


@click.command()
@data_option
def link(data: Path | None) -> None:
    """Print the address of the page of the running appliance, and nothing else.

    Until there is an administrator it is a link that works once and makes its holder the administrator."""
    supervisor = Supervisor(data)
    click.echo(_page(supervisor.status(), supervisor.data_dir))


def _start(options: tuple[str, ...], data_dir: Path) -> subprocess.Popen[bytes]:
    """Start `henge up` so that it outlives this command and its terminal. Raises: CannotStart."""
    from appliance.lock import prepare_folder
    from appliance.log import LOG_FOLDER
    from appliance.packaged import command

    prepare_folder(data_dir)
    log_file = data_dir / LOG_FOLDER / STARTING_LOG
    try:
        log_file.parent.mkdir(mode=0o700, exist_ok=True)
        with log_file.open("wb") as log:
            return subprocess.Popen(
                command("up", "--no-browser", *options),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
            )
    except OSError as error:
        raise CannotStart(f"the appliance cannot be started: {error.strerror} ({error.filename})") from error


def _running(settings: Settings, data_dir: Path) -> Status:
    """The status of the appliance once everything of it answers, started by us if need be. Raises: CannotStart.

    When another click was faster, ours ends, and that one is meant.
    """
    from appliance.bus import BusError
    from appliance.lock import running_pid

    starting: subprocess.Popen[bytes] | None = None
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if running_pid(data_dir) is not None:
            with contextlib.suppress(BusError, CannotStart):  # It is about to answer, or to end.
                status = Supervisor(data_dir).status()
                if all(row.state == "up" for row in status.processes):
                    return status
        elif starting is None:
            starting = _start(settings.as_options(settings.load()), data_dir)
        elif starting.poll() is not None:
            raise CannotStart(_last_words(data_dir))
        time.sleep(POLL_S)
    raise CannotStart(
        f"the appliance on {data_dir} does not answer after {START_TIMEOUT_S:.0f} s; `henge status` says more"
    )


def _last_words(data_dir: Path) -> str:
    from appliance.log import LOG_FOLDER

    path = data_dir / LOG_FOLDER / STARTING_LOG
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    said = next((line for line in reversed(lines) if line.strip()), "it said nothing")
    return f"the appliance did not start: {said.removeprefix('henge: ')} (all of it: {path})"


def _page(status: Status, data_dir: Path) -> str:
    """The page's address, as a link that works once while nobody is administrator. Raises: CannotStart."""
    from appliance.bus import BusError, Client

    web = status.addresses.get("web")
    if web is None:
        raise CannotStart("this appliance has no page: web.listen is empty")
    client = Client(data_dir / "run", "web")
    try:
        reply = client.call("login_link", timeout_s=LINK_TIMEOUT_S, type=dict[str, str | None] | None).body
    except (BusError, msgspec.MsgspecError):
        return str(web)
    finally:
        client.close()
    return str(reply.get("url") or web) if reply else str(web)

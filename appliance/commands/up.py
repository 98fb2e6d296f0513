"""`henge up`: start the appliance."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from appliance.commands.options import Settings, settings_options, tree_option


@click.command()
@settings_options
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write addresses and process ids here, as JSON, when everything answers.",
)
@click.option("--no-browser", is_flag=True, help="Do not open the page in a browser.")
@click.option("--check-handover", "check_fd", type=int, hidden=True)
@tree_option
def up(
    data: Path | None,
    config: Path | None,
    overrides: tuple[str, ...],
    ready_file: Path | None,
    no_browser: bool,
    check_fd: int | None,
    tree: str,
) -> None:
    """Start the appliance and keep it running until Ctrl-C or SIGTERM.

    Exit status 1 when it cannot start, or when a process fails again and again; the last line says why."""
    from appliance.estate import EarlySignals, inherited_estate
    from appliance.running import UpOptions, run_appliance

    if check_fd is not None:
        import msgspec

        from appliance.succession import check

        click.echo(msgspec.json.encode(check(check_fd, tree)))
        return
    estate = inherited_estate()
    early = EarlySignals(estate) if estate is not None else None
    try:
        settings = Settings(data, config, overrides)
        loaded = settings.load() if estate is None else estate.config()
        options = UpOptions(
            tree=tree,
            child_options=("--data", str(loaded.data_dir), "--tree", tree),
            ready_file=ready_file.expanduser().absolute() if ready_file is not None else None,
            open_browser=not no_browser,
            load_settings=settings.load,
            estate=estate,
        )
        status = run_appliance(loaded, options, early)
    except Exception as error:
        if early is not None:
            early.go_back(f"{type(error).__name__}: {error}")
        raise
    sys.exit(status)

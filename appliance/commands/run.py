"""`henge run NAME`: one process of the appliance, under its supervisor or alone."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import click

from appliance.accepted import accepted
from appliance.child import inherited, run_alone, run_supervised
from appliance.commands.options import Settings, settings_options, tree_option
from appliance.config import Config
from appliance.errors import CannotStart
from appliance.processes import Process, load_tree, processes_of


@click.command()
@click.argument("name")
@settings_options
@tree_option
def run(name: str, data: Path | None, config: Path | None, overrides: tuple[str, ...], tree: str) -> None:
    """Run one process of the appliance alone: state, store, intake, query, spawner, scheduler or web.

    It opens its own sockets and writes its log to the terminal. `henge up` runs them all.
    Exit status 1 when it fails."""
    handover = inherited()
    settings = Settings(data, config, overrides)
    loaded = accepted(handover.settings_fd, settings.data_dir) if handover else settings.load()
    process = _process(name, tree, loaded)
    status = run_supervised(process, loaded, handover) if handover else _run_alone(process, loaded)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # What must last is on disk by now. A library's thread or exit hook that waits for something must not turn a
    # stop into a time-out.
    os._exit(status)


def _process(name: str, tree: str, config: Config) -> Process:
    by_name = {process.name: process for process in processes_of(load_tree(tree, config))}
    if name not in by_name:
        raise CannotStart(f"there is no process {name!r}; the processes are {', '.join(by_name)}")
    return by_name[name]


def _run_alone(process: Process, config: Config) -> int:
    from appliance.listeners import open_listeners
    from appliance.lock import prepare_folder

    prepare_folder(config.data_dir)
    listeners = open_listeners(config, set(process.sockets))
    sockets = {name: each for name, each in listeners.sockets.items() if name in process.sockets}
    return run_alone(process, config, sockets)

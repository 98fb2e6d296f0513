"""The options that say which appliance is meant and with which settings; the same for every command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from appliance.config import Config, load

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Settings:
    """What --data, --config and --set said."""

    data: Path | None
    config: Path | None
    overrides: tuple[str, ...]

    def load(self) -> Config:
        """Raises: ConfigError."""
        return load(data_dir=self.data, file=self.config, overrides=self.overrides)

    def as_options(self, config: Config) -> tuple[str, ...]:
        """The same again, for a process of this appliance that may stand in another folder."""
        options = ["--data", str(config.data_dir)]
        if self.config is not None:
            options += ["--config", str(self.config.expanduser().absolute())]
        for override in self.overrides:
            options += ["--set", override]
        return tuple(options)

    @property
    def data_dir(self) -> Path:
        """As a supervisor tells it to its children: absolute."""
        assert self.data is not None
        return self.data


def data_option(command: F) -> F:
    """--data alone, for commands that speak to a running appliance."""
    return click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="The data folder. Default: $HENGE_DATA, else ~/.local/share/henge.",
    )(command)


def settings_options(command: F) -> F:
    """--data, --config and --set."""
    command = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="SECTION.KEY=VALUE",
        help="One setting, over file and environment. May be repeated.",
    )(command)
    command = click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="The settings file. Default: henge.toml in the data folder, when there is one.",
    )(command)
    return data_option(command)


def tree_option(command: F) -> F:
    """The process table, for tests of the supervisor with children of their own."""
    from appliance.processes import TREE

    return click.option("--tree", default=TREE, hidden=True, metavar="MODULE:FUNCTION")(command)

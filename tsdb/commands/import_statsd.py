"""`henge import statsd`: a statsd's config.js as settings."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.commands.options import data_option
from appliance.config import Config, load
from appliance.errors import CannotStart
from tsdb.commands.settings_file import add_tables
from tsdb.configjs.literal import CHARS_MAX, NotLiteral, Value, read
from tsdb.configjs.settings import settings_of


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--write", is_flag=True, help="Add the settings to henge.toml of the data folder. Without it: only say.")
@data_option
def statsd(file: Path, write: bool, data: Path | None) -> None:
    """Read the configuration FILE of a statsd, config.js, and say what is taken and what is not.

    The file is read and never run. What is taken becomes a table [statsd]. It is printed; with --write it is added to
    henge.toml, which must have none yet. It takes effect with the next start, or `henge reload`.
    Exit status 1 if nothing could be taken, or nothing may be written."""
    found = settings_of(_config(file))
    for line in found.taken:
        click.echo(f"taken      {line}")
    for line in found.not_taken:
        click.echo(f"not taken  {line}")
    if not found.settings:
        raise CannotStart(f"{file}: nothing there could be taken over")
    click.echo(f"\n{found.as_toml()}")
    if write:
        path = load(data_dir=data).data_dir / "henge.toml"
        add_tables(path, found.as_toml(), _taken_by)
        click.echo(f"written to {path}; henge reload applies it")
    else:
        click.echo("nothing was written; --write adds the table above to henge.toml")


def _config(file: Path) -> dict[str, Value]:
    try:
        if file.stat().st_size > 4 * CHARS_MAX:  # A character has 4 bytes at most.
            raise CannotStart(f"{file} has {file.stat().st_size:,} bytes; this is no configuration of a statsd")
        return read(file.read_text(encoding="utf-8-sig"))
    except NotLiteral as error:
        raise CannotStart(f"{file}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CannotStart(f"{file} cannot be read: {error}") from error


def _taken_by(config: Config) -> str | None:
    return "settings of statsd" if any(key.startswith("statsd.") for key in config.sources) else None

"""`henge import`: configuration of other programs as settings of Henge."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from appliance.commands.options import data_option
from appliance.config import Config, load
from appliance.errors import CannotStart
from tsdb.carbon.folder import FILES, Import, read_folder
from tsdb.commands.import_statsd import statsd
from tsdb.commands.import_whisper import whisper
from tsdb.commands.settings_file import add_tables

FILE_BYTES_MAX = 4 * 2**20


@click.group("import")
def import_() -> None:
    """Take over what another program was configured with."""


@import_.command("carbon-conf")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--write", is_flag=True, help="Add the settings to henge.toml of the data folder. Without it: only say.")
@data_option
def carbon_conf(folder: Path, write: bool, data: Path | None) -> None:
    """Read a configuration folder of carbon, such as /etc/carbon, and say what is taken and what is not.

    storage-schemas.conf becomes tables [[store.schemas]], storage-aggregation.conf tables [[graphite.aggregation]].
    They are printed; with --write they are added to henge.toml, which must have none yet, and the rule files (lists,
    rewriting, aggregation) are copied to the folder graphite.rules_dir, which must have none yet. They take effect
    with the next start, or `henge reload`.
    Exit status 1 if nothing could be taken, or nothing may be written."""
    found = read_folder({name: _text(folder / name) for name in FILES if (folder / name).is_file()})
    _say(found)
    if not (found.schemas or found.aggregations or found.rules):
        raise CannotStart(f"{folder}: nothing there could be taken over")
    if write:
        config = load(data_dir=data)
        rules = config.data_dir / (config.graphite.rules_dir or "carbon")
        _check_no_rules(rules, found)
        if found.schemas or found.aggregations:
            add_tables(config.data_dir / "henge.toml", found.as_toml(), partial(_taken_by, found))
            click.echo(f"written to {config.data_dir / 'henge.toml'}; henge reload applies it")
        _copy_rules(rules, found)
    else:
        click.echo("nothing was written; --write adds the tables above to henge.toml and copies the rule files")


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise CannotStart(f"{path} has {path.stat().st_size:,} bytes of at most {FILE_BYTES_MAX:,}")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CannotStart(f"{path} cannot be read: {error}") from error


def _say(found: Import) -> None:
    for line in found.taken:
        click.echo(f"taken      {line}")
    for line in found.not_taken:
        click.echo(f"not taken  {line}")
    if found.schemas or found.aggregations:
        click.echo(f"\n{found.as_toml()}")


def _check_no_rules(folder: Path, found: Import) -> None:
    """Raises: CannotStart."""
    there = [name for name in found.rules if (folder / name).exists()]
    if there:
        raise CannotStart(f"{folder} has {', '.join(there)} already; take it away, or change it by hand")


def _copy_rules(folder: Path, found: Import) -> None:
    """Raises: CannotStart."""
    for name, text in found.rules.items():
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = folder / f"{name}.draft"
            draft.write_text(text, encoding="utf-8")
            draft.replace(folder / name)
        except OSError as error:
            raise CannotStart(f"{folder / name} cannot be written: {error}") from error
        click.echo(f"written to {folder / name}; it counts within 10 s")


def _taken_by(found: Import, config: Config) -> str | None:
    for key, is_there in (
        ("store.schemas", found.schemas and config.store.schemas),
        ("graphite.aggregation", found.aggregations and config.graphite.aggregation),
    ):
        if is_there:
            return f"tables [[{key}]]"
    return None


import_.add_command(statsd)
import_.add_command(whisper)

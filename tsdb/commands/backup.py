"""`henge backup`: the whole appliance in one sealed file, and back again."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import click

from appliance.commands.options import data_option
from appliance.config import load
from appliance.errors import CannotStart
from appliance.sealed_file import PASSPHRASE_CHARACTERS_MIN
from tsdb.commands.connection import connected
from tsdb.commands.snapshot import SNAPSHOT_TIMEOUT_S

VARIABLE = "HENGE_BACKUP_PASSPHRASE"

passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help=f"The passphrase, its first line. Without it, ${VARIABLE}; without that, you are asked.",
)


@click.group()
def backup() -> None:
    """Back up the whole appliance into one file, sealed with a passphrase, and put it back."""


@backup.command()
@click.argument("file", metavar="FILE|DIR", type=click.Path(path_type=Path))
@passphrase_option
@data_option
def create(file: Path, passphrase_file: Path | None, data: Path | None) -> None:
    """Back up the running appliance into FILE, or into a new file in DIR, and print its name alone on the last line.

    It holds all samples that were acknowledged, checks, users, channels with their secrets, incidents and settings.
    Without the passphrase nobody can read it, you included."""
    from appliance.version import version
    from tsdb.backup import archive
    from tsdb.store.snapshot import new_name

    passphrase = _passphrase(passphrase_file, is_new=True)
    now_ms = time.time_ns() // 1_000_000
    target = file.expanduser().absolute()
    if target.is_dir():
        target /= f"henge-{new_name(now_ms)}.backup"
    with connected(data) as (config, client):
        snapshot = client.snapshot(None, timeout_s=SNAPSHOT_TIMEOUT_S)
        try:
            contents = archive.Contents(henge=version(), created_ms=now_ms)
            size_bytes = archive.write(config.data_dir, snapshot, target, passphrase, contents)
        finally:
            shutil.rmtree(snapshot, ignore_errors=True)
    click.echo(f"{size_bytes:,} bytes")
    click.echo(target)


@backup.command()
@click.argument("file", type=click.Path(path_type=Path))
@passphrase_option
def verify(file: Path, passphrase_file: Path | None) -> None:
    """Read FILE to its end and say when it was made, and by which Henge. Changes nothing.

    Exit status 1 when it is damaged, cut off, or the passphrase is another."""
    from datetime import UTC, datetime

    from tsdb.backup import archive

    contents = archive.read_contents(file.expanduser().absolute(), _passphrase(passphrase_file, is_new=False))
    made = datetime.fromtimestamp(contents.created_ms / 1_000, UTC)
    click.echo(f"whole; made {made:%Y-%m-%d %H:%M:%S} UTC by Henge {contents.henge}")


@backup.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Set a data folder that is not empty aside, as DIR.before-TIME.")
@passphrase_option
@data_option
def restore(file: Path, force: bool, passphrase_file: Path | None, data: Path | None) -> None:
    """Make the backup FILE the data folder of an appliance that does not run.

    All of it is read and compared with its checksums before anything is changed.
    Exit status 1 when it is refused or damaged."""
    from appliance.lock import running_pid
    from tsdb.backup import archive

    data_dir = load(data_dir=data).data_dir
    if (pid := running_pid(data_dir)) is not None:
        raise CannotStart(f"an appliance runs on {data_dir}; stop it first (kill {pid}), or choose another with --data")
    contents, manifest = archive.restore(
        file.expanduser().absolute(),
        data_dir,
        _passphrase(passphrase_file, is_new=False),
        is_forced=force,
        now_ms=time.time_ns() // 1_000_000,
    )
    click.echo(f"restored {manifest.sample_count:,} samples and the state of Henge {contents.henge} into {data_dir}")


def _passphrase(file: Path | None, *, is_new: bool) -> str:
    """Raises: CannotStart, if it is too short for a new file, or cannot be read."""
    if file is not None:
        try:
            found = file.expanduser().read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
        except (OSError, UnicodeDecodeError) as error:
            raise CannotStart(f"the passphrase cannot be read from {file}: {error}") from error
    else:
        found = os.environ.get(VARIABLE) or str(
            click.prompt("Passphrase", hide_input=True, confirmation_prompt=is_new, err=True)
        )
    if is_new and len(found) < PASSPHRASE_CHARACTERS_MIN:
        raise CannotStart(f"the passphrase has {len(found)} characters; take {PASSPHRASE_CHARACTERS_MIN} or more")
    return found

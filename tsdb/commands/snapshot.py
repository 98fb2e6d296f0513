"""`henge db snapshot` and `henge db restore`: all samples of one moment, and back again."""

from __future__ import annotations

import time
from pathlib import Path

import click

from appliance.commands.options import data_option
from appliance.config import load
from tsdb.commands.connection import connected

SNAPSHOT_TIMEOUT_S = 3_600.0  # Every byte is read once for its checksum, or copied to another disk.


@click.command()
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@data_option
def snapshot(directory: Path | None, data: Path | None) -> None:
    """Take a snapshot of all samples while the appliance runs, and print its folder alone on the last line.

    It holds everything that was acknowledged before; users, checks and channels are not in it. Without DIR it lies
    below `snapshots` in the data folder, where it shares its bytes with the store: copy it to another disk.
    DIR must not be there yet; on another disk the bytes are copied."""
    from tsdb.store.disk import OsDisk
    from tsdb.store.snapshot import read_manifest

    target = None if directory is None else directory.expanduser().absolute()
    with connected(data) as (_, client):
        path = client.snapshot(target, timeout_s=SNAPSHOT_TIMEOUT_S)
    manifest = read_manifest(OsDisk(), path)
    click.echo(f"{manifest.block_count} blocks, {manifest.sample_count:,} samples, {manifest.size_bytes:,} bytes")
    click.echo(path)


@click.command()
@click.argument("snapshot", metavar="SNAPSHOT", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Set samples that are there aside, as samples.before-TIME.")
@data_option
def restore(snapshot: Path, force: bool, data: Path | None) -> None:
    """Make a SNAPSHOT the samples of a data folder on which no appliance runs.

    SNAPSHOT is a folder, or the name of one below `snapshots` in the data folder. All of it is read and compared with
    its checksums before anything is changed. Samples that are there are not overwritten without --force.
    Exit status 1 when it is refused or the snapshot is damaged."""
    from appliance.lock import lock_folder, prepare_folder
    from tsdb.store.disk import OsDisk
    from tsdb.store.snapshot import read_manifest
    from tsdb.store.snapshot import restore as put_back

    data_dir = load(data_dir=data).data_dir
    source = snapshot.expanduser().absolute()
    if not source.exists() and snapshot.name == str(snapshot):
        source = data_dir / "snapshots" / snapshot.name
    read_manifest(OsDisk(), source)  # A slip of the pen leaves no new data folder behind.
    prepare_folder(data_dir)
    lock = lock_folder(data_dir)
    try:
        now_ms = time.time_ns() // 1_000_000
        manifest = put_back(OsDisk(), source, data_dir, is_forced=force, now_ms=now_ms)
    finally:
        lock.release()
    click.echo(f"restored {manifest.block_count} blocks, {manifest.sample_count:,} samples into {data_dir / 'samples'}")

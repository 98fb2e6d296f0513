"""`henge db repair`: a damaged folder made whole again, as far as that is certain."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.commands.options import data_option
from appliance.config import load
from appliance.errors import CannotStart
from appliance.lock import lock_folder


@click.command()
@data_option
def repair(data: Path | None) -> None:
    """Take damaged bytes out of the stored samples, and keep what is whole.

    Blocks and segments of the log with damage are written anew with what is certain, and what can be made from the
    rest is (names of series, keys, summaries, content hashes). The damaged files stay in samples/quarantine. Refuses
    while an appliance runs on the folder. A second repair finds nothing to do."""
    from tsdb.store.repair import repair as repaired

    data_dir = load(data_dir=data).data_dir
    folder = data_dir / "samples"
    if not folder.is_dir():
        raise CannotStart(f"there are no samples below {data_dir}; give the data folder with --data DIR")
    held = lock_folder(data_dir)
    file_count = 0
    try:
        for done in repaired(folder):
            file_count += 1
            click.echo(f"{done.path}  {done.what}")
            click.echo(f"  lost: {_lost(done.lost_samples, done.lost_series)}")
    finally:
        held.release()
    click.echo(f"{file_count} files; `henge db verify` reads them again" if file_count else "nothing is damaged")


def _lost(samples: int | None, series: int) -> str:
    if samples is None:
        return "samples, nobody can tell how many"
    if not samples:
        return "nothing"
    return f"{samples:,} samples" + (f", with them all that {series:,} series had there" if series else "")

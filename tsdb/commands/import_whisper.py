"""`henge import whisper`: the history that carbon kept, brought into a running appliance."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.commands.options import data_option
from appliance.units import duration_text
from tsdb.commands.connection import connected
from tsdb.commands.selection import time_ms

if TYPE_CHECKING:
    from appliance.config import Config
    from tsdb.importing.run import Counted, Source, Tally
    from tsdb.importing.transfer import Transfer

CHECKED_FILES_COUNT = 100  # Without --verify: so many at least, spread over the tree; each costs a query.
SHOWN_COUNT = 20
STATS_TIMEOUT_S = 10.0
LEAVING_MS = 3 * 3_600_000  # Samples leave by windows of two hours; one more for what is under way.
_LEFT_OUT = {
    "before_from": "points are before that and were left out",
    "future": "points lie in the future and were left out: the clock of who wrote them was wrong",
    "nan": "points are no numbers and were left out",
    "sent_before": "points were imported before, of files that changed since, and are past raw: not sent again",
}


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--prefix", default="", metavar="PATH", help="Put this and a dot before every name.")
@click.option(
    "--match",
    "globs",
    multiple=True,
    metavar="GLOB",
    help="Only names (without the prefix) such as 'servers.*.cpu.*'; `*` crosses dots. May be repeated.",
)
@click.option("--since", metavar="TIME", help="Only points from then on: 2026-01-31, epoch seconds, or 30d ago.")
@click.option("--dry-run", is_flag=True, help="Read everything and say what would be imported; needs no appliance.")
@click.option("--verify", "verifies_all", is_flag=True, help="Count the points of all files by query, not of some.")
@click.option("--restart", is_flag=True, help="Forget what earlier runs imported, and begin anew.")
@data_option
def whisper(
    directory: Path,
    prefix: str,
    globs: tuple[str, ...],
    since: str | None,
    dry_run: bool,
    verifies_all: bool,
    restart: bool,
    data: Path | None,
) -> None:
    """Import the whisper files below DIR, as carbon keeps them in /var/lib/graphite/whisper.

    A path below DIR, with dots and without .wsp, is the name of a series; a file below _tagged has its tags as labels.
    Each time comes from the finest archive that holds it. Files that cannot be read are listed with a reason. When it
    is broken off, the same command goes on; files that changed since are read again.

    Example: henge import whisper /var/lib/graphite/whisper --since 1y --dry-run

    Exit status 1 when a file was set aside, the appliance refused points, or some are not found afterwards."""
    from tsdb.importing.run import Source
    from tsdb.importing.tree import Wanted

    now_ms = time.time_ns() // 1_000_000
    since_ms = 0 if since is None else time_ms("--since", since, now_ms)
    source = Source(root=directory, wanted=Wanted(prefix.rstrip("."), globs), from_ms=since_ms, now_ms=now_ms)
    if dry_run:
        raise SystemExit(0 if _look(source, data) else 1)
    raise SystemExit(0 if _import(source, data, verifies_all=verifies_all, restarts=restart) else 1)


def _look(source: Source, data: Path | None) -> bool:
    from appliance.config import load
    from tsdb.importing.run import Tally, histories

    store = load(data_dir=data).store
    keeps_ms = [one.tiers[-1].keep_ms for one in (store.retention, *(rule.retention for rule in store.schemas))]
    longest_ms = None if None in keeps_ms else max(ms for ms in keeps_ms if ms is not None)
    source, tally = _within_retention(source, longest_ms), Tally()
    with _progress("Reading", source) as step:
        for _ in histories(source, tally, step, None):
            pass
    click.echo(f"would import {_told(tally)}")
    return _tell_left(tally)


def _import(source: Source, data: Path | None, *, verifies_all: bool, restarts: bool) -> bool:
    from tsdb.importing.journal import Journal, journal_path
    from tsdb.importing.run import Tally, count, send
    from tsdb.importing.transfer import Transfer

    with connected(data) as (config, client):
        keep_ms, raw_keep_ms = _keeps_ms(config)
        rolled_before_ms = 0 if raw_keep_ms is None else source.now_ms - raw_keep_ms
        source = replace(_within_retention(source, keep_ms), rolled_before_ms=rolled_before_ms)
        path = journal_path(config.data_dir, source.root, source.wanted.prefix)
        with Journal(path, is_fresh=restarts) as journal:
            tally, began_s = Tally(), time.monotonic()
            with (
                Transfer(client, lambda done: journal.note(done, source.from_ms)) as transfer,
                _progress("Importing", source) as step,
            ):
                send(source, tally, step, journal, transfer)
            click.echo(f"imported {_told(tally)} in {time.monotonic() - began_s:,.1f} s")
            if tally.done_before_count:
                click.echo(f"{tally.done_before_count:,} files were imported before and have not changed (--restart)")
            is_good = _tell_left(tally)
            is_good &= _tell_refused(transfer)
            every = 1 if verifies_all else max(1, len(journal) // CHECKED_FILES_COUNT)
            with _progress("Counting", source) as step:
                counted = count(_as_of_now(source, keep_ms), client, step, journal, every)
            return _tell_counted(counted) and is_good


def _keeps_ms(config: Config) -> tuple[int | None, int | None]:
    """How long the running store keeps anything, and how long samples of every series, however it was told.

    Raises: NotReady."""
    from appliance.bus import BusError, Client
    from tsdb.errors import NotReady

    store = Client(config.run_dir, "store")
    try:
        told = store.call("stats", timeout_s=STATS_TIMEOUT_S).body
    except BusError as error:
        raise NotReady(str(error)) from error
    finally:
        store.close()
    return told["keep_ms"], told["raw_keep_min_ms"]


def _within_retention(source: Source, keep_ms: int | None) -> Source:
    """The part of the history that the store takes; what it would refuse is said before anything is sent."""
    if keep_ms is None:
        return source
    oldest_ms = source.now_ms - keep_ms
    if source.from_ms >= oldest_ms:
        return source
    click.echo(
        f"nothing is kept for longer than {duration_text(keep_ms)} (store.retention, store.schemas): points before "
        f"{_stamp(oldest_ms)} would be refused and are left out; for those, keep the coarsest resolution for longer, "
        f"or set store.retention to `forever`, and `henge reload` before importing"
    )
    return replace(source, from_ms=oldest_ms)


def _as_of_now(source: Source, keep_ms: int | None) -> Source:
    """An import takes its time, and meanwhile the oldest samples leave."""
    if keep_ms is None:
        return source
    return replace(source, from_ms=max(source.from_ms, time.time_ns() // 1_000_000 - keep_ms + LEAVING_MS))


@contextmanager
def _progress(what: str, source: Source) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, by the bytes of the files; on a pipe nothing."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from tsdb.importing.run import Tally, named

    columns = (TextColumn(what), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        total = sum(found.size_bytes for found, _ in named(source, Tally()))
        task = bar.add_task(what, total=total)
        yield lambda size_bytes: bar.advance(task, size_bytes)


def _told(tally: Tally) -> str:
    text = f"{tally.files_count:,} files, {tally.points_count:,} points"
    if tally.first_ms is None or tally.last_ms is None:
        return text
    return f"{text} from {_stamp(tally.first_ms)} to {_stamp(tally.last_ms)}"


def _tell_left(tally: Tally) -> bool:
    """What was not taken, and why; whether every file could be read."""
    for reason, text in _LEFT_OUT.items():
        if count := tally.left_out[reason]:
            click.echo(f"{count:,} {text}")
    for path, why in tally.bad:
        click.echo(f"set aside: {shown(path)}: {why}", err=True)
    if tally.bad_count:
        more = tally.bad_count - len(tally.bad)
        click.echo(f"{tally.bad_count:,} files were set aside" + (f", {more:,} of them not listed" if more else ""))
    return not tally.bad_count


def _tell_refused(transfer: Transfer) -> bool:
    for reason, count in sorted(transfer.refused.items()):
        click.echo(f"{count:,} points were refused: {reason}", err=True)
    if transfer.refused and transfer.first_error:
        click.echo(f"the first: {transfer.first_error}", err=True)
    if transfer.undone_count:
        click.echo(f"{transfer.undone_count:,} files lack points and are read again by the same command", err=True)
    return not transfer.refused


def _tell_counted(counted: Counted) -> bool:
    found_count = counted.points_count - counted.missing_count
    click.echo(f"counted by query: {found_count:,} of {counted.points_count:,} points of {counted.files_count:,} files")
    for name, count in counted.missing[:SHOWN_COUNT]:
        click.echo(f"missing: {count:,} points of {shown(name)}", err=True)
    return not counted.missing_count


def shown(text: str) -> str:
    """A name as a terminal may have it: whatever is in it, on one line."""
    return text.encode("utf-8", "backslashreplace").decode() if text.isprintable() else ascii(text)


def _stamp(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d %H:%M:%S} UTC"

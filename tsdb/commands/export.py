"""`henge export samples`: stored samples as a file that other programs read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import click

from appliance.commands.options import data_option
from tsdb.commands.connection import connected
from tsdb.commands.selection import selection_options, time_range

if TYPE_CHECKING:
    from tsdb.client import TsdbClient
    from tsdb.export.piece import Piece
    from tsdb.sample import Matcher
    from tsdb.store.export import Export

FLUSH_TIMEOUT_S = 600.0
TRIES_MAX = 3  # A block may be joined into a larger one before it is opened.


class Writer(Protocol):
    def write(self, piece: Piece) -> None: ...

    def finish(self) -> None: ...


@click.group()
def export() -> None:
    """Take samples out of Henge."""


@export.command()
@selection_options
@click.option("--format", "format_", type=click.Choice(["arrow", "openmetrics", "csv"]), required=True)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="A file. Default: standard output.")
@click.option("--compression", type=click.Choice(["zstd", "none"]), default="zstd", help="Of arrow. Default: zstd.")
@data_option
def samples(
    match: tuple[str, ...],
    from_text: str | None,
    to_text: str | None,
    format_: str,
    output: Path | None,
    compression: str,
    data: Path | None,
) -> None:
    """Write the samples of all series that match, as they were when the command began.

    arrow: an IPC stream with the columns series, timestamp_ms, value, bit for bit. openmetrics, csv: text, without
    stale markers. Rollups are not exported. Asks the running appliance; memory is bounded whatever the size.

    Example: henge export samples --match 'up{job="web"}' --from 30d --format csv --output up.csv"""
    start_ms, end_ms = time_range(from_text, to_text)
    with connected(data) as (config, client):
        found = _begun(client, config.data_dir / "samples", client.selectors(match), start_ms, end_ms)
    with _opened(output) as out:
        count = _write(found, out, format_, compression)
    click.echo(f"{count:,} samples", err=True)
    if found.damage_count:
        click.echo(f"{found.damage_count:,} damaged blocks or tiles were left out; see henge db verify", err=True)
        raise SystemExit(1)


def _begun(client: TsdbClient, samples_dir: Path, selectors: list[list[Matcher]], start_ms: int, end_ms: int) -> Export:
    import msgspec

    from tsdb.store.disk import OsDisk
    from tsdb.store.export import Export
    from tsdb.store.reader import BlockGone
    from tsdb.store.tombstones import Tombstone

    for left in reversed(range(TRIES_MAX)):
        names, plain = client.sealed(start_ms, end_ms, timeout_s=FLUSH_TIMEOUT_S)
        tombstones = msgspec.convert(plain, list[Tombstone])
        try:
            return Export(OsDisk(), samples_dir, names, tombstones, selectors, start_ms, end_ms)
        except BlockGone:
            if not left:
                raise
    raise AssertionError("the last try returns or raises")


def _write(found: Export, out: BinaryIO, format_: str, compression: str) -> int:
    from tsdb.export.arrow import ArrowWriter
    from tsdb.export.piece import Piece
    from tsdb.export.text import CsvWriter, OpenMetricsWriter

    writer: Writer
    if format_ == "arrow":
        writer = ArrowWriter(out, compresses=compression == "zstd")
    else:
        writer = CsvWriter(out) if format_ == "csv" else OpenMetricsWriter(out)
    count = 0
    for canonical, rows in found.pieces(is_by_metric=format_ == "openmetrics"):
        writer.write(Piece(canonical, rows.offsets, rows.timestamp_ms, rows.value))
        count += rows.value.size
    writer.finish()
    return count


@contextmanager
def _opened(output: Path | None) -> Iterator[BinaryIO]:
    """A file gets its name when it is whole."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    temporary = output.with_name(output.name + ".tmp")
    try:
        with temporary.open("wb") as out:
            yield out
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)

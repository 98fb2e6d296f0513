"""`henge db delete`: samples that should not be kept any longer."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.commands.options import data_option
from tsdb.commands.connection import connected
from tsdb.commands.notation import series_text
from tsdb.commands.selection import selection_options, time_range

DELETE_TIMEOUT_S = 600.0  # A delete waits for the join that runs, and writes the head into blocks.
SHOWN_COUNT = 5
COUNTED_COUNT_MAX = 1_000_000  # Before the question; the delete itself has no such limit.


@click.command()
@selection_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@data_option
def delete(match: tuple[str, ...], from_text: str | None, to_text: str | None, yes: bool, data: Path | None) -> None:
    """Delete the samples of all series that match, for good, after asking.

    They are hidden at once, and their space is free again after some time, or at once with `henge db compact`.
    What is written afterwards stays, also at a deleted time. Asks the running appliance.

    Example: henge db delete --match 'temperature{room="lab"}' --from 2026-01-01 --to 2026-01-31"""
    start_ms, end_ms = time_range(from_text, to_text)
    with connected(data) as (_, client):
        selectors = client.selectors(match)
        found = client.series(selectors, start_ms, end_ms, limit=COUNTED_COUNT_MAX)
        if not found:
            click.echo("no series matches in that time; nothing was deleted")
            return
        for labels in found[:SHOWN_COUNT]:
            click.echo(f"  {series_text(labels)}")
        if len(found) > SHOWN_COUNT:
            click.echo(f"  … and {len(found) - SHOWN_COUNT:,} more")
        if not yes:
            click.confirm(f"Delete their samples {_span(from_text, to_text)}?", abort=True)
        count = client.delete(selectors, start_ms, end_ms, timeout_s=DELETE_TIMEOUT_S)
    click.echo(f"deleted samples of {count:,} series")


def _span(from_text: str | None, to_text: str | None) -> str:
    if from_text is None and to_text is None:
        return "of all times"
    return " ".join(f"{word} {text}" for word, text in (("from", from_text), ("to", to_text)) if text is not None)

"""`henge query` and `henge db`: the time-series room from a shell."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.commands.options import data_option
from appliance.config import duration_ms, load
from appliance.errors import CannotStart
from tsdb.commands.connection import connected
from tsdb.commands.delete import delete
from tsdb.commands.inspect import inspect
from tsdb.commands.notation import series_text
from tsdb.commands.repair import repair
from tsdb.commands.snapshot import restore, snapshot

if TYPE_CHECKING:
    from tsdb.answer import QueryAnswer

COMPACT_TIMEOUT_S = 3_600.0
STEPS_OF_A_RANGE = 60  # Lines of a table that a person still reads; --step says otherwise.


@click.command()
@click.argument("expression")
@click.option("--range", "range_text", metavar="DURATION", help="The values over this long until now, such as 1h.")
@click.option("--step", "step_text", metavar="DURATION", help="From one value of a range to the next.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a series, a line each.")
@data_option
def query(expression: str, range_text: str | None, step_text: str | None, as_json: bool, data: Path | None) -> None:
    """Evaluate a PromQL EXPRESSION now, or over a range.

    A metric name with dots, as Graphite has them, is written in quotes and braces:

      henge query '{"servers.web1.load"}' --range 1h

    Exit status 1 when the expression is refused or no appliance runs."""
    range_ms = _duration("--range", range_text)
    step_ms = _duration("--step", step_text)
    with connected(data) as (_, client):
        now_ms = time.time_ns() // 1_000_000
        if range_ms is None:
            answer = client.query_instant(expression, now_ms)
        else:
            step_ms = step_ms or max(1_000, range_ms // STEPS_OF_A_RANGE)
            end_ms = now_ms - now_ms % step_ms
            answer = client.query_range(expression, end_ms - range_ms, end_ms, step_ms)
    for line in _lines(answer, as_json=as_json):
        click.echo(line)
    if not answer.labels and not answer.value.size and not answer.text:
        click.echo("no series has a value for this", err=True)


def _duration(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        found_ms = duration_ms(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from error
    if not found_ms:
        raise click.BadParameter(f"{text!r} has no end or no length; write a duration such as 1h", param_hint=option)
    return found_ms


def _lines(answer: QueryAnswer, *, as_json: bool) -> Iterator[str]:
    if answer.text:
        yield json.dumps(answer.text) if as_json else answer.text
        return
    if not answer.labels:
        labelled: list[tuple[dict[str, str], slice]] = [({}, slice(0, answer.value.size))] if answer.value.size else []
    else:
        ends = answer.offsets.tolist()
        labelled = [(labels, slice(ends[at], ends[at + 1])) for at, labels in enumerate(answer.labels)]
    for labels, where in labelled:
        samples = list(zip(answer.timestamp_ms[where].tolist(), answer.value[where].tolist(), strict=True))
        if as_json:
            yield json.dumps({"labels": labels, "samples": [[at_ms, repr(value)] for at_ms, value in samples]})
        elif len(samples) == 1:
            yield f"{series_text(labels)}  {samples[0][1]:.12g}"
        else:
            yield series_text(labels)
            for at_ms, value in samples:
                yield f"  {datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}  {value:.12g}"


@click.group()
def db() -> None:
    """The stored samples: what is there, whether it is whole, and what to do about it."""


def stored_text(stats: Mapping[str, Any]) -> str:
    """What blocks there are; a line for those of rollups, if there are any."""
    samples_count, bytes_count = stats["block_samples"], stats["block_bytes"]
    per_sample = f", {bytes_count / samples_count:.2f} bytes a sample" if samples_count else ""
    text = f"{stats['block_count']} blocks, {samples_count:,} samples, {bytes_count:,} bytes{per_sample}"
    if stats["rollup_count"]:
        text += f"\n{stats['rollup_count']} blocks of rollups, {stats['rollup_bytes']:,} bytes"
    return text


@db.command()
@data_option
def compact(data: Path | None) -> None:
    """Write everything in memory into blocks and join the blocks of each window; returns when that is done.

    The state file is checkpointed as well. Asks the running appliance; exit status 1 when none runs."""
    from appliance.bus import Client

    with connected(data) as (config, client):
        stats = client.compact(timeout_s=COMPACT_TIMEOUT_S)
        state = Client(config.run_dir, "state")
        try:
            state.call("compact", timeout_s=COMPACT_TIMEOUT_S)
        finally:
            state.close()
    click.echo(stored_text(stats))


@db.command()
@data_option
def verify(data: Path | None) -> None:
    """Read every file of the store: checksums, tables against samples, content hashes. Changes nothing.

    What was set aside before is listed, and is no damage. Works with and without a running appliance. Exit status 1 if
    anything is damaged."""
    from tsdb.store.verify import verify as verdicts

    folder = load(data_dir=data).data_dir / "samples"
    if not folder.is_dir():
        raise CannotStart(f"there are no samples below {folder.parent}; give the data folder with --data DIR")
    files_count = damaged_count = 0
    for verdict in verdicts(folder):
        files_count += 1
        damaged_count += bool(verdict.damage)
        click.echo(f"{verdict.path}  {verdict.content}  {'damaged' if verdict.damage else 'ok'}")
        for damage in verdict.damage:
            click.echo(f"  {damage}")
    if not damaged_count:
        click.echo(f"{files_count:,} files, all whole")
    else:
        click.echo(f"{damaged_count:,} of {files_count:,} files are damaged")
        click.echo("stop the appliance and run `henge db repair`: it keeps what is whole, and what it replaces as well")
    raise SystemExit(1 if damaged_count else 0)


for _command in (delete, inspect, repair, restore, snapshot):
    db.add_command(_command)

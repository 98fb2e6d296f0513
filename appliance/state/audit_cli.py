"""`henge audit`: read the audit and follow its chain; needs no running appliance."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from appliance.commands.options import data_option
from appliance.config import load
from appliance.errors import CannotStart
from appliance.state.audit import Head, parsed_head, read_head
from appliance.state.differences import differences
from appliance.state.model import AuditEntry, state_path
from appliance.state.reader import StateReader

STATUS_BROKEN = 1


def _opened(data: Path | None) -> tuple[Path, StateReader]:
    """Raises: CannotStart, when there is no state file."""
    data_dir = load(data_dir=data).data_dir
    path = state_path(data_dir)
    if not path.exists():
        raise CannotStart(f"there is no state file {path}; give the data folder with --data DIR")
    return data_dir, StateReader(path)


@click.group()
def audit() -> None:
    """Who changed what, and whether that record is whole."""


def _line(entry: AuditEntry) -> str:
    at = datetime.fromtimestamp(entry.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    changed = ", ".join(f"{one.path}: {one.before} → {one.after}" for one in differences(entry))
    what = "created" if entry.before is None else "deleted" if entry.after is None else "changed"
    return f"{entry.seq:>6}  {at}  {entry.actor}  {entry.origin or '-'}  {what} {entry.kind} {entry.id}  {changed}"


@audit.command(name="list")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="How many, newest first.")
@click.option("--kind", help="Only documents of this kind, such as check or user.")
@click.option("--actor", help="Only changes by this one, such as user:ann.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object in each line.")
@data_option
def list_entries(limit: int, kind: str | None, actor: str | None, as_json: bool, data: Path | None) -> None:
    """Show the newest changes: who, from where, what, from what to what. Times are UTC."""
    _, reader = _opened(data)
    try:
        for entry in reader.audit(limit, kind=kind, actor=actor):
            click.echo(msgspec.json.encode(entry).decode() if as_json else _line(entry))
    finally:
        reader.close()


def _head(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> Head | None:
    if text is None:
        return None
    try:
        return parsed_head(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@audit.command()
@click.option("--head", callback=_head, metavar="SEQ:HASH", help="A head that was noted earlier; it must be in it.")
@data_option
def verify(head: Head | None, data: Path | None) -> None:
    """Follow the chain of hashes and compare it with the head beside the state file. Changes nothing.

    Exit status 1 if an entry was changed, removed or inserted; the first one is named. The last line is the head, to be
    noted where nobody who administers this machine can change it."""
    data_dir, reader = _opened(data)
    try:
        beside = read_head(data_dir)  # First: what is written meanwhile comes behind it.
        verdict = reader.verify_audit([found for found in (beside, head) if found is not None])
    finally:
        reader.close()
    for seq in verdict.losses:
        click.echo(f"note: entry {seq} records that entries before it are lost: a backup was restored, or a tail cut")
    if beside is None:
        click.echo("note: there is no audit.head beside the state file: a cut tail cannot be seen")
    if verdict.fault is not None:
        click.echo(f"broken at entry {verdict.fault.seq}: {verdict.fault.text}")
        raise SystemExit(STATUS_BROKEN)
    click.echo(f"{verdict.entry_count:,} entries hold together")
    click.echo(verdict.head.text)

"""`henge status`: the process tree of a running appliance."""

from __future__ import annotations

import time
from pathlib import Path

import click

from appliance.commands.options import data_option
from appliance.commands.running_appliance import Row, Status, Supervisor


@click.command()
@data_option
@click.option("--json", "as_json", is_flag=True, help="The supervisor's answer as it is.")
def status(data: Path | None, as_json: bool) -> None:
    """Show the processes of the running appliance. Changes nothing.

    Exit status 1 when no appliance runs on the folder."""
    supervisor = Supervisor(data)
    found = supervisor.status()
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return
    now_ms = time.time_ns() // 1_000_000
    click.echo(_summary(found, supervisor.data_dir, now_ms))
    for line in _table(found, now_ms):
        click.echo(line)


def _summary(found: Status, data_dir: Path, now_ms: int) -> str:
    up_count = sum(row.state == "up" for row in found.processes)
    restarts = sum(row.restarts for row in found.processes)
    page = found.addresses.get("web") or "no page"
    return (
        f"Henge {found.version} on {data_dir}, {page}\n"
        f"{up_count} of {len(found.processes)} processes up, {restarts} restarts in {_age(now_ms - found.started_ms)}, "
        f"{sum(row.rss_bytes for row in found.processes) / 2**20:,.0f} MiB"
        f"{', restarting one at a time' if found.reloading else ''}"
    )


def _table(found: Status, now_ms: int) -> list[str]:
    head = f"   {'PROCESS':<12}{'PID':>8}  {'STATE':<9}{'UP FOR':>10}{'MEMORY':>11}{'RESTARTS':>10}  LAST EXIT"
    lines = [head, f"henge up     {found.pid:>10}  up       {_age(now_ms - found.started_ms):>11}"]
    for index, row in enumerate(found.processes):
        branch = "└─" if index == len(found.processes) - 1 else "├─"
        lines.append(f"{branch} {_cells(row, now_ms)}".rstrip())
    return lines


def _cells(row: Row, now_ms: int) -> str:
    age = _age(now_ms - row.started_ms) if row.pid and row.started_ms else ""
    memory = f"{row.rss_bytes / 2**20:,.0f} MiB" if row.pid else ""
    last_exit = row.last_exit or ""
    if row.last_words and row.state != "up":
        last_exit += f" ({row.last_words})"
    return f"{row.name:<12}{row.pid or '–':>8}  {row.state:<9}{age:>10}{memory:>11}{row.restarts:>10}  {last_exit}"


def _age(duration_ms: int) -> str:
    """Two units are enough for a person."""
    seconds = max(duration_ms, 0) // 1000
    days, hours, minutes = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min {seconds % 60} s"
    return f"{seconds} s"

"""`python -m tests.bench NAME [--json]`: one JSON object a figure, a line each."""

from __future__ import annotations

from pathlib import Path

import click

from tests.bench.figure import Figure


def show(figure: Figure, as_json: bool) -> None:
    click.echo(figure.line() if as_json else f"{figure.metric:<56} {figure.value:>14,.3f} {figure.unit}")


@click.group()
def bench() -> None:
    """Measure the appliance as installed, from another process, the samples counted by query."""


@bench.command()
@click.option("--protocol", type=click.Choice(["graphite"]), default="graphite", show_default=True)
@click.option("--hosts", default=1000, show_default=True, help="Hosts of 100 series each.")
@click.option("--steps", default=100, show_default=True, help="Samples a series, 10 s apart.")
@click.option("--runs", default=3, show_default=True, help="Runs on an empty folder; the median counts.")
@click.option("--peers", default="henge", show_default=True, help="henge, vm, or both: vm,henge.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def ingest(protocol: str, hosts: int, steps: int, runs: int, peers: str, as_json: bool) -> None:
    """Samples a second until queryable, CPU and memory of the whole tree."""
    from tests.bench.ingest import run

    for figure in run(protocol=protocol, hosts=hosts, steps=steps, runs=runs, peers=peers.split(",")):
        show(figure, as_json)


@bench.command()
@click.option("--victim", type=click.Choice(["store", "intake", "web"]), default="store", show_default=True)
@click.option("--rounds", default=10, show_default=True, help="Rounds of load, one kill -9 each.")
@click.option("--samples", default=1_000_000, show_default=True, help="Samples sent in a round.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def kill(victim: str, rounds: int, samples: int, as_json: bool) -> None:
    """Acknowledged samples that are missing after kill -9 under load."""
    from tests.bench.kill import run

    for figure in run(victim=victim, rounds=rounds, samples_per_round=samples):
        show(figure, as_json)


@bench.command()
@click.option("--runs", default=5, show_default=True, help="Starts on an empty folder, and again on it; medians.")
@click.option("--idle", "idle_s", default=30.0, show_default=True, help="Seconds of an idle appliance.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def startup(runs: int, idle_s: float, as_json: bool) -> None:
    """Seconds until everything answers; memory and CPU of an idle appliance."""
    from tests.bench.startup import run

    for figure in run(runs=runs, idle_s=idle_s):
        show(figure, as_json)


@bench.command()
@click.option("--hosts", default=1000, show_default=True, help="Hosts of 100 series each.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def decode(hosts: int, as_json: bool) -> None:
    """Graphite lines a second that one core decodes and resolves to ids, in process."""
    from tests.bench.decode import run

    for figure in run(hosts=hosts):
        show(figure, as_json)


@bench.command()
@click.option("--count", default=1_000, show_default=True, help="HTTP checks of a target that answers at once.")
@click.option("--hung", "hung_count", default=0, show_default=True, help="More, of one that accepts and stays silent.")
@click.option("--interval", "interval_s", default=10.0, show_default=True, help="Seconds from one run to the next.")
@click.option("--seconds", default=60.0, show_default=True, help="How long to measure.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def checks(count: int, hung_count: int, interval_s: float, seconds: float, as_json: bool) -> None:
    """Lateness of checks, CPU and memory of the whole tree."""
    from tests.bench.checks import run

    for figure in run(count=count, hung_count=hung_count, interval_s=interval_s, seconds=seconds):
        show(figure, as_json)


@bench.command()
@click.option("--hosts", default=1000, show_default=True, help="Hosts of 100 series each.")
@click.option("--rounds", default=5, show_default=True, help="Selections of all series; of fewer there are more.")
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), help="Keep the store here and use it again."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def select(hosts: int, rounds: int, folder: Path | None, as_json: bool) -> None:
    """Milliseconds to select 1, 1,000 and 100,000 series x 360 points from head and blocks, in process."""
    from tests.bench.select import run

    for figure in run(hosts=hosts, rounds=rounds, folder=folder):
        show(figure, as_json)


if __name__ == "__main__":
    bench()

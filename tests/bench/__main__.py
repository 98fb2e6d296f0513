"""`python -m tests.bench NAME [--json]`: one JSON object a figure, a line each."""

from __future__ import annotations

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


if __name__ == "__main__":
    bench()

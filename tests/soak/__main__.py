"""`python -m tests.soak [--json]`: figures a line each, as the benches print them; exit status 1 when one is missed."""

from __future__ import annotations

import sys
from dataclasses import replace

import click

from tests.bench.__main__ import json_option, show
from tests.soak.hour import Plan, missed, run

QUICK = Plan(
    seconds=60, warm_up_s=20, rate_per_s=20_000, hosts=400, checks=50, query_checks=5, browsers=4, reload_every_s=25
)


@click.command()
@click.option("--seconds", default=Plan.seconds, show_default=True, help="How long, the warm-up included.")
@click.option("--warm-up", "warm_up_s", default=Plan.warm_up_s, show_default=True, help="Seconds before memory counts.")
@click.option("--rate", "rate_per_s", default=Plan.rate_per_s, show_default=True, help="Samples a second.")
@click.option("--quick", is_flag=True, help="A minute: that it runs, not what it shows.")
@json_option
def soak(seconds: float, warm_up_s: float, rate_per_s: int, quick: bool, as_json: bool) -> None:
    """Samples, checks, pages, queries, joining and reloads for an hour, with everything watched."""
    plan = QUICK if quick else replace(Plan(), seconds=seconds, warm_up_s=warm_up_s, rate_per_s=rate_per_s)
    figures = list(run(plan))
    show(figures, as_json)
    if faults := missed(figures):
        click.echo("missed: " + "; ".join(faults), err=True)
        sys.exit(1)


if __name__ == "__main__":
    soak()

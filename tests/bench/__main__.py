"""`python -m tests.bench NAME [--json]`: one JSON object a figure, a line each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from tests.bench.figure import Figure

_FACTOR = {"k": 1_000, "M": 1_000_000, "G": 1_000_000_000}


def show(figures: Iterable[Figure], as_json: bool) -> None:
    for figure in figures:
        click.echo(figure.line() if as_json else f"{figure.metric:<64} {figure.value:>14,.3f} {figure.unit}")


def plain_count(_: click.Context, __: click.Parameter, value: str) -> int:
    """200M → 200,000,000."""
    number, factor = (value[:-1], _FACTOR[value[-1]]) if value[-1:] in _FACTOR else (value, 1)
    try:
        return int(float(number) * factor)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a count such as 500k, 20M or 200M") from None


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
quick_option = click.option("--quick", is_flag=True, help="Sizes that take seconds: that it runs, not how fast.")
peers_option = click.option(
    "--peers", default="henge", show_default=True, help="Of henge, vm, prom; those that speak the protocol are run."
)


def count_option(name: str, default: str, text: str) -> Callable[[Any], Any]:
    return click.option(name, callback=plain_count, default=default, show_default=True, help=text)


@click.group()
def bench() -> None:
    """Measure the appliance as installed, from another process, the samples counted by query."""


@bench.command()
@click.option(
    "--protocol", type=click.Choice(["graphite", "arrow", "remote_write"]), default="graphite", show_default=True
)
@click.option("--hosts", default=1000, show_default=True, help="Hosts of 100 series each; 10000 are 1 M series.")
@click.option("--steps", default=200, show_default=True, help="Samples a series, 10 s apart.")
@count_option("--samples", "0", "More than memory holds, such as 200M: sent in cycles, instead of --steps.")
@click.option("--runs", default=5, show_default=True, help="Runs on an empty folder; the median counts.")
@click.option("--head", default="", help="store.head_bytes_max of the appliance, such as 1GiB.")
@peers_option
@quick_option
@json_option
def ingest(
    protocol: str, hosts: int, steps: int, samples: int, runs: int, head: str, peers: str, quick: bool, as_json: bool
) -> None:
    """Samples a second until queryable, CPU and memory of the whole tree."""
    from tests.bench.ingest import Plan, run

    if quick:
        hosts, steps, samples, runs = 100, 20, min(samples, 400_000), 1
    plan = Plan(
        protocol=protocol,
        hosts=hosts,
        steps=steps,
        samples_count=samples,
        runs=runs,
        peers=peers.split(","),
        head_bytes_max=head,
        is_quick=quick,
    )
    show(run(plan), as_json)


@bench.command()
@click.option("--protocol", type=click.Choice(["graphite", "remote_write"]), default="graphite", show_default=True)
@click.option("--hosts", default=1000, show_default=True, help="Hosts of 100 series each.")
@click.option("--steps", default=360, show_default=True, help="Samples a series, 10 s apart.")
@click.option("--jitter", "jitter_ms", default=0, show_default=True, help="Each time moved by up to ± so many ms.")
@peers_option
@quick_option
@json_option
def disk(protocol: str, hosts: int, steps: int, jitter_ms: int, peers: str, quick: bool, as_json: bool) -> None:
    """Bytes a sample after compaction, every file counted, beside the entropy of the workload."""
    from tests.bench.disk import run

    if quick:
        hosts, steps = 50, 20
    show(run(protocol=protocol, hosts=hosts, steps=steps, jitter_ms=jitter_ms, peers=peers.split(",")), as_json)


@bench.command()
@click.option("--hosts", default=1000, show_default=True, help="Hosts of 100 series each.")
@count_option("--samples", "50M", "Samples in the log, none in a block.")
@click.option("--victim", type=click.Choice(["tree", "store"]), default="tree", show_default=True)
@click.option("--runs", default=5, show_default=True, help="kill -9 and starts; the median counts.")
@quick_option
@json_option
def replay(hosts: int, samples: int, victim: str, runs: int, quick: bool, as_json: bool) -> None:
    """Seconds until the first answer after kill -9, and samples replayed a second."""
    from tests.bench.replay import run

    if quick:
        hosts, samples, runs = 100, 400_000, 1
    show(run(hosts=hosts, samples_count=samples, runs=runs, victim=victim), as_json)


@bench.command()
@click.option("--hosts", default=10_000, show_default=True, help="Hosts of 100 series each.")
@click.option("--more-hosts", default=10_000, show_default=True, help="Further ones, for the cost of one more series.")
@click.option("--steps", default=3, show_default=True, help="Samples a series, 10 s apart.")
@quick_option
@json_option
def memory(hosts: int, more_hosts: int, steps: int, quick: bool, as_json: bool) -> None:
    """PSS of the whole tree: idle, with active series, with a full head, and for each further series."""
    from tests.bench.memory import run

    settle_s = 20.0  # A calm process gives back what it does not use after 10 s.
    if quick:
        hosts, more_hosts, steps, settle_s = 50, 50, 2, 0.2
    show(run(hosts=hosts, more_hosts=more_hosts, steps=steps, settle_s=settle_s), as_json)


@bench.command()
@click.option("--hosts", default=1000, show_default=True, help="Hosts of 100 series each.")
@count_option("--rate", "2M", "Samples a second.")
@click.option("--seconds", default=90.0, show_default=True, help="How long under load.")
@click.option("--idle", "idle_s", default=40.0, show_default=True, help="How long idle, before.")
@quick_option
@json_option
def mixed(hosts: int, rate: int, seconds: float, idle_s: float, quick: bool, as_json: bool) -> None:
    """Acknowledgements and queries of 20 dashboards while samples come in and blocks are joined."""
    from tests.bench.mixed import run

    if quick:
        hosts, rate, seconds, idle_s = 100, 100_000, 4.0, 3.0
    show(run(hosts=hosts, rate_per_s=rate, seconds=seconds, idle_s=idle_s), as_json)


@bench.command()
@click.option("--protocol", type=click.Choice(["arrow", "remote_write"]), default="arrow", show_default=True)
@click.option("--hosts", default=1000, show_default=True, help="Hosts of 100 series each.")
@count_option("--rate", "1M", "Samples a second.")
@click.option("--seconds", default=60.0, show_default=True, help="How long under load.")
@peers_option
@quick_option
@json_option
def dashboards(protocol: str, hosts: int, rate: int, seconds: float, peers: str, quick: bool, as_json: bool) -> None:
    """Panels of 20 dashboards that refresh every 10 s while samples come in, and the acknowledgements meanwhile."""
    from tests.bench.dashboards import Plan, run

    plan = Plan(protocol=protocol, hosts=hosts, rate_per_s=rate, seconds=seconds, peers=peers.split(","))
    show(run(plan.quick() if quick else plan), as_json)


@bench.command()
@click.option("--hosts", default=1000, show_default=True, help="Hosts of 100 series each.")
@click.option("--steps", default=360, show_default=True, help="Samples of each of their series, 10 s apart.")
@click.option("--rounds", default=30, show_default=True, help="So often each query at least; the median counts.")
@click.option("--only", default="", help="Of Q1 to Q5, rate, quantile, lines: those named, as in Q2,rate.")
@click.option(
    "--flush/--no-flush", default=True, show_default=True, help="Have the peers write everything to disk first."
)
@peers_option
@quick_option
@json_option
def query(hosts: int, steps: int, rounds: int, only: str, flush: bool, peers: str, quick: bool, as_json: bool) -> None:
    """Milliseconds and CPU of queries over HTTP, beside peers with the same samples."""
    from tests.bench.query import Plan, run

    plan = Plan(
        hosts=hosts,
        steps=steps,
        rounds=rounds,
        peers=peers.split(","),
        only=[name for name in only.split(",") if name],
        is_flushed=flush,
    )
    if quick:
        plan = plan.quick()
    show(run(plan), as_json)


@bench.command()
@count_option("--active", "100k", "Series of one generation.")
@count_option("--series", "3M", "Series of all generations together.")
@quick_option
@json_option
def churn(active: int, series: int, quick: bool, as_json: bool) -> None:
    """What a store keeps of series that are long gone, in process with a driven clock."""
    from tests.bench.churn import run

    if quick:
        active, series = 2_000, 20_000
    show(run(active_count=active, series_count=series), as_json)


@bench.command()
@click.option(
    "--victim", type=click.Choice(["any", "store", "intake", "web", "query", "tree"]), default="any", show_default=True
)
@click.option("--rounds", default=50, show_default=True, help="Rounds of load, one kill -9 each.")
@click.option("--samples", default=200_000, show_default=True, help="Samples sent in a round.")
@json_option
def kill(victim: str, rounds: int, samples: int, as_json: bool) -> None:
    """Acknowledged samples that are missing after kill -9 under load."""
    from tests.bench.kill import run

    show(run(victim=victim, rounds=rounds, samples_per_round=samples), as_json)


@bench.command()
@click.option("--runs", default=5, show_default=True, help="Starts on an empty folder, and again on it; medians.")
@click.option("--idle", "idle_s", default=30.0, show_default=True, help="Seconds of an idle appliance.")
@json_option
def startup(runs: int, idle_s: float, as_json: bool) -> None:
    """Seconds until everything answers; memory and CPU of an idle appliance."""
    from tests.bench.startup import run

    show(run(runs=runs, idle_s=idle_s), as_json)


@bench.command()
@click.option("--hosts", default=1000, show_default=True, help="Hosts of 100 series each.")
@json_option
def decode(hosts: int, as_json: bool) -> None:
    """Graphite lines a second that one core decodes and resolves to ids, in process."""
    from tests.bench.decode import run

    show(run(hosts=hosts), as_json)


@bench.command()
@count_option("--files", "2000", "Whisper files.")
@click.option(
    "--archives", default="10:2160,60:10080,600:12000", show_default=True, help="seconds:points, finest first."
)
@click.option("--set", "settings", multiple=True, help="Of the appliance, such as store.retention=forever.")
@quick_option
@json_option
def whisper(files: int, archives: str, settings: tuple[str, ...], quick: bool, as_json: bool) -> None:
    """Files and points a second that `henge import whisper` brings in."""
    from tests.bench.whisper import run

    pairs = [(int(step_s), int(count)) for step_s, count in (one.split(":") for one in archives.split(","))]
    show(run(files_count=50 if quick else files, archives=pairs, settings=settings), as_json)


@bench.command()
@click.option("--count", default=1_000, show_default=True, help="HTTP checks of a target that answers at once.")
@click.option("--hung", "hung_count", default=0, show_default=True, help="More, of one that accepts and stays silent.")
@click.option("--interval", "interval_s", default=10.0, show_default=True, help="Seconds from one run to the next.")
@click.option("--seconds", default=60.0, show_default=True, help="How long to measure.")
@json_option
def checks(count: int, hung_count: int, interval_s: float, seconds: float, as_json: bool) -> None:
    """Lateness of checks, CPU and memory of the whole tree."""
    from tests.bench.checks import run

    show(run(count=count, hung_count=hung_count, interval_s=interval_s, seconds=seconds), as_json)


@bench.command()
@click.option("--hosts", default=1000, show_default=True, help="Hosts of 100 series each.")
@click.option("--rounds", default=5, show_default=True, help="Selections of all series; of fewer there are more.")
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), help="Keep the store here and use it again."
)
@json_option
def select(hosts: int, rounds: int, folder: Path | None, as_json: bool) -> None:
    """Milliseconds to select 1, 1,000 and 100,000 series x 360 points from head and blocks, in process."""
    from tests.bench.select import run

    show(run(hosts=hosts, rounds=rounds, folder=folder), as_json)


@bench.command()
@click.option("--seconds", default=20.0, show_default=True, help="How long each load is sent.")
@click.option("--peers", default="statsd,henge", show_default=True, help="Who is measured.")
@quick_option
@json_option
def statsd(seconds: float, peers: str, quick: bool, as_json: bool) -> None:
    """CPU seconds for a million StatsD metrics, of the intake and of npm's statsd, and what UDP lost."""
    from tests.bench.statsd import run

    show(run(seconds=3.0 if quick else seconds, peers=peers.split(",")), as_json)


@bench.command()
@click.option("--series", default=1_000, show_default=True, help="Series, a point every 10 s.")
@click.option("--hours", default=24, show_default=True, help="How long they are.")
@click.option("--rounds", default=3, show_default=True, help="So often each render; the median counts.")
@click.option("--beside/--alone", default=True, show_default=True, help="Beside graphite-web, which needs minutes.")
@quick_option
@json_option
def render(series: int, hours: int, rounds: int, beside: bool, quick: bool, as_json: bool) -> None:
    """Milliseconds and CPU of Graphite renders, beside graphite-web over whisper files of the same points."""
    from tests.bench.render import run

    if quick:
        series, hours, rounds, beside = 20, 1, 1, False
    show(run(series_count=series, hours=hours, rounds=rounds, is_beside=beside), as_json)


@bench.command()
@click.option("--seconds", default=60.0, show_default=True, help="How long lines are sent.")
@count_option("--rate", "2000", "New connections a second, at most.")
@quick_option
@json_option
def haggar(seconds: float, rate: int, quick: bool, as_json: bool) -> None:
    """Hundreds of Graphite connections, a line each, reconnecting: lines lost, CPU of the intake a connection."""
    from tests.bench.haggar import run

    show(run(seconds=2.0 if quick else seconds, rate_per_s=rate), as_json)


if __name__ == "__main__":
    bench()

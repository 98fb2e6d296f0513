"""The process that takes samples in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from appliance.bus import FINISH_S, Client, Request, Server
from appliance.child import ChildContext
from appliance.config import Config, StatsdConfig
from appliance.memory import keep_large_blocks
from tsdb.canonical import CanonicalColumn
from tsdb.ingest.graphite.carbon_rules import RuleFolders
from tsdb.ingest.intake import Intake
from tsdb.ingest.metric_book import FILE_NAME, MetricBook
from tsdb.ingest.statsd.rules import Histogram, Rules
from tsdb.interface import Ack
from tsdb.memory import ARENA_COUNT_MAX, Housekeeping
from tsdb.metadata import MetricMetadata
from tsdb.node.asking import ask
from tsdb.notices import Noted, Notice, Unwanted
from tsdb.sample import SampleBatch

THREADS = 4  # Acknowledged bodies at once; lines have threads of their own.
KEPT_BYTES_MAX = 32 * 2**20  # A few bodies and their columns, for each of the threads.
APPEND_TIMEOUT_S = 5.0
TOLD_SERVICE = "scheduler"  # It knows the checks.
KEPT_RULES = "carbon-kept"  # In the data folder: the last good copies of carbon's rule files.


def run_intake(context: ChildContext) -> None:
    """The listening sockets in this thread; acknowledged bodies come over the bus."""
    keep_large_blocks(ARENA_COUNT_MAX, KEPT_BYTES_MAX)
    intake = Intake(
        context.sockets,
        BusSink(Client(context.config.run_dir, "store", is_direct=True)),
        metrics=context.metrics,
        clock=context.clock,
        log=context.log,
        book=MetricBook(context.config.data_dir / FILE_NAME, context.log),
        statsd_rules=statsd_rules(context.config.statsd),
        tell=partial(told, Client(context.config.run_dir, TOLD_SERVICE)),
        rule_folders=rule_folders(context.config),
    )
    server = Server(
        *(context.config.run_dir, "intake"), metrics=context.metrics, threads=THREADS, is_direct=True, finish_s=FINISH_S
    )

    def write(request: Request) -> dict[str, Any]:
        (body,) = request.columns
        outcome = intake.write(request.body.door, body.data, request.body.sender)
        return {
            "accepted_count": outcome.accepted_count,
            "refused": outcome.refused,
            "first_error": outcome.first_error,
        }

    server.handle("write", write, Write)

    def metadata(request: Request) -> list[MetricMetadata]:
        return intake.book.find(request.body.metrics, request.body.limit)

    server.handle("metadata", metadata, AskedMetadata)
    server.handle("stats", lambda _: intake.stats())
    saving = intake.book.start(context.stopping)
    served = server.start_thread(context.stopping)
    Housekeeping(context.name, context.metrics).start(context.stopping)
    context.ready()
    intake.run(context.stopping)
    served.join()
    saving.join()


def told(service: Client, notices: Sequence[Notice], timeout_s: float) -> list[Unwanted]:
    """Raises: NotReady, if the other side does not answer."""
    reply = ask(service, "notices", Noted(list(notices)), (), timeout_s)
    return msgspec.convert(reply.body, list[Unwanted])


def rule_folders(config: Config) -> RuleFolders | None:
    """Where carbon's rules are, if they are wanted."""
    if not config.graphite.rules_dir:
        return None
    return RuleFolders(config.data_dir / config.graphite.rules_dir, config.data_dir / KEPT_RULES)


def statsd_rules(config: StatsdConfig) -> Rules:
    """The settings as the door of StatsD reads them."""

    def deletes(own: bool | None) -> bool:
        return config.delete_idle if own is None else own

    return Rules(
        flush_interval_ms=config.flush_interval_ms,
        percentiles=config.percentiles,
        legacy_namespace=config.legacy_namespace,
        global_prefix=config.global_prefix,
        global_suffix=config.global_suffix,
        prefix_counter=config.prefix_counter,
        prefix_timer=config.prefix_timer,
        prefix_gauge=config.prefix_gauge,
        prefix_set=config.prefix_set,
        prefix_stats=config.prefix_stats,
        delete_counters=deletes(config.delete_counters),
        delete_timers=deletes(config.delete_timers),
        delete_gauges=deletes(config.delete_gauges),
        delete_sets=deletes(config.delete_sets),
        gauges_ttl_max=config.gauges_ttl_max,
        histograms=tuple(Histogram(metric, bins) for metric, bins in config.histograms),
        timer_metrics=config.timer_metrics,
        dogstatsd=config.dogstatsd,
    )


class Write(msgspec.Struct, frozen=True):
    """A request body for one of intake's doors."""

    door: str
    sender: str


class AskedMetadata(msgspec.Struct, frozen=True):
    """Of these metrics, or of all by name; at most so many."""

    metrics: list[str] = []
    limit: int | None = None


class BusSink:
    """The store as intake sees it, over the bus."""

    def __init__(self, store: Client) -> None:
        self._store = store

    def hello(self) -> int:
        return int(ask(self._store, "hello", None, (), APPEND_TIMEOUT_S).body["epoch"])

    def append(self, batch: SampleBatch, new_series: Sequence[bytes], *, protocol: str, epoch: int) -> Ack:
        body = {"epoch": epoch, "protocol": protocol}
        columns = [batch.series, batch.timestamp_ms, batch.value]
        if len(new_series):
            column = CanonicalColumn.of(new_series)
            columns += [column.text, column.lengths]
        reply = ask(self._store, "append", body, columns, APPEND_TIMEOUT_S)
        (new_ids,) = reply.columns
        found = reply.body
        return Ack(found["epoch"], new_ids, found["accepted_count"], found["refused"], found["words"])

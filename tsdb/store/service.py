"""The operations of the store process: batches in, snapshots out, and upkeep on a thread of its own."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from appliance.bus import Answer, Request, Server
from appliance.clock import Clock
from appliance.metrics import Metrics
from tsdb.answer import PathNode
from tsdb.canonical import CanonicalColumn
from tsdb.errors import NotReady
from tsdb.interface import Grain
from tsdb.sample import Labels, Matcher, MatchOp, SampleBatch
from tsdb.store.cardinality import TOP_COUNT_MAX
from tsdb.store.engine import Engine

log = logging.getLogger(__name__)

UPKEEP_EVERY_S = 0.1
# Threads of the store's service beside those of the appends: a look-up over a million names, senders that wait for
# room, or an hour of joining keep nobody else waiting.
READS = "reads"
UPKEEP = "upkeep"
CHANGES = "changes"  # Takes no time, and is asked before each query of a range: it must not wait behind the others.
LANES = {READS: 4, UPKEEP: 1, CHANGES: 1}

PlainMatcher = tuple[str, MatchOp, str]


class Append(msgspec.Struct, frozen=True):
    epoch: int
    protocol: str


class Range(msgspec.Struct, frozen=True):
    matchers: list[PlainMatcher]
    start_ms: int
    end_ms: int
    grain: Grain | None = None


class WhoseIds(msgspec.Struct, frozen=True):
    index_token: int


class LookUp(msgspec.Struct, frozen=True):
    """name, contains and has_tags are for label_values alone. No selector at all means every series."""

    selectors: list[list[PlainMatcher]]
    start_ms: int
    end_ms: int
    limit: int
    name: str = ""
    contains: str = ""
    has_tags: bool = False  # Whether series without a label beside their name are left out.


class Find(msgspec.Struct, frozen=True):
    """A Graphite glob on dotted names."""

    pattern: str
    start_ms: int
    end_ms: int


class Deletion(msgspec.Struct, frozen=True):
    """Any of the selectors; both ends included."""

    selectors: list[list[PlainMatcher]]
    start_ms: int
    end_ms: int


class Backup(msgspec.Struct, frozen=True):
    """folder: an absolute path where nothing is yet; without it, below `snapshots` in the data folder."""

    folder: str | None = None
    skips_head: bool = False


class Since(msgspec.Struct, frozen=True):
    """store: None asks for the token of now alone."""

    store: int | None = None
    sequence: int = 0


class Damage(msgspec.Struct, frozen=True):
    """What a reader in another process could not read: parts by block."""

    blocks: dict[str, int]


class Top(msgspec.Struct, frozen=True):
    count: int


class StoreService:
    """One engine on the bus. Handlers run in several threads; the engine knows how to share itself."""

    def __init__(self, engine: Engine, *, clock: Clock, metrics: Metrics) -> None:
        self._engine = engine
        self._clock = clock
        self._quarantined = metrics.counter(
            "henge_wal_quarantined_frames_total", "Damaged frames of the write-ahead log that were set aside."
        )
        self._quarantined.inc(engine.stats()["quarantined_frames"])
        self._gauges = {
            key: metrics.gauge(f"henge_store_{key}", sentence)
            for key, sentence in (
                ("series_count", "Series that the store knows."),
                ("active_series_count", "Series with samples in the last hours, which the limits on series count."),
                ("head_samples", "Samples in memory that no block holds yet."),
                ("head_bytes", "Bytes of memory that the head takes."),
                ("wal_bytes", "Bytes of the write-ahead log."),
                ("block_count", "Blocks on disk."),
                ("block_bytes", "Bytes of all blocks."),
                ("rollup_count", "Blocks of rollups on disk."),
                ("rollup_bytes", "Bytes of all blocks of rollups."),
                ("disk_bytes", "Bytes of every file of the samples."),
                ("disk_bytes_max", "Bytes that they may take."),
                ("disk_bytes_per_day", "Bytes of samples that a day brings, by the last week."),
                ("disk_days_until_full", "Days until the budget is used up; infinite if it will not be."),
            )
        }

    def register(self, server: Server) -> None:
        server.handle("hello", self.hello)
        server.handle("append", self.append, Append)
        server.handle("snapshot", self.snapshot, Range, lane=READS)
        server.handle("changes", self.changes, Since, lane=CHANGES)
        server.handle("canonical", self.canonical, WhoseIds, lane=READS)
        server.handle("series", self.series, LookUp, lane=READS)
        server.handle("labels", self.labels, LookUp, lane=READS)
        server.handle("label_values", self.label_values, LookUp, lane=READS)
        server.handle("find_paths", self.find_paths, Find, lane=READS)
        server.handle("flush", lambda _: self._engine.flush(), lane=UPKEEP)
        server.handle("compact", self.compact, lane=UPKEEP)
        server.handle("delete", self.delete, Deletion, lane=UPKEEP)
        server.handle("backup", self.backup, Backup, lane=UPKEEP)
        server.handle("erase", lambda _: self._engine.erase(), lane=UPKEEP)
        server.handle("damage", lambda request: self._engine.suspects.tell(request.body.blocks), Damage, lane=READS)
        server.handle("cardinality", self.cardinality, Top, lane=READS)
        server.handle("stats", lambda _: self._engine.stats())

    def hello(self, _: Request) -> dict[str, Any]:
        return {"epoch": self._engine.epoch}

    def append(self, request: Request) -> Answer:
        """Columns: those of the batch, and, if it brings new series, their canonical bytes and the length of each."""
        ask: Append = request.body
        series, timestamp_ms, value, *new = request.columns
        new_series = CanonicalColumn.from_lengths(*new) if new else ()
        batch = SampleBatch(series=series, timestamp_ms=timestamp_ms, value=value)
        ack = self._engine.append(batch, new_series, epoch=ask.epoch, now_ms=self._clock.now_ms())
        body = {
            "epoch": ack.epoch,
            "accepted_count": ack.accepted_count,
            "refused": ack.refused,
            "words": ack.words,
        }
        return Answer(body, (ack.new_ids,))

    def snapshot(self, request: Request) -> Answer:
        """Columns: those of HeadPart.columns(), for each head."""
        ask: Range = request.body
        found = self._engine.snapshot(_matchers(ask.matchers), ask.start_ms, ask.end_ms, ask.grain)
        body = {
            "blocks": list(found.blocks),
            "heads": [head.described() for head in found.heads],
            "tombstones": msgspec.to_builtins(found.tombstones),
        }
        return Answer(body, tuple(chain.from_iterable(head.columns() for head in found.heads)))

    def changes(self, request: Request) -> dict[str, int]:
        found = self._engine.changes.since(request.body.store, request.body.sequence)
        return {
            "store": found.token.store,
            "sequence": found.token.sequence,
            "unchanged_before_ms": found.unchanged_before_ms,
        }

    def canonical(self, request: Request) -> Answer:
        """Columns: the canonical bytes of the series asked for end to end, and where each ends."""
        (ids,) = request.columns
        canonical = self._engine.canonical_of(ids, request.body.index_token)
        lengths = np.fromiter(map(len, canonical), np.int64, len(canonical))
        return Answer({}, (np.frombuffer(b"".join(canonical), np.uint8), np.cumsum(lengths)))

    def series(self, request: Request) -> list[dict[str, str]]:
        return [dict(labels) for labels in self._found(request.body)[: request.body.limit]]

    def labels(self, request: Request) -> list[str]:
        ask: LookUp = request.body
        if not ask.selectors:
            names = self._engine.names.label_names(ask.start_ms, ask.end_ms)
        else:
            names = sorted({name for labels in self._found(ask) for name, _ in labels})
        return list(names[: ask.limit])

    def label_values(self, request: Request) -> list[str]:
        ask: LookUp = request.body
        if not ask.selectors:
            values: Sequence[str] = self._engine.names.label_values(
                ask.name, ask.start_ms, ask.end_ms, has_tags=ask.has_tags
            )
        else:
            found = (labels for labels in self._found(ask) if len(labels) > 1 or not ask.has_tags)
            values = sorted({value for labels in found for name, value in labels if name == ask.name})
        if ask.contains:
            wanted = ask.contains.casefold()
            values = [value for value in values if wanted in value.casefold()]
        return list(values[: ask.limit])

    def find_paths(self, request: Request) -> list[PathNode]:
        ask: Find = request.body
        return self._engine.names.find_paths(ask.pattern, ask.start_ms, ask.end_ms)

    def cardinality(self, request: Request) -> dict[str, Any]:
        return self._engine.cardinality(max(1, min(request.body.count, TOP_COUNT_MAX)))

    def compact(self, _: Request) -> dict[str, Any]:
        self._engine.compact()
        return self._engine.stats()

    def delete(self, request: Request) -> dict[str, int]:
        """Selector by selector: one that is refused leaves those before it done, so all are looked up first."""
        ask: Deletion = request.body
        selectors = [_matchers(one) for one in ask.selectors]
        for matchers in selectors:
            self._engine.series(matchers, ask.start_ms, ask.start_ms)
        counts = [self._engine.delete(matchers, ask.start_ms, ask.end_ms) for matchers in selectors]
        log.info("deleted %d series between %d and %d ms: %s", sum(counts), ask.start_ms, ask.end_ms, ask.selectors)
        return {"series_count": sum(counts)}

    def backup(self, request: Request) -> dict[str, str]:
        ask: Backup = request.body
        path = self._engine.backup(Path(ask.folder) if ask.folder else None, skips_head=ask.skips_head)
        log.info("a snapshot was taken: %s", path)
        return {"path": str(path)}

    def _found(self, ask: LookUp) -> list[Labels]:
        """The label sets of all selectors, each once, in order."""
        parts = [self._engine.series(_matchers(one), ask.start_ms, ask.end_ms) for one in ask.selectors or [[]]]
        if len(parts) == 1:
            return list(parts[0])
        return sorted({labels for part in parts for labels in part})

    def keep_up(self, stopping: threading.Event) -> None:
        """Upkeep until stopping: sync, flush, drop what is past its time. A full disk is the world's: retried."""
        has_failed = False
        while not stopping.wait(UPKEEP_EVERY_S):
            try:
                self._engine.tick(self._clock.now_ms())
            except (NotReady, OSError) as error:
                if stopping.is_set():
                    return
                if not has_failed:  # Every second would fill the log of a disk that is full already.
                    log.warning("upkeep of the store failed and will be tried again: %s", error)
                has_failed = True
                stopping.wait(1.0)
            else:
                if has_failed:
                    log.info("upkeep of the store works again")
                has_failed = False
            self._measure()

    def keep_synced(self, stopping: threading.Event) -> None:
        """Sync the log at its interval, and sort what is full, until stopping, however long a delete or a step of
        upkeep takes."""
        while not stopping.wait(UPKEEP_EVERY_S):
            with contextlib.suppress(NotReady, OSError):  # The upkeep says so, and writes blocks in its place.
                self._engine.sync_if_due()
                self._engine.sort_full_runs()

    def _measure(self) -> None:
        stats = self._engine.stats()
        for key, gauge in self._gauges.items():
            gauge.set(math.inf if stats[key] is None else stats[key])


def _matchers(plain: Sequence[PlainMatcher]) -> list[Matcher]:
    return [Matcher(*matcher) for matcher in plain]

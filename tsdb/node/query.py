"""The process that answers queries."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from appliance.bus import FINISH_S, Client, Server
from appliance.child import ChildContext
from appliance.files import allow_open_files
from appliance.memory import keep_blocks_of_any_size
from tsdb.errors import StaleEpoch, TsdbError
from tsdb.interface import ALL_CHANGED_MS, Bounds, Changes, ChangeToken, Grain
from tsdb.memory import Housekeeping
from tsdb.node.asking import OPEN_FILES_COUNT_MAX, ask, samples_folder
from tsdb.query.promql.limits import Limits
from tsdb.query.service import LANES, Crowd, QueryService
from tsdb.sample import Int32s, Labels, Matcher, Selection
from tsdb.store.headpart import HeadPart, heads_of
from tsdb.store.reader import BlockGone, BlockReader
from tsdb.store.tombstones import Tombstone

STORE_TIMEOUT_S = 20.0
DAMAGE_TIMEOUT_S = 2.0  # An answer that is there does not wait for long to tell of damage.
# Series whose labels are asked for at once; with labels of 100 B a message has 10 MiB.
CANONICAL_COUNT_MAX = 100_000
# Matrices of a large query, in which the next one is computed. Dashboards ask twice a minute or more often; when nobody
# does, the memory goes back.
KEPT_BYTES_MAX = 512 << 20
CALM_AFTER_S = 40.0
SNAPSHOT_TRIES_MAX = 3  # A block of a snapshot may be joined into a larger one before it is opened.


def run_query(context: ChildContext) -> None:
    settings = context.config.query
    keep_blocks_of_any_size(KEPT_BYTES_MAX)
    allow_open_files(OPEN_FILES_COUNT_MAX)
    run_dir = context.config.run_dir
    crowd = Crowd(
        concurrent_count_max=settings.concurrent_count_max,
        queue_count_max=settings.queue_count_max,
    )
    server = Server(
        *(run_dir, "query"),
        metrics=context.metrics,
        threads=crowd.threads_count,
        lanes=LANES,
        is_direct=True,
        finish_s=FINISH_S,
    )
    limits = Limits(
        series_count_max=settings.series_count_max,
        samples_count_max=settings.samples_count_max,
        steps_count_max=settings.steps_count_max,
        bytes_max=settings.bytes_max,
    )
    source = StoreSource(Client(run_dir, "store", is_direct=True), samples_folder(context.config.data_dir))
    timeout_s = settings.timeout_ms / 1_000
    service = QueryService(
        source,
        limits,
        crowd,
        timeout_s=timeout_s,
        cache_bytes_max=settings.cache_bytes_max,
        metrics=context.metrics,
        schemas=context.config.store.schemas,
        aggregations=context.config.graphite.aggregation,
    )
    service.register(server)
    housekeeping = Housekeeping(
        context.name, context.metrics, spare_bytes_max=KEPT_BYTES_MAX, calm_after_s=CALM_AFTER_S
    )
    housekeeping.start(context.stopping)
    server.serve(context.stopping, ready=context.ready)


class StoreSource:
    """The store as queries see it: the head by snapshot over the bus, the blocks from their files."""

    def __init__(self, store: Client, folder: Path) -> None:
        self._store = store
        self._blocks = BlockReader(folder)
        self._damage_count = 0  # Of selections that left out what could not be read.

    def select(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        grain: Grain | None = None,
        *,
        bounds: Bounds | None = None,
    ) -> Selection:
        for left in reversed(range(SNAPSHOT_TRIES_MAX)):
            names, heads, tombstones = self._snapshot(matchers, start_ms, end_ms, grain)
            try:
                return self._blocks.select(names, matchers, start_ms, end_ms, heads, grain, tombstones, bounds=bounds)
            except (BlockGone, StaleEpoch):
                if not left:
                    raise
            finally:
                self._tell_damage()
        raise AssertionError("the last try returns or raises")

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Labels]:
        body = {"selectors": [_plain(matchers)], "start_ms": start_ms, "end_ms": end_ms, "limit": 2**31 - 1}
        reply = ask(self._store, "series", body, (), STORE_TIMEOUT_S)
        return [tuple(labels.items()) for labels in reply.body]

    def changes(self, since: ChangeToken | None) -> Changes:
        """See tsdb.interface.TellsChanges. Raises: NotReady."""
        body = {} if since is None else {"store": since.store, "sequence": since.sequence}
        damage_count = self._damage_count
        reply = ask(self._store, "changes", body, (), STORE_TIMEOUT_S).body
        token = ChangeToken(reply["store"], reply["sequence"], damage_count)
        is_whole = since is not None and since.damage_count == damage_count
        return Changes(token, reply["unchanged_before_ms"] if is_whole else ALL_CHANGED_MS)

    def _tell_damage(self) -> None:
        """The store looks at blocks that could not be read, and shows how many there are."""
        damage = self._blocks.take_damage()
        self._damage_count += len(damage)
        try:
            if damage:
                ask(self._store, "damage", {"blocks": dict(damage)}, (), DAMAGE_TIMEOUT_S)
        except TsdbError:
            self._blocks.note_damage(damage)  # The next selection tells it.

    def _snapshot(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, grain: Grain | None
    ) -> tuple[list[str], list[HeadPart], list[Tombstone]]:
        body = {"matchers": _plain(matchers), "start_ms": start_ms, "end_ms": end_ms}
        if grain is not None:
            body["grain"] = grain
        reply = ask(self._store, "snapshot", body, (), STORE_TIMEOUT_S)
        tombstones = msgspec.convert(reply.body["tombstones"], list[Tombstone])
        return reply.body["blocks"], heads_of(reply.body["heads"], reply.columns, self._canonical_of), tombstones

    def _canonical_of(self, index_token: int, ids: Int32s) -> list[bytes]:
        """The canonical bytes of series, asked for once in each epoch. Raises: StaleEpoch."""
        found: list[bytes] = []
        for start in range(0, ids.size, CANONICAL_COUNT_MAX):
            some = ids[start : start + CANONICAL_COUNT_MAX]
            reply = ask(self._store, "canonical", {"index_token": index_token}, (some,), STORE_TIMEOUT_S)
            names, ends = reply.columns
            text, edges = names.tobytes(), [0, *ends.tolist()]
            found += [text[start:end] for start, end in pairwise(edges)]
        return found


def _plain(matchers: Sequence[Matcher]) -> list[tuple[str, str, str]]:
    return [(m.name, m.op.value, m.value) for m in matchers]

"""The store as the query process sees it: what has changed comes by message, and damage that it met counts as well."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.bus import Client, Server
from appliance.clock import SystemClock
from appliance.metrics import Metrics
from tests.tsdb.query.cache.test_same_answers import ledger, spelled
from tests.tsdb.store.stores import HOUR_MS, NOW_MS, append, bits_of, labels, open_engine
from tsdb.node.query import StoreSource
from tsdb.query.cache import RangeCache
from tsdb.query.cache.ranges import Asked
from tsdb.query.promql import Options, range_
from tsdb.store.disk import OsDisk
from tsdb.store.engine import Engine
from tsdb.store.service import LANES, StoreService

ASK = Asked("sum(a)", NOW_MS, NOW_MS + HOUR_MS, 30_000, Options())


@contextmanager
def served(folder: Path) -> Iterator[tuple[Engine, StoreSource]]:
    engine, stopping = open_engine(OsDisk(), folder / "samples"), threading.Event()
    server = Server(folder, "store", metrics=Metrics(), lanes=LANES)
    StoreService(engine, clock=SystemClock(), metrics=Metrics()).register(server)
    thread = server.start_thread(stopping)
    client = Client(folder, "store")
    try:
        yield engine, StoreSource(client, folder / "samples")
    finally:
        client.close()
        stopping.set()
        thread.join()
        engine.close()


def outcome(cache: RangeCache, source: StoreSource) -> str:
    answer, use = cache.range_(ASK, ledger())
    anew = range_(ASK.expression, ASK.start_ms, ASK.end_ms, ASK.step_ms, source)
    assert spelled(answer) == spelled(anew)
    return use.outcome


def test_damage_that_is_met_ends_what_was_kept(tmp_path: Path) -> None:
    with served(tmp_path) as (engine, source):
        rows = [
            (labels(name="a", i=str(i)), NOW_MS + 10_000 * at, bits_of(at + i)) for i in range(3) for at in range(360)
        ]
        append(engine, rows)
        cache = RangeCache(source, 2**20, Metrics())
        assert [outcome(cache, source) for _ in range(2)] == ["miss", "hit"]
        append(engine, [(labels(name="a", i="1"), NOW_MS + HOUR_MS // 2, bits_of(7_777.0))])
        assert [outcome(cache, source) for _ in range(2)] == ["partial", "hit"]
        engine.flush()
        assert outcome(cache, source) == "hit"
        (path,) = (tmp_path / "samples" / "blocks").iterdir()
        data = bytearray(path.read_bytes())
        data[len(data) // 8] ^= 0xFF
        path.write_bytes(data)
        source = StoreSource(source._store, tmp_path / "samples")  # It has read nothing of the block yet.
        cache = RangeCache(source, 2**20, Metrics())
        cache.range_(ASK, ledger())
        assert source._damage_count
        assert cache.range_(ASK, ledger())[1].outcome == "miss"

"""The query process keeps answers as it is told, and says what came from them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.bus import Server
from appliance.metrics import Metrics
from tests.tsdb.query.cache.test_ranges import SPAN_MS, STEP_MS, living
from tests.tsdb.query.cache.test_same_answers import spelled
from tests.tsdb.query.test_service import Room
from tsdb.interface import SeriesSource
from tsdb.query.promql import Limits
from tsdb.query.service import LANES, Crowd, QueryService


@contextmanager
def served(folder: Path, source: SeriesSource, cache_bytes_max: int) -> Iterator[Room]:
    metrics, stopping, crowd = Metrics(), threading.Event(), Crowd()
    server = Server(folder, "query", metrics=metrics, threads=crowd.threads_count, lanes=LANES)
    QueryService(source, Limits(), crowd, timeout_s=30.0, metrics=metrics, cache_bytes_max=cache_bytes_max).register(
        server
    )
    thread = server.start_thread(stopping)
    room = Room(folder, metrics)
    try:
        yield room
    finally:
        room.client.close()
        room.bus.close()
        stopping.set()
        thread.join()


def test_what_came_from_kept_answers_is_told_and_counted(tmp_path: Path) -> None:
    source = living()
    ask = ("sum(a)", 2 * SPAN_MS, 3 * SPAN_MS, STEP_MS)
    with served(tmp_path, source, 2**20) as room:
        first, again = room.client.query_range(*ask), room.client.query_range(*ask)
        anew = room.client.query_range(*ask, skips_cache=True)
        assert spelled(first) == spelled(again) == spelled(anew)
        assert [answer.figures.get("kept_step_count") for answer in (first, again, anew)] == [0, 101, None]
        assert [answer.figures["samples_count"] > 0 for answer in (first, again, anew)] == [True, False, True]
        assert {name: room.counted("henge_query_cache_total", outcome=name) for name in ("miss", "hit", "skipped")} == {
            "miss": 1,
            "hit": 1,
            "skipped": 1,
        }
    with served(tmp_path, source, 0) as room:
        assert [room.client.query_range(*ask).figures.get("step_count") for _ in range(2)] == [None, None]

"""The query process refuses what would harm it, ends what takes too long, and says what an answer has cost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from appliance.bus import BusRefused, Client, Server
from appliance.metrics import Metrics
from tests.tsdb.query.fixed_source import FixedSource
from tests.tsdb.query.test_limits import selection
from tests.waiting import wait_until
from tsdb.client import TsdbClient
from tsdb.errors import QueriesBusy, QueryCancelled, QueryFailed, QueryTimeout, RefusedQuery
from tsdb.interface import Bounds, Grain
from tsdb.query.promql import Limits
from tsdb.query.service import LANES, Crowd, QueryService
from tsdb.sample import Labels, Matcher, Selection


class HeldSource(FixedSource):
    """Answers when it is let go; asks the bounds while it waits, as a source does between two blocks."""

    def __init__(self, found: Selection) -> None:
        super().__init__(found)
        self.let_go = threading.Event()
        self.started_count = 0

    def select(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        grain: Grain | None = None,
        *,
        bounds: Bounds | None = None,
    ) -> Selection:
        self.started_count += 1
        while not self.let_go.wait(0.005):
            if bounds is not None:
                bounds.check()
        return super().select(matchers, start_ms, end_ms, grain, bounds=bounds)


class Room:
    def __init__(self, folder: Path, metrics: Metrics) -> None:
        self.client = TsdbClient(folder)
        self.bus = Client(folder, "query")
        self._metrics = metrics
        self.outcomes: list[object] = []

    def counted(self, name: str, **labels: str) -> float:
        found = [s.value for s in self._metrics.snapshot() if s.name == name and labels.items() <= s.labels.items()]
        return sum(found)

    def in_background(self, function: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            try:
                self.outcomes.append(function())
            except Exception as error:
                self.outcomes.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread


@contextmanager
def served(
    folder: Path, source: FixedSource, crowd: Crowd | None = None, *, timeout_s: float = 30.0, **limits: int
) -> Iterator[Room]:
    crowd = Crowd() if crowd is None else crowd
    metrics, stopping = Metrics(), threading.Event()
    server = Server(folder, "query", metrics=metrics, threads=crowd.threads_count, lanes=LANES)
    QueryService(source, Limits(**limits), crowd, timeout_s=timeout_s, metrics=metrics).register(server)
    thread = server.start_thread(stopping)
    room = Room(folder, metrics)
    try:
        yield room
    finally:
        room.client.close()
        room.bus.close()
        stopping.set()
        thread.join()


def test_a_query_over_the_limit_of_bytes_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with served(tmp_path, FixedSource(selection(100, 100)), bytes_max=2**20) as room:
        with pytest.raises(QueryFailed, match=r"needs [\d.]+ MiB of memory at once, of at most 1\.0 MiB; .*bytes_max"):
            room.client.query_range("m", 0, 1_000_000, 1_000)
        assert room.counted("henge_query_refused_total", reason="too_large") == 1


def test_every_limit_is_refused_by_its_name(tmp_path: Path) -> None:
    source = FixedSource(selection(10, 100))
    with served(tmp_path, source, series_count_max=10, samples_count_max=1_000, steps_count_max=50) as room:
        room.client.query_range("m", 0, 50_000, 1_000)
        with pytest.raises(QueryFailed, match=r"query\.steps_count_max"):
            room.client.query_range("m", 0, 51_000, 1_000)
        with pytest.raises(QueryFailed, match=r"query\.samples_count_max"):
            room.client.query_instant("sum_over_time(vector(1)[1h:1s])", 0)
    with served(tmp_path, source, series_count_max=9) as room:
        with pytest.raises(QueryFailed, match=r"query\.series_count_max"):
            room.client.query_instant("m", 0)
        with pytest.raises(QueryFailed, match=r"query\.series_count_max"):
            room.client.select([], 0, 1)
        assert room.counted("henge_query_refused_total", reason="too_large") == 2


def test_queries_wait_for_their_turn_and_one_too_many_is_refused(tmp_path: Path) -> None:
    source = HeldSource(selection(1, 1))
    with served(tmp_path, source, Crowd(concurrent_count_max=2, queue_count_max=1)) as room:
        threads = [room.in_background(lambda: room.client.query_instant("m", 0)) for _ in range(2)]
        wait_until(lambda: source.started_count == 2)
        threads.append(room.in_background(lambda: room.client.query_instant("m", 0)))
        wait_until(lambda: room.counted("henge_bus_queue_length") == 0 and len(waiting(room)) == 1)
        with pytest.raises(
            QueriesBusy, match=r"2 queries run \(at most 2\) and 1 wait \(at most 1\); .*queue_count_max"
        ):
            room.client.query_instant("m", 0)
        assert source.started_count == 2
        source.let_go.set()
        for thread in threads:
            thread.join()
        assert source.started_count == 3
        assert [type(outcome).__name__ for outcome in room.outcomes] == ["QueryAnswer"] * 3
        assert room.counted("henge_query_refused_total", reason="too_many_queries") == 1


def waiting(room: Room) -> list[int]:
    """One entry for each query that waits, seen by what one more would be told."""
    return [1] * int(room.bus.call("cancel", {"query_id": "probe"}).body["waiting_count"])


def test_the_time_in_the_queue_counts(tmp_path: Path) -> None:
    source = HeldSource(selection(1, 1))
    with served(tmp_path, source, Crowd(concurrent_count_max=1, queue_count_max=1)) as room:
        thread = room.in_background(lambda: room.client.query_instant("m", 0))
        wait_until(lambda: source.started_count == 1)
        with pytest.raises(QueryTimeout, match=r"timed out in the queue of queries: it ran longer than 0\.05 s"):
            room.client.query_instant("m", 0, timeout_s=0.05)
        assert room.counted("henge_query_refused_total", reason="timeout") == 1
        source.let_go.set()
        thread.join()
        room.client.query_instant("m", 0)


def test_the_setting_bounds_the_time_that_is_asked_for(tmp_path: Path) -> None:
    source = HeldSource(selection(1, 1))
    with served(tmp_path, source, timeout_s=0.05) as room:
        for timeout_s in (None, 30.0):
            with pytest.raises(QueryTimeout, match=r"longer than 0\.05 s.*query\.timeout"):
                room.client.query_instant("m", 0, timeout_s=timeout_s)


@pytest.mark.parametrize("is_waiting", [False, True])
def test_a_query_is_cancelled_whether_it_runs_or_waits(tmp_path: Path, is_waiting: bool) -> None:
    source = HeldSource(selection(1, 1))
    with served(tmp_path, source, Crowd(concurrent_count_max=1, queue_count_max=1)) as room:
        first = room.in_background(lambda: room.client.query_instant("m", 0, query_id="first"))
        wait_until(lambda: source.started_count == 1)
        cancelled, last = "first", first
        if is_waiting:
            last = room.in_background(lambda: room.client.query_instant("m", 0, query_id="second"))
            wait_until(lambda: waiting(room))
            cancelled = "second"
        assert room.client.cancel_query("nobody") == 0
        assert room.client.cancel_query(cancelled) == 1
        last.join()
        assert [type(outcome) for outcome in room.outcomes] == [QueryCancelled]
        assert room.counted("henge_query_refused_total", reason="canceled") == 1
        source.let_go.set()
        first.join()
        room.client.query_instant("m", 0)  # The place is free again.


class CountingSource(FixedSource):
    """Tells the count before it gives anything, as the store does."""

    def select(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        grain: Grain | None = None,
        *,
        bounds: Bounds | None = None,
    ) -> Selection:
        assert bounds is not None
        bounds.found(10_000)
        raise AssertionError("read although it is too much")

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Labels]:
        return []


@pytest.mark.parametrize(
    ("limits", "setting"), [({"samples_count_max": 9_999}, "samples_count_max"), ({"bytes_max": 300_000}, "bytes_max")]
)
def test_samples_are_counted_before_they_are_read(tmp_path: Path, limits: dict[str, int], setting: str) -> None:
    with (
        served(tmp_path, CountingSource(selection(1, 1)), **limits) as room,
        pytest.raises(QueryFailed, match=rf"query\.{setting}"),
    ):
        room.client.select([], 0, 1)


def test_two_queries_that_are_too_much_together_do_not_run_beside_each_other(tmp_path: Path) -> None:
    """Each may hold 8 MiB and all together 16: three of 6 MiB do not fit, and the third is told so."""
    source = HoldingSource(selection(100, 3_900))  # 390,000 samples × 16 B = 6 MB, and 36 B each while they are read.
    with served(tmp_path, source, bytes_max=16 * 2**20) as room:
        threads = [room.in_background(lambda: room.client.query_instant("count(m)", 0)) for _ in range(3)]
        wait_until(lambda: len(room.outcomes) == 1)
        assert isinstance(room.outcomes[0], QueriesBusy), room.outcomes
        assert "try again in a moment" in str(room.outcomes[0])
        assert "query.bytes_max" in str(room.outcomes[0])
        source.let_go.set()
        for thread in threads:
            thread.join()
        assert sorted(type(outcome).__name__ for outcome in room.outcomes) == ["QueriesBusy", *["QueryAnswer"] * 2]
        room.outcomes.clear()
        wait_until(lambda: held_bytes(room) == 0, what="the bytes of answers that were sent")


def held_bytes(room: Room) -> float:
    room.client.query_instant("1", 0)
    return room.counted("henge_query_held_bytes")


class HoldingSource(HeldSource):
    """Tells what it is going to read, then waits."""

    def select(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        grain: Grain | None = None,
        *,
        bounds: Bounds | None = None,
    ) -> Selection:
        assert bounds is not None
        bounds.found(int(self._selection.timestamp_ms.size))
        return fresh(super().select(matchers, start_ms, end_ms, grain, bounds=bounds))


def fresh(found: Selection) -> Selection:
    """Columns that nobody else holds, as those of the store are."""
    return replace(found, times_ms=found.timestamp_ms.copy(), value=found.value.copy())


def test_the_answer_says_what_it_has_cost(tmp_path: Path) -> None:
    with served(tmp_path, FixedSource(selection(20, 100))) as room:
        body = {"expression": "sum(rate(m[1m])) + count(m)", "start_ms": 0, "end_ms": 900_000, "step_ms": 10_000}
        stats = room.bus.call("range", body).body["stats"]
    assert stats["series_count"] == 40
    assert stats["samples_count"] == 4_000
    assert 4_000 * 8 < stats["bytes_peak"] < 200 * 2**20
    assert stats["resolution_ms"] == 0
    stages_ms = [stats[f"{name}_ms"] for name in ("queue", "parse", "select", "evaluate")]
    assert min(stages_ms) >= 0
    assert sum(stages_ms) == pytest.approx(stats["total_ms"], abs=1.0)


def test_a_body_without_the_new_fields_is_understood(tmp_path: Path) -> None:
    with served(tmp_path, FixedSource(selection(1, 1))) as room:
        assert room.bus.call("instant", {"expression": "1", "time_ms": 0}).body["kind"] == "scalar"
        with pytest.raises(BusRefused, match="expression"):
            room.bus.call("instant", {"time_ms": 0})
        with pytest.raises(RefusedQuery):
            room.client.query_instant("(", 0)


def test_what_a_query_holds_is_given_back(tmp_path: Path) -> None:
    source = HoldingSource(selection(1_000, 100))
    source.let_go.set()
    with served(tmp_path, source) as room:
        answer = room.client.query_range("m * 2 > 1 or rate(m[5m])", 0, 900_000, 10_000)
        assert np.isfinite(answer.value).all()
        wait_until(lambda: held_bytes(room) == 0, what="nothing is held any more")

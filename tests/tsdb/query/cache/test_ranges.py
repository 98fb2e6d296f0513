"""Which steps are kept, which are evaluated, and what makes kept ones go."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from appliance.metrics import Metrics
from appliance.retention import parse_retention
from tests.sim.disk import MemoryDisk
from tests.tsdb.query.cache.telling_source import EngineSource, TellingSource
from tests.tsdb.query.cache.test_same_answers import ledger, spelled
from tests.tsdb.store.stores import HOUR_MS, NOW_MS, DrivenClock, append, bits_of, labels, open_engine
from tests.tsdb.store.test_retention import live
from tests.waiting import wait_until
from tsdb.answer import QueryAnswer
from tsdb.errors import QueryCancelled, QueryTimeout
from tsdb.interface import Bounds, Grain, SeriesSource
from tsdb.query.cache import RangeCache, Use
from tsdb.query.cache.ranges import FRESH_COUNT_MIN, Asked
from tsdb.query.promql import Deadline, Ledger, Limits, Options, range_
from tsdb.sample import Labels, Matcher, MatchOp, Selection
from tsdb.store.schemas import SchemaTable

STEP_MS = 10_000
SPAN_MS = 100 * STEP_MS


def asked(expression: str, end_ms: int, span_ms: int = SPAN_MS) -> Asked:
    return Asked(expression, end_ms - span_ms, end_ms, STEP_MS, Options())


def uncached(source: SeriesSource, ask: Asked) -> QueryAnswer:
    return range_(ask.expression, ask.start_ms, ask.end_ms, ask.step_ms, source, options=ask.options)


class Room:
    """A cache over a source; every answer is compared with the one without the cache."""

    def __init__(self, source: TellingSource | EngineSource, bytes_max: int = 2**20) -> None:
        self.source = source
        self.metrics = Metrics()
        self.cache = RangeCache(source, bytes_max, self.metrics)

    def ask(self, ask: Asked) -> Use:
        want = spelled(uncached(self.source, ask))
        self.source.spans_ms.clear()
        answer, use = self.cache.range_(ask, ledger())
        assert spelled(answer) == want
        return use

    def outcomes(self, *asks: Asked) -> list[str]:
        return [self.ask(one).outcome for one in asks]

    def counted(self, name: str) -> float:
        return sum(sample.value for sample in self.metrics.snapshot() if sample.name == f"henge_query_cache_{name}")


def living(until_ms: int = 3 * SPAN_MS, names: Sequence[str] = ("a", "b")) -> TellingSource:
    source = TellingSource()
    for name in names:
        source.add({"__name__": name}, [(at, float(at // STEP_MS)) for at in range(0, until_ms + 1, STEP_MS)])
    return source


def test_a_refresh_reads_the_newest_samples_alone() -> None:
    room, now_ms = Room(living()), 3 * SPAN_MS
    assert room.ask(asked("sum(a)", now_ms)) == Use("miss", 0, 101)
    for _ in range(30):
        now_ms += STEP_MS
        room.source.add({"__name__": "a"}, [(now_ms, 1.0)])
        assert room.ask(asked("sum(a)", now_ms)) == Use("partial", 101 - FRESH_COUNT_MIN, 101)
        assert room.source.spans_ms == [(now_ms - STEP_MS - 300_000 + 1, now_ms)]


def test_the_same_again_reads_nothing() -> None:
    room, now_ms = Room(living()), 3 * SPAN_MS
    assert room.outcomes(asked("a", now_ms), asked("a", now_ms), asked("a", now_ms, SPAN_MS // 2)) == [
        *("miss", "hit", "hit"),
    ]
    assert room.source.spans_ms == []


@pytest.mark.parametrize(
    ("expression", "changed_ms", "kept_step_count"),
    [
        ("a", 2_500_000, 50),
        ("a offset 5m", 2_500_000, 80),
        ("a offset -2m", 2_500_000, 38),
        ("max_over_time(a[5m] offset -2m)", 2_500_000, 38),
        ("sum_over_time((a offset -1m)[3m:30s] offset -1m)", 2_500_000, 38),
        ("a + (b offset -1m)", 2_500_000, 44),
        ("vector(time())", 2_500_000, 50),
        ("info(1 * (a offset 5m))", 2_500_000, 50),
        ("a", 1_999_999, 0),
        ("a", 2_000_000, 0),
        ("a", 2_010_000, 1),
        ("a", 3_500_000, 101),
    ],
)
def test_a_late_sample_spoils_the_steps_that_see_it_and_those_after(
    expression: str, changed_ms: int, kept_step_count: int
) -> None:
    room, ask = Room(living()), asked(expression, 3 * SPAN_MS)
    room.ask(ask)
    room.source.add({"__name__": "a"}, [(changed_ms, 99.0)])
    assert room.ask(ask).kept_step_count == kept_step_count


def test_series_that_info_reads_at_the_step_are_seen_when_they_come_late() -> None:
    source, target = TellingSource(), {"instance": "i", "job": "j"}
    for at_ms in range(0, 3 * SPAN_MS + 1, STEP_MS):
        source.add({"__name__": "a", **target}, [(at_ms, 1.0)])
    room, ask = Room(source), asked("info(1 * (a offset 5m))", 3 * SPAN_MS)
    room.ask(ask)
    source.add({"__name__": "target_info", **target, "version": "2"}, [(3 * SPAN_MS - 60_000, 1.0)])
    room.ask(ask)  # It compares with an answer of which nothing was kept.


@pytest.mark.parametrize(
    "expression",
    [
        *("a @ 1000", "a @ start()", "a @ end()", "sum_over_time(a[5m] @ end())", "rate((a @ end())[5m:1m])"),
        *("a * range()", "a - end()", "a - start()", "sum(a - scalar(b @ end()))", "quantile(end(), a)"),
        *(
            "topk(1, sum by (x) (a))",
            "limitk(1, a or b)",
            "topk(1, {x='y'})",
            "bottomk(1, label_replace(a,'x','','',''))",
        ),
    ],
)
def test_what_depends_on_the_range_is_never_kept(expression: str) -> None:
    room, ask = Room(living()), asked(expression, 3 * SPAN_MS)
    assert room.outcomes(ask, ask) == ["skipped", "skipped"]


@pytest.mark.parametrize(
    "expression",
    ["a * step()", "topk(2, a)", "topk(1, abs(rate(a[5m])))", "limit_ratio(0.5, a)", "absent(c)", "sort(a)"],
)
def test_what_depends_on_its_step_alone_is_kept(expression: str) -> None:
    room, ask = Room(living()), asked(expression, 3 * SPAN_MS)
    assert room.outcomes(ask, ask) == ["miss", "hit"]


def test_another_step_phase_lookback_or_spelling_is_another_question() -> None:
    room, end_ms = Room(living()), 3 * SPAN_MS
    ask = asked("a", end_ms)
    others = [
        ask._replace(step_ms=STEP_MS // 2),
        ask._replace(start_ms=ask.start_ms + 1),
        ask._replace(options=Options(lookback_ms=60_000)),
        ask._replace(expression=" a"),
    ]
    assert room.outcomes(ask, *others) == ["miss"] * 5
    assert room.outcomes(ask._replace(end_ms=end_ms + 1)) == ["hit"]


def test_a_note_lasts_as_long_as_the_step_that_it_is_about() -> None:
    """Of a counter that does not look like one there is an info, as long as it is in the range."""
    room, now_ms = Room(living(names=("a_total",))), 3 * SPAN_MS
    room.source.add({"__name__": "a", "i": "1"}, [(2 * SPAN_MS + STEP_MS * i, 1.0) for i in range(2)])
    found = []
    for _ in range(35):
        room.source.add({"__name__": "a_total"}, [(now_ms, 1.0)])
        found.append(room.ask(asked('sum(rate({__name__=~"a|a_total"}[2m]))', now_ms)).outcome)
        now_ms += STEP_MS
    assert found.count("partial") > 15


def test_a_part_of_an_answer_with_notes_is_not_taken_for_the_whole() -> None:
    room, end_ms = Room(living(names=("a_total",))), 3 * SPAN_MS
    room.source.add({"__name__": "a", "i": "1"}, [(end_ms - SPAN_MS + STEP_MS * i, 1.0) for i in range(3)])
    ask = asked('sum(rate({__name__=~"a|a_total"}[2m]))', end_ms)
    assert room.outcomes(ask, ask) == ["miss", "hit"]
    assert room.ask(ask._replace(start_ms=end_ms - SPAN_MS // 2)).outcome == "miss"


def test_a_series_that_ends_and_one_that_begins_are_seen() -> None:
    room, now_ms = Room(living()), 3 * SPAN_MS
    for second in range(40):
        now_ms += STEP_MS
        room.source.add({"__name__": "a", "i": str(second // 10)}, [(now_ms, 1.0)])
        room.ask(asked("a", now_ms))
        room.ask(asked("count(a)", now_ms))
        room.ask(asked("absent(a)", now_ms))
    assert room.counted("total") == 120


def test_a_longer_answer_serves_a_shorter_question_until_it_is_mostly_old() -> None:
    room, now_ms = Room(living()), 3 * SPAN_MS
    room.ask(asked("a", now_ms))
    found = []
    for _ in range(40):
        now_ms += STEP_MS
        room.source.add({"__name__": "a"}, [(now_ms, 1.0)])
        found.append(room.ask(asked("a", now_ms, 40 * STEP_MS)).kept_step_count)
    assert found[:19] == list(range(39, 20, -1))[:19] or found[0] == 39
    assert found[-1] == 41 - FRESH_COUNT_MIN
    assert min(found) >= 20


def test_what_is_kept_stays_within_its_bytes() -> None:
    room, now_ms = Room(living(), bytes_max=12_000), 3 * SPAN_MS
    for i in range(30):
        room.ask(asked(f"a + {i}", now_ms))
        assert room.cache._kept.bytes_count <= 12_000
    assert 2 <= len(room.cache._kept) < 6
    assert room.counted("evicted_total") == 30 - len(room.cache._kept)
    assert room.counted("bytes") == room.cache._kept.bytes_count > 0
    assert room.outcomes(asked("a + 29", now_ms), asked("a + 1", now_ms)) == ["hit", "miss"]
    assert Room(living(), bytes_max=0).outcomes(asked("a", now_ms)) == ["skipped"]
    small = Room(living(), bytes_max=100)
    assert small.outcomes(asked("a", now_ms), asked("a", now_ms)) == ["miss", "miss"]


def test_a_store_that_began_anew_is_read_anew() -> None:
    room, ask = Room(living()), asked("a", 3 * SPAN_MS)
    room.ask(ask)
    room.source.log = type(room.source.log)()
    assert room.outcomes(ask, ask) == ["miss", "hit"]
    assert room.counted("invalidated_total") == 1


class HeldSource(TellingSource):
    """Answers when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def select(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        grain: Grain | None = None,
        *,
        bounds: Bounds | None = None,
    ) -> Selection:
        found = super().select(matchers, start_ms, end_ms, grain, bounds=bounds)
        while not self.let_go.wait(0.002):
            if bounds is not None:
                bounds.check()
        return found

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Labels]:
        return super().series(matchers, start_ms, end_ms)


def test_two_equal_questions_at_once_are_both_evaluated_and_what_came_meanwhile_is_not_missed() -> None:
    source = HeldSource()
    source.add({"__name__": "a"}, [(at, 1.0) for at in range(0, SPAN_MS, STEP_MS)])
    cache, ask = RangeCache(source, 2**20, Metrics()), asked("a", SPAN_MS)
    found: list[tuple[QueryAnswer, Use]] = []
    threads = [threading.Thread(target=lambda: found.append(cache.range_(ask, ledger()))) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(source.spans_ms) == 2)
    source.add({"__name__": "a"}, [(500_001, 7.0)])  # Both have read their samples by now.
    source.let_go.set()
    for thread in threads:
        thread.join()
    assert [use.outcome for _, use in found] == ["miss", "miss"]
    answer, use = cache.range_(ask, ledger())
    assert use == Use("partial", 50, 101)
    assert spelled(answer) == spelled(uncached(source, ask))


def test_a_question_that_is_taken_back_or_too_slow_leaves_nothing_behind() -> None:
    source = HeldSource()
    source.add({"__name__": "a"}, [(at, 1.0) for at in range(0, SPAN_MS, STEP_MS)])
    cache, ask = RangeCache(source, 2**20, Metrics()), asked("a", SPAN_MS)
    taken_back = Deadline(None)
    taken_back.cancel()
    for deadline, error in ((taken_back, QueryCancelled), (Deadline(0.0), QueryTimeout)):
        with pytest.raises(error):
            cache.range_(ask, Ledger(Limits(), deadline))
    assert not len(cache._kept)
    source.let_go.set()
    assert cache.range_(ask, ledger())[1].outcome == "miss"


def test_an_answer_from_rollups_is_not_kept_and_samples_that_leave_spoil_what_is() -> None:
    clock = DrivenClock()
    engine = open_engine(MemoryDisk(), schemas=SchemaTable.of(parse_retention("raw:6h,10m:10d")), clock=clock)
    x = labels(name="a")
    append(engine, [(x, NOW_MS + 60_000 * i, bits_of(i)) for i in range(300)], now_ms=NOW_MS + 5 * HOUR_MS)
    engine.flush()
    room, ask = Room(EngineSource(engine)), Asked("a", NOW_MS, NOW_MS + HOUR_MS, 60_000, Options())
    assert room.outcomes(ask, ask) == ["miss", "hit"]
    append(engine, [(x, NOW_MS + 80 * HOUR_MS, bits_of(1.0))], now_ms=NOW_MS + 80 * HOUR_MS)
    clock.time_ms = NOW_MS + 80 * HOUR_MS
    live(engine, clock, clock.time_ms)
    assert engine.stats()["rolled_windows"]
    assert room.outcomes(ask, ask) == ["miss", "miss"]


def test_late_samples_and_deletes_of_an_engine_are_seen_and_its_upkeep_costs_nothing() -> None:
    engine = open_engine(MemoryDisk())
    rows = [(labels(name="a", i=str(i)), NOW_MS + 10_000 * at, bits_of(at + i)) for i in range(3) for at in range(360)]
    append(engine, rows)
    room, ask = Room(EngineSource(engine)), Asked("sum by (i) (a)", NOW_MS, NOW_MS + HOUR_MS, 30_000, Options())
    assert room.outcomes(ask, ask) == ["miss", "hit"]
    engine.flush()
    engine.compact()
    assert room.outcomes(ask) == ["hit"]
    append(engine, [(labels(name="a", i="1"), NOW_MS + HOUR_MS // 2 + 1, bits_of(1_000.0))])
    assert room.ask(ask) == Use("partial", 60, 121)  # Changes are told by the second.
    engine.delete([Matcher("i", MatchOp.EQUAL, "2")], NOW_MS + HOUR_MS // 4, NOW_MS + HOUR_MS // 3)
    assert room.ask(ask).kept_step_count == 30
    engine.erase()
    assert room.outcomes(ask) == ["hit"]


def test_the_memory_of_kept_answers_is_counted_once() -> None:
    source = TellingSource()
    for i in range(100):
        source.add({"__name__": "a", "i": str(i)}, [(at, 1.0) for at in range(0, 3 * SPAN_MS, STEP_MS)])
    cache = RangeCache(source, 2**20, Metrics())
    for _ in range(3):
        used = ledger()
        answer, _ = cache.range_(asked("a", 2 * SPAN_MS), used)
        used.close()
        assert answer.value.nbytes == 8 * 101 * 100
        assert used._pool.bytes_count <= 2 * answer.value.nbytes + 2**17
    assert cache._kept.bytes_count >= 2 * 8 * 101 * 100
    assert np.isfinite(answer.value).all()

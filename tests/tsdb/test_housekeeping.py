"""Cycles are found without long looks, and what the store holds of a series is nothing for the collector to look at."""

from __future__ import annotations

import ctypes
import gc
import weakref
from collections.abc import Iterator

import pytest

from appliance.metrics import Metrics
from tests.tsdb.store.stores import labels
from tsdb import memory
from tsdb.memory import Housekeeping
from tsdb.sample import Matcher, MatchOp, canonical_bytes
from tsdb.store.index import SeriesIndex

PR_GET_THP_DISABLE = 42  # linux/prctl.h


class Knot:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def kept() -> Iterator[Housekeeping]:
    housekeeping = Housekeeping("store", Metrics())
    housekeeping.begin()
    yield housekeeping
    housekeeping.end()


def test_cycles_are_found_by_steps(kept: Housekeeping) -> None:
    knots = [weakref.ref(Knot()) for _ in range(10_000)]
    assert knots[0]() is not None
    kept.step()
    assert all(knot() is None for knot in knots)


def test_cycles_that_grew_old_are_found_once_a_minute(kept: Housekeeping) -> None:
    knots = [Knot() for _ in range(10_000)]
    there = weakref.ref(knots[0])
    for _ in range(3):
        gc.collect(0)
    knots.clear()
    for _ in range(memory.OLD_EVERY_STEPS):
        kept.step()
    assert there() is None


def test_a_crowd_of_young_objects_is_left_alone_for_a_while_but_not_for_ever(kept: Housekeeping) -> None:
    crowd = [Knot() for _ in range(memory.YOUNG_COUNT_MAX + 10)]
    there = weakref.ref(crowd[0])
    crowd.clear()
    kept._crowds_left = 0
    for _ in range(memory.YOUNG_WAIT_STEPS_MAX):
        kept.step()
        assert there() is not None
    kept.step()
    assert there() is None


def test_the_first_crowds_that_stay_are_kept_without_a_look(kept: Housekeeping) -> None:
    crowd = [Knot() for _ in range(memory.YOUNG_COUNT_MAX + 10)]
    for _ in range(memory.YOUNG_WAIT_STEPS_MAX + 1):
        kept.step()
    assert gc.get_freeze_count() > len(crowd)
    assert kept.pause_s_max == 0.0


def test_the_longest_pause_is_on_the_gauge() -> None:
    times_s = iter([0.0, 1.0, 1.5, 2.0, 2.2])
    metrics = Metrics()
    housekeeping = Housekeeping("query", metrics, clock_s=lambda: next(times_s))
    for phase in ("start", "stop", "start", "stop"):
        housekeeping._note(phase, {})
    (sample,) = metrics.snapshot()
    assert (sample.name, sample.labels, sample.value) == ("henge_gc_pause_seconds_max", {"process": "query"}, 1.0)


def test_huge_pages_and_spare_room_are_for_a_process_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a calm process holds what it needs. Method: drive its CPU time; the kernel's flag is read back."""
    work_s, resident = [0.0], [100 << 20]
    given_back: list[int] = []
    monkeypatch.setattr(memory, "resident_bytes", lambda: resident[0])
    monkeypatch.setattr(memory, "give_back", lambda: given_back.append(resident[0]))
    housekeeping = Housekeeping("store", Metrics(), work_s=lambda: work_s[0])

    def step(count: int, share: float) -> None:
        for _ in range(count):
            work_s[0] += share * memory.STEP_S
            housekeeping.step()

    housekeeping.begin()
    try:
        step(memory.TRIM_EVERY_STEPS, 0.5)
        assert given_back.pop() == 100 << 20, "more than before the first trim"
        resident[0] += 10 << 20
        step(2 * memory.TRIM_EVERY_STEPS, 0.5)
        assert not given_back, "room that a busy process will use again"
        assert not are_huge_pages_refused()
        resident[0] -= 20 << 20
        step(memory.TRIM_EVERY_STEPS, 0.01)
        assert given_back == [90 << 20], "though it is less than was held after the last trim"
        assert are_huge_pages_refused()
        step(1, 0.5)
        assert not are_huge_pages_refused(), "at once: what comes now is work"
        assert len(given_back) == 1
        step(memory.TRIM_EVERY_STEPS, 0.01)
    finally:
        housekeeping.end()
    assert not are_huge_pages_refused()


def test_a_process_with_room_for_its_next_query_keeps_it_between_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    work_s, resident = [0.0], [100 << 20]
    given_back: list[int] = []
    monkeypatch.setattr(memory, "resident_bytes", lambda: resident[0])
    monkeypatch.setattr(memory, "give_back", lambda: given_back.append(resident[0]))
    housekeeping = Housekeeping(
        "query", Metrics(), spare_bytes_max=400 << 20, calm_after_s=40.0, work_s=lambda: work_s[0]
    )

    def step(count: int, share: float) -> None:
        for _ in range(count):
            work_s[0] += share * memory.STEP_S
            housekeeping.step()

    housekeeping.begin()
    try:
        resident[0] = 350 << 20
        for _ in range(4):
            step(1, 0.5)
            step(39, 0.0)
        assert not given_back
        step(1, 0.0)
        assert given_back == [350 << 20], "calm for 40 s"
        resident[0] = 760 << 20
        step(memory.TRIM_EVERY_STEPS, 0.5)
        assert given_back == [350 << 20, 760 << 20], "more than it may spare"
    finally:
        housekeeping.end()


def are_huge_pages_refused() -> bool:
    return bool(ctypes.CDLL(None).prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0))


def test_series_cost_the_collector_nothing() -> None:
    """Goal: no pause grows with the number of series. Method: count what the collector tracks, before and after."""
    index = SeriesIndex()
    gc.collect()
    before_count = len(gc.get_objects())
    for start in range(0, 60_000, 10_000):
        index.add([canonical_bytes(labels(name=f"m{n}", job="x")) for n in range(start, start + 10_000)])
    while index.index_some():
        pass
    assert index.match([Matcher("__name__", MatchOp.REGEX, "m59.*")]).size == 1_111
    gc.collect()
    assert len(gc.get_objects()) - before_count < 500

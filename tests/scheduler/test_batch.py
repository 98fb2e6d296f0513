"""What the batch promises its two neighbours: together, in order, bounded, and again after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from appliance.bus import BusRefused, BusTimeout
from appliance.metrics import Metrics
from appliance.state.mutations import AppendEvent, Mutation, PutDocument
from scheduler import batch as batch_module
from scheduler.batch import Batch
from tests.scheduler.virtual import MemoryStore, VirtualClock, run, virtual_time
from tsdb.errors import TsdbError


@pytest.fixture(name="clock")
def clock_fixture(monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualClock]:
    with virtual_time(monkeypatch) as clock:
        yield clock


@dataclass
class Sink:
    """A state process that raises what `errors` holds, one a call, and refuses lists with a document named bad."""

    errors: list[Exception] = field(default_factory=list)
    applied: list[list[Mutation]] = field(default_factory=list)
    call_count: int = 0

    async def apply(self, mutations: Sequence[Mutation], *, actor: str, timeout_s: float = 5.0) -> int:
        self.call_count += 1
        await asyncio.sleep(0.01)
        if self.errors:
            raise self.errors.pop(0)
        if any(isinstance(m, PutDocument) and m.id == "bad" for m in mutations):
            raise BusRefused("bad_request", "this body is too large")
        self.applied.append(list(mutations))
        return 1


def result(check_id: str, at_ms: int = 0) -> PutDocument:
    return PutDocument(kind="result", id=check_id, body={"at_ms": at_ms}, audited=False)


def flip(check_id: str) -> AppendEvent:
    return AppendEvent(kind="flip", subject=check_id, at_ms=0, body={})


def started(sink: Sink, store: MemoryStore | None = None) -> tuple[Batch, MemoryStore]:
    store = store or MemoryStore()
    batch = Batch(sink, store, Metrics())
    asyncio.get_running_loop().create_task(batch.run())
    return batch, store


def ids(mutations: Sequence[Any]) -> list[str]:
    return [getattr(mutation, "id", "event") for mutation in mutations]


def test_results_of_a_second_share_a_transaction_and_the_newest_counts(clock: VirtualClock) -> None:
    async def story() -> Sink:
        sink = Sink()
        batch, _ = started(sink)
        for at_ms in range(50):
            batch.add_result(result(f"c{at_ms % 10}", at_ms), [])
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        return sink

    sink = run(clock, story())
    assert len(sink.applied) == 1
    assert {m.id: m.body["at_ms"] for m in sink.applied[0] if isinstance(m, PutDocument)} == {
        f"c{index}": 40 + index for index in range(10)
    }


def test_a_flip_is_written_at_once_and_no_older_result_comes_after_it(clock: VirtualClock) -> None:
    async def story() -> Sink:
        sink = Sink()
        batch, _ = started(sink)
        await asyncio.sleep(0.1)
        batch.add_result(result("web", 1), [])
        written = batch.add_urgent([result("web", 2), flip("web")])
        await asyncio.wait_for(written, 0.1)
        assert [ids(mutations) for mutations in sink.applied] == [["web", "event"]]
        await asyncio.sleep(3)
        return sink

    assert len(run(clock, story()).applied) == 1


def test_a_change_that_is_refused_does_not_take_its_neighbours_with_it(clock: VirtualClock) -> None:
    async def story() -> Sink:
        sink = Sink()
        batch, _ = started(sink)
        for name in ("a", "bad", "b"):
            batch.add_urgent([result(name), flip(name)])
            batch.add_result(result(f"late-{name}" if name != "bad" else "bad"), [])
        await asyncio.sleep(3)
        return sink

    written = [name for mutations in run(clock, story()).applied for name in ids(mutations)]
    assert written == ["a", "event", "b", "event", "late-a", "late-b"]


def test_silence_and_business_are_waited_out(clock: VirtualClock) -> None:
    async def story() -> Sink:
        silent = BusTimeout("state", "apply", 5.0)
        sink = Sink(errors=[silent, BusRefused("busy", "busy"), silent, BusRefused("disk_full", "full"), silent])
        batch, _ = started(sink)
        batch.add_urgent([flip("web")])
        await asyncio.sleep(10)
        return sink

    sink = run(clock, story())
    assert len(sink.applied) == 1
    assert sink.call_count == 6


def test_a_fault_of_the_state_process_does_not_stop_the_rest_for_ever(clock: VirtualClock) -> None:
    async def story() -> Sink:
        sink = Sink(errors=[BusRefused("internal", "a bug")] * batch_module.FAULT_COUNT_MAX)
        batch, _ = started(sink)
        batch.add_urgent([flip("one")])
        await asyncio.sleep(5)
        batch.add_urgent([flip("two")])
        await asyncio.sleep(5)
        return sink

    assert len(run(clock, story()).applied) == 1


def test_the_oldest_numbers_go_when_the_store_is_away_too_long(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "ROW_COUNT_MAX", 100)

    async def story() -> tuple[Batch, MemoryStore]:
        batch, store = started(Sink())
        for at_ms in range(250):
            batch.add_rows([((("__name__", "m"),), at_ms, 1.0)])
        await asyncio.sleep(3)
        return batch, store

    _, store = run(clock, story())
    assert [at_ms for _, at_ms, _ in store.rows] == list(range(150, 250))


def test_numbers_that_are_refused_are_not_sent_for_ever(clock: VirtualClock) -> None:
    async def story() -> MemoryStore:
        batch, store = started(Sink(), MemoryStore(error=TsdbError("no")))
        batch.add_rows([((("__name__", "bad"),), 1, 1.0)])
        await asyncio.sleep(2)
        store.error = None
        batch.add_rows([((("__name__", "good"),), 2, 1.0)])
        await asyncio.sleep(2)
        return store

    assert [at_ms for _, at_ms, _ in run(clock, story()).rows] == [2]


def test_a_stop_brings_away_what_waits(clock: VirtualClock) -> None:
    async def story() -> tuple[Sink, MemoryStore]:
        sink = Sink()
        batch, store = started(sink)
        await asyncio.sleep(0.1)
        batch.add_result(result("web"), [])
        batch.add_rows([((("__name__", "m"),), 1, 1.0)])
        batch.stop()
        await batch.finished(1.0)
        return sink, store

    sink, store = run(clock, story())
    assert [ids(mutations) for mutations in sink.applied] == [["web"]]
    assert len(store.rows) == 1


def test_a_stop_does_not_wait_for_a_state_process_that_is_away(clock: VirtualClock) -> None:
    async def story() -> float:
        batch, _ = started(Sink(errors=[BusTimeout("state", "apply", 5.0)] * 100))
        batch.add_urgent([flip("web")])
        await asyncio.sleep(0.1)
        batch.stop()
        await batch.finished(3.0)
        return clock.monotonic_s()

    assert run(clock, story()) < 1.0

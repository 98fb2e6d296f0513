"""The whole scheduler in virtual time: when checks run, when people are told, and what outlives a restart."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.state.mutations import DeleteDocument, PutDocument
from checks.channels import Channel
from checks.model import State
from scheduler.notify import TransportError
from tests.scheduler.virtual import VirtualClock, World, refuse, run, virtual_time
from tsdb.errors import NotReady

HOUR_MS = 3_600_000


@pytest.fixture(name="clock")
def clock_fixture(monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualClock]:
    with virtual_time(monkeypatch) as clock:
        yield clock


def gaps(times: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(times)]


def answer(state: State) -> tuple[State, float]:
    return state, 0.01


def late_count(world: World) -> float:
    return sum(sample.value for sample in world.metrics.snapshot() if sample.name == "henge_check_late_total")


def test_a_check_runs_at_once_and_then_each_interval(clock: VirtualClock) -> None:
    async def story() -> World:
        world = World(clock)
        await world.start()
        world.add_check("web", interval_s=10)
        await asyncio.sleep(60)
        return world

    world = run(clock, story())
    times = world.runs_of("web")
    assert times[0] < 0.1
    assert 6 <= len(times) <= 7
    assert all(abs(gap - 10) < 0.05 for gap in gaps(times)[1:])
    assert times[1] - times[0] <= 10


def test_checks_of_one_interval_are_spread(clock: VirtualClock) -> None:
    async def story() -> World:
        world = World(clock)
        for index in range(1_000):
            world.add_check(f"c{index}", interval_s=10)
        await world.start()
        await asyncio.sleep(30)
        return world

    world = run(clock, story())
    seconds = [int(at_s) for at_s, _ in world.runs if at_s >= 10]
    per_second = [seconds.count(second) for second in range(10, 30)]
    assert min(per_second) > 60
    assert max(per_second) < 150
    assert world.engine is not None
    assert world.engine.stats()["lateness_p99_s"] < 0.1


def test_a_fault_and_its_repair_are_told_once_each(clock: VirtualClock) -> None:
    async def story() -> World:
        world = World(clock)
        world.add_channel()
        world.add_check("web", interval_s=10, retry_interval_s=2, max_check_attempts=3)
        await world.start()
        await asyncio.sleep(30)
        world.targets["web"] = lambda: (State.CRITICAL, 0.01)
        await asyncio.sleep(120)
        world.targets["web"] = lambda: (State.OK, 0.01)
        await asyncio.sleep(60)
        return world

    world = run(clock, story())
    assert world.phone.events() == ["alert", "resolved"]
    (incident,) = world.state.list("incident")
    assert incident.body["state"] == "resolved"
    kinds = [event.kind for event in world.state.happened]
    assert kinds.count("delivery") == 2
    assert [event.body["outcome"] for event in world.state.happened if event.kind == "delivery"] == ["delivered"] * 2


@settings(max_examples=30)
@given(
    interval_s=st.integers(1, 60),
    timeout_s=st.integers(1, 20),
    retry_interval_s=st.integers(1, 30),
    attempts=st.integers(1, 5),
    fault_s=st.floats(0, 90),
    hangs=st.booleans(),
)
def test_the_alert_leaves_within_the_time_of_the_contract(
    interval_s: int, timeout_s: int, retry_interval_s: int, attempts: int, fault_s: float, hangs: bool
) -> None:
    """Whether the target refuses at once or never answers, whatever the numbers."""

    async def story(clock: VirtualClock) -> None:
        world = World(clock)
        world.add_channel()
        world.add_check(
            "web",
            interval_s=interval_s,
            timeout_s=timeout_s,
            retry_interval_s=retry_interval_s,
            max_check_attempts=attempts,
        )
        await world.start()
        await asyncio.sleep(fault_s)
        world.targets["web"] = lambda: (State.CRITICAL, 3_600.0 if hangs else 0.001)
        limit_s = interval_s + timeout_s + (attempts - 1) * retry_interval_s + 2
        broken_s = clock.monotonic_s()
        await asyncio.sleep(limit_s + 5)
        alerts = [at_s for at_s, _, body in world.phone.took if body["event"] == "alert"]
        assert alerts, "nobody was told"
        assert alerts[0] - broken_s <= limit_s
        assert len(alerts) == 1
        assert not world.overlaps

    with pytest.MonkeyPatch.context() as monkeypatch, virtual_time(monkeypatch) as clock:
        run(clock, story(clock))


def test_a_retry_of_a_slow_target_keeps_its_time(clock: VirtualClock) -> None:
    """Its answers take 3 s of 10; one stall must not turn into an alert because retries are cut at 1 s."""

    async def story() -> World:
        world = World(clock)
        world.add_channel()
        world.add_check("web", interval_s=20, timeout_s=10, retry_interval_s=1, max_check_attempts=2)
        world.targets["web"] = lambda: (State.OK, 3.0)
        await world.start()
        await asyncio.sleep(50)
        answers = iter([3_600.0])
        world.targets["web"] = lambda: (State.OK, next(answers, 3.0))
        await asyncio.sleep(60)
        return world

    world = run(clock, story())
    assert world.phone.events() == []
    assert [event.body["to"] for event in world.state.happened if event.kind == "flip"] == ["ok", "critical", "ok"]


def test_runs_never_overlap_and_a_slow_check_is_late_not_down(clock: VirtualClock) -> None:
    async def story() -> World:
        world = World(clock)
        world.add_channel()
        world.add_check("web", interval_s=2, timeout_s=10)
        world.targets["web"] = lambda: (State.OK, 5.0)
        await world.start()
        await asyncio.sleep(60)
        return world

    world = run(clock, story())
    assert world.overlaps == []
    assert world.phone.events() == []
    result = world.state.get("result", "id-web")
    assert result is not None
    assert (result.body["state"], result.body["late"]) == ("ok", True)
    assert late_count(world) >= 10


def test_a_check_that_takes_its_whole_interval_keeps_its_pace(clock: VirtualClock) -> None:
    async def story() -> World:
        world = World(clock)
        world.add_check("web", interval_s=10, timeout_s=10, max_check_attempts=1)
        world.targets["web"] = lambda: (State.OK, 3_600.0)
        await world.start()
        await asyncio.sleep(100)
        return world

    assert len(run(clock, story()).runs_of("web")) >= 9


def test_two_hundred_that_hang_do_not_delay_the_others(clock: VirtualClock) -> None:
    async def story() -> World:
        world = World(clock)
        for index in range(200):
            world.add_check(f"hung{index}", interval_s=10, timeout_s=10, max_check_attempts=20)
            world.targets[f"hung{index}"] = lambda: (State.OK, 3_600.0)
        for index in range(100):
            world.add_check(f"well{index}", interval_s=10)
        await world.start()
        await asyncio.sleep(60)
        return world

    world = run(clock, story())
    for index in range(100):
        assert all(abs(gap - 10) < 0.1 for gap in gaps(world.runs_of(f"well{index}"))[1:])


@pytest.mark.parametrize("step_ms", [-HOUR_MS, 24 * HOUR_MS, -30_000, 45_000], ids=["-1h", "+1d", "-30s", "+45s"])
def test_when_the_clock_steps_every_check_runs_again_within_one_interval_once(
    clock: VirtualClock, step_ms: int
) -> None:
    async def story() -> tuple[World, float]:
        world = World(clock)
        world.add_channel()
        for index in range(50):
            world.add_check(f"c{index}", interval_s=10)
        world.add_check("slow", interval_s=300)
        await world.start()
        await asyncio.sleep(43.3)
        clock.stepped_ms += step_ms
        stepped_s = clock.monotonic_s()
        await asyncio.sleep(10)
        return world, stepped_s

    world, stepped_s = run(clock, story())
    for index in range(50):
        assert len(world.runs_of(f"c{index}", stepped_s)) == 1, index
    assert world.phone.events() == []
    assert len(world.runs_of("slow", stepped_s)) <= 1


def test_after_a_restart_every_check_goes_on_at_its_place_and_none_runs_twice(clock: VirtualClock) -> None:
    async def story() -> tuple[World, float]:
        world = World(clock)
        for index in range(100):
            world.add_check(f"c{index}", interval_s=10)
        await world.start()
        await asyncio.sleep(30)
        await world.kill()
        await asyncio.sleep(1)
        await world.start()
        restarted_s = clock.monotonic_s()
        await asyncio.sleep(30)
        return world, restarted_s

    world, restarted_s = run(clock, story())
    for index in range(100):
        assert 3 <= len(world.runs_of(f"c{index}", restarted_s)) <= 4
        assert all(gap > 0.5 for gap in gaps(world.runs_of(f"c{index}", restarted_s))), index
    assert late_count(world) == 0


def test_the_soft_count_and_the_incident_outlive_a_restart(clock: VirtualClock) -> None:
    """Killed after the second of three failures, and again after the alert: one alert, one recovery."""

    async def story() -> World:
        world = World(clock)
        world.add_channel()
        world.add_check("web", interval_s=10, retry_interval_s=5, max_check_attempts=3)
        await world.start()
        await asyncio.sleep(12)
        world.targets["web"] = lambda: (State.CRITICAL, 0.01)
        while len([1 for event in world.state.happened if event.kind == "failure"]) < 2:
            await asyncio.sleep(0.1)
        await world.kill()
        killed_s = clock.monotonic_s()
        await asyncio.sleep(3)
        await world.start()
        while not world.phone.took:
            await asyncio.sleep(0.1)
        assert clock.monotonic_s() - killed_s < 3 + 5 + 1, "the third failure was enough"
        await world.kill()
        await world.start()
        await asyncio.sleep(60)
        world.targets["web"] = lambda: (State.OK, 0.01)
        await asyncio.sleep(20)
        return world

    world = run(clock, story())
    assert world.phone.events() == ["alert", "resolved"]
    assert len(world.state.list("incident")) == 1


def test_a_scheduler_killed_while_sending_sends_again_under_the_same_key(clock: VirtualClock) -> None:
    async def story() -> World:
        world = World(clock)
        world.add_channel()
        world.add_check("web", interval_s=10, max_check_attempts=1)
        await world.start()
        await asyncio.sleep(1)
        world.targets["web"] = lambda: (State.CRITICAL, 0.01)
        while not world.phone.tried:
            await asyncio.sleep(0.001)
        world.state.is_away = True  # The receiver has it; the record of that is never written.
        await world.kill()
        world.state.is_away = False
        await world.start()
        await asyncio.sleep(20)
        return world

    world = run(clock, story())
    keys = [body["id"] for _, _, body in world.phone.took]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_a_channel_that_fails_for_ten_minutes_gets_everything_later_in_order(clock: VirtualClock) -> None:
    async def story() -> World:
        world = World(clock)
        world.add_channel("hook")
        world.add_channel("other")
        world.add_check("web", interval_s=10, max_check_attempts=1, channels=("hook", "other"))
        await world.start()
        await asyncio.sleep(5)
        world.phone.answer = lambda channel, body: refuse(channel, body) if channel.name == "hook" else None
        for state in (State.CRITICAL, State.WARNING, State.OK, State.CRITICAL):
            world.targets["web"] = functools.partial(answer, state)
            await asyncio.sleep(30)
        await asyncio.sleep(480)
        world.phone.answer = lambda channel, body: None
        await asyncio.sleep(301)
        return world

    world = run(clock, story())
    for name in ("hook", "other"):
        assert [body["event"] for _, channel, body in world.phone.took if channel == name] == [
            "alert",
            "update",
            "resolved",
            "alert",
        ]
    other = [at_s for at_s, channel, _ in world.phone.took if channel == "other"]
    assert other[-1] < 130, "the channel that works did not wait for the other"
    tries = [at_s for at_s, channel, _ in world.phone.tried if channel == "hook" and at_s < 600]
    assert [round(gap) for gap in gaps(tries)[:5]] == [5, 10, 20, 40, 80]


def test_a_message_that_is_refused_for_what_it_is_holds_up_its_incident_only(clock: VirtualClock) -> None:
    def refuse_bad(channel: Channel, body: Mapping[str, Any]) -> None:
        if body["check"]["name"] == "bad":
            raise TransportError("HTTP 422", is_of_message=True)

    async def story() -> World:
        world = World(clock)
        world.add_channel()
        for name in ("bad", "good"):
            world.add_check(name, interval_s=10, max_check_attempts=1)
        world.phone.answer = refuse_bad
        await world.start()
        await asyncio.sleep(5)
        world.targets["bad"] = lambda: (State.CRITICAL, 0.01)
        await asyncio.sleep(15)
        world.targets["good"] = lambda: (State.CRITICAL, 0.01)
        await asyncio.sleep(15)
        world.targets["bad"] = lambda: (State.OK, 0.01)
        await asyncio.sleep(60)
        return world

    world = run(clock, story())
    assert world.phone.events("good") == ["alert"]
    assert {body["event"] for _, _, body in world.phone.tried if body["check"]["name"] == "bad"} == {"alert"}


def test_messages_survive_the_clock_stepping_back(clock: VirtualClock) -> None:
    async def story() -> World:
        world = World(clock)
        world.add_channel()
        world.add_check("web", interval_s=10, max_check_attempts=1)
        world.phone.answer = refuse
        world.targets["web"] = lambda: (State.CRITICAL, 0.01)
        await world.start()
        await asyncio.sleep(100)
        clock.stepped_ms -= HOUR_MS
        world.phone.answer = lambda channel, body: None
        await asyncio.sleep(60)
        return world

    assert run(clock, story()).phone.events() == ["alert"]


def test_nobody_is_told_inside_a_downtime_and_the_incident_is_recorded(clock: VirtualClock) -> None:
    async def story() -> World:
        world = World(clock)
        world.add_channel()
        world.add_check("web", interval_s=10, max_check_attempts=1)
        await world.start()
        await asyncio.sleep(15)
        now_ms = clock.now_ms()
        body = {"check_id": "id-web", "from_ms": now_ms, "until_ms": now_ms + 60_000}
        world.state.put([PutDocument(kind="downtime", id="d", body=body)])
        world.targets["web"] = lambda: (State.CRITICAL, 0.01)
        await asyncio.sleep(50)
        assert world.phone.took == []
        assert [document.body["state"] for document in world.state.list("incident")] == ["open"]
        await asyncio.sleep(30)
        return world

    assert run(clock, story()).phone.events() == ["alert"], "the problem outlived its downtime"


def test_a_deleted_check_ends_its_incident_and_leaves_no_result(clock: VirtualClock) -> None:
    async def story() -> World:
        world = World(clock)
        world.add_channel()
        world.add_check("web", interval_s=10, max_check_attempts=1)
        world.targets["web"] = lambda: (State.CRITICAL, 0.01)
        await world.start()
        await asyncio.sleep(15)
        world.state.put([DeleteDocument(kind="check", id="id-web")])
        await asyncio.sleep(15)
        return world

    world = run(clock, story())
    assert world.phone.events() == ["alert", "resolved"]
    assert world.state.get("result", "id-web") is None
    assert len(world.runs_of("web", 16)) == 0


def test_what_was_deleted_while_no_scheduler_ran_is_ended_at_its_start(clock: VirtualClock) -> None:
    async def story() -> World:
        world = World(clock)
        world.add_channel()
        world.add_check("web", interval_s=10, max_check_attempts=1)
        world.targets["web"] = lambda: (State.CRITICAL, 0.01)
        await world.start()
        await asyncio.sleep(15)
        await world.kill()
        world.state.put([DeleteDocument(kind="check", id="id-web")])
        await world.start()
        await asyncio.sleep(5)
        return world

    world = run(clock, story())
    assert [document.body["state"] for document in world.state.list("incident")] == ["resolved"]
    assert world.state.get("result", "id-web") is None


def test_a_paused_check_does_not_run_and_a_changed_one_runs_at_once(clock: VirtualClock) -> None:
    async def story() -> World:
        world = World(clock)
        world.add_check("web", interval_s=10)
        await world.start()
        await asyncio.sleep(25)
        world.add_check("web", interval_s=10, paused=True)
        await asyncio.sleep(50)
        world.add_check("web", interval_s=20)
        await asyncio.sleep(50)
        return world

    world = run(clock, story())
    assert not [at_s for at_s in world.runs_of("web") if 25.5 < at_s < 74.9]
    assert abs(world.runs_of("web", 74.9)[0] - 75) < 0.2
    assert all(abs(gap - 20) < 0.1 for gap in gaps(world.runs_of("web", 76)))


def test_missed_hints_are_made_good_by_reading_everything_again(clock: VirtualClock) -> None:
    async def story() -> World:
        world = World(clock)
        await world.start()
        await asyncio.sleep(5)
        world.add_check("web", interval_s=10)
        world.state.hints.get_nowait()
        await asyncio.sleep(20)
        assert world.runs == []
        world.state.resync()
        await asyncio.sleep(1)
        return world

    assert len(run(clock, story()).runs_of("web")) == 1


def test_run_now_runs_now_even_before_the_hint_and_the_result_is_written(clock: VirtualClock) -> None:
    async def story() -> None:
        world = World(clock)
        await world.start()
        await asyncio.sleep(5)
        world.add_check("web", interval_s=3_600, paused=True)
        assert world.engine is not None
        result = await world.engine.run_now("id-web")
        assert result is not None
        assert result.state is State.OK
        stored = world.state.get("result", "id-web")
        assert stored is not None
        assert stored.body["at_ms"] == result.at_ms
        assert await world.engine.run_now("nothing") is None

    run(clock, story())


def test_results_take_one_transaction_a_second_at_most(clock: VirtualClock) -> None:
    async def story() -> World:
        world = World(clock)
        for index in range(200):
            world.add_check(f"c{index}", interval_s=2)
        await world.start()
        await asyncio.sleep(10)
        world.state.transactions.clear()
        await asyncio.sleep(20)
        return world

    world = run(clock, story())
    assert 18 <= len(world.state.transactions) <= 21
    assert len(world.store.rows) > 200 * 3 * 10


def test_a_flip_waits_for_the_state_process_and_is_told_when_it_is_back(clock: VirtualClock) -> None:
    async def story() -> World:
        world = World(clock)
        world.add_channel()
        world.add_check("web", interval_s=10, max_check_attempts=1)
        await world.start()
        await asyncio.sleep(12)
        world.state.is_away = True
        world.targets["web"] = lambda: (State.CRITICAL, 0.01)
        await asyncio.sleep(40)
        world.state.is_away = False
        await asyncio.sleep(6)
        return world

    assert run(clock, story()).phone.events() == ["alert"]


def test_numbers_wait_for_the_store(clock: VirtualClock) -> None:
    async def story() -> World:
        world = World(clock)
        world.add_check("web", interval_s=1)
        await world.start()
        world.store.error = NotReady("the store is being restarted")
        await asyncio.sleep(20)
        assert world.store.rows == []
        world.store.error = None
        await asyncio.sleep(3)
        return world

    world = run(clock, story())
    times = sorted({at_ms for _, at_ms, _ in world.store.rows})
    assert len(times) >= 20, "the numbers of the outage are there as well"

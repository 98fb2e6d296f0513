"""The wall clock steps between two looks at it: during a run that fails, before a check is made, before a retry."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from checks.model import State
from tests.scheduler.virtual import VirtualClock, World, run, virtual_time

STEPS_MS = {"-1h": -3_600_000, "+1d": 86_400_000, "-30s": -30_000, "+45s": 45_000}
steps = pytest.mark.parametrize("step_ms", STEPS_MS.values(), ids=STEPS_MS.keys())


@pytest.fixture(name="clock")
def clock_fixture(monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualClock]:
    with virtual_time(monkeypatch) as clock:
        yield clock


@steps
def test_a_run_that_fails_while_the_clock_steps_is_repeated_after_its_retry_interval(
    clock: VirtualClock, step_ms: int
) -> None:
    """The only check: nothing else makes the plan look at the clock between the step and the retry."""

    async def story() -> tuple[World, float]:
        world = World(clock)
        world.add_check("web", interval_s=60, timeout_s=10, retry_interval_s=5, max_check_attempts=3)
        world.targets["web"] = lambda: (State.CRITICAL, 2.0)
        await world.start()
        await asyncio.sleep(1)
        assert len(world.runs) == 1
        clock.stepped_ms += step_ms
        stepped_s = clock.monotonic_s()
        await asyncio.sleep(30)
        return world, stepped_s

    world, stepped_s = run(clock, story())
    times = [at_s - stepped_s for at_s in world.runs_of("web", stepped_s)]
    assert times, "the retry never came"
    assert 1 <= times[0] <= 6, times
    assert 4 <= times[1] - times[0] <= 8, times


@steps
def test_a_check_that_is_made_after_a_step_runs_at_once_and_then_each_interval(
    clock: VirtualClock, step_ms: int
) -> None:
    async def story() -> tuple[World, float]:
        world = World(clock)
        world.add_check("old", interval_s=60)
        await world.start()
        await asyncio.sleep(5)
        clock.stepped_ms += step_ms
        stepped_s = clock.monotonic_s()
        world.add_check("new", interval_s=10)
        await asyncio.sleep(45)
        return world, stepped_s

    world, stepped_s = run(clock, story())
    times = [at_s - stepped_s for at_s in world.runs_of("new")]
    assert times[0] < 1, times
    assert 4 <= len(times) <= 6, times


@steps
def test_no_run_counts_as_late_because_the_clock_stepped(clock: VirtualClock, step_ms: int) -> None:
    async def story() -> World:
        world = World(clock)
        for index in range(20):
            world.add_check(f"c{index}", interval_s=10)
        await world.start()
        await asyncio.sleep(30.5)
        clock.stepped_ms += step_ms
        await asyncio.sleep(30)
        return world

    world = run(clock, story())
    assert world.engine is not None
    stats = world.engine.stats()
    assert stats["late_count"] == 0
    assert stats["lateness_max_s"] < 0.1

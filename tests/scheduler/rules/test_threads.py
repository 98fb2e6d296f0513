"""Work that waits, in threads beside an event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from scheduler.rules.threads import Threads


def test_so_many_works_run_at_once_and_no_more() -> None:
    threads = Threads(3, "test")
    together = threading.Barrier(3, timeout=20)
    running: list[int] = []
    most: list[int] = []

    def work() -> str:
        running.append(1)
        together.wait()
        most.append(len(running))
        together.wait()
        running.pop()
        return threading.current_thread().name

    async def story() -> list[str]:
        return await asyncio.gather(*(threads.run(work) for _ in range(9)))

    names = asyncio.run(story())
    assert set(names) == {"test-1", "test-2", "test-3"}
    assert max(most) <= 3


def test_what_the_work_raises_is_raised_where_it_was_asked_for() -> None:
    def work() -> None:
        raise ValueError("no")

    async def story() -> None:
        with pytest.raises(ValueError, match="no"):
            await Threads(1, "test").run(work)

    asyncio.run(story())


def test_a_caller_that_leaves_leaves_the_work_and_the_thread_serves_the_next() -> None:
    threads = Threads(1, "test")
    may_end = threading.Event()

    async def story() -> int:
        left = asyncio.create_task(threads.run(lambda: may_end.wait(20)))
        await asyncio.sleep(0)
        left.cancel()
        following = asyncio.create_task(threads.run(lambda: 7))
        await asyncio.sleep(0)
        may_end.set()
        return await following

    assert asyncio.run(story()) == 7

"""A few threads for work that waits, so that the event loop does not."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Threads:
    """They start when they are needed, and do not keep the process from ending: a query may take half a minute."""

    def __init__(self, count: int, name: str) -> None:
        self._count_max = count
        self._name = name
        self._count = 0
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    async def run(self, work: Callable[[], T]) -> T:
        """What the work returns or raises. Called from one event loop; a caller that is cancelled leaves the work."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        if self._count < self._count_max:
            self._count += 1
            threading.Thread(target=self._serve, name=f"{self._name}-{self._count}", daemon=True).start()
        self._waiting.put(lambda: _do(work, loop, done))
        return await done

    def _serve(self) -> None:
        while True:
            self._waiting.get()()


def _do(work: Callable[[], T], loop: asyncio.AbstractEventLoop, done: asyncio.Future[T]) -> None:
    settle: Callable[[Any], None] = done.set_result
    found: Any = None
    try:
        found = work()
    except Exception as error:  # noqa: BLE001 - It is raised where the work was asked for.
        settle, found = done.set_exception, error
    with contextlib.suppress(RuntimeError):  # The loop has ended, and nobody waits.
        loop.call_soon_threadsafe(lambda: None if done.done() else settle(found))

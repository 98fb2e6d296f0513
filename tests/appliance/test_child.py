"""What a process of the appliance is given: readiness, stopping, callbacks."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from pathlib import Path

from appliance.child import READY_MARK, ChildContext
from appliance.clock import SystemClock
from appliance.config import load
from appliance.metrics import Metrics


def context(ready_fd: int | None = None) -> ChildContext:
    return ChildContext(
        name="child",
        config=load(data_dir=Path("/nowhere"), environ={}),
        clock=SystemClock(),
        metrics=Metrics(),
        log=logging.getLogger("child"),
        _ready_fd=ready_fd,
    )


def test_ready_is_told_once_and_the_pipe_is_closed() -> None:
    read_fd, write_fd = os.pipe()
    child = context(write_fd)
    child.ready()
    child.ready()
    assert os.read(read_fd, 10) == READY_MARK
    assert os.read(read_fd, 10) == b"", "closed"
    os.close(read_fd)


def test_ready_to_a_supervisor_that_is_gone_is_no_error() -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    context(write_fd).ready()


def test_ready_alone_does_nothing() -> None:
    context().ready()


def test_callbacks_are_called_once_also_when_they_come_too_late() -> None:
    child, called = context(), []
    child.when_stopping(lambda: called.append("early"))
    child.stop()
    child.stop()
    child.when_stopping(lambda: called.append("late"))
    assert called == ["early", "late"]
    assert child.stopping.is_set()


def test_an_event_loop_learns_of_the_stop_from_another_thread() -> None:
    child = context()

    async def serve() -> None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        child.when_stopping(lambda: loop.call_soon_threadsafe(stopped.set))
        threading.Thread(target=child.stop).start()
        await asyncio.wait_for(stopped.wait(), 5)

    asyncio.run(serve())


def test_a_loop_that_is_closed_already_does_not_hinder_the_stop() -> None:
    child, called = context(), []
    loop = asyncio.new_event_loop()
    child.when_stopping(lambda: loop.call_soon_threadsafe(lambda: None))
    child.when_stopping(lambda: called.append("next"))
    loop.close()
    child.stop()
    assert called == ["next"]

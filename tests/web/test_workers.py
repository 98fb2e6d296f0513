"""The threads of the web process: the last to wait is the first to work, and all of them end."""

from __future__ import annotations

import threading

from tests.waiting import wait_until
from web.workers import Workers


class Task:
    def __init__(self) -> None:
        self.thread = ""
        self.goes_on = threading.Event()

    def service(self) -> None:
        self.thread = threading.current_thread().name
        self.goes_on.wait()

    def cancel(self) -> None:
        self.goes_on.set()


def idle_count(workers: Workers) -> int:
    with workers.lock:
        return len(workers.queue_cv._seats)


def test_one_request_after_another_is_answered_by_one_thread_and_many_at_once_by_many() -> None:
    workers = Workers(4)
    wait_until(lambda: idle_count(workers) == 4)
    names = set()
    for _ in range(5):
        task = Task()
        task.goes_on.set()
        workers.add_task(task)
        wait_until(lambda: bool(task.thread) and idle_count(workers) == 4)  # noqa: B023 - Asked at once.
        names.add(task.thread)
    assert len(names) == 1
    tasks = [Task() for _ in range(6)]
    for task in tasks:
        workers.add_task(task)
    wait_until(lambda: sum(bool(task.thread) for task in tasks) == 4)
    assert len({task.thread for task in tasks} - {""}) == 4
    for task in tasks:
        task.goes_on.set()
    wait_until(lambda: all(task.thread for task in tasks))
    workers.shutdown(timeout=5)
    assert not workers.threads

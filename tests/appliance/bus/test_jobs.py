"""The queue of a service's workers: in order, bounded, and the worker that waited last is the next to work."""

from __future__ import annotations

import threading

from appliance.bus.jobs import Job, Jobs
from appliance.bus.wire import RequestHead
from tests.waiting import wait_until


def job(number: int, size: int = 10) -> Job:
    return Job(b"peer", RequestHead(1, number, "op", 0), bytes(size), ())


class Workers:
    """Threads that take one job each time they are told to."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self.got: dict[int, Job | None] = {}
        self.threads: list[threading.Thread] = []

    def start(self, number: int, idle_count: int) -> None:
        """One more worker that takes, and waits, beside as many as wait already."""

        def take() -> None:
            self.got[number] = self._jobs.take()

        self.threads.append(threading.Thread(target=take))
        self.threads[-1].start()
        wait_until(lambda: len(self._jobs._seats) == idle_count + 1)


def test_the_worker_that_came_last_gets_the_next_job() -> None:
    jobs = Jobs(10, 1_000)
    workers = Workers(jobs)
    for number in range(3):
        workers.start(number, number)
    assert jobs.offer(job(7))
    assert jobs.offer(job(8))
    wait_until(lambda: len(workers.got) == 2)
    assert {number: got.head.id for number, got in workers.got.items() if got} == {2: 7, 1: 8}
    assert jobs.figures()["in_hand_count"] == 2
    assert jobs.end(3) == []
    for thread in workers.threads:
        thread.join()
    assert workers.got[0] is None
    assert [jobs.take(), jobs.take()] == [None, None], "those at work end after what they have in hand"


def test_jobs_wait_in_order_within_the_bounds_and_are_given_back_at_the_end() -> None:
    jobs = Jobs(3, 100)
    assert jobs.offer(job(1, 500)), "a single one is never too much"
    assert not jobs.offer(job(2)), "more bytes than may wait"
    assert (taken := jobs.take()) is not None
    assert taken.head.id == 1
    assert [jobs.offer(job(number)) for number in (3, 4, 5, 6)] == [True, True, True, False]
    assert jobs.figures() == {"queue_count": 3, "queue_count_max": 3, "queue_bytes": 30, "in_hand_count": 1}
    jobs.done()
    assert (taken := jobs.take()) is not None
    assert taken.head.id == 3
    assert [left.head.id for left in jobs.end(1)] == [4, 5]
    assert jobs.take() is None

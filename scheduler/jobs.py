"""The plan: which check starts when. APScheduler keeps it; here it learns to live with a wall clock that steps.

APScheduler plans in wall time. Its timer is the event loop's, which is monotonic; so before it looks at what is due,
the plan is moved by whatever the wall clock has stepped, and every check runs when it would have run anyway.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from appliance.clock import Clock
from scheduler.timing import share
from scheduler.wallclock import StepWatch

Start = Callable[[str, int], None]
"""Called when a check is due: its id, and the time for which it was planned."""

SAME_PLACE = timedelta(milliseconds=5)  # A place that was stored in whole milliseconds is still the same place.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

log = logging.getLogger(__name__)


class Jobs:
    """Runs in one event loop; every method is called from it."""

    def __init__(self, clock: Clock, start: Start) -> None:
        self._clock = clock
        self._scheduler = _Scheduler(clock, _Executor(start))

    def run(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def put(self, check_id: str, *, interval_s: float, first_ms: int | None) -> None:
        """Plan a check, or plan it anew: first at first_ms (None: at its next place), then at each place of its grid.

        The grid has one place an interval, at the check's own share of it. So the checks of one interval stay spread,
        however many are made at once, and come back to their places after a retry and after a restart.
        """
        self._scheduler.follow_clock()  # Else a step of the clock that is not noticed yet would move this job as well.
        every = _Every(interval_s, share(check_id) * interval_s)
        first = _moment(self._clock.now_ms() if first_ms is None else first_ms)
        if first_ms is None:
            first = every.get_next_fire_time(first, first)
        self._scheduler.add_job(_nothing, every, id=check_id, next_run_time=first, replace_existing=True)

    def move(self, check_id: str, in_s: float) -> int:
        """Let the next run be in so many seconds, and those after it at their places. Gives that time, epoch ms."""
        self._scheduler.follow_clock()
        next_ms = self._clock.now_ms() + round(in_s * 1000)
        try:
            self._scheduler.modify_job(check_id, next_run_time=_moment(next_ms))
        except JobLookupError:
            log.debug("check %s is not planned any more", check_id)
        return next_ms

    def remove(self, check_id: str) -> None:
        try:
            self._scheduler.remove_job(check_id)
        except JobLookupError:
            log.debug("check %s was not planned", check_id)

    def next_run_ms(self, check_id: str) -> int | None:
        self._scheduler.follow_clock()
        job = self._scheduler.get_job(check_id)
        return None if job is None or job.next_run_time is None else _epoch_ms(job.next_run_time)

    def count(self) -> int:
        return len(self._scheduler.get_jobs())


class _Scheduler(AsyncIOScheduler):  # type: ignore[misc]  # APScheduler 3 is untyped.
    def __init__(self, clock: Clock, executor: BaseExecutor) -> None:
        logging.getLogger("apscheduler").setLevel(logging.WARNING)  # It tells of every job that is added.
        super().__init__(
            timezone=UTC,
            executors={"default": executor},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1_000_000},
            logger=logging.getLogger("apscheduler"),
        )
        self._watch = StepWatch(clock)

    def follow_clock(self) -> None:
        """Move the plan by what the wall clock has stepped since the last look."""
        if step_ms := self._watch.step_ms():
            log.warning("the wall clock stepped by %+.1f s; the plan of all checks moves with it", step_ms / 1000)
            step = timedelta(milliseconds=step_ms)
            for job in self.get_jobs():
                job.trigger.shift(step)
                self.modify_job(job.id, next_run_time=job.next_run_time + step)

    def _process_jobs(self) -> float | None:
        self.follow_clock()
        wait_s: float | None = super()._process_jobs()
        return wait_s


class _Executor(BaseExecutor):  # type: ignore[misc]
    """Tells the runner. Whether a run is still going on is the runner's business, so APScheduler counts none."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self._start_check = start

    def submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self._start_check(job.id, _epoch_ms(run_times[-1]))

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        raise AssertionError("submit_job does it all")


class _Every(BaseTrigger):  # type: ignore[misc]
    """The places of one check: one an interval, counted from an anchor. Those that have passed are left out."""

    __slots__ = ("_anchor", "_interval")

    def __init__(self, interval_s: float, anchor_s: float) -> None:
        self._interval = timedelta(seconds=interval_s)
        self._anchor = EPOCH + timedelta(seconds=anchor_s)

    def shift(self, step: timedelta) -> None:
        """The wall clock stepped: the places stay where they are in true time."""
        self._anchor += step

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        after = (now if previous_fire_time is None else max(previous_fire_time, now)) + SAME_PLACE
        return self._anchor + ((after - self._anchor) // self._interval + 1) * self._interval


def _nothing() -> None:
    """The function of every job: the executor knows what to do by the job's id."""


def _moment(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


def _epoch_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)

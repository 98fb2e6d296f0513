"""Heartbeats: in time, late, missing, and across steps of the wall clock."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from appliance.state import Document
from checks.model import Result, State
from checks.probes.push.probe import beat_state, duration
from tests.checks.probes.probing import bench

MINUTE_MS, DAY_MS = 60_000, 86_400_000


class SteppingClock:
    """A wall clock that a test sets, beside one that only goes on."""

    def __init__(self) -> None:
        self.wall_ms = 1_700_000_000_000
        self.mono_s = 1000.0

    def now_ms(self) -> int:
        return self.wall_ms

    def monotonic_s(self) -> float:
        return self.mono_s

    def pass_minutes(self, minutes: float) -> None:
        self.wall_ms += int(minutes * MINUTE_MS)
        self.mono_s += minutes * 60


class Shelf:
    """The state documents of one check."""

    def __init__(self, created_ms: int) -> None:
        self.documents = {"check": self._document("check", {}, created_ms)}

    def _document(self, kind: str, body: dict[str, Any], at_ms: int) -> Document:
        return Document(kind=kind, id="c1", version=1, body=body, created_ms=at_ms, updated_ms=at_ms, updated_by="test")

    def beat(self, at_ms: int, **body: Any) -> None:
        self.documents["beat"] = self._document("beat", {"at_ms": at_ms, **body}, at_ms)

    def get(self, kind: str, id: str) -> Document | None:  # noqa: A002 - The name that StateReader gives it.
        return self.documents.get(kind) if id == "c1" else None


class Story:
    """A push check of 10 minutes with 5 of grace, and its world."""

    def __init__(self) -> None:
        self.clock = SteppingClock()
        self.shelf = Shelf(self.clock.wall_ms)
        self.memory: dict[str, Any] = {}

    async def look(self, b: Any) -> Result:
        found: Result = await b.run("push", period_s=600, grace_s=300)
        return found


def test_a_beat_that_comes_stays_away_and_returns() -> None:
    async def main() -> None:
        story = Story()
        async with bench(clock=story.clock, state=story.shelf) as b:
            first = await story.look(b)
            assert (first.state, first.output) == (State.OK, "waiting for the first beat")
            story.clock.pass_minutes(16)
            never = await story.look(b)
            assert (never.state, never.output) == (
                State.CRITICAL, "no beat has ever come, and the first was due after 15 min",
            )  # fmt: skip
            story.shelf.beat(story.clock.wall_ms, output="backup of 3 GB")
            story.clock.pass_minutes(1)
            well = await story.look(b)
            assert (well.state, well.output) == (State.OK, "the last beat came 1 min ago: backup of 3 GB")
            story.clock.pass_minutes(11)
            late = await story.look(b)
            assert late.state is State.OK
            assert late.output.endswith("late, but within the 5 min of grace")
            story.clock.pass_minutes(4)
            missing = await story.look(b)
            assert missing.state is State.CRITICAL
            assert missing.output.startswith(
                "the beat is missing: at most 15 min may lie between two; the last beat came 16 min ago"
            )
            assert (missing.perfdata[0].label, missing.perfdata[0].value) == ("age", 960)
            story.shelf.beat(story.clock.wall_ms)
            assert (await story.look(b)).state is State.OK

    asyncio.run(main())


@pytest.mark.parametrize("step_ms", [-60 * MINUTE_MS, DAY_MS], ids=["an hour back", "a day on"])
def test_a_step_of_the_wall_clock_makes_no_beat_late(step_ms: int) -> None:
    async def main() -> None:
        story = Story()
        async with bench(clock=story.clock, state=story.shelf) as b:
            story.shelf.beat(story.clock.wall_ms)
            assert (await story.look(b)).state is State.OK
            story.clock.wall_ms += step_ms
            story.clock.pass_minutes(1)
            assert (await story.look(b)).state is State.OK
            story.clock.pass_minutes(15)
            assert (await story.look(b)).state is State.CRITICAL

    asyncio.run(main())


def test_a_job_that_reports_its_own_failure() -> None:
    async def main() -> None:
        story = Story()
        async with bench(clock=story.clock, state=story.shelf) as b:
            story.shelf.beat(story.clock.wall_ms, state="warning", output="disk\nnearly full")
            result = await story.look(b)
            assert result.state is State.WARNING
            assert result.output == "the job reported warning; the last beat came 0 s ago: disk nearly full"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("said", "state"),
    [("ok", State.OK), ("CRITICAL", State.CRITICAL), (1, State.WARNING), (4, State.UNKNOWN), ("x", State.UNKNOWN),
     (None, State.UNKNOWN)],
)  # fmt: skip
def test_what_a_beat_may_say(said: Any, state: State) -> None:
    assert beat_state(said) is state


def test_durations() -> None:
    assert [duration(s) for s in (0, 59, 60, 3900, 90_061, 86_400)] == [
        "0 s", "59 s", "1 min", "1 h 5 min", "1 d 1 h", "1 d",
    ]  # fmt: skip

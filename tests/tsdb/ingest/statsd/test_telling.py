"""Notices on their way: tried again while nobody answers, bounded, and counted where nothing comes of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence

import pytest

from appliance.clock import SystemClock
from appliance.metrics import Metrics
from tests.waiting import wait_until
from tsdb.errors import NotReady, TsdbError
from tsdb.ingest.ledger import Ledger
from tsdb.ingest.statsd import telling
from tsdb.ingest.statsd.telling import AWAY, TOO_MANY, Telling
from tsdb.notices import COUNT_MAX, Happening, JobState, Notice, Unwanted


class Listener:
    """Takes events, knows no job; `fault` is raised instead."""

    def __init__(self) -> None:
        self.heard: list[Notice] = []
        self.fault: TsdbError | None = None
        self.asked_count = 0

    def tell(self, notices: Sequence[Notice], timeout_s: float) -> list[Unwanted]:
        self.asked_count += 1
        if self.fault is not None:
            raise self.fault
        self.heard += notices
        return [
            Unwanted(at, "unknown_check", "no such job") for at, one in enumerate(notices) if isinstance(one, JobState)
        ]


class Rig:
    def __init__(self) -> None:
        self.listener = Listener()
        log = logging.getLogger("tests.telling")
        self.ledger = Ledger(Metrics(), SystemClock(), log)
        self.telling = Telling(self.listener.tell, "statsd", self.ledger, log)
        self.thread = threading.Thread(target=self.telling.run)

    def put(self, *notices: Notice) -> None:
        self.telling.put([(notice, at) for at, notice in enumerate(notices)], lambda at: f"sender {at}")

    def refused(self) -> object:
        found = self.ledger.stats()["refused"]
        assert isinstance(found, dict)
        return found.get("statsd", {})


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(telling, "TELL_EVERY_S", 0.01)
    rig = Rig()
    rig.thread.start()
    yield rig
    rig.telling.end()
    rig.thread.join(10)
    assert not rig.thread.is_alive()


def test_what_nobody_wanted_is_refused_with_its_name_and_sender(rig: Rig) -> None:
    rig.put(Happening("deploy", ""), JobState("backup", 0))
    wait_until(lambda: rig.refused() == {"unknown_check": 1})
    assert rig.listener.heard == [Happening("deploy", ""), JobState("backup", 0)]
    (recent,) = rig.ledger.stats()["recent_refusals"]  # type: ignore[misc]
    assert (recent["line"], recent["sender"], recent["message"]) == ("'backup'", "sender 1", "no such job")


def test_they_wait_for_somebody_who_is_away_and_what_does_not_fit_is_counted(rig: Rig) -> None:
    rig.listener.fault = NotReady("away")
    rig.put(Happening("first", ""))
    wait_until(lambda: rig.listener.asked_count >= 2)
    rig.put(*[Happening(f"{number}", "") for number in range(COUNT_MAX + 7)])
    assert rig.refused() == {TOO_MANY: 7}
    rig.listener.fault = None
    wait_until(lambda: len(rig.listener.heard) == COUNT_MAX + 1)
    assert rig.listener.heard[0] == Happening("first", "")


def test_a_fault_costs_these_and_not_the_next(rig: Rig) -> None:
    rig.listener.fault = TsdbError("a fault")
    rig.put(Happening("lost", ""))
    wait_until(lambda: rig.refused() == {"internal": 1})
    rig.listener.fault = None
    rig.put(Happening("next", ""))
    wait_until(lambda: rig.listener.heard == [Happening("next", "")])


def test_at_the_stop_they_are_told_once_more_and_then_given_up() -> None:
    rig = Rig()
    rig.listener.fault = NotReady("away")
    rig.put(Happening("late", ""), JobState("late", 1))
    rig.telling.end()
    rig.telling.run()
    assert rig.refused() == {AWAY: 2}
    assert rig.listener.asked_count == 1

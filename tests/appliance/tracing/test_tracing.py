"""What a trace tells, and that it stays within its bounds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.bus import BusRefused, Server
from appliance.clock import SystemClock
from appliance.commands.trace import line_of
from appliance.metrics import Metrics
from appliance.tracing import Tap, Tracer, TraceRefused
from appliance.tracing.following import Following
from appliance.tracing.service import LANES, answer_traces
from appliance.tracing.trace import EVENTS_COUNT_MAX_IN_A_SECOND, GONE_S, QUEUE_COUNT_MAX
from appliance.tracing.tracer import TRACES_COUNT_MAX
from tests.waiting import wait_until


class HandClock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def now_ms(self) -> int:
        return int(self.now_s * 1000)

    def monotonic_s(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def tracer(clock: HandClock) -> Tracer:
    return Tracer(clock)


@pytest.fixture
def tap(tracer: Tracer) -> Tap:
    found = tracer.tap("check")
    found.matching = lambda subject: subject
    return found


def tell(tap: Tap, count: int = 1, name: str = "a") -> None:
    for number in range(count):
        tap.tell("started", lambda matcher: bool(matcher == name), number=number)


def test_a_tap_is_on_only_while_there_is_a_trace(tracer: Tracer, tap: Tap) -> None:
    assert not tap.is_on
    id_ = tracer.begin("check", "a", 60)
    assert tap.is_on
    tracer.end(id_)
    tracer.end(id_)
    assert not tap.is_on


def test_a_trace_is_told_what_it_looks_for_and_nothing_else(tracer: Tracer, tap: Tap) -> None:
    id_ = tracer.begin("check", "a", 60)
    tell(tap)
    tell(tap, name="b")
    assert tracer.take(id_) == ([{"at_ms": 1_000_000, "what": "started", "number": 0}], 0, False)
    assert tracer.take(id_) == ([], 0, False)


def test_what_is_too_much_for_a_second_is_counted(tracer: Tracer, tap: Tap, clock: HandClock) -> None:
    id_ = tracer.begin("check", "a", 60)
    tell(tap, EVENTS_COUNT_MAX_IN_A_SECOND + 7)
    events, not_shown_count, _ = tracer.take(id_)
    assert (len(events), not_shown_count) == (EVENTS_COUNT_MAX_IN_A_SECOND, 7)
    clock.now_s += 1
    tell(tap)
    assert tracer.take(id_)[1:] == (0, False)


def test_what_nobody_takes_is_bounded_and_counted(tracer: Tracer, tap: Tap, clock: HandClock) -> None:
    id_ = tracer.begin("check", "a", 60)
    for _ in range(10):
        tell(tap, EVENTS_COUNT_MAX_IN_A_SECOND)
        clock.now_s += 1
    events, not_shown_count, _ = tracer.take(id_)
    assert (len(events), not_shown_count) == (QUEUE_COUNT_MAX, 10 * EVENTS_COUNT_MAX_IN_A_SECOND - QUEUE_COUNT_MAX)


def test_a_trace_ends_when_its_time_is_over(tracer: Tracer, tap: Tap, clock: HandClock) -> None:
    id_ = tracer.begin("check", "a", 3)
    clock.now_s += 2.9
    assert not tracer.take(id_)[2]
    clock.now_s += 0.1
    tell(tap)
    events, _, is_over = tracer.take(id_)
    assert len(events) == 1, "what came before its end is still told"
    assert is_over
    assert not tap.is_on
    with pytest.raises(TraceRefused, match="this trace has ended"):
        tracer.take(id_)


def test_a_trace_ends_when_its_client_is_gone(tracer: Tracer, tap: Tap, clock: HandClock) -> None:
    tracer.begin("check", "a", 600)
    clock.now_s += GONE_S + 1
    wait_until(lambda: not tap.is_on, what="the sweep, which runs by itself")


def test_a_tracer_refuses_more_traces_than_it_bears(tracer: Tracer, tap: Tap) -> None:
    ids = [tracer.begin("check", "a", 60) for _ in range(TRACES_COUNT_MAX)]
    with pytest.raises(TraceRefused, match=f"{TRACES_COUNT_MAX} traces run in this process"):
        tracer.begin("check", "a", 60)
    tracer.end(ids[0])
    tracer.begin("check", "a", 60)


@pytest.mark.parametrize(
    ("kind", "subject", "for_s", "words"),
    [
        ("cheque", "a", 60, "this process traces no 'cheque'; it knows check"),
        ("check", "a", 601, "a trace lasts at most 600 s, not 601"),
        ("check", "a", 0, "a trace lasts at most 600 s, not 0"),
        ("check", "a" * 1_001, 60, "1,001 characters to trace by, of at most 1,000"),
    ],
)
def test_a_trace_that_cannot_begin_is_refused(
    tracer: Tracer, tap: Tap, kind: str, subject: str, for_s: float, words: str
) -> None:
    with pytest.raises(TraceRefused, match=words):
        tracer.begin(kind, subject, for_s)


def test_an_event_is_a_line_for_the_eyes() -> None:
    event = {
        "at_ms": 1_700_000_000_123,
        "what": "next_run",
        "late_s": 0.25,
        "steps": ["a b", "c"],
        "no": None,
        "ok": True,
    }
    assert line_of(event)[8:] == ".123  next run     late_s=0.25  steps='a b', c  ok=yes"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Tap]:
    tracer = Tracer(SystemClock())
    tap = tracer.tap("check")
    tap.matching = lambda subject: subject
    server, stopping = Server(tmp_path, "one", metrics=Metrics(), lanes=LANES), threading.Event()
    answer_traces(server, tracer)
    thread = server.start_thread(stopping)
    yield tap
    stopping.set()
    thread.join(5)


def test_a_client_follows_over_the_bus_and_ends_its_trace(served: Tap, tmp_path: Path) -> None:
    following = Following(tmp_path, "one", "check", "a", 60)
    tell(served, 2)
    assert [event["number"] for event in next(following.looks(lambda _: None)).events] == [0, 1]
    following.close()
    assert not served.is_on


def test_a_client_is_told_why_a_trace_does_not_begin(served: Tap, tmp_path: Path) -> None:
    with pytest.raises(BusRefused, match="at most 600 s"):
        Following(tmp_path, "one", "check", "a", 10_000)

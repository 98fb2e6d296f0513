"""The door with real sockets, a store in memory, and a clock that the test turns."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from appliance.clock import SystemClock
from appliance.metrics import Metrics
from tests.tsdb.ingest.fake_store import FakeStore
from tests.waiting import wait_until
from tsdb.ingest.intake import Intake
from tsdb.ingest.statsd.rules import Rules

START_MS = 1_700_000_003_000


class TurnedClock(SystemClock):
    """Wall-clock time stands still until it is turned; monotonic time goes on."""

    def __init__(self) -> None:
        self.at_ms = START_MS

    def now_ms(self) -> int:
        return self.at_ms


@dataclass
class Rig:
    store: FakeStore
    intake: Intake
    metrics: Metrics
    clock: TurnedClock
    address: tuple[str, int]
    stopping: threading.Event
    thread: threading.Thread

    def send(self, *datagrams: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for datagram in datagrams:
                sender.sendto(datagram, self.address)

    def flushed(self, until_ms: int, name: str, value: float) -> None:
        """Turn the clock, and wait for this sample."""
        self.clock.at_ms = until_ms
        wait_until(lambda: (name, until_ms // 10_000 * 10_000, value) in self.store.samples(), what=f"{name} {value}")

    def taken(self, count: int) -> None:
        """Wait until so many lines are in the window."""
        assert self.intake._statsd is not None
        window = self.intake._statsd._window
        place = window._id_by_name["statsd.metrics_received"]
        wait_until(lambda: window.counter[place] == count, what=f"{count} lines in the window")

    def refused(self, reason: str) -> float:
        return sum(
            one.value
            for one in self.metrics.snapshot()
            if one.name == "henge_ingest_refused_total" and one.labels == {"protocol": "statsd", "reason": reason}
        )

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture
def rig() -> Iterator[Rig]:
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(tcp.getsockname())
        store, metrics, clock, stopping = FakeStore(), Metrics(), TurnedClock(), threading.Event()
        intake = Intake(
            {"statsd": tcp, "statsd_udp": udp},
            store,
            metrics=metrics,
            clock=clock,
            log=logging.getLogger("tests.statsd"),
            statsd_rules=Rules(),
        )
        thread = threading.Thread(target=intake.run, args=(stopping,))
        rig = Rig(store, intake, metrics, clock, tcp.getsockname(), stopping, thread)
        stack.callback(rig.stop)
        thread.start()
        yield rig


def test_datagrams_and_streams_are_flushed_on_the_multiples_of_the_interval(rig: Rig) -> None:
    rig.send(b"a:1|c\na:2|c", b"g:7|g", b"bad")
    with socket.create_connection(rig.address) as stream:
        stream.sendall(b"t:1|ms\nt:3|ms\na:1")
        rig.taken(6)
        rig.flushed(START_MS + 8_000, "stats_counts.a", 3.0)
        stored = {name: value for name, _, value in rig.store.samples()}
        assert stored["stats.gauges.g"] == 7
        assert stored["stats.timers.t.mean"] == 2
        assert stored["stats_counts.statsd.bad_lines_seen"] == 1
        assert {at_ms for _, at_ms, _ in rig.store.samples()} == {1_700_000_010_000}
        stream.sendall(b"0|c\n")
        rig.taken(1)
        rig.flushed(START_MS + 18_000, "stats_counts.a", 10.0)
    assert rig.refused("no_type") == 1


def test_what_came_since_the_last_flush_is_stored_at_the_stop(rig: Rig) -> None:
    rig.send(b"a:5|c")
    rig.taken(1)
    rig.stop()
    assert ("stats_counts.a", START_MS, 5.0) in rig.store.samples()


def test_flushes_wait_for_a_store_that_is_away_and_the_newest_are_lost_when_there_are_too_many(rig: Rig) -> None:
    rig.store.is_away = True
    rig.send(b"a:5|c")
    rig.taken(1)
    door = rig.intake._statsd
    assert door is not None
    for number in range(1, 10):
        rig.clock.at_ms = START_MS + number * 10_000
        wait_until(lambda at_ms=rig.clock.at_ms: door._flushed_ms == at_ms // 10_000 * 10_000)
    wait_until(lambda: rig.refused("store_away") > 0)
    rig.store.is_away = False
    wait_until(lambda: ("stats_counts.a", 1_700_000_010_000, 5.0) in rig.store.samples(), what="the first flush")


def test_a_clock_that_is_set_back_goes_on_flushing(rig: Rig) -> None:
    rig.send(b"a:5|c")
    rig.taken(1)
    rig.clock.at_ms = START_MS - 100_000
    door = rig.intake._statsd
    assert door is not None
    wait_until(lambda: door._next_ms == (START_MS - 100_000) // 10_000 * 10_000 + 10_000)
    rig.flushed(START_MS - 90_000, "stats_counts.a", 5.0)


def test_a_name_too_long_for_a_series_costs_only_its_own_rows(rig: Rig) -> None:
    rig.send(b"n" * 60_000 + b":1|c\na:5|c")
    rig.taken(2)
    rig.flushed(START_MS + 8_000, "stats_counts.a", 5.0)
    wait_until(lambda: rig.refused("label_too_long") == 2, what="both rows of the counter")

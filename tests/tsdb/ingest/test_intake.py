"""The intake with real sockets and a store in memory."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec
import pytest

from appliance.clock import SystemClock
from appliance.metrics import Metrics
from tests.tsdb.ingest.fake_store import FakeStore
from tests.waiting import wait_until
from tsdb.errors import DiskFull, NotReady, RefusedSample
from tsdb.ingest import ledger
from tsdb.ingest.graphite.carbon_rules import RuleFolders
from tsdb.ingest.intake import Intake
from tsdb.ingest.limits import IntakeLimits
from tsdb.ingest.udp_drops import dropped_count

LOG = logging.getLogger("tests.intake")


@dataclass
class Rig:
    """A running intake; stops with the test."""

    store: FakeStore
    intake: Intake
    metrics: Metrics
    address: tuple[str, int]
    stopping: threading.Event
    thread: threading.Thread
    pickle_address: tuple[str, int]
    connections: list[socket.socket] = field(default_factory=list)

    def connect(self) -> socket.socket:
        connection = socket.create_connection(self.address, timeout=10)
        self.connections.append(connection)
        return connection

    def send(self, data: bytes) -> socket.socket:
        connection = self.connect()
        connection.sendall(data)
        return connection

    def send_datagram(self, data: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(data, self.address)

    def samples(self, count: int) -> list[tuple[str, int, float]]:
        wait_until(lambda: len(self.store.stored) >= count, what=f"{count} samples stored")
        return self.store.samples()

    def metric(self, name: str, **labels: str) -> float:
        return sum(s.value for s in self.metrics.snapshot() if s.name == name and labels.items() <= s.labels.items())

    def refused(self, reason: str, protocol: str = "graphite") -> int:
        return int(self.metric("henge_ingest_refused_total", reason=reason, protocol=protocol))

    def recent_refusals(self) -> list[dict[str, str]]:
        recent = self.intake.stats()["recent_refusals"]
        assert isinstance(recent, list)
        return recent

    def close(self) -> None:
        for connection in self.connections:
            connection.close()

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join(20)
        assert not self.thread.is_alive()


Start = Callable[..., Rig]


@pytest.fixture
def start() -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def started(*, rule_folders: RuleFolders | None = None, **limits: int) -> Rig:
            tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
            udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            udp.bind(tcp.getsockname())
            frames = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
            store, metrics, stopping = FakeStore(), Metrics(), threading.Event()
            intake = Intake(
                {"graphite": tcp, "graphite_udp": udp, "graphite_pickle": frames},
                store,
                metrics=metrics,
                clock=SystemClock(),
                log=LOG,
                limits=IntakeLimits(**limits),
                rule_folders=rule_folders,
            )
            thread = threading.Thread(target=intake.run, args=(stopping,))
            rig = Rig(store, intake, metrics, tcp.getsockname(), stopping, thread, frames.getsockname())
            stack.callback(rig.close)
            stack.callback(rig.stop)
            stack.callback(store.gate.set)
            thread.start()
            return rig

        yield started


def test_lines_over_tcp_and_udp_are_stored(start: Start) -> None:
    rig = start()
    rig.send(b"a.b 1.5 1700000000\nm;x=y 2 1700000000.25\n")
    rig.send_datagram(b"u 3 1700000001\nv 4 1700000001")
    assert rig.samples(4) == [
        ("a.b", 1_700_000_000_000, 1.5),
        ("m;x=y", 1_700_000_000_250, 2.0),
        ("u", 1_700_000_001_000, 3.0),
        ("v", 1_700_000_001_000, 4.0),
    ]
    wait_until(lambda: rig.metric("henge_ingest_samples_total", protocol="graphite") == 4)


def test_a_line_in_pieces_is_stored_when_its_end_comes(start: Start) -> None:
    rig = start()
    connection = rig.connect()
    for piece in (b"a.b 1", b".5 17000", b"00000\nc 2 1700000000\nd"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(piece)
        wait_until(lambda: rig.intake.stats()["connections_count"] == 1)
    assert rig.samples(2) == [("a.b", 1_700_000_000_000, 1.5), ("c", 1_700_000_000_000, 2.0)]


def test_half_a_line_at_the_end_of_a_connection_is_refused_and_counted(start: Start) -> None:
    rig = start()
    with rig.send(b"a 1 1700000000\nb 17 17000000"):
        pass
    wait_until(lambda: rig.refused("incomplete_line") == 1)
    assert [name for name, _, _ in rig.samples(1)] == ["a"]


def test_half_a_line_then_silence_ends_the_connection(start: Start) -> None:
    rig = start(half_line_age_ms_max=100)
    silent, idle = rig.send(b"a 1 1700000000\nb 1"), rig.send(b"c 1 1700000000\n")
    silent.settimeout(10)
    assert silent.recv(10) == b""
    wait_until(lambda: rig.refused("incomplete_line") == 1)
    idle.sendall(b"d 1 1700000000\n")  # A connection that is only idle stays.
    assert [name for name, _, _ in rig.samples(3)] == ["a", "c", "d"]


def test_a_megabyte_line_is_refused_once_and_its_neighbours_are_kept(start: Start) -> None:
    rig = start()
    rig.send(b"a 1 1700000000\n" + b"x" * 1_000_000 + b" 1 1700000000\nb 2 1700000000\n")
    assert [name for name, _, _ in rig.samples(2)] == ["a", "b"]
    assert rig.refused("line_too_long") == 1
    (refusal,) = rig.recent_refusals()
    assert refusal["reason"] == "line_too_long"
    assert len(refusal["line"]) < 250


def test_bad_lines_are_counted_by_reason_and_shown_with_their_sender(start: Start) -> None:
    rig = start()
    bad = b"short 1\nx 0x1 1700000000\nx nan 1700000000\nx 1 -5\nx 1 9e15\n"
    bad += b"\xff\xfe 1 1700000000\na b c d\nm;t= 1 1700000000\n"
    connection = rig.send(b"a 1 1700000000\n" + bad + b"b 2 1700000000\n")
    assert [name for name, _, _ in rig.samples(2)] == ["a", "b"]
    wanted = "fields_missing not_a_number nan bad_timestamp too_far_in_future invalid_utf8 too_many_fields bad_tag"
    wait_until(lambda: rig.refused("bad_tag") == 1)
    assert {reason: rig.refused(reason) for reason in wanted.split()} == dict.fromkeys(wanted.split(), 1)
    host, port = connection.getsockname()
    shown = {refusal["reason"]: refusal for refusal in rig.recent_refusals()}
    assert shown["not_a_number"]["line"] == "'x 0x1 1700000000'"
    assert shown["not_a_number"]["sender"] == f"{host}:{port}"
    assert shown["invalid_utf8"]["line"].startswith("'\\xff\\xfe")


def test_noise_from_one_sender_costs_the_others_nothing(start: Start) -> None:
    rig = start()
    noisy, good = rig.connect(), rig.connect()
    for number in range(50):
        noisy.sendall(os.urandom(20_000))
        good.sendall(b"good %d %d\n" % (number, 1_700_000_000 + number))
        rig.send_datagram(os.urandom(500))
    wait_until(lambda: sum(name == "good" for name, _, _ in rig.store.samples()) == 50)


def test_many_connections_at_once(start: Start) -> None:
    rig = start()
    connections = [rig.connect() for _ in range(300)]
    for number, connection in enumerate(connections):
        connection.sendall(b"c%d 1 1700000000\n" % number)
    assert len({name for name, _, _ in rig.samples(300)}) == 300
    wait_until(lambda: rig.metric("henge_ingest_connections") == 300)


def test_connections_over_the_limit_are_turned_away_and_counted(start: Start) -> None:
    rig = start(connections_count_max=2)
    kept = [rig.connect(), rig.connect()]
    wait_until(lambda: rig.intake.stats()["connections_count"] == 2)
    extra = rig.connect()
    assert extra.recv(10) == b""
    wait_until(lambda: rig.metric("henge_ingest_connections_refused_total") == 1)
    kept[0].close()
    wait_until(lambda: rig.intake.stats()["connections_count"] == 1)
    rig.send(b"late 1 1700000000\n")
    rig.samples(1)


def test_a_stalled_store_pauses_reading_and_nothing_is_lost(start: Start) -> None:
    rig = start(batch_bytes_max=50_000, in_flight_count_max=2)
    rig.store.gate.clear()
    sent_count, line = 400_000, b"stalled.series.%07d 1 1700000000\n"
    data = b"".join(line % number for number in range(sent_count))
    connection = rig.connect()
    sender = threading.Thread(target=connection.sendall, args=(data,))
    connection.settimeout(60)
    sender.start()
    wait_until(lambda: rig.store.waiting_count >= 1)
    sender.join(0.3)
    assert sender.is_alive(), "13 MB cannot lie in socket buffers and a 150 kB pipeline"
    rig.store.gate.set()
    sender.join(60)
    wait_until(lambda: len(rig.store.stored) == sent_count, timeout_s=60)
    assert len({series for series, _, _ in rig.store.stored}) == sent_count
    assert rig.metric("henge_ingest_paused_seconds_total") > 0


def test_a_line_whose_rest_came_while_nothing_was_read_is_whole(start: Start) -> None:
    """The pause was ours: a sender that was in the middle of a line must not be taken for dead after it."""
    rig = start(batch_bytes_max=1_000, in_flight_count_max=1, half_line_age_ms_max=200)
    torn = rig.send(b"x 1 1700000000\ntorn.line 1")
    rig.samples(1)
    rig.store.gate.clear()
    for name in ("first", "second"):
        rig.send(b"".join(b"%s.%d 1 1700000000\n" % (name.encode(), number) for number in range(100)))
    wait_until(lambda: rig.metric("henge_ingest_paused_seconds_total") > 0, what="a pause that is seen while it lasts")
    torn.sendall(b"7 1700000000\n")
    wait_until(lambda: rig.metric("henge_ingest_paused_seconds_total") > 1.2, what="a pause longer than any limit")
    rig.store.gate.set()
    assert ("torn.line", 1_700_000_000_000, 17.0) in rig.samples(202)
    assert rig.refused("incomplete_line") == 0


def test_datagrams_that_the_kernel_drops_are_counted(start: Start) -> None:
    rig = start(batch_bytes_max=100, in_flight_count_max=1)
    rig.store.gate.clear()
    sent_count = 0
    while sent_count < 200_000 and sum(map(dropped_count, rig.intake._listeners[0]._sockets.values())) < 100:
        for _ in range(1_000):
            rig.send_datagram(b"u%d 1 1700000000" % sent_count)
            sent_count += 1
    rig.store.gate.set()
    wait_until(lambda: rig.metric("henge_udp_dropped_total", listener="graphite_udp") >= 100, timeout_s=20)
    dropped = rig.metric("henge_udp_dropped_total", listener="graphite_udp")
    wait_until(lambda: len(rig.store.stored) + dropped == sent_count, timeout_s=20)


def test_a_store_that_starts_anew_mid_stream_mixes_no_series(start: Start) -> None:
    rig = start(batch_age_ms_max=1)
    connection = rig.connect()
    for round_number in range(30):
        connection.sendall(b"".join(b"s%d %d %d\n" % (n, n, 1_700_000_000 + round_number) for n in range(100)))
        rig.samples((round_number + 1) * 50)
        if round_number % 5 == 0:
            rig.store.restart()
    wait_until(lambda: len(rig.store.stored) == 3_000)
    assert all(name == f"s{value:.0f}" for name, _, value in rig.store.samples())
    assert len(set(rig.store.samples())) == 3_000


def test_a_store_that_is_away_gets_everything_when_it_is_back(start: Start) -> None:
    rig = start(batch_age_ms_max=1)
    rig.store.is_away = True
    rig.send(b"a 1 1700000000\n")
    rig.send_datagram(b"b 1 1700000000")
    wait_until(lambda: rig.intake.stats()["connections_count"] == 1)
    rig.store.is_away = False
    assert [name for name, _, _ in rig.samples(2)] == ["a", "b"]


def test_a_stop_stores_what_was_read(start: Start) -> None:
    rig = start(batch_age_ms_max=60_000)
    rig.send(b"a 1 1700000000\n")
    wait_until(lambda: rig.intake.stats()["connections_count"] == 1)
    wait_until(lambda: rig.intake._listeners[0]._batch.bytes_count > 0)
    rig.stop()
    assert [name for name, _, _ in rig.samples(1)] == ["a"]


def test_a_stop_while_the_store_is_away_counts_what_is_lost(start: Start) -> None:
    rig = start(stop_wait_ms_max=200, batch_age_ms_max=1)
    rig.store.is_away = True
    rig.send(b"a 1 1700000000\nb 1 1700000000\n")
    wait_until(lambda: rig.intake._places._value < 4)
    rig.stop()
    assert rig.refused("store_away") == 2
    assert rig.store.stored == []


def test_a_fault_in_the_store_loses_that_batch_alone_and_counts_it(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    rig = start(batch_age_ms_max=1)
    rig.store.fault = ZeroDivisionError("a fault of our own")
    connection = rig.send(b"a 1 1700000000\nb 1 1700000000\n")
    wait_until(lambda: rig.refused("internal") == 2)
    rig.store.fault = None
    connection.sendall(b"c 1 1700000000\n")
    assert [name for name, _, _ in rig.samples(1)] == ["c"]
    assert "a fault of our own" in caplog.text


def test_a_batch_with_more_samples_than_one_message_may_have_goes_in_parts(start: Start) -> None:
    rig = start(append_samples_count_max=100)
    rig.send(b"".join(b"s%d 1 1700000000\n" % (number % 7) for number in range(1_000)))
    rig.samples(1_000)
    assert max(count for count, _ in rig.store.calls) == 100
    assert sum(count for _, count in rig.store.calls) == 7, "each series travels once"


JSON_BODY = (
    b'[{"labels": {"__name__": "t", "room": "attic"}, "samples": [[1700000000000, 21.5], [1700000001000, "+Inf"]]}]'
)


def test_an_acknowledged_body_is_stored_when_the_answer_comes(start: Start) -> None:
    rig = start()
    outcome = rig.intake.write("json", JSON_BODY, "127.0.0.1")
    assert (outcome.accepted_count, outcome.refused, outcome.first_error) == (2, {}, None)
    assert rig.store.samples() == [
        ("t;room=attic", 1_700_000_000_000, 21.5),
        ("t;room=attic", 1_700_000_001_000, float("inf")),
    ]


def test_a_body_is_taken_but_for_its_bad_samples(start: Start) -> None:
    rig = start()
    body = (
        b'[{"labels":{"__name__":"a"},"samples":[[1,2],[-1,2],[3,null]]},'
        b'{"labels":{},"samples":[[1,2]]},{"labels":{"b":"c"},"samples":[[5,6]]}]'
    )
    outcome = rig.intake.write("json", body, "127.0.0.1")
    assert outcome.accepted_count == 2
    assert outcome.refused == {"bad_timestamp": 1, "not_a_number": 1, "empty_labels": 1}
    assert outcome.first_error is not None
    assert "series 0, sample 1" in outcome.first_error
    assert rig.refused("bad_timestamp", "json") == 1


def test_rows_of_results_are_taken(start: Start) -> None:
    rig = start()
    body = msgspec.msgpack.encode([((("__name__", "henge_check_up"), ("check", "web")), 1_700_000_000_000, 1.0)])
    assert rig.intake.write("rows", body, "scheduler").accepted_count == 1
    assert rig.store.samples() == [("henge_check_up;check=web", 1_700_000_000_000, 1.0)]


BAD_BODIES = {
    "no JSON": ("json", b"{", "bad_json"),
    "another type": ("json", b'{"labels": {}}', "bad_json"),
    "invalid UTF-8": ("json", b'[{"labels":{"a":"\xff"},"samples":[]}]', "bad_json"),
    "noise as rows": ("rows", b"\xc1\xff", "bad_rows"),
    "a door that is not there": ("jsn", b"[]", "unknown_door"),
    "too large": ("json", b" " * 2_000, "body_too_large"),
}


@pytest.mark.parametrize(("door", "body", "reason"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_body_that_cannot_be_read_is_refused_and_counted(start: Start, door: str, body: bytes, reason: str) -> None:
    rig = start(body_bytes_max=1_000)
    with pytest.raises(RefusedSample) as caught:
        rig.intake.write(door, body, "127.0.0.1")
    assert caught.value.reason == reason
    assert rig.refused(reason, door if door in ("json", "rows") else "unknown") == 1


def test_an_acknowledged_body_waits_for_a_new_epoch_but_not_for_ever(start: Start) -> None:
    rig = start(write_wait_ms_max=300)
    rig.intake.write("json", JSON_BODY, "127.0.0.1")
    rig.store.restart()
    assert rig.intake.write("json", JSON_BODY, "127.0.0.1").accepted_count == 2
    rig.store.is_away = True
    with pytest.raises(NotReady):
        rig.intake.write("json", JSON_BODY, "127.0.0.1")


def test_a_full_disk_is_told_at_once(start: Start) -> None:
    rig = start(write_wait_ms_max=60_000)
    rig.store.fault = DiskFull("the disk is full")
    with pytest.raises(DiskFull):
        rig.intake.write("json", JSON_BODY, "127.0.0.1")


def test_a_line_with_a_bad_path_does_not_hold_up_the_others(start: Start) -> None:
    """A refused name stays unknown; batches with it must not take turns as those with new names do."""
    rig = start(batch_age_ms_max=1)
    rig.send(b"a 1 1700000000\n")
    rig.samples(1)
    rig.store.gate.clear()
    for count in (1, 2, 3):
        rig.send(b"a 1 1700000000\nm;t= 1 1700000000\n")
        wait_until(lambda count=count: rig.store.waiting_count == count)  # type: ignore[misc]


def test_what_the_store_refuses_is_told_and_counted(start: Start) -> None:
    rig = start()
    rig.store.series_count_max = 1
    rig.intake.write("json", JSON_BODY, "127.0.0.1")
    outcome = rig.intake.write("json", JSON_BODY.replace(b"attic", b"cellar"), "127.0.0.1")
    assert (outcome.accepted_count, outcome.refused) == (0, {"too_many_series": 2})
    assert outcome.first_error is not None
    assert rig.refused("too_many_series", "json") == 2


def test_the_log_gets_the_first_of_each_reason_only(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    rig = start(batch_age_ms_max=1)
    connection = rig.connect()
    for count in (10, 20, 30, 40, 50):
        connection.sendall(b"x\x1b[31m 0x1 1700000000\n" * 10)
        wait_until(lambda count=count: rig.refused("not_a_number") == count)  # type: ignore[misc]
    lines = [record.getMessage() for record in caplog.records if "not_a_number" in record.getMessage()]
    assert len(lines) == 1
    assert "\\x1b" in lines[0]
    assert "\x1b" not in lines[0]


def test_a_binary_body_is_shown_by_its_first_bytes() -> None:
    assert ledger._shown(b"shop.orders x 1") == "'shop.orders x 1'"
    assert ledger._shown(b"\xff\xff\x00\x01" * 40) == "binary, begins with " + " ".join(["ff ff 00 01"] * 4)

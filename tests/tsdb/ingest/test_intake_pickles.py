"""The pickle listener with real sockets and a store in memory."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import struct
import threading

import pytest

from appliance.clock import SystemClock
from appliance.metrics import Metrics
from tests.tsdb.ingest.fake_store import FakeStore
from tests.tsdb.ingest.test_intake import Rig, Start, start
from tests.waiting import wait_until
from tsdb.ingest.intake import Intake

__all__ = ["start"]  # The fixture.


def frame(found: object, protocol: int = 2) -> bytes:
    text = pickle.dumps(found, protocol)
    return struct.pack(">I", len(text)) + text


def send(rig: Rig, data: bytes) -> socket.socket:
    connection = socket.create_connection(rig.pickle_address, timeout=10)
    rig.connections.append(connection)
    connection.sendall(data)
    return connection


def refused(rig: Rig, reason: str) -> int:
    return rig.refused(reason, "graphite_pickle")


def test_frames_are_stored_beside_lines(start: Start) -> None:
    rig = start()
    send(rig, frame([("a.b", (1_700_000_000, 1.5)), ("m;x=y", (1_700_000_000.25, 2))]) + frame([("c", (1, 3))], 4))
    rig.send(b"d 4 1700000000\n")
    assert rig.samples(4) == [
        ("a.b", 1_700_000_000_000, 1.5),
        ("c", 1_000, 3.0),
        ("d", 1_700_000_000_000, 4.0),
        ("m;x=y", 1_700_000_000_250, 2.0),
    ]
    wait_until(lambda: rig.metric("henge_ingest_samples_total", protocol="graphite_pickle") == 3)


def test_a_frame_in_pieces_is_stored_when_its_end_comes(start: Start) -> None:
    rig = start()
    whole = frame([("a", (1_700_000_000, 1))])
    connection = send(rig, whole[:3])
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(3, len(whole), 7):
        connection.sendall(whole[at : at + 7])
    assert rig.samples(1) == [("a", 1_700_000_000_000, 1.0)]


def test_code_in_a_pickle_does_not_run_and_its_sender_is_named(start: Start) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.putenv, ("HENGE_TEST_EVIL", "1")

    rig = start()
    connection = send(rig, frame(Evil()) + frame([("after", (1, 1))]))
    assert rig.samples(1) == [("after", 1_000, 1.0)]
    assert refused(rig, "unsafe_pickle") == 1
    host, port = connection.getsockname()
    assert rig.recent_refusals()[0]["sender"] == f"{host}:{port}"


def test_lines_on_the_port_of_pickles_are_refused_and_end_their_connection_alone(start: Start) -> None:
    rig = start()
    other = send(rig, b"")
    connection = send(rig, b"a.b 1 1700000000\n")
    assert connection.recv(1) == b""
    assert refused(rig, "frame_too_long") == 1
    other.sendall(frame([("a", (1, 1))]))
    assert rig.samples(1) == [("a", 1_000, 1.0)]


def test_half_a_frame_is_refused_when_its_connection_ends(start: Start) -> None:
    rig = start()
    send(rig, frame([("a", (1, 1))])[:-1]).close()
    wait_until(lambda: refused(rig, "incomplete_frame") == 1, what="the half frame counted")


def test_frames_that_the_store_never_took_are_counted_as_lost(start: Start) -> None:
    rig = start(stop_wait_ms_max=200, batch_age_ms_max=1)
    rig.store.is_away = True
    send(rig, frame([("a", (1, 1)), ("b", (1, 2))]))
    wait_until(lambda: rig.intake._places._value < 4, what="the batch on its way")
    rig.stop()
    assert refused(rig, "store_away") == 2


def test_a_listener_that_breaks_ends_the_intake() -> None:
    """So that the process starts anew, instead of living on without a door."""
    with socket.create_server(("127.0.0.1", 0)) as lines:
        broken = socket.create_server(("127.0.0.1", 0))
        broken.close()
        intake = Intake(
            {"graphite": lines, "graphite_pickle": broken},
            FakeStore(),
            metrics=Metrics(),
            clock=SystemClock(),
            log=logging.getLogger("tests.intake"),
        )
        with pytest.raises(OSError, match="descriptor"):
            intake.run(threading.Event())

"""Connections of a client's own: what only holds for them. What a call promises on any way stands in test_calls."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from appliance.bus import Answer, Client, Request, Server, wire
from appliance.bus.direct import READ_BYTES, Connections, DirectLink, Stream
from appliance.bus.errors import WireError
from appliance.bus.place import Place
from tests.appliance.bus.conftest import Serve
from tests.waiting import wait_until


def add_echo(server: Server) -> None:
    def echo(request: Request) -> Answer:
        return Answer([threading.current_thread().name, request.body], request.columns)

    server.handle("echo", echo)


@pytest.fixture
def direct(run_dir: Path) -> Client:
    run_dir.mkdir(mode=0o700, exist_ok=True)
    return Client(run_dir, "echo", is_direct=True)


def test_the_thread_that_reads_a_request_answers_it(serve: Serve, direct: Client) -> None:
    serve(add_echo)
    with direct:
        wait_until(lambda: direct.call("echo").body[0] == "bus-echo.direct")
        (link,) = direct._idle
        for size in (0, 1, READ_BYTES - 1, READ_BYTES, 3 * 2**20):
            column = np.arange(size, dtype=np.int32)
            reply = direct.call("echo", size, (column, column[:3]), timeout_s=30)
            assert reply.body == ["bus-echo.direct", size]
            assert all(np.array_equal(*pair) for pair in zip(reply.columns, (column, column[:3]), strict=True))
        assert direct._idle == [link], "one connection for one call after another"


def test_without_a_place_for_one_more_connection_a_call_goes_by_zeromq(
    serve: Serve, direct: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.bus.direct.CONNECTION_COUNT_MAX", 0)
    serve(add_echo)
    with direct:
        assert direct.call("echo").body[0] == "bus-echo-0"
        assert direct._idle == [], "the next one tries again"
        monkeypatch.undo()
        assert direct.call("echo").body[0] == "bus-echo.direct"


DAMAGED = {
    "no frames": struct.pack("=I", 0),
    "a million frames": struct.pack("=I", 10**6),
    "a frame of 2 GiB": struct.pack("=I2Q", 2, 3, 2**31),
    "no head of ours": struct.pack("=I2Q", 2, 3, 3) + b"abcdef",
    "half a message": struct.pack("=I2Q", 2, 3, 3) + b"ab",
}


@pytest.mark.parametrize("message", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_message_ends_its_connection_alone(
    message: bytes, serve: Serve, direct: Client, run_dir: Path
) -> None:
    serve(add_echo)
    with direct, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
        wait_until(lambda: direct.call("echo").body[0] == "bus-echo.direct")
        stranger.connect(Place(run_dir).path("echo.direct"))
        assert stranger.recv(1) == b"+"
        stranger.sendall(message)
        stranger.shutdown(socket.SHUT_WR)
        assert stranger.recv(1) == b""
        assert direct.call("echo", 1).body[1] == 1


def test_messages_are_read_whole_however_they_come_in() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        messages = [
            ([b"head", b"body"], []),
            ([b"h" * 100_000, b""], [np.arange(50_000), np.empty(0)]),
            ([b"", b"x"], []),
        ]
        reading, writing = Stream(ours), Stream(theirs)

        def write() -> None:
            for prefix, buffers in messages:
                writing.send(prefix, buffers)
            theirs.sendall(struct.pack("=I", 2))
            theirs.close()

        thread = threading.Thread(target=write)
        thread.start()
        for prefix, buffers in messages:
            frames = reading.receive()
            assert frames is not None
            assert [bytes(frame) for frame in frames] == [*prefix, *(buffer.tobytes() for buffer in buffers)]
        with pytest.raises(ConnectionResetError):
            reading.receive()
        thread.join()


def test_a_call_that_nobody_reads_ends_at_its_time_out(run_dir: Path) -> None:
    run_dir.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
        Place(run_dir).listen(deaf, "echo.direct", 1)
        accepted = threading.Thread(target=lambda: others.append(deaf.accept()[0]))
        others: list[socket.socket] = []
        accepted.start()
        wait_until(lambda: (run_dir / "echo.direct.sock").exists())
        opened: list[DirectLink | None] = []
        opening = threading.Thread(target=lambda: opened.append(DirectLink.open(Place(run_dir), "echo")))
        opening.start()
        accepted.join()
        others[0].send(b"+")
        opening.join()
        (link,) = opened
        assert link is not None
        with pytest.raises(TimeoutError):
            link.send([b"head", b"body"], [np.zeros(2**20)], time.monotonic_ns() + 50_000_000)
        link.close()
        others[0].close()


def test_each_call_has_a_limit_of_its_own() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        link = DirectLink(ours)
        for limit_s in (30, 5, 5, 30):
            link.send([b"head", b"body"], [], time.monotonic_ns() + limit_s * 1_000_000_000)
            for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
                seconds, microseconds = struct.unpack("@ll", ours.getsockopt(socket.SOL_SOCKET, option, 16))
                # Rounded up, less what the machine let pass in between.
                assert limit_s - 4 < seconds + microseconds / 1e6 <= limit_s


def test_a_reply_to_another_request_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        link = DirectLink(ours)
        Stream(theirs).send([wire.encode(wire.ReplyHead(wire.VERSION, 7)), wire.NIL], [])
        with pytest.raises(WireError):
            link.wait(8, 0)


def test_who_has_gone_before_being_welcomed_takes_no_place(run_dir: Path) -> None:
    connections = Connections(Place(run_dir, make=True), "echo", lambda peer, frames: None)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hasty:
        hasty.connect(Place(run_dir).path("echo.direct"))
    connections.accept()
    wait_until(lambda: not connections._peers)
    connections.withdraw()


def test_a_connection_for_which_there_is_no_thread_is_not_welcome(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    connections = Connections(Place(run_dir, make=True), "echo", lambda peer, frames: None)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client, monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        client.connect(Place(run_dir).path("echo.direct"))
        connections.accept()
        assert not connections._peers
        assert client.recv(2) == b""
    connections.withdraw()


def test_a_service_with_more_that_knock_than_it_has_looked_at_holds_nobody_up(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir.mkdir(mode=0o700)
    with contextlib.ExitStack() as stack:
        deaf = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        Place(run_dir).listen(deaf, "echo.direct", 0)
        knocking = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        knocking.connect(Place(run_dir).path("echo.direct"))
        opened: list[DirectLink | None] = []
        opening = threading.Thread(
            target=lambda: opened.append(DirectLink.open(Place(run_dir), "echo", 0.05)), daemon=True
        )
        opening.start()
        opening.join(10)
        assert opened == [None]

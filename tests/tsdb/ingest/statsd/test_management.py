"""The management interface: what the recorded answers do not cover (tests/scripts/statsd.py), and its connections."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.scripts.statsd import management_of
from tsdb.ingest.statsd import console
from tsdb.ingest.statsd.columns import decode
from tsdb.ingest.statsd.console import Console
from tsdb.ingest.statsd.flush import LastFlush
from tsdb.ingest.statsd.management import Management, Told, js_number
from tsdb.ingest.statsd.rules import Rules
from tsdb.ingest.statsd.window import Window


def test_what_was_deleted_is_gone_from_the_flush_and_may_come_back() -> None:
    window = Window(Rules())
    management = Management(Rules(), window, threading.Lock(), lambda: Told(0, 0, 0, 0, LastFlush()))
    window.take(decode(b"t.x:5|ms\nt.y:7|ms\nt.x:6|ms\n"), 1)
    assert management.answer("deltimers t.x") == "deleted: t.x\nEND\n\n"
    ids, values = window.timer_values()
    assert [(window.names[place], value) for place, value in zip(ids, values, strict=True)] == [("t.y", 7.0)]
    window.take(decode(b"t.x:9|ms\n"), 1)
    assert management.answer("timers") == "{ 't.x': [ 9 ], 't.y': [ 7 ] }\nEND\n\n"


def test_config_has_the_names_of_config_js() -> None:
    lines = str(management_of().answer("config")).splitlines()
    assert lines[0] == ""
    assert {"flushInterval: 10000", "percentThreshold > 0: 90", "graphite > legacyNamespace: true"} <= set(lines)


NUMBERS = (
    *((0.0, "0"), (-0.0, "-0"), (5.0, "5"), (0.1, "0.1"), (-2.5e-5, "-0.000025"), (1e-7, "1e-7"), (1e21, "1e+21")),
    *((1e20, "100000000000000000000"), (float("nan"), "NaN"), (float("-inf"), "-Infinity")),
)


def test_numbers_read_as_javascript_writes_them() -> None:
    assert [js_number(number) for number, _ in NUMBERS] == [text for _, text in NUMBERS]


@pytest.fixture(name="address")
def address_fixture() -> Iterator[tuple[str, int]]:
    stopping = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = Console(listener, management_of().answer, logging.getLogger("tests.management"))
        thread = threading.Thread(target=served.run, args=(stopping.is_set,))
        thread.start()
        yield listener.getsockname()
        stopping.set()
        thread.join(10)
        assert not thread.is_alive()


def read_all(sock: socket.socket) -> bytes:
    """Until the other side closes."""
    found = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65_536):
            found += piece
    return bytes(found)


def test_a_command_in_pieces_and_one_without_its_line_feed(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=10) as sock:
        sock.sendall(b"hea")
        sock.sendall(b"lth\r\n")
        assert sock.recv(100) == b"health: up\n"
        sock.sendall(b"health down")
        assert sock.recv(100) == b"health: down\n"
        sock.sendall(b"quit\n")
        assert read_all(sock) == b""


def test_a_command_without_end_is_refused(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=10) as sock:
        sock.sendall(b"x" * (console.COMMAND_BYTES_MAX + 1))
        assert read_all(sock).startswith(b"ERROR the command is longer")


def test_of_too_many_connections_the_last_is_turned_away(address: tuple[str, int]) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(console.CONNECTIONS_COUNT_MAX):
            sock = stack.enter_context(socket.create_connection(address, timeout=10))
            sock.sendall(b"help\n")
            assert sock.recv(20).startswith(b"Commands")
        late = stack.enter_context(socket.create_connection(address, timeout=10))
        assert read_all(late) == b"ERROR too many connections\n"

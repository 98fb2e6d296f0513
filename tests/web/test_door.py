"""The answers of the web process over a real connection: whole, and in as few calls of the system as can be."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any
from unittest import mock

import pytest

from web.door import JOINED_BYTES_MAX, Channel, takes_more
from web.process import THREADS, serve

ANSWERS: dict[str, tuple[list[bytes], int]] = {  # path: (the pieces of the body, the calls that send it)
    "/empty": ([], 1),
    "/small": ([b"whole"], 1),
    "/pieces": ([b"one", b"", b"two"], 2),
    "/nothing-first": ([b"", b"body"], 1),
    "/large": ([b"x" * (JOINED_BYTES_MAX + 1)], 2),
    "/beyond-buffers": ([bytes([number]) * 2**20 for number in range(8)], 8),
}
FAULT = "a fault of the application"
UNCOUNTED = ("/large", "/beyond-buffers")  # Of a large piece a call may take a part.


def answering(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    if environ["PATH_INFO"] == "/fault":
        raise AssertionError(FAULT)
    if environ["PATH_INFO"] == "/echo":
        start_response("200 OK", [("Content-Length", environ["CONTENT_LENGTH"])])
        return [environ["wsgi.input"].read()]
    pieces, _ = ANSWERS[environ["PATH_INFO"]]
    start_response("200 OK", [("Content-Length", str(sum(map(len, pieces))))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else pieces


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    stopping = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=serve, args=(answering, listening, stopping))
        serving.start()
        yield listening.getsockname()[1]
        stopping.set()
        serving.join()


@pytest.mark.parametrize("path", ANSWERS)
def test_an_answer_is_whole_and_its_head_does_not_go_out_alone(port: int, path: str) -> None:
    pieces, calls = ANSWERS[path]
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        with mock.patch.object(Channel, "send", autospec=True, side_effect=Channel.send) as send:
            for method, want in (("GET", b"".join(pieces)), ("HEAD", b""), ("GET", b"".join(pieces))):
                connection.request(method, path)
                answer = connection.getresponse()
                assert (answer.status, answer.read()) == (200, want)
                assert int(answer.headers["Content-Length"]) == sum(map(len, pieces))
        if path not in UNCOUNTED:
            assert send.call_count == 2 * calls + 1
    finally:
        connection.close()


def test_clients_who_do_not_read_keep_no_thread_and_get_everything_in_the_end(port: int) -> None:
    want = b"".join(ANSWERS["/beyond-buffers"][0])
    with contextlib.ExitStack() as stack:
        lazy = [stack.enter_context(socket.socket()) for _ in range(THREADS + 1)]
        for one in lazy:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            one.connect(("127.0.0.1", port))
            one.sendall(b"GET /beyond-buffers HTTP/1.1\r\nHost: localhost\r\n\r\n")
        quick = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        stack.callback(quick.close)
        quick.request("GET", "/small")
        assert quick.getresponse().read() == b"whole"
        answer = http.client.HTTPResponse(lazy[0])
        answer.begin()
        assert answer.read() == want


def test_only_a_client_who_is_there_and_reads_takes_more() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        assert takes_more(here.fileno())
        with contextlib.suppress(BlockingIOError):
            while True:
                here.send(bytes(2**16))
        assert not takes_more(here.fileno())
        there.close()
        assert not takes_more(here.fileno()), "it has left, and would be waited for in a circle"


def test_a_client_who_leaves_in_the_middle_of_an_answer_harms_nobody(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as leaving:
        leaving.sendall(b"GET /beyond-buffers HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert leaving.recv(1)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/small")
        assert connection.getresponse().read() == b"whole"
    finally:
        connection.close()


SMALL, EMPTY, ECHO = (f"{line} HTTP/1.1\r\nHost: localhost\r\n" for line in ("GET /small", "GET /empty", "POST /echo"))
NEXT: dict[str, tuple[list[str], list[tuple[int, bytes]]]] = {
    # What is sent when the answer before it is there, in pieces; the statuses and bodies that come.
    "one": ([f"{SMALL}\r\n"], [(200, b"whole")]),
    "two at once": ([f"{SMALL}\r\n{EMPTY}\r\n"], [(200, b"whole"), (200, b"")]),
    "one, and one whose body looks like one": (
        [f"{SMALL}\r\n{ECHO}Content-Length: {len(SMALL) + 2}\r\n\r\n", f"{SMALL}\r\n"],
        [(200, b"whole"), (200, f"{SMALL}\r\n".encode())],
    ),
    "in pieces": ([SMALL[:10], SMALL[10:], "\r\n"], [(200, b"whole")]),
    "with a body": ([f"{ECHO}Content-Length: 4\r\n\r\nbody"], [(200, b"body")]),
    "with a body in pieces": ([f"{ECHO}Content-Length: 4\r\n\r\n", "bo", "dy"], [(200, b"body")]),
    "with a large body": ([f"{ECHO}Content-Length: 300000\r\n\r\n", "x" * 300_000], [(200, b"x" * 300_000)]),
    "with a body in chunks": (
        [f"{ECHO}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n", "0\r\n\r\n"],
        [(200, b"body")],
    ),
    "with a body to be asked for": (
        [f"{ECHO}Content-Length: 4\r\nExpect: 100-continue\r\n\r\n", "body"],
        [(200, b"body")],
    ),
    "the last": ([f"{SMALL}Connection: close\r\n\r\n"], [(200, b"whole")]),
    "none that can be read": (["GET\r\n\r\n"], [(400, b"")]),
    "one that fails": (["GET /fault HTTP/1.1\r\nHost: localhost\r\n\r\n"], [(500, b"")]),
}


def answer(stream: IO[bytes]) -> tuple[int, bytes]:
    """The status and the body of the next answer; of a refusal the status alone."""
    status = 100
    while status == 100:  # "Go on" comes before the answer itself.
        status = int(stream.readline().split()[1])
        headers = http.client.parse_headers(stream)
    body = stream.read(int(headers["Content-Length"] or "0"))
    return status, body if status == 200 else b""


@pytest.mark.parametrize("kind", NEXT)
@pytest.mark.parametrize("is_at_once", [True, False])
def test_the_next_request_of_a_client_is_answered_however_it_comes(port: int, kind: str, is_at_once: bool) -> None:
    """At once it is read by the thread that has answered, later by the loop, and in pieces by both."""
    pieces, want = NEXT[kind]
    with mock.patch("web.door.AGAIN_MS_MAX", 10_000 if is_at_once else 0), socket.socket() as connection:
        connection.settimeout(30)
        connection.connect(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = connection.makefile("rb")
        for text in (f"{SMALL}\r\n", f"{EMPTY}\r\n"):
            connection.sendall(text.encode())
            assert answer(stream)[0] == 200
        for piece in pieces:
            connection.sendall(piece.encode())
        assert [answer(stream) for _ in want] == want
        if want[0][0] == 200 and kind != "the last":
            connection.sendall(f"{SMALL}\r\n".encode())
            assert answer(stream) == (200, b"whole")
        else:
            assert not stream.read(), "nothing can follow it"


def test_more_clients_than_threads_that_ask_without_a_pause_are_all_answered(port: int) -> None:
    counts = []

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for count in range(20):
            connection.request("GET", "/small")
            assert connection.getresponse().read() == b"whole", count
        connection.close()
        counts.append(20)

    clients = [threading.Thread(target=ask) for _ in range(THREADS + 8)]
    with mock.patch("web.door.AGAIN_MS_MAX", 10_000):
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    assert counts == [20] * len(clients)


def test_a_stop_does_not_wait_for_a_client_that_asks_again_and_again() -> None:
    stopping, has_asked = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=serve, args=(answering, listening, stopping))
        serving.start()

        def ask() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", listening.getsockname()[1], timeout=30)
            with contextlib.suppress(OSError, http.client.HTTPException):
                while True:
                    connection.request("GET", "/small")
                    connection.getresponse().read()
                    has_asked.set()
            connection.close()

        client = threading.Thread(target=ask)
        with mock.patch("web.process.DRAIN_S", 600), mock.patch("web.door.AGAIN_MS_MAX", 10_000):
            client.start()
            assert has_asked.wait(30)
            stopping.set()
            serving.join(30)
        assert not serving.is_alive()
        client.join()

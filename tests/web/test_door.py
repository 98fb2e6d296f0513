"""The answers of the web process over a real connection: whole, and in as few calls of the system as can be."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
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
UNCOUNTED = ("/large", "/beyond-buffers")  # Of a large piece a call may take a part.


def answering(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
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

"""The answers of the web process over a real connection: whole, and in as few calls of the system as can be."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest

from web.door import JOINED_BYTES_MAX, Channel
from web.process import serve

ANSWERS: dict[str, tuple[list[bytes], int]] = {  # path: (the pieces of the body, the calls that send it)
    "/empty": ([], 1),
    "/small": ([b"whole"], 1),
    "/pieces": ([b"one", b"", b"two"], 2),
    "/nothing-first": ([b"", b"body"], 1),
    "/large": ([b"x" * (JOINED_BYTES_MAX + 1)], 2),
}


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
        if path != "/large":  # Of which a call may take a part.
            assert send.call_count == 2 * calls + 1
    finally:
        connection.close()

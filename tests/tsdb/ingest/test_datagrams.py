"""Datagrams of a real socket: both readers give the same lines, bounds and senders."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator

import numpy as np
import pytest

from tsdb.ingest import datagrams
from tsdb.ingest.batch import Batch
from tsdb.ingest.datagrams import PlainReader, Reader, reader_of

KINDS = ("recvmmsg", "plain")
FAMILIES = {"IPv4": (socket.AF_INET, "127.0.0.1"), "IPv6": (socket.AF_INET6, "::1")}


@pytest.fixture(params=FAMILIES.values(), ids=FAMILIES.keys())
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A sender that is connected to a receiver."""
    family, host = request.param
    with contextlib.ExitStack() as stack:
        receiver, sender = (stack.enter_context(socket.socket(family, socket.SOCK_DGRAM)) for _ in range(2))
        receiver.bind((host, 0))
        receiver.setblocking(False)
        sender.connect(receiver.getsockname()[:2])
        yield sender, receiver


def made(kind: str, sock: socket.socket) -> Reader | PlainReader:
    if kind == "plain":
        return PlainReader(sock)
    reader = reader_of(sock, logging.getLogger("tests.datagrams"))
    assert isinstance(reader, Reader), "this system has no recvmmsg"
    return reader


ROWS = {  # name: (datagrams; the lines wanted)
    "one without its line feed": ([b"a:1|c"], b"a:1|c\n"),
    "one with it": ([b"a:1|c\n"], b"a:1|c\n"),
    "of many lengths": ([b"a", b"bb:2|g\nc", b"x" * 255, b"\n"], b"a\nbb:2|g\nc\n" + b"x" * 255 + b"\n\n"),
    "longer than the mask": (
        [b"a", b"x" * 1_400, b"y" * 256 + b"\n"],
        b"a\n" + b"x" * 1_400 + b"\n" + b"y" * 256 + b"\n",
    ),
    "the longest that there is": ([b"z" * 65_000, b"b"], b"z" * 65_000 + b"\nb\n"),
    "empty ones between": ([b"", b"a", b"", b"", b"b\n", b""], b"a\nb\n"),
    "an older and longer one left nothing behind": ([b"q" * 50, b"r"], b"q" * 50 + b"\nr\n"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_lines_are_whole_and_nothing_of_the_slots_shows(kind: str, pair: tuple[socket.socket, socket.socket]) -> None:
    """One reader reads all rows in turn, so that its slots hold what came before."""
    sender, receiver = pair
    reader = made(kind, receiver)
    for sent, wanted in ROWS.values():
        for one in sent:
            sender.send(one)
        found, is_more = reader.read()
        assert found is not None
        assert found.lines == wanted
        assert not is_more
        assert found.count == sum(1 for one in sent if one)
        assert found.lines[: found.ends[0]] == wanted[: len(next(filter(None, sent)).rstrip(b"\n")) + 1]
        host, port = sender.getsockname()[:2]
        assert found.address_of(found.count - 1)[:2] == (host, port)
    with pytest.raises(BlockingIOError):
        reader.read()


@pytest.mark.parametrize("kind", KINDS)
def test_of_more_than_one_call_takes_the_rest_stays(
    kind: str, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, receiver = pair
    monkeypatch.setattr(datagrams, "SLOTS_COUNT", 16)
    reader = made(kind, receiver)
    sent = [b"m%d:1|c" % number for number in range(40)]
    counts = []
    got: list[bytes] = []
    for _ in range(4):
        for one in sent:
            sender.send(one)
        while True:
            try:
                found, is_more = reader.read()
            except BlockingIOError:
                break
            assert found is not None
            got += found.lines.splitlines()
            assert is_more == (found.count == 16)
            assert np.all(np.diff(found.ends) > 0)
            counts.append(found.count)
    assert got == sent * 4
    assert counts == [16, 16, 8] * 4


def test_a_batch_tells_who_sent_which_datagram(pair: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = pair
    batch = Batch()
    batch.add(b"over tcp\n", "10.0.0.1:99")
    with socket.socket(receiver.family, socket.SOCK_DGRAM) as other:
        other.connect(receiver.getsockname()[:2])
        sender.send(b"first")
        other.send(b"second")
        reader = made("recvmmsg", receiver)
        found, _ = reader.read()
        assert found is not None
        batch.add_datagrams(found)
        ports = [batch.sender_of(at).rsplit(":", 1)[1] for at in (0, 8, 9, 14, 15, 21, 10_000)]
        first, second = (str(each.getsockname()[1]) for each in (sender, other))
    assert ports == ["99", "99", first, first, second, second, second]
    assert batch.reads_count == 3
    assert batch.data() == b"over tcp\nfirst\nsecond\n"

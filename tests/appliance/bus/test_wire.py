"""Frames: whatever is sent comes back, whatever is foreign or damaged is refused and ends nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from appliance.bus import Answer, Client, wire
from appliance.bus.errors import WireError
from tests.appliance.bus.conftest import Serve, Service
from tests.waiting import wait_until

BODIES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
DTYPES = st.sampled_from(["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])


def column(drawn: tuple[str, int, int]) -> np.ndarray[Any, Any]:
    """Any bits, also those that are no number: signalling NaN must come back as they are."""
    dtype, count, seed = drawn
    return np.frombuffer(np.random.default_rng(seed).bytes(count * np.dtype(dtype).itemsize), dtype)


COLUMNS = st.lists(st.tuples(DTYPES, st.integers(0, 20_000), st.integers(0, 2**32 - 1)).map(column), max_size=5)
A_FRAME = wire.encode(wire.RequestHead(wire.VERSION, 7, "echo", 2**62, ()))
"""The head of a right request."""


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Client, Path]]:
    """One service for all examples of a property."""
    run_dir = tmp_path_factory.mktemp("echo") / "run"
    service = Service(
        run_dir, lambda server: server.handle("echo", lambda request: Answer(request.body, request.columns))
    )
    with Client(run_dir, "echo") as client:
        yield service, client, run_dir
    service.stop()
    assert service.crashes == []


@given(body=BODIES, columns=COLUMNS)
def test_any_body_and_columns_come_back(echo: tuple[Service, Client, Path], body: Any, columns: list[Any]) -> None:
    _, client, _ = echo
    reply = client.call("echo", body, columns)
    assert reply.body == body
    assert len(reply.columns) == len(columns)
    for got, want in zip(reply.columns, columns, strict=True):
        assert got.tobytes() == want.tobytes()
        assert (got.dtype, got.flags.writeable, got.flags.aligned) == (want.dtype, False, True)


@given(frames=st.lists(st.binary(max_size=200) | st.just(A_FRAME) | st.just(wire.NIL), min_size=1, max_size=8))
def test_foreign_frames_are_refused_or_dropped(echo: tuple[Service, Client, Path], frames: list[bytes]) -> None:
    """Whatever a stranger sends, the service goes on, and its right clients get their own answers."""
    _, client, run_dir = echo
    stranger: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    try:
        stranger.connect(f"ipc://{run_dir}/echo.sock")
        stranger.send_multipart(frames)
        assert client.call("echo", "still here").body == "still here"
    finally:
        stranger.close(linger=0)


HEAD = wire.RequestHead(wire.VERSION, 7, "echo", 2**62, ())
ONE = wire.ColumnHead("<f8", 1)
DAMAGE: dict[str, tuple[list[bytes], str | None]] = {  # name: (frames, the code of the answer, or None for no answer)
    "an empty message": ([b""], None),
    "no head of ours": ([b"GET / HTTP/1.1"], None),
    "a REQ socket's empty frame first": ([b"", wire.encode(HEAD), wire.NIL], None),
    "a future version": ([wire.encode(wire.RequestHead(2, 7, "echo", 2**62, ())), wire.NIL], None),
    "no body": ([wire.encode(HEAD)], "bad_request"),
    "a body that is not msgpack": ([wire.encode(HEAD), b"\xc1"], "bad_request"),
    "a truncated body": ([wire.encode(HEAD), b"\x92\x01"], "bad_request"),
    "a column that was not announced": ([wire.encode(HEAD), wire.NIL, b"12345678"], "bad_request"),
    "an announced column that is missing": (
        [wire.encode(wire.RequestHead(1, 7, "echo", 2**62, (ONE,))), wire.NIL],
        "bad_request",
    ),
    "a column of another length": (
        [wire.encode(wire.RequestHead(1, 7, "echo", 2**62, (ONE,))), wire.NIL, b"1234567"],
        "bad_request",
    ),
    "a column of a negative count": (
        [wire.encode(wire.RequestHead(1, 7, "echo", 2**62, (wire.ColumnHead("<f8", -1),))), wire.NIL, b""],
        "bad_request",
    ),
    "a column of objects": (
        [wire.encode(wire.RequestHead(1, 7, "echo", 2**62, (wire.ColumnHead("|O", 1),))), wire.NIL, b"12345678"],
        "bad_request",
    ),
    "too many columns": (
        [wire.encode(wire.RequestHead(1, 7, "echo", 2**62, (wire.ColumnHead("|u1", 0),) * 65)), wire.NIL, *[b""] * 65],
        "bad_request",
    ),
}


@pytest.mark.parametrize(("frames", "code"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage(frames: list[bytes], code: str | None, serve: Serve, client: Client, run_dir: Path) -> None:
    service = serve(lambda server: server.handle("echo", lambda request: request.body))
    assert client.call("ping").body == "pong"
    with zmq.Context.instance().socket(zmq.DEALER) as stranger:
        stranger.setsockopt(zmq.LINGER, 0)
        stranger.connect(f"ipc://{run_dir}/echo.sock")
        stranger.send_multipart(frames)
        if code is None:
            wait_until(lambda: service.refused() == {"damaged": 1})
            assert not stranger.poll(0)
        else:
            assert stranger.poll(5_000)
            head = wire.decode_reply(stranger.recv_multipart())
            assert (head.id, head.code) == (7, code)
    assert client.call("echo", "still here").body == "still here"


def test_a_frame_beyond_the_bound_costs_its_sender_the_link(
    serve: Serve, client: Client, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.bus.wire.FRAME_BYTES_MAX", 10_000)
    service = serve(lambda server: server.handle("echo", lambda request: request.body))
    with zmq.Context.instance().socket(zmq.DEALER) as stranger:
        stranger.setsockopt(zmq.LINGER, 0)
        stranger.connect(f"ipc://{run_dir}/echo.sock")
        stranger.send_multipart([A_FRAME, b"x" * 20_000])
        assert client.call("echo", "still here").body == "still here"
        assert not stranger.poll(50)
    assert service.refused() == {}


@pytest.mark.parametrize("frames", [[b""], [b"\xc1"], [A_FRAME[:-2]], [wire.encode([2, 1])]])
def test_a_reply_that_is_none_of_ours_is_noticed(frames: list[bytes]) -> None:
    with pytest.raises(WireError):
        wire.decode_reply(frames)


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 2)), np.array(["a"]), np.array([1 + 2j]), np.zeros(3, dtype=">f8"), np.array(1.0)]
)
def test_what_is_no_column_is_refused_where_it_is_sent(wrong: Any, client: Client) -> None:
    with pytest.raises(TypeError, match="a column is one-dimensional and of numbers"):
        client.call("echo", None, [wrong])


def test_more_columns_than_travel_together_are_refused_where_they_are_sent(client: Client) -> None:
    with pytest.raises(ValueError, match="65 columns in one message; at most 64 travel together"):
        client.call("echo", None, [np.zeros(1)] * 65)


def test_a_column_beyond_the_bound_is_refused_where_it_is_sent(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.bus.wire.FRAME_BYTES_MAX", 1_000)
    with pytest.raises(ValueError, match="a column of 1,000 values; at most 1,000 bytes travel in one"):
        client.call("echo", None, [np.zeros(1_000)])

"""Large bodies: where they lie, and how much of them there may be."""

from __future__ import annotations

import gc

import pytest

from web.body import Memory, Stream, WholeBody


def test_memory_is_taken_and_given_back() -> None:
    memory = Memory(100)
    assert (memory.take(60), memory.take(60), memory.left_bytes) == (True, False, 40)
    memory.give(60)
    assert memory.take(100)


@pytest.mark.parametrize("pieces", [(10,), (1, 9), (9, 1), (3, 3, 4), (1,) * 10], ids=str)
@pytest.mark.parametrize("direct", [0, 1, 2], ids=["received", "filled", "by turns"])
def test_a_body_in_pieces_is_whole(pieces: tuple[int, ...], direct: int) -> None:
    memory = Memory(10)
    memory.take(10)
    body, at = WholeBody(10, memory), 0
    for number, size in enumerate(pieces):
        assert not body.completed
        piece = b"0123456789"[at : at + size]
        if direct == 1 or (direct == 2 and number % 2):
            body.rest[:size] = piece
            last = body.filled(size)
            assert last == (b"9" if at + size == 10 else None)
            if last is not None:
                assert body.received(last) == 1
        else:
            assert body.received(piece + (b"next" if at + size == 10 else b"")) == size
        at += size
    assert (body.completed, len(body)) == (True, 10)
    stream = body.getfile()
    assert (stream.read(4), stream.read(), stream.read()) == (b"0123", b"456789", b"")
    body.close()
    assert memory.left_bytes == 10
    assert isinstance(stream, Stream)
    assert bytes(stream.whole) == b"0123456789", "who still holds the bytes can read them"


def test_a_body_whose_sender_went_away_gives_its_memory_back() -> None:
    memory = Memory(10)
    memory.take(10)
    body = WholeBody(10, memory)
    body.received(b"half")
    del body
    gc.collect()
    assert memory.left_bytes == 10

"""Streams cut into lines: whatever the pieces, the lines are the same."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsdb.ingest.batch import Batch
from tsdb.ingest.cutter import LineCutter
from tsdb.ingest.datagrams import Datagrams
from tsdb.ingest.udp_drops import dropped_from

LIMIT = 10


def cut(pieces: list[bytes]) -> tuple[bytes, list[bytes], bytes]:
    """All whole lines, the long lines told, the half line left."""
    too_long: list[bytes] = []
    cutter = LineCutter(LIMIT, too_long.append)
    lines = b"".join([cutter.cut(piece) for piece in pieces])
    assert cutter.half_bytes <= LIMIT
    return lines, too_long, cutter.end()


text = st.text("ab\n", max_size=60).map(str.encode)


@given(text, st.lists(st.integers(0, 60), max_size=10))
def test_pieces_do_not_matter(data: bytes, cuts: list[int]) -> None:
    """Of short lines all come whole; of a long one nothing or the whole line, which the decoder then refuses."""
    edges = [0, *sorted(cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(edges)]
    lines, too_long, half = cut(pieces)
    *whole, rest = data.split(b"\n")
    assert [line for line in lines.split(b"\n")[:-1] if len(line) <= LIMIT] == [
        line for line in whole if len(line) <= LIMIT
    ]
    long_count = sum(len(line) > LIMIT for line in [*whole, rest])
    assert len(too_long) + sum(len(line) > LIMIT for line in lines.split(b"\n")) == long_count
    assert half == (rest if len(rest) <= LIMIT else b"")


def test_a_long_line_is_told_once_and_skipped_to_its_end() -> None:
    lines, too_long, half = cut([b"a\n", b"x" * 8, b"x" * 8, b"x" * 8, b"\nb\nc"])
    assert (lines, too_long, half) == (b"a\nb\n", [b"x" * 16], b"c")


def test_a_batch_knows_who_sent_which_byte() -> None:
    batch = Batch()
    batch.add(b"aa\n", "first")
    addresses = [("::1", 5), ("10.0.0.1", 5)]
    batch.add_datagrams(Datagrams(b"b\nb\nc\n", np.array([4, 6]), addresses.__getitem__))
    assert batch.data() == b"aa\nb\nb\nc\n"
    senders = [batch.sender_of(offset) for offset in (0, 2, 3, 6, 7, 8)]
    assert senders == ["first", "first", "[::1]:5", "[::1]:5", "10.0.0.1:5", "10.0.0.1:5"]
    assert batch.reads_count == 3


UDP_TABLE = """\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  123: 0100007F:07D3 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 31415 2 0000000000000000 27
  124: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 27182 2 0000000000000000 5
"""


def test_drops_are_read_by_inode() -> None:
    assert [dropped_from(UDP_TABLE, inode) for inode in (31415, 27182, 1)] == [27, 5, 0]

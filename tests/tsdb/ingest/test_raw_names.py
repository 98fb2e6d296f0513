"""Hashes of names that lie in a body, and where its series lie, against what is plain to see."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.tsdb.ingest import remote_write_bytes as wire
from tsdb.ingest.raw_names import PADDING, RawNames
from tsdb.ingest.remote_write.body import _walk
from tsdb.ingest.remote_write.straight import places

SEEDS = (11, 12)
# Few letters, and zeros at the ends, so that names begin, end and are padded alike.
any_name = st.one_of(
    st.text("a\x00", max_size=20).map(str.encode),
    st.binary(max_size=40),
    st.integers(500, 530).map(lambda size: b"x" * size),
)


@given(st.lists(any_name, max_size=12), st.lists(any_name, max_size=12))
def test_names_have_equal_hashes_if_they_are_equal_in_whichever_body(some: list[bytes], others: list[bytes]) -> None:
    by_hashes: dict[tuple[int, int], bytes] = {}
    for names in (some, others, some[::-1], *([name] for name in some)):
        raw = RawNames.of(names)
        assert raw.to_list() == names == [raw[at] for at in range(len(raw))]
        first, second = raw.hashes(SEEDS)
        for pair, name in zip(zip(first.tolist(), second.tolist(), strict=True), names, strict=True):
            assert by_hashes.setdefault(pair, name) == name, "different names with the same hashes"
            assert pair[0] != pair[1]
    assert len(by_hashes) == len({*some, *others}), "one name with different hashes"


def test_other_seeds_give_other_hashes() -> None:
    raw = RawNames.of([b"one", b"x" * 600])
    assert not set(np.concatenate(raw.hashes((1, 2))).tolist()) & set(np.concatenate(raw.hashes((3, 4))).tolist())


def test_many_names_are_hashed_in_pieces_as_alone() -> None:
    names = [b"n%d" % number * (1 + number % 9) for number in range(3_000)]
    first, _ = RawNames.of(names).hashes(SEEDS)
    alone = [int(RawNames.of([name]).hashes(SEEDS)[0][0]) for name in names[::100]]
    assert first[::100].tolist() == alone
    assert np.unique(first).size == len(names)


# Values whose bytes look like the heads of samples and of series.
tricky = struct.unpack("<3d", bytes.fromhex("12100912100912101207101207100a12" + "09" * 8))
any_value = st.one_of(st.sampled_from([0.0, *tricky]), st.floats(allow_nan=False))
any_sample = st.tuples(st.integers(10**12, 2 * 10**12), any_value)
any_series = st.tuples(st.text("ab", max_size=150), st.lists(any_sample, max_size=3))


@given(st.lists(any_series, max_size=8), st.binary(max_size=6), st.integers(0, 400))
def test_series_lie_where_a_walk_finds_them(
    series: list[tuple[str, list[tuple[int, float]]]], tail: bytes, cut: int
) -> None:
    body = wire.request([wire.series([("__name__", text), ("job", "x")], samples) for text, samples in series])
    for data in (body, body + tail, body[:cut], body[:cut] + tail + body[cut:]):
        found = places(data + PADDING, len(data))
        if found is None:
            continue
        starts, sizes, described = _walk(data + PADDING, len(data), 1_000)
        assert found[0].tolist() == starts
        assert (found[1] - found[0]).tolist() == sizes
        assert not described


def test_the_usual_bodies_need_no_walk() -> None:
    for values in ([1.5], [0.0], [1.5, 0.0, 2.5], [0.0, 0.0]):
        series = [
            wire.series(
                [("__name__", "n" * size)], [(1_700_000_000_000 + at, value) for at, value in enumerate(values)]
            )
            for size in (1, 60, 127, 128, 300)
        ]
        data = wire.request(series)
        assert places(data + PADDING, len(data)) is not None, values

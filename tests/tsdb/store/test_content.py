"""The content hash: its vectors, its strength, and that no cut, order or join changes it."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import FOLDER, HOUR_MS, NOW_MS, DrivenClock, Row, append, bits_of, labels, open_engine
from tsdb.sample import canonical_bytes, labels_from, series_key
from tsdb.store import content
from tsdb.store.block.file import BlockFile
from tsdb.store.block.layout import WINDOW_MS, BlockName
from tsdb.store.content import BlockContent, Content, ContentSum, Place, by_place, known
from tsdb.store.engine import Engine
from tsdb.store.index import Keys

PAGE = Path(__file__).resolve().parents[3] / "docs" / "format" / "content-hash.md"
VECTORS = re.findall(
    r"^\| `(\{.*\})` \| (\d+) \| `([0-9a-f]{16})` \| `([0-9a-f]{32})` \|$", PAGE.read_text(), re.MULTILINE
)
SUM_OF_ALL = re.search(r"sum of all .* is `([0-9a-f]{32})`", PAGE.read_text())
M64 = (1 << 64) - 1


def hash_of(key: bytes, timestamp_ms: int, bits: int) -> int:
    """The mix of one sample, word by word as docs/format/content-hash.md has it, in Python's own numbers."""

    def fold(x: int, multiplier: int) -> int:
        return (x ^ x >> 32) * multiplier & M64

    high, low = int.from_bytes(key[:8], "big"), int.from_bytes(key[8:], "big")
    a, b = (timestamp_ms & M64) ^ high, bits ^ low
    a = fold(a, 0x9E3779B97F4A7C15)
    b = b + a & M64
    b = fold(b, 0xBF58476D1CE4E5B9)
    a = a + b + low & M64
    a = fold(a, 0x94D049BB133111EB)
    b = b + a & M64
    b = fold(b, 0xD6E8FEB86659FD93)
    a = a + b & M64
    a = fold(a, 0xA0761D6478BD642F)
    a ^= a >> 32
    b = b + a & M64
    b ^= b >> 32
    return a << 64 | b


def rank(bits: int) -> tuple[int, int]:
    """The order of docs/format/series-key.md."""
    if bits == 0x7FF0000000000002:
        return 0, 0
    if bits & ~(1 << 63) > 0x7FF0000000000000:
        return 1, bits
    return 2, (M64 ^ bits) if bits >> 63 else bits | 1 << 63


def twin(rows: list[Row]) -> dict[Place, Content]:
    """The content of a set of samples, sample by sample."""
    kept: dict[tuple[bytes, int], int] = {}
    for one, timestamp_ms, bits in rows:
        place = series_key(canonical_bytes(one)), timestamp_ms
        kept[place] = max(kept.get(place, bits), bits, key=rank)
    found: dict[Place, Content] = defaultdict(lambda: Content(0, 0))
    for (key, timestamp_ms), bits in kept.items():
        place = timestamp_ms // (2 * HOUR_MS) * 2 * HOUR_MS, key[0] >> 2
        count, total = found[place]
        found[place] = Content(count + 1, (total + hash_of(key, timestamp_ms, bits)) % 2**128)
    return dict(found)


def known_of(disk: MemoryDisk, engine: Engine) -> tuple[dict[Place, Content], set[Place]]:
    blocks = []
    for entry in engine._catalogue.entries:
        table = BlockFile(disk.open(FOLDER / "blocks" / str(entry.name)), str(entry.name)).content()
        name, summary = entry.name, entry.summary
        blocks.append(BlockContent(name.start_ms, name.end_ms, summary.min_ms, summary.max_ms, table))
    return known(blocks)


@pytest.mark.parametrize(("series", "timestamp_ms", "bits", "wanted"), VECTORS)
def test_the_vectors(series: str, timestamp_ms: str, bits: str, wanted: str) -> None:
    canonical = canonical_bytes(labels_from(json.loads(series)))
    keys = Keys.of([canonical])
    found = content.mix(
        keys.high, keys.low, np.array([int(timestamp_ms)]), np.array([int(bits, 16)], np.uint64).view(np.float64)
    )
    assert b"".join(half.astype(">u8").tobytes() for half in found).hex() == wanted
    assert f"{hash_of(series_key(canonical), int(timestamp_ms), int(bits, 16)):032x}" == wanted


def test_the_sum_of_the_vectors() -> None:
    assert len(VECTORS) >= 6
    assert SUM_OF_ALL is not None
    assert f"{sum(int(one[3], 16) for one in VECTORS) % 2**128:032x}" == SUM_OF_ALL[1]


def test_every_bit_that_goes_in_flips_every_bit_that_comes_out_half_of_the_time() -> None:
    """Method: 2,048 ordinary samples, each of the 256 bits of key, time and value flipped in turn; a share further from
    a half than 0.06 would be 5.4 standard deviations."""
    count = 2_048
    random = np.random.default_rng(5)
    words = [
        random.integers(0, 2**64, count, dtype=np.uint64),
        random.integers(0, 2**64, count, dtype=np.uint64),
        (NOW_MS + 10_000 * np.arange(count)).astype(np.uint64),
        np.round(random.normal(20, 5, count), 1).view(np.uint64),
    ]

    def mixed() -> np.ndarray:
        high, low, timestamp_ms, value = words
        return np.stack(content.mix(high, low, timestamp_ms.view(np.int64), value.view(np.float64)))

    before = mixed()
    for word in range(4):
        for bit in range(64):
            words[word] = words[word] ^ np.uint64(1 << bit)
            flipped = np.unpackbits((mixed() ^ before).view(np.uint8), axis=1).reshape(2, count, 64).mean(axis=1)
            assert abs(flipped - 0.5).max() < 0.06, (word, bit)
            words[word] = words[word] ^ np.uint64(1 << bit)


SERIES = [labels(name="a"), labels(name="b", host="1"), labels(name="c.d9"), labels(name="up")]
samples = st.tuples(
    st.sampled_from(SERIES),
    st.integers(0, 40).map(lambda step: NOW_MS + step * 1_200_011) | st.integers(NOW_MS, NOW_MS + 200 * HOUR_MS),
    st.sampled_from([bits_of(1.0), bits_of(-0.0), 0, 0x7FF0000000000002, 0x7FF8000000000001])
    | st.integers(0, 2**64 - 1),
)


@given(st.lists(st.lists(samples, min_size=1, max_size=12), min_size=1, max_size=6), st.data())
def test_batches_flushes_and_joins_change_nothing(batches: list[list[Row]], data: st.DataObject) -> None:
    disk = MemoryDisk()
    # Later, all of the samples are old, and a flush writes windows of up to 128 h.
    clock = DrivenClock(NOW_MS + data.draw(st.sampled_from([0, 400 * HOUR_MS])))
    engine = open_engine(disk, clock=clock)
    for rows in batches:
        append(engine, rows)
        match data.draw(st.sampled_from(["go on", "flush", "join"])):
            case "flush":
                engine.flush()
            case "join":
                clock.time_ms += data.draw(st.integers(0, 100 * HOUR_MS))
                engine.compact()
    engine.flush()
    wanted = twin([row for rows in batches for row in rows])
    found, unsure = known_of(disk, engine)
    assert found.keys() | unsure == wanted.keys()
    assert found == {place: one for place, one in wanted.items() if place not in unsure}
    clock.time_ms += 1_000 * HOUR_MS
    engine.compact()
    assert known_of(disk, engine) == (wanted, set())


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(1, 7), st.integers(0, 2**32))
def test_chunks_and_pieces_change_nothing(lengths: list[int], chunk: int, seed: int) -> None:
    """Rows cut anywhere, and sums that carry from the lower to the upper half."""
    random = np.random.default_rng(seed)
    lengths = [length + 1 for length in lengths]
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    canonical = [canonical_bytes(labels(name=f"s{number}")) for number in range(len(lengths))]
    timestamp_ms = NOW_MS + np.sort(random.integers(0, 8 * HOUR_MS, int(offsets[-1])))
    value = random.integers(0, 2**64, int(offsets[-1]), dtype=np.uint64).view(np.float64)
    wanted: dict[Place, Content] = defaultdict(lambda: Content(0, 0))
    for row, one in enumerate(canonical):
        for at in range(int(offsets[row]), int(offsets[row + 1])):
            key = series_key(one)
            place = int(timestamp_ms[at]) // WINDOW_MS * WINDOW_MS, key[0] >> 2
            total = wanted[place].hash + hash_of(key, int(timestamp_ms[at]), int(value.view(np.uint64)[at]))
            wanted[place] = Content(wanted[place].sample_count + 1, total % 2**128)
    found = ContentSum(NOW_MS, 8 * HOUR_MS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "_CHUNK_SAMPLE_COUNT", chunk)
        middle = len(lengths) // 2
        for rows in (slice(0, middle), slice(middle, len(lengths))):
            here = offsets[rows.start : rows.stop + 1]
            found.add(
                Keys.of(canonical[rows]),
                here - here[0],
                timestamp_ms[here[0] : here[-1]],
                value[here[0] : here[-1]],
            )
    assert by_place(found.table()) == wanted


def test_what_the_lower_halves_overflow_goes_to_the_upper(monkeypatch: pytest.MonkeyPatch) -> None:
    """2^64 - 1 and 1 carry through both words of 32 bits, which ordinary samples do once in billions."""
    low = np.array([2**64 - 1, 1], np.uint64)
    monkeypatch.setattr(content, "mix", lambda *_: (np.zeros(2, np.uint64), low))
    held = ContentSum(NOW_MS, WINDOW_MS)
    held.add(Keys.of([b"a\xffb\xff"]), np.array([0, 2]), np.array([NOW_MS, NOW_MS + 1]), np.zeros(2))
    assert list(by_place(held.table()).values()) == [Content(2, 1 << 64)]


def test_samples_that_swap_their_series_their_times_or_their_values_are_told_apart() -> None:
    a, b = SERIES[:2]
    later = NOW_MS + 1
    sums = [
        sum(one.hash for one in twin(rows).values()) % 2**128
        for rows in (
            [(a, NOW_MS, 1), (b, NOW_MS, 2), (a, later, 3)],
            [(a, NOW_MS, 2), (b, NOW_MS, 1), (a, later, 3)],
            [(a, NOW_MS, 3), (b, NOW_MS, 2), (a, later, 1)],
            [(a, NOW_MS, 1), (b, NOW_MS, 2), (b, later, 3)],
        )
    ]
    assert len(set(sums)) == 4


def table_of(rows: list[Row], name: BlockName) -> BlockContent:
    """A block of some rows of one series."""
    times = np.array([timestamp_ms for _, timestamp_ms, _ in rows])
    held = ContentSum(name.start_ms, name.window_ms)
    value = np.array([bits for _, _, bits in rows], np.uint64).view(np.float64)
    held.add(Keys.of([canonical_bytes(rows[0][0])]), np.array([0, times.size]), times, value)
    return BlockContent(name.start_ms, name.end_ms, int(times.min()), int(times.max()), held.table())


def test_a_sum_over_blocks_is_given_only_where_it_is_right() -> None:
    name = BlockName(NOW_MS, WINDOW_MS, 1)
    early, late = [(SERIES[0], NOW_MS + at, at) for at in (1, 5)], [(SERIES[0], NOW_MS + at, at) for at in (6, 9)]
    between = [(SERIES[0], NOW_MS + at, at) for at in (2, 3)]
    other = [(SERIES[1], NOW_MS + at, at) for at in (2, 9)]
    assert known([table_of(early, name), table_of(late, name)]) == (twin(early + late), set())
    assert known([table_of(early, name), table_of(other, name)]) == (twin(early + other), set())
    (place,) = twin(early)
    assert known([table_of(early, name), table_of(between, name)]) == ({}, {place})
    without = table_of(late, name)._replace(table=None)
    found, unsure = known([table_of(early, name), without])
    assert found == {}
    assert unsure == {(NOW_MS, partition) for partition in range(64)}

"""The format pages say what the code does: test vectors, sizes, names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import FOLDER, NOW_MS, append, bits_of, everything, labels, open_engine
from tsdb.sample import CANONICAL_BYTES_MAX, labels_of, series_key
from tsdb.store import frame
from tsdb.store.block import layout, tile

FORMAT = Path(__file__).resolve().parents[3] / "docs" / "format"
VECTORS = re.findall(
    r"^\| `(.+)` \| `([0-9a-f]+)` \| `([0-9a-f]{32})` \| (\d+) \|$",
    (FORMAT / "series-key.md").read_text(),
    re.MULTILINE,
)


@pytest.mark.parametrize(("series", "canonical", "key", "partition"), VECTORS)
def test_the_vectors_of_the_key(series: str, canonical: str, key: str, partition: str) -> None:
    found = dict(labels_of(bytes.fromhex(canonical)))
    name = found.pop("__name__")
    shown = ",".join(f'{label}="{value}"' for label, value in found.items())
    assert name + (f"{{{shown}}}" if shown else "") == series
    assert series_key(bytes.fromhex(canonical)).hex() == key
    assert bytes.fromhex(key)[0] >> 2 == int(partition)


def test_there_are_vectors() -> None:
    assert len(VECTORS) >= 4


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ("series-key.md", f"= {CANONICAL_BYTES_MAX:,} B"),
        ("wal.md", f"Segment header, {frame.SEGMENT_HEADER_BYTES} B"),
        ("wal.md", f"Header, {frame.FRAME_HEADER_BYTES} B"),
        ("wal.md", f"more than {frame.FRAME_SAMPLE_COUNT_MAX:,} samples"),
        ("wal.md", f"A length above {frame.PAYLOAD_BYTES_MAX >> 20} MiB"),
        ("block.md", f"## Header, {layout.HEADER_BYTES} B"),
        ("block.md", f"Trailer, {layout.TRAILER.size} B"),
        ("block.md", f"an entry of {layout.TILE_DTYPE.itemsize} B for each tile"),
        ("block.md", f"entry of {layout.DIRECTORY_ENTRY.size} B in the directory"),
        ("block.md", f"An entry of {layout.CONTENT_DTYPE.itemsize} B for each (window of 2 h, partition)"),
        ("content-hash.md", f"{64 * layout.PARTITION_COUNT:,} entries of {layout.CONTENT_DTYPE.itemsize} B"),
        ("content-hash.md", f"t div {layout.WINDOW_MS:,}"),
        ("block.md", f"cut into tiles of {tile.SAMPLE_COUNT_MIN:,} to {tile.SAMPLE_COUNT_MAX:,} samples"),
    ],
)
def test_sizes_and_limits_are_those_of_the_code(page: str, sentence: str) -> None:
    assert sentence in (FORMAT / page).read_text()


def test_a_reader_that_ignores_checksums_would_invent_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The damage tests rest on the checksums: without them a flipped bit becomes a sample that nobody sent."""

    class Anything(int):
        __hash__ = int.__hash__

        def __eq__(self, other: object) -> bool:
            return True

    disk = MemoryDisk()
    row = (labels(name="a"), NOW_MS, bits_of(1.0))
    append(open_engine(disk), [row])
    disk = disk.reboot()
    (segment,) = disk.paths(FOLDER / "wal")
    disk.damage(segment, disk.size_bytes(segment) - 1)
    monkeypatch.setattr("tsdb.store.frame._crc_of", lambda data: Anything())
    found = everything(open_engine(disk))
    assert len(found) == 1
    assert found != [row]

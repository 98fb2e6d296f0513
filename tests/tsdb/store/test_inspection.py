"""What `henge db inspect` tells of each kind of file, whole and damaged, and that it is bounded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import FOLDER, NOW_MS, append, bits_of, labels, open_engine
from tests.tsdb.store.test_content import twin
from tests.tsdb.store.test_damage import damaged_log, flip
from tests.tsdb.store.test_old_formats import BLOCK_NAME, bytes_of, disk_with, samples
from tests.tsdb.store.test_verify import rows, store
from tsdb.errors import CorruptData
from tsdb.sample import Matcher, MatchOp
from tsdb.store.inspection import describe_file, describe_folder


def test_a_block_is_told() -> None:
    path = FOLDER / "blocks" / BLOCK_NAME
    told = describe_file(path, 3, disk_with(path, bytes_of("block-1.txt")))
    json.dumps(told)
    assert (told["kind"], told["version"], told["samples"], told["series"]) == ("block", 1, 167, 5)
    assert (told["window_ms"], told["window_h"]) == (NOW_MS, 2)
    assert [one["name"] for one in told["sections"]][-2:] == ["text", "content"]
    assert told["tiles"]["count"] == 7
    assert len(told["tiles"]["list"]) == 3
    values = told["tiles"]["values"]
    assert {codec: one["tiles"] for codec, one in values.items()} == {"raw": 2, "constant": 1, "decimal": 4}
    assert values["constant"] == {"tiles": 1, "samples": 30, "bytes": 8, "bytes_per_sample": 0.267}
    assert told["partition_count"] == len(told["partitions"]) + 2 == 5
    assert told["rows"][0]["labels"]["__name__"] == "constant"
    assert told["content"]["count"] == 5
    assert "damage" not in told


def test_a_damaged_block_is_told_as_far_as_it_goes() -> None:
    disk, path = store()
    whole = describe_file(path, 10, disk)
    disk.damage(path, whole["sections"][2]["offset"])
    told = describe_file(path, 10, disk)
    assert "the checksum of section 3" in told["damage"][0]
    assert told["tiles"] == whole["tiles"]
    assert "rows" not in told
    disk.damage(path, 0)
    assert "magic" in describe_file(path, 10, disk)["damage"][0]


def test_a_segment_is_told() -> None:
    path = FOLDER / "wal" / "0000000001.wal"
    told = describe_file(path, 2, damaged_log(flip(1, -5)))
    json.dumps(told)
    assert (told["kind"], told["version"], told["samples"], told["series_defined"]) == ("segment", 2, 120, 5)
    assert told["epoch"] > 0
    assert told["frames"]["count"] == 4
    assert told["frames"]["damaged"] == 1
    assert [one.get("damage") for one in told["frames"]["list"]] == [None, "checksum of the samples"]
    assert told["series"] == [{"__name__": "old"}, {"__name__": "new0"}]
    assert len(told["damage"]) == 1


def test_a_tombstone_is_told() -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, rows())
    engine.delete([Matcher("__name__", MatchOp.EQUAL, "a")], NOW_MS, NOW_MS + 5)
    (path,) = disk.paths(FOLDER / "tombstones")
    told = describe_file(path, 10, disk)
    assert json.loads(json.dumps(told))["deletes"]["selector"] == [["__name__", "=", "a"]]
    assert told["deletes"]["end_ms"] == NOW_MS + 5
    content = describe_folder(FOLDER, 10, disk)["content"]
    assert (content["count"], content["unsure"]) == (0, 2), "deleted samples still count"
    disk.damage(path, 30)
    assert "checksum" in describe_file(path, 10, disk)["damage"][0]


def test_a_folder_is_told_with_what_its_blocks_hold_together() -> None:
    disk = disk_with(FOLDER / "blocks" / BLOCK_NAME, bytes_of("block-1.txt"))
    disk.create(FOLDER / "blocks" / BLOCK_NAME.replace("1.", "2.")).append([b"noise"])
    told = describe_folder(FOLDER, 10, disk)
    json.dumps(told)
    assert told["blocks"]["count"] == 2
    assert "too few" in told["blocks"]["list"][1]["damage"]
    wanted = {place: f"{one.hash:032x}" for place, one in twin(samples()).items()}
    assert {(one["window_ms"], one["partition"]): one["hash"] for one in told["content"]["list"]} == wanted
    assert told["content"]["unsure"] == 0
    assert len(describe_folder(FOLDER, 1, disk)["content"]["list"]) == 1


def test_another_file_is_refused() -> None:
    with pytest.raises(
        CorruptData, match=r"is no block, no segment of the log and no tombstone: it begins with b'noise'"
    ):
        describe_file(Path("/x"), 10, disk_with(Path("/x"), b"noise"))


def test_a_block_that_was_replaced_is_marked_and_not_counted() -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    for at in range(3):
        append(engine, [(labels(name="a"), NOW_MS + at, bits_of(1.0))])
        engine.flush()
    engine.compact()
    assert len(disk.names(FOLDER / "blocks")) == 4, "those of before stay for readers"
    told = describe_folder(FOLDER, 10, disk)
    blocks = told["blocks"]
    assert (blocks["count"], blocks["samples"], blocks["replaced"], blocks["damaged"]) == (1, 3, 3, 0)
    assert [one.get("replaced", False) for one in blocks["list"]] == [True, True, True, False]
    disk.damage(FOLDER / "blocks" / blocks["list"][-1]["name"], 0)
    blocks = describe_folder(FOLDER, 10, disk)["blocks"]
    assert (blocks["count"], blocks["damaged"], blocks["replaced"]) == (4, 1, 0), (
        "nothing says any more what it replaced"
    )

"""Snapshots of a running store and putting them back: what is in them, crashes, damage, other file systems."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
from pathlib import Path

import google_crc32c
import pytest

from tests.sim.crashes import seeds_at
from tests.sim.disk import DiskCrash, MemoryDisk
from tests.tsdb.store.stores import (
    HOUR_MS,
    NOW_MS,
    DrivenClock,
    Row,
    append,
    bits_of,
    everything,
    labels,
    open_engine,
)
from tsdb.errors import CorruptData, NotReady
from tsdb.sample import Matcher, MatchOp
from tsdb.store import snapshot
from tsdb.store.engine import Engine
from tsdb.store.snapshot import Occupied, check, restore

SNAPSHOTS = Path("/snapshots")
ELSEWHERE = Path("/elsewhere")
A, B = labels(name="a"), labels(name="b", host="1")


def batch(number: int) -> list[Row]:
    """Samples of two windows, NaN payloads among them; no two batches have one in common."""
    return [
        (
            one,
            NOW_MS + (number * 97 + at * 7_001_003) % (4 * HOUR_MS),
            bits_of(number + at / 100) if at else 0x7FF0000000000002,
        )
        for at in range(6)
        for one in (A, B)
    ]


def restored(disk: MemoryDisk, source: Path) -> list[Row]:
    restore(disk, source, ELSEWHERE, is_forced=True, now_ms=NOW_MS)
    engine = open_engine(disk, ELSEWHERE / "samples")
    rows = everything(engine)
    engine.close()
    return rows


def test_a_snapshot_holds_what_was_acknowledged_before_and_nothing_of_what_was_deleted() -> None:
    disk, clock = MemoryDisk(), DrivenClock()
    engine = open_engine(disk, clock=clock)
    append(engine, batch(0))
    engine.flush()
    append(engine, batch(1))
    engine.delete([Matcher("__name__", MatchOp.EQUAL, "b")], 0, 2**62)
    append(engine, batch(2))
    wanted = everything(engine)
    taken = engine.backup()
    append(engine, batch(3))
    engine.compact()  # The blocks of the snapshot are replaced and removed; their links stay.
    clock.time_ms += 31_000
    engine.tick(NOW_MS)
    assert taken.parent == SNAPSHOTS
    assert restored(disk.reboot(), taken) == wanted


def test_the_manifest_is_as_the_page_says() -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, batch(0))
    taken = engine.backup()
    line, crc, end = disk.map(taken / "MANIFEST.json").tobytes().split(b"\n")
    assert (int(crc, 16), end) == (google_crc32c.value(line), b"")
    manifest = json.loads(line)
    files = manifest.pop("files")
    assert manifest == {
        "format": "henge-snapshot",
        "version": 1,
        "created_ms": NOW_MS,
        "sample_count": 12,
        "block_count": 2,
    }
    for file in files:
        data = disk.map(taken / file["path"]).tobytes()
        assert (file["size_bytes"], file["crc32c"]) == (len(data), google_crc32c.value(data))


def test_the_head_is_left_out_when_asked() -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, batch(0))
    engine.flush()
    append(engine, batch(1))
    assert restored(disk, engine.backup(skips_head=True)) == sorted(batch(0))
    assert engine.stats()["head_samples"] == len(batch(1))


def test_a_snapshot_into_a_folder_of_ones_own_choice_leaves_nothing_beside() -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, batch(0))
    assert engine.backup(Path("/backup/today")) == Path("/backup/today")
    assert disk.folders(SNAPSHOTS) == []
    assert restored(disk, Path("/backup/today")) == sorted(batch(0))
    with pytest.raises(Occupied, match="there already"):
        engine.backup(Path("/backup/today"))
    assert disk.folders(SNAPSHOTS) == []


class OtherFileSystem(MemoryDisk):
    """/backup is another one: nothing is renamed or linked there from here."""

    def rename(self, path: Path, new_path: Path) -> None:
        if (path.parts[1] == "backup") != (new_path.parts[1] == "backup"):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        super().rename(path, new_path)


def test_on_another_file_system_the_bytes_are_copied() -> None:
    disk = OtherFileSystem()
    engine = open_engine(disk)
    append(engine, batch(0))
    engine.backup(Path("/backup/today"))
    assert disk.folders(SNAPSHOTS) == []
    assert disk.folders(Path("/backup")) == ["today"]
    assert restored(disk, Path("/backup/today")) == sorted(batch(0))


def test_without_hard_links_the_bytes_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(disk: MemoryDisk, path: Path, new_path: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(MemoryDisk, "link", fail)
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, batch(0))
    assert restored(disk, engine.backup()) == sorted(batch(0))


def test_a_snapshot_that_cannot_be_written_is_refused_and_nothing_of_it_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, batch(0))

    def fail(*_: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("tsdb.store.snapshot._moved", fail)
        with pytest.raises(NotReady, match="could not be written: Permission denied"):
            engine.backup()
    assert disk.folders(SNAPSHOTS) == []
    engine.close()
    with pytest.raises(NotReady, match="closed"):
        engine.backup()


# Crashes


def life(engine: Engine, taken: list[tuple[Path, list[Row]]], acknowledged: list[Row], target: Path | None) -> None:
    for number in range(2):
        append(engine, batch(number))
        acknowledged += batch(number)
    engine.flush()
    append(engine, batch(2))
    acknowledged += batch(2)
    taken.append((engine.backup(target), sorted(acknowledged)))
    append(engine, batch(3))
    acknowledged += batch(3)
    engine.close()


def what_goes_wrong(kind: type[MemoryDisk], target: Path | None, seeds: tuple[int | None, ...] = (None, 1)) -> str:
    """The machine stops at operation 0, 1, 2 … in turn; empty if a snapshot is always whole or not there."""
    for crash_at in itertools.count():
        disk = kind(crash_at=crash_at)
        taken: list[tuple[Path, list[Row]]] = []
        acknowledged: list[Row] = []
        with contextlib.suppress(DiskCrash):
            life(open_engine(disk), taken, acknowledged, target)
        for seed in seeds_at(crash_at, seeds):
            after = disk.reboot(seed)
            where = f"{crash_at=}, {seed=}, {disk.operations[-3:]=}"
            parent = SNAPSHOTS if target is None else target.parent
            named = [parent / name for name in after.folders(parent) if not name.endswith(".tmp")]
            if [path for path, _ in taken] != named and (taken or len(named) > 1):
                return f"lost, {where}"
            for path in named:
                try:
                    rows = restored(after, path)
                except (CorruptData, NotReady, FileNotFoundError) as error:
                    return f"not whole: {error}, {where}"
                if rows != sorted(row for number in range(3) for row in batch(number)):
                    return f"other samples, {where}"
            engine = open_engine(after)
            assert set(acknowledged) <= set(everything(engine)), where
            if seed is not None:
                continue
            again = engine.backup(Path("/again/whole"))
            assert after.folders(SNAPSHOTS) == ([path.name for path in named] if target is None else []), where
            assert restored(after, again) == everything(engine), where
        if not disk.crashed:
            return ""
    raise AssertionError


@pytest.mark.parametrize("target", [None, Path("/backup/today")])
def test_a_snapshot_is_whole_or_not_there_after_a_crash_at_every_disk_operation(target: Path | None) -> None:
    assert what_goes_wrong(MemoryDisk, target) == ""


def test_a_copied_snapshot_is_whole_or_not_there_after_a_crash_at_every_disk_operation() -> None:
    assert what_goes_wrong(OtherFileSystem, Path("/backup/today")) == ""


def test_the_crash_test_notices_a_manifest_that_is_not_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(disk: MemoryDisk, path: Path, pieces: list[bytes], breathe: object) -> None:
        disk.create(path).append(pieces)

    monkeypatch.setattr("tsdb.store.snapshot._write", write)
    assert "not whole" in what_goes_wrong(MemoryDisk, None, (None,))


def test_the_crash_test_notices_a_name_that_is_not_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    def moved(disk: MemoryDisk, staging: Path, target: Path, *_: object) -> Path:
        disk.rename(staging, target)
        return target

    monkeypatch.setattr("tsdb.store.snapshot._moved", moved)
    assert "lost" in what_goes_wrong(MemoryDisk, None, (None,))


# Restoring


def snapshot_of(disk: MemoryDisk) -> Path:
    engine = open_engine(disk)
    append(engine, batch(0))
    taken = engine.backup()
    engine.close()
    return taken


def test_samples_that_are_there_are_not_overwritten_unless_forced_and_then_kept_aside() -> None:
    disk = MemoryDisk()
    taken = snapshot_of(disk)
    there = open_engine(disk, ELSEWHERE / "samples")
    with pytest.raises(NotReady, match="in use"):
        restore(disk, taken, ELSEWHERE, is_forced=True, now_ms=NOW_MS)
    append(there, batch(1))
    there.close()
    with pytest.raises(Occupied, match="--force"):
        restore(disk, taken, ELSEWHERE, is_forced=False, now_ms=NOW_MS)
    restore(disk, taken, ELSEWHERE, is_forced=True, now_ms=NOW_MS)
    assert everything(open_engine(disk, ELSEWHERE / "samples")) == sorted(batch(0))
    (aside,) = [name for name in disk.folders(ELSEWHERE) if name != "samples"]
    assert aside.startswith("samples.before-2023")
    assert everything(open_engine(disk, ELSEWHERE / aside)) == sorted(batch(1))


def test_a_store_without_samples_is_replaced() -> None:
    disk = MemoryDisk()
    taken = snapshot_of(disk)
    open_engine(disk, ELSEWHERE / "samples").close()
    restore(disk, taken, ELSEWHERE, is_forced=False, now_ms=NOW_MS)
    assert disk.folders(ELSEWHERE) == ["samples"]


def test_a_crash_while_restoring_leaves_the_old_or_the_new_and_again_brings_it_to_an_end() -> None:
    for crash_at in itertools.count():
        before = MemoryDisk()
        taken = snapshot_of(before)
        old = open_engine(before, ELSEWHERE / "samples")
        append(old, batch(1))
        old.close()
        disk = before.reboot()
        disk.crash_at = crash_at
        with contextlib.suppress(DiskCrash):
            restore(disk, taken, ELSEWHERE, is_forced=True, now_ms=NOW_MS)
        for seed in (None, 1, 2):
            after = disk.reboot(seed)
            if "samples" in after.folders(ELSEWHERE):
                engine = open_engine(after, ELSEWHERE / "samples")
                assert everything(engine) in (sorted(batch(0)), sorted(batch(1))), f"{crash_at=}, {seed=}"
                engine.close()
            restore(after, taken, ELSEWHERE, is_forced=True, now_ms=NOW_MS + 5_000)
            assert everything(open_engine(after, ELSEWHERE / "samples")) == sorted(batch(0)), f"{crash_at=}, {seed=}"
        if not disk.crashed:
            break


def test_every_damaged_file_of_a_snapshot_is_found_before_anything_is_changed() -> None:
    before = MemoryDisk()
    taken = snapshot_of(before)
    for path in [taken / "MANIFEST.json", *before.paths(taken / "samples/blocks")]:
        disk = before.reboot()
        disk.damage(path, disk.size_bytes(path) // 2)
        with pytest.raises(CorruptData, match="checksum"):
            restore(disk, taken, ELSEWHERE, is_forced=False, now_ms=NOW_MS)
        assert disk.folders(ELSEWHERE) == []
        disk = before.reboot()
        disk.remove(path)
        with pytest.raises((CorruptData, NotReady), match=r"is missing|is no snapshot"):
            check(disk, taken)


WRONG_MANIFESTS = {  # name: (what is changed, the error, its words)
    "a later version": ({"version": 2}, NotReady, "version 2; this program reads version 1"),
    "no files": ({"files": None}, CorruptData, "files"),
    "a file outside": (
        {"files": [{"path": "../../etc/passwd", "size_bytes": 0, "crc32c": 0}]},
        CorruptData,
        "no file of",
    ),
    "a file of another kind": (
        {"files": [{"path": "samples/blocks/../x.block", "size_bytes": 0, "crc32c": 0}]},
        CorruptData,
        "no file of",
    ),
}


@pytest.mark.parametrize(("change", "kind", "words"), WRONG_MANIFESTS.values(), ids=WRONG_MANIFESTS.keys())
def test_a_manifest_that_cannot_be_right_is_refused(change: dict[str, object], kind: type, words: str) -> None:
    disk = MemoryDisk()
    taken = snapshot_of(disk)
    path = taken / "MANIFEST.json"
    line = json.dumps(json.loads(disk.map(path).tobytes().split(b"\n")[0]) | change).encode()

    def rewrite(content: bytearray) -> None:
        content[:] = line + f"\n{google_crc32c.value(line):08x}\n".encode()

    disk.damage(path, 0, rewrite)
    with pytest.raises(kind, match=words):
        check(disk, taken)


def test_a_real_folder_is_linked_and_put_back(tmp_path: Path) -> None:
    engine = open_engine(None, tmp_path / "samples")
    append(engine, batch(0))
    taken = engine.backup()
    (first, *_) = sorted((taken / "samples/blocks").iterdir())
    assert first.stat().st_nlink == 2
    engine.close()
    (tmp_path / "other").mkdir()
    restore(engine._disk, taken, tmp_path / "other", is_forced=False, now_ms=NOW_MS)
    engine = open_engine(None, tmp_path / "other" / "samples")
    assert everything(engine) == sorted(batch(0))
    engine.close()
    assert snapshot.check(engine._disk, taken).size_bytes > 0

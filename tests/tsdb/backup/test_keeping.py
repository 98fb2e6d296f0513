"""Scheduled backups on a real folder: made, read back, replaced, and what stays when one fails."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from appliance.backups import BackupConfig
from tests.tsdb.store.stores import DrivenClock
from tsdb.backup import archive, keeping
from tsdb.backup.keeping import RECORD_NAME, ScheduledBackups, read_record
from tsdb.errors import NotReady

PASSPHRASE = "a stone circle at dawn"


@pytest.fixture(autouse=True)
def _quick_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is made with less work: half a second for each file is not what is tested here."""
    monkeypatch.setattr("appliance.sealed_file.SCRYPT_N", 2**10)


class Rig:
    """A data folder with a state file, a folder for backups, and a store that gives snapshots."""

    def __init__(self, folder: Path, keep_count: int = 2) -> None:
        self.data_dir, self.target = folder / "data", folder / "target"
        (self.data_dir / "snapshots").mkdir(parents=True)
        self.target.mkdir()
        with contextlib.closing(sqlite3.connect(self.data_dir / "state.db")) as connection:
            connection.execute("CREATE TABLE kept (x)")
        self.passphrase_file = folder / "passphrase"
        self.passphrase_file.write_text(PASSPHRASE + "\n")
        self.passphrase_file.chmod(0o600)
        self.settings = BackupConfig(
            dir=self.target, interval_ms=86_400_000, keep_count=keep_count, passphrase_file=self.passphrase_file
        )
        self.clock = DrivenClock()
        self.is_store_away = False
        self.backups = self.started()

    def started(self) -> ScheduledBackups:
        return ScheduledBackups(self.data_dir, self.settings, self.snapshot, clock=self.clock, version="0.0")

    def snapshot(self, path: Path) -> Path:
        if self.is_store_away:
            raise NotReady("the store is starting")
        path.mkdir()
        (path / "MANIFEST.json").write_text("{}")
        return path

    @property
    def numbers(self) -> list[str]:
        return sorted(path.name.split("-")[2] for path in self.target.iterdir())


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_backups_are_whole_and_the_oldest_goes(rig: Rig) -> None:
    for _ in range(4):
        assert rig.backups.make()
    assert rig.numbers == ["000003", "000004"]
    newest = Path(str(rig.backups.record.file))
    assert archive.read_contents(newest, PASSPHRASE).henge == "0.0"
    assert newest.stat().st_mode & 0o077 == 0
    assert list((rig.data_dir / "snapshots").iterdir()) == []
    assert read_record(rig.data_dir) == rig.backups.record


def test_it_goes_on_after_a_restart_and_after_the_record_is_lost(rig: Rig) -> None:
    rig.backups.make()
    again = rig.started()
    assert again.make()
    assert rig.numbers == ["000001", "000002"]
    (rig.data_dir / RECORD_NAME).write_text("torn")
    other = rig.started()
    assert other.make()  # With a name of its own: it cannot tell the old ones from those of another appliance.
    assert rig.numbers == ["000001", "000001", "000002"]


def test_two_appliances_in_one_folder_leave_each_other_alone(rig: Rig, tmp_path: Path) -> None:
    second = Rig(tmp_path / "second", keep_count=1)
    second.settings = BackupConfig(
        dir=rig.target, interval_ms=86_400_000, keep_count=1, passphrase_file=second.passphrase_file
    )
    other = second.started()
    for _ in range(3):
        assert rig.backups.make()
        assert other.make()
    assert rig.numbers == ["000002", "000003", "000003"]


def fails(rig: Rig, why: str) -> None:
    """A backup fails for this reason, and everything that was there stays."""
    before = set(rig.target.iterdir()) if rig.target.exists() else set()
    assert not rig.backups.make()
    assert why in str(rig.backups.record.error)
    assert rig.backups.record.failures_count == 1
    after = set(rig.target.iterdir()) if rig.target.exists() else set()
    assert after == before
    assert list((rig.data_dir / "snapshots").iterdir()) == []


def test_a_missing_folder_is_not_made(rig: Rig) -> None:
    rig.target.rmdir()
    fails(rig, "is its disk mounted")
    rig.target.mkdir()
    assert rig.backups.make()
    assert rig.backups.record.failures_count == 0
    assert rig.backups.record.error is None


def test_a_passphrase_that_others_can_read_is_refused(rig: Rig) -> None:
    rig.passphrase_file.chmod(0o640)
    fails(rig, "chmod 600")


def test_a_short_passphrase_is_refused(rig: Rig) -> None:
    rig.passphrase_file.write_text("short\n")
    fails(rig, "take 12 or more")


def test_a_store_that_is_away_costs_no_old_backup(rig: Rig) -> None:
    rig.backups.make()
    rig.backups.make()
    rig.is_store_away = True
    fails(rig, "the store is starting")


def test_a_disk_without_room_is_not_filled(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.backups.make()
    monkeypatch.setattr(keeping, "SPARE_BYTES", 2**60)
    fails(rig, "are free at")


def test_what_cannot_be_read_back_is_removed_and_the_older_stay(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.backups.make()
    write = archive.write

    def damaged(data_dir: Path, snapshot: Path, target: Path, passphrase: str, contents: archive.Contents) -> int:
        size_bytes = write(data_dir, snapshot, target, passphrase, contents)
        content = bytearray(target.read_bytes())
        content[len(content) // 2] ^= 1
        target.write_bytes(content)
        return size_bytes

    monkeypatch.setattr(archive, "write", damaged)
    fails(rig, "damaged")
    assert rig.numbers == ["000001"]


def test_what_an_interruption_left_is_taken_away(rig: Rig) -> None:
    rig.backups.make()
    (newest,) = rig.target.iterdir()
    left = newest.with_name(newest.name.replace("000001", "000002") + ".unfinished")
    left.write_text("half")
    foreign = rig.target / "somebody-else.backup.unfinished"
    foreign.write_text("theirs")
    (rig.data_dir / "snapshots" / keeping.SNAPSHOT_NAME).mkdir()
    rig.started().tidy()
    assert set(rig.target.iterdir()) == {newest, foreign}
    assert list((rig.data_dir / "snapshots").iterdir()) == []

"""Damage, backups and migrations: what happens to the file before its writer may have it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlite_utils
from sqlite_utils.migrations import Migrations

from appliance.errors import CannotStart
from appliance.state import PutDocument, migrations, safekeeping
from tests.appliance.state.conftest import START_MS, StateFile

DAY_MS = 86_400_000
PAGE_BYTES = 4096


def filled(state: StateFile, count: int = 200) -> None:
    state.writer.apply([PutDocument("check", f"{index:03}", {"text": "x" * 300}) for index in range(count)], "s")


def close_without_log(state: StateFile) -> None:
    """Move everything into the file itself: what the log still holds makes up for damage of the file."""
    state.read.close()
    state.writer.close()
    assert not Path(f"{state.path}-wal").exists()


def cut_in_half(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size // 2)


def overwrite(offset: int, content: bytes) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with path.open("r+b") as stream:
            stream.seek(offset)
            stream.write(content)

    return damage


DAMAGE: dict[str, Callable[[Path], None]] = {
    "cut in half": cut_in_half,
    "another kind of file": lambda path: path.write_bytes(b"These are not the bytes you look for. " * 1000) and None,
    "a torn header": overwrite(0, b"\0" * 100),
    "noise in the schema": overwrite(100, b"\xff" * 3000),
    "noise in a table": overwrite(20 * PAGE_BYTES, os.urandom(PAGE_BYTES)),
    "zeros from the second page on": overwrite(PAGE_BYTES, b"\0" * 30 * PAGE_BYTES),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
@pytest.mark.parametrize("has_backup", [True, False])
def test_a_damaged_file_is_set_aside_and_the_newest_backup_put_in_its_place(
    state: StateFile, damage: Callable[[Path], None], has_backup: bool, caplog: pytest.LogCaptureFixture
) -> None:
    filled(state)
    if has_backup:
        safekeeping.back_up(state.path, START_MS, "daily")
    state.writer.apply([PutDocument("check", "later", {})], "s")
    assert state.read.count("check") == 201
    close_without_log(state)
    damage(state.path)
    damaged = state.path.read_bytes()
    state.open()
    aside = state.path.with_name("state.db.damaged-20231114T221320Z")
    assert aside.read_bytes() == damaged
    assert state.read.count("check") == (200 if has_backup else 0)
    assert state.writer.apply([PutDocument("check", "new", {})], "s") == (2 if has_backup else 1)
    want = "the state was restored from the backup" if has_backup else "there is no whole backup in"
    assert f"it was set aside as {aside.name}" in caplog.text
    assert want in caplog.text


def test_a_damaged_backup_is_passed_over(state: StateFile, caplog: pytest.LogCaptureFixture) -> None:
    for day in range(2):
        filled(state, 100 * (day + 1))
        newest = safekeeping.back_up(state.path, START_MS + day * DAY_MS, "daily")
    close_without_log(state)
    cut_in_half(newest)
    cut_in_half(state.path)
    state.open()
    assert state.read.count("check") == 100
    assert f"the backup {newest} is damaged as well" in caplog.text


def test_a_restore_that_was_interrupted_is_done_by_the_next_start(
    state: StateFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: a crash in the middle never ends in an empty state beside a good backup. Method: fail each rename."""
    filled(state)
    safekeeping.back_up(state.path, START_MS, "daily")
    close_without_log(state)
    cut_in_half(state.path)

    def crash(partial: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(safekeeping, "_rename_durably", crash)
        with pytest.raises(KeyboardInterrupt):
            state.open()
    state.open()
    assert state.read.count("check") == 200


def test_the_log_of_a_damaged_file_is_set_aside_with_it(state: StateFile) -> None:
    filled(state)
    safekeeping.back_up(state.path, START_MS, "daily")
    state.writer.compact()
    state.writer.apply([PutDocument("check", "in the log", {})], "s")
    copies = {suffix: Path(f"{state.path}{suffix}").read_bytes() for suffix in ("", "-wal")}
    state.close()
    for suffix, content in copies.items():  # As after a kill: the log was not moved into the file.
        Path(f"{state.path}{suffix}").write_bytes(content)
    overwrite(10 * PAGE_BYTES, b"\xff" * 10 * PAGE_BYTES)(state.path)
    state.open()
    assert state.read.count("check") == 200
    assert {path.name for path in state.path.parent.glob("state.db.damaged-*")} >= {
        "state.db.damaged-20231114T221320Z",
        "state.db.damaged-20231114T221320Z-wal",
    }


def test_a_whole_file_is_left_alone(state: StateFile, caplog: pytest.LogCaptureFixture) -> None:
    filled(state)
    caplog.clear()
    state.reopen()
    assert state.read.count("check") == 200
    assert caplog.text == ""
    assert sorted(path.name for path in state.path.parent.iterdir()) == [
        "audit.head",
        "state.db",
        "state.db-shm",
        "state.db-wal",
    ]


def test_the_file_and_its_backups_are_for_their_owner_alone(state: StateFile) -> None:
    backup = safekeeping.back_up(state.path, START_MS, "daily")
    for path in (state.path, Path(f"{state.path}-wal"), backup):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(backup.parent.stat().st_mode) == 0o700


def test_a_commit_is_on_disk_before_it_is_acknowledged(state: StateFile) -> None:
    assert state.writer._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert state.writer._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_a_backup_is_made_once_a_day_and_a_week_of_them_is_kept(state: StateFile) -> None:
    names = []
    for hour in range(0, 10 * 24, 6):
        state.clock.at_ms = START_MS + hour * 3_600_000
        state.writer.upkeep()
        for backup in safekeeping.backups(state.path):
            if backup.name not in names:
                names.append(backup.name)
                os.utime(backup, (state.clock.at_ms / 1000, state.clock.at_ms / 1000))
    assert names == [f"state-202311{day}T221320Z-daily.db" for day in range(14, 24)]
    assert [path.name for path in safekeeping.backups(state.path)] == names[-safekeeping.BACKUP_COUNT_MAX :]


def test_a_backup_has_what_was_committed_and_needs_no_file_beside_it(state: StateFile) -> None:
    filled(state)
    backup = safekeeping.back_up(state.path, START_MS, "daily")
    state.writer.apply([PutDocument("check", "later", {})], "s")
    with contextlib.closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("SELECT count(*) FROM documents").fetchone() == (200,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert sorted(path.name for path in backup.parent.iterdir()) == [backup.name]


@pytest.fixture
def next_version(monkeypatch: pytest.MonkeyPatch) -> Migrations:
    """The steps of a later version: ours, and one more."""
    later = Migrations("henge")
    for step in migrations.migrations.pending(sqlite_utils.Database(memory=True)):
        later(name=step.name)(step.fn)
    monkeypatch.setattr(migrations, "migrations", later)
    return later


def test_a_migration_is_recorded_and_the_file_backed_up_before_it(
    state: StateFile, next_version: Migrations, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    filled(state)

    @next_version()
    def documents_have_a_colour(db: sqlite_utils.Database) -> None:
        db.table("documents").add_column("colour", str)

    state.reopen()
    assert state.read.count("check") == 200
    assert ("colour",) in state.writer._connection.execute("SELECT name FROM pragma_table_info('documents')").fetchall()
    (backup,) = safekeeping.backups(state.path)
    assert backup.name == "state-20231114T221320Z-before-documents_have_a_colour.db"
    with contextlib.closing(sqlite3.connect(backup)) as connection:
        columns = connection.execute("SELECT name FROM pragma_table_info('documents')").fetchall()
    assert ("colour",) not in columns
    state.reopen()
    assert len(safekeeping.backups(state.path)) == 1, "it ran twice"
    assert "running documents_have_a_colour" in caplog.text


def test_a_migration_that_fails_changes_nothing_and_says_so(state: StateFile, next_version: Migrations) -> None:
    filled(state)

    @next_version()
    def breaks(db: sqlite_utils.Database) -> None:
        db.execute("DELETE FROM documents")
        db.execute("SELECT * FROM absent")

    state.writer.close()
    with pytest.raises(CannotStart, match="no such table: absent"):
        state.open()
    assert state.read.count("check") == 200


def test_a_file_of_a_newer_version_is_refused(state: StateFile, next_version: Migrations) -> None:
    with pytest.MonkeyPatch.context() as patch:
        next_version(name="from_the_future")(lambda db: None)
        patch.setattr(migrations, "migrations", next_version)
        state.reopen()
    next_version._migrations.pop()
    state.writer.close()
    with pytest.raises(CannotStart, match=r"was written by a newer Henge \(it has had the step 'from_the_future'\)"):
        state.open()


def test_a_file_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(CannotStart, match="is an SQLite file of another program; move it away"):
        StateFile(path)
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    with pytest.raises(CannotStart, match=r"cannot be opened for writing: .* choose another folder with --data DIR"):
        StateFile(tmp_path / "state.db")

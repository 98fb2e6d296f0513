"""Opening the state file for its one writer: checked, restored from a backup if it is damaged, migrated, backed up."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from appliance.errors import CannotStart
from appliance.state import migrations

log = logging.getLogger(__name__)

APPLICATION_ID = 0x48454E47  # "HENG": tells our file from any other SQLite file.
BACKUP_COUNT_MAX = 7  # A week of daily ones.
BACKUP_EVERY_MS = 24 * 3_600_000
_DAMAGE_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is broken, and not the disk full, the folder locked or the statement wrong."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE_CODES


def open_for_writing(path: Path, now_ms: int) -> sqlite3.Connection:
    """The connection of the one writer, to a file that is whole and has the present tables.

    Raises: CannotStart, with the way out.
    """
    try:
        if path.exists():
            _replace_if_damaged(path, now_ms)
        return _opened(path, now_ms)
    except (OSError, sqlite3.Error) as error:
        raise CannotStart(
            f"the state file {path} cannot be opened for writing: {error}; see that its folder can be written and its "
            f"disk has space, or choose another folder with --data DIR"
        ) from error


def _opened(path: Path, now_ms: int) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, timeout=5.0)
    try:
        path.chmod(0o600)  # It holds password hashes and sealed secrets.
        _set_up(connection, path, now_ms)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, path: Path, now_ms: int) -> None:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (table_count,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if table_count and application_id != APPLICATION_ID:
        raise CannotStart(f"{path} is an SQLite file of another program; move it away, or choose another --data DIR")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # A commit that was acknowledged survives a power cut.
    if application_id != APPLICATION_ID:  # Setting it again would write: on a full disk nothing could start.
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA journal_size_limit = {64 * 2**20}")
    pending = migrations.pending_names(connection)
    if pending and table_count:
        back_up(path, now_ms, f"before-{pending[0]}")
    if pending:
        log.info("the state file %s: running %s", path, ", ".join(pending))
        migrations.apply_all(connection)
    connection.isolation_level = None  # From here on the writer begins and commits by itself.


def _replace_if_damaged(path: Path, now_ms: int) -> None:
    """Set a damaged file aside, and put the newest whole backup in its place, if there is one."""
    damage = found_damage(path)
    if damage is None:
        return
    aside = path.with_name(f"{path.name}.damaged-{_stamp(now_ms)}")
    aside.unlink(missing_ok=True)
    # The damaged file keeps its place until another one takes it: whenever this is interrupted, the next start
    # finds the damage again.
    aside.hardlink_to(path)
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    log.error("the state file %s is damaged (%s); it was set aside as %s", path, damage, aside.name)
    backup = _newest_whole_backup(path)
    if backup is None:
        path.unlink()
        log.error("there is no whole backup in %s: the state starts empty", _backup_folder(path))
        return
    _copy_atomically(backup, path)
    log.error("the state was restored from the backup %s: changes made after it are lost", backup)


def _newest_whole_backup(path: Path) -> Path | None:
    for backup in reversed(backups(path)):
        damage = found_damage(backup)
        if damage is None:
            return backup
        log.error("the backup %s is damaged as well (%s)", backup, damage)
    return None


def found_damage(path: Path, *, is_at_rest: bool = False) -> str | None:
    """What quick_check finds wrong with a file, or None. Raises: sqlite3.Error, if it cannot be read at all.

    is_at_rest: nobody has it open, and there is no log beside it; then no file is made beside it either.
    """
    # Read-only, because the last close of a writable one moves the log into the file: into a damaged one, for good.
    mode = "mode=ro&immutable=1" if is_at_rest else "mode=ro"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=5.0)
    try:
        rows = connection.execute("PRAGMA quick_check(3)").fetchall()
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return str(error)
        raise
    finally:
        connection.close()
    return None if rows == [("ok",)] else "; ".join(row[0] for row in rows)


def _backup_folder(path: Path) -> Path:
    return path.parent / "backups"


def backups(path: Path) -> list[Path]:
    """The backups of a state file, oldest first: their names start with their time."""
    return sorted(_backup_folder(path).glob(f"{path.stem}-*.db"))


def back_up(path: Path, now_ms: int, reason: str) -> Path:
    """Copy the committed state to backups/, while it may be written, and drop the oldest copies.

    Raises: OSError, sqlite3.Error.
    """
    folder = _backup_folder(path)
    folder.mkdir(mode=0o700, exist_ok=True)
    backup = folder / f"{path.stem}-{_stamp(now_ms)}-{reason}.db"
    partial = backup.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with contextlib.closing(sqlite3.connect(path)) as source, contextlib.closing(sqlite3.connect(partial)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")  # One file, without a log beside it.
    _rename_durably(partial, backup)
    log.info("the state was backed up to %s", backup)
    for old in backups(path)[:-BACKUP_COUNT_MAX]:
        old.unlink(missing_ok=True)
    return backup


def backup_is_due(path: Path, now_ms: int) -> bool:
    """Whether the newest backup is a day old, or lies in the future, as after a clock that was set back."""
    existing = backups(path)
    if not existing:
        return True
    age_ms = now_ms - existing[-1].stat().st_mtime_ns // 1_000_000
    return not 0 <= age_ms < BACKUP_EVERY_MS


def _copy_atomically(source: Path, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    partial.write_bytes(source.read_bytes())
    partial.chmod(0o600)
    _rename_durably(partial, target)


def _rename_durably(partial: Path, target: Path) -> None:
    with partial.open("rb") as stream:
        os.fsync(stream.fileno())
    partial.rename(target)
    folder_fd = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder_fd)
    finally:
        os.close(folder_fd)


def _stamp(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")

"""Scheduled backups: one is written, read back, and takes the place of the oldest; the record of it is kept.

Nothing that is there goes before the new one has been read to its end.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec

from appliance.backups import BackupConfig
from appliance.clock import Clock
from appliance.folders import sync_folder
from appliance.sealed_file import PASSPHRASE_CHARACTERS_MIN, SealedFileError
from tsdb.backup import archive
from tsdb.backup.archive import BackupError
from tsdb.backup.schedule import Record, leftovers, name_of, next_number, superfluous
from tsdb.errors import TsdbError

log = logging.getLogger(__name__)

RECORD_NAME = "backups.json"
SNAPSHOT_NAME = "for-scheduled-backup"  # Below snapshots/; whatever has this name is left over.
PASSPHRASE_BYTES_MAX = 64 * 1024
SPARE_BYTES = 64 * 2**20  # Beside what the backup itself takes: tags, headers, the copy of the state file.

TakeSnapshot = Callable[[Path], Path]
"""Makes a snapshot of all samples in a folder that is not there yet; raises TsdbError."""


def read_record(data_dir: Path) -> Record | None:
    """None where there is none, or none that can be read: a new one begins then."""
    try:
        return msgspec.json.decode((data_dir / RECORD_NAME).read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError):
        return None


def write_record(data_dir: Path, record: Record) -> None:
    """Raises: OSError."""
    beside = data_dir / f"{RECORD_NAME}.new"
    with os.fdopen(os.open(beside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as stream:
        stream.write(msgspec.json.encode(record))
        stream.flush()
        os.fsync(stream.fileno())
    beside.rename(data_dir / RECORD_NAME)
    sync_folder(data_dir)


def new_record() -> Record:
    return Record(appliance=secrets.token_hex(4))


def read_passphrase(path: Path | None) -> str:
    """Raises: BackupError, also where others may read it: the backup would be as open as that file."""
    if path is None:
        raise BackupError("backup.passphrase_file is not set; name a file whose first line is the passphrase")
    try:
        with path.open("rb") as stream:
            found = os.fstat(stream.fileno())
            if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or found.st_uid not in (0, os.geteuid()):
                way_out = f"chmod 600 {path}, as its owner"
                raise BackupError(f"the passphrase in {path} can be read or changed by others; {way_out}")
            text = stream.read(PASSPHRASE_BYTES_MAX).decode().partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise BackupError(f"the passphrase cannot be read from {path}: {error}") from error
    if len(text) < PASSPHRASE_CHARACTERS_MIN:
        raise BackupError(
            f"the passphrase in {path} has {len(text)} characters; take {PASSPHRASE_CHARACTERS_MIN} or more"
        )
    return text


class ScheduledBackups:
    """What is made by itself. One at a time: whoever owns this calls it from one thread."""

    def __init__(
        self, data_dir: Path, settings: BackupConfig, take_snapshot: TakeSnapshot, *, clock: Clock, version: str
    ) -> None:
        self._data_dir = data_dir
        self._settings = settings
        self._take_snapshot = take_snapshot
        self._clock = clock
        self._version = version
        self.record = read_record(data_dir) or new_record()

    def tidy(self) -> None:
        """Take away what an interruption has left, in the data folder and where the backups are."""
        self._drop_snapshot()
        folder = self._settings.dir
        if folder is not None and folder.is_dir():
            for name in leftovers(_names(folder), self.record.appliance):
                log.info("%s was left by an interrupted backup; it is removed", folder / name)
                (folder / name).unlink(missing_ok=True)

    def make(self) -> bool:
        """One backup, from the snapshot to the removal of the oldest. Returns whether it is there and whole.

        A failure is in the record, and in the log. Raises: OSError, if the record itself cannot be written.
        """
        began_ms, began_s = self._clock.now_ms(), self._clock.monotonic_s()
        try:
            target = self._write(began_ms)
            size_bytes = target.stat().st_size
        except (BackupError, SealedFileError, TsdbError, OSError) as error:
            text = str(error) or type(error).__name__
            failures_count = self.record.failures_count + 1
            self._remember(tried_ms=began_ms, failures_count=failures_count, error=text)
            log.error("the scheduled backup failed, %d in a row: %s", failures_count, text)
            return False
        took_ms = int((self._clock.monotonic_s() - began_s) * 1_000)
        self._remember(
            tried_ms=began_ms,
            succeeded_ms=began_ms,
            file=str(target),
            size_bytes=size_bytes,
            took_ms=took_ms,
            failures_count=0,
            error=None,
        )
        log.info("the backup %s is written and read back, %d bytes", target, size_bytes)
        self._drop_old(target.parent)
        return True

    def _write(self, now_ms: int) -> Path:
        """Raises: BackupError, SealedFileError, TsdbError, OSError."""
        folder = self._settings.dir
        assert folder is not None, "BUG: backups are off"
        if not folder.is_dir():
            raise BackupError(f"the folder {folder} is not there; is its disk mounted? It is not made, for that reason")
        passphrase = read_passphrase(self._settings.passphrase_file)
        self.tidy()
        self.record = msgspec.structs.replace(self.record, number=next_number(self.record, _names(folder)))
        self._remember(tried_ms=now_ms)
        target = folder / name_of(self.record, now_ms)
        snapshot = self._take_snapshot(self._snapshot_path)
        try:
            _see_that_it_fits(self._data_dir, snapshot, folder)
            contents = archive.Contents(henge=self._version, created_ms=now_ms)
            archive.write(self._data_dir, snapshot, target, passphrase, contents)
        finally:
            self._drop_snapshot()
        self._read_back(target, passphrase, contents)
        return target

    def _read_back(self, target: Path, passphrase: str, contents: archive.Contents) -> None:
        """Raises: BackupError, SealedFileError; the file is gone then, for it is worth nothing."""
        try:
            if archive.read_contents(target, passphrase) != contents:
                raise BackupError(f"{target} is not what was written there a moment ago")
        except (BackupError, SealedFileError):
            target.unlink(missing_ok=True)
            raise

    @property
    def _snapshot_path(self) -> Path:
        return self._data_dir / "snapshots" / SNAPSHOT_NAME

    def _drop_snapshot(self) -> None:
        for path in (self._snapshot_path, self._snapshot_path.with_name(SNAPSHOT_NAME + ".tmp")):
            shutil.rmtree(path, ignore_errors=True)

    def _drop_old(self, folder: Path) -> None:
        with contextlib.suppress(OSError):  # The next one tries again; meanwhile there is one too many.
            for name in superfluous(_names(folder), self.record.appliance, self._settings.keep_count):
                (folder / name).unlink(missing_ok=True)
                log.info("the backup %s is removed: %d newer ones are kept", folder / name, self._settings.keep_count)

    def _remember(self, **changes: object) -> None:
        self.record = msgspec.structs.replace(self.record, **changes)
        write_record(self._data_dir, self.record)


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _see_that_it_fits(data_dir: Path, snapshot: Path, folder: Path) -> None:
    """Said before a byte is written: a disk that is filled to its end troubles whoever else writes there.

    Raises: BackupError, OSError.
    """
    state_bytes = (data_dir / archive.STATE).stat().st_size
    needed_bytes = sum(path.stat().st_size for path in snapshot.rglob("*") if path.is_file()) + 2 * state_bytes
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes + SPARE_BYTES:
        raise BackupError(
            f"the backup takes some {needed_bytes + SPARE_BYTES:,} bytes, {free_bytes:,} are free at {folder}; "
            "make room there, or lower backup.keep_count"
        )

"""What a backup holds and how it is put back. Layout: docs/format/backup.md.

A backup is a tar in a sealed file. It is made beside its name and renamed when it is whole; it is put back into a
folder beside the data folder, checked there to the last byte, and takes the data folder's place by a rename. Whatever
interrupts either leaves what was there before.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from appliance.errors import CannotStart
from appliance.folders import exchange, sync_folder
from appliance.lock import LOCK_NAME
from appliance.sealed_file import SealedReader, SealedWriter
from appliance.secrets import KEY_FILE_NAME
from tsdb.store.disk import OsDisk
from tsdb.store.snapshot import Manifest
from tsdb.store.snapshot import restore as restore_samples

VERSION = 1
CONTENTS = "backup.json"  # The first entry.
SNAPSHOT = "snapshot"
STATE = "state.db"
# Small files of the data folder that belong to it; those that are not there are left out.
FILES = (KEY_FILE_NAME, "henge.toml")
FOLDERS = ("carbon",)
TEMPORARY_SUFFIX = ".unfinished"
RESTORING_SUFFIX = ".restoring"
CONTENTS_BYTES_MAX = 64 * 1024
COPY_BYTES = 2**20
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL)


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup says of itself."""

    version: int = VERSION
    henge: str
    created_ms: int


class BackupError(CannotStart):
    code = "backup"


def write(data_dir: Path, snapshot: Path, target: Path, passphrase: str, contents: Contents) -> int:
    """Seal the snapshot of samples and the state as it is now into `target`. Returns: its size in bytes.

    Raises: BackupError; nothing is left then.
    """
    beside = target.with_name(target.name + TEMPORARY_SUFFIX)
    try:
        if target.exists():
            raise BackupError(f"{target} is there already; name a file that is not")
        try:
            with _created(beside) as stream:
                sealed = SealedWriter(stream, passphrase)
                with tarfile.open(fileobj=sealed, mode="w|", bufsize=COPY_BYTES) as tar:
                    _add_all(tar, data_dir, snapshot, contents, beside)
                sealed.finish()
            os.link(beside, target)  # Unlike a rename, it overwrites nothing.
        finally:
            beside.unlink(missing_ok=True)
        sync_folder(target.parent)
        return target.stat().st_size
    except OSError as error:
        raise BackupError(f"the backup {target} cannot be written: {error.strerror}") from error


def _add_all(tar: tarfile.TarFile, data_dir: Path, snapshot: Path, contents: Contents, beside: Path) -> None:
    encoded = msgspec.json.encode(contents)
    entry = tarfile.TarInfo(CONTENTS)
    entry.size, entry.mode, entry.mtime = len(encoded), 0o600, contents.created_ms // 1_000
    tar.addfile(entry, io.BytesIO(encoded))
    state = beside.with_name(beside.name + ".state")
    try:
        _copy_state(data_dir / STATE, state)
        tar.add(state, STATE, filter=_own)
    finally:
        state.unlink(missing_ok=True)
    for name in (*FILES, *FOLDERS):
        if (data_dir / name).exists():
            tar.add(data_dir / name, name, filter=_own)
    tar.add(snapshot, SNAPSHOT, filter=_own)


def _own(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Files and folders alone, of nobody, for their owner."""
    if not (entry.isfile() or entry.isdir()):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o700 if entry.isdir() else 0o600
    return entry


def _copy_state(path: Path, target: Path) -> None:
    """The state file as it is after one of its transactions, while its writer goes on."""
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)) as source,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            target.chmod(0o600)
            source.backup(copy)
    except sqlite3.Error as error:
        raise BackupError(f"the state file {path} cannot be read: {error}") from error


def read_contents(path: Path, passphrase: str) -> Contents:
    """Read a backup to its end, and say what it is. Raises: BackupError, SealedFileError."""
    with _opened(path, passphrase) as (contents, tar):
        for entry in _entries(tar):
            _drain(tar, entry)
    return contents


def restore(path: Path, data_dir: Path, passphrase: str, *, is_forced: bool, now_ms: int) -> tuple[Contents, Manifest]:
    """Make a backup the data folder of an appliance that does not run.

    Raises: BackupError, if the folder holds something and it is not forced, or the backup is of a later version;
    SealedFileError; CorruptData, DiskFull. The data folder is as before then.
    """
    restoring = data_dir.with_name(data_dir.name + RESTORING_SUFFIX)
    if any(_names(data_dir)) and not is_forced:
        raise BackupError(f"{data_dir} is not empty; choose another folder with --data DIR, or --force to set it aside")
    try:
        shutil.rmtree(restoring, ignore_errors=True)
        unpacked, made = restoring / "unpacked", restoring / "made"
        made.mkdir(parents=True, mode=0o700)
        with _opened(path, passphrase) as (contents, tar):
            tar.extractall(unpacked, _entries(tar), filter="data")
        manifest = restore_samples(OsDisk(), unpacked / SNAPSHOT, made, is_forced=False, now_ms=now_ms)
        _check_state(unpacked / STATE)
        for name in (STATE, *FILES, *FOLDERS):
            if (unpacked / name).exists():
                (unpacked / name).rename(made / name)
        _take_its_place(made, data_dir, now_ms)
        return contents, manifest
    except OSError as error:
        raise BackupError(f"{path} cannot be put back into {data_dir}: {error.strerror} ({error.filename})") from error
    except tarfile.TarError as error:
        raise BackupError(f"{path} is not a backup of Henge: {error}") from error
    finally:
        shutil.rmtree(restoring, ignore_errors=True)


def _take_its_place(made: Path, data_dir: Path, now_ms: int) -> None:
    os.sync()  # Every byte is on the disk before the folder that it replaces has another name.
    if any(_names(data_dir)):
        moment = datetime.fromtimestamp(now_ms / 1_000, UTC)
        aside = data_dir.with_name(f"{data_dir.name}.before-{moment:%Y%m%dT%H%M%SZ}")
        made.rename(aside)
        try:
            exchange(aside, data_dir)
        except OSError as error:
            if error.errno not in _NO_EXCHANGE:
                raise
            aside.rename(made)
            data_dir.rename(aside)
            made.rename(data_dir)
    else:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(data_dir)
        made.rename(data_dir)
    sync_folder(data_dir.parent)


def _check_state(path: Path) -> None:
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        verdict = str(error)
    if verdict != "ok":
        raise BackupError(f"the state file in the backup is damaged: {verdict}")


@contextlib.contextmanager
def _opened(path: Path, passphrase: str) -> Iterator[tuple[Contents, tarfile.TarFile]]:
    """The contents' description, and the tar behind it."""
    try:
        with path.open("rb") as stream:
            reader = io.BufferedReader(SealedReader(stream, passphrase), COPY_BYTES)
            with tarfile.open(fileobj=reader, mode="r|", bufsize=COPY_BYTES) as tar:
                yield _contents(tar), tar
            while reader.read(COPY_BYTES):  # What stands behind the tar's end is checked as well.
                pass
    except tarfile.TarError as error:
        raise BackupError(f"{path} is not a backup of Henge: {error}") from error
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror}") from error


def _contents(tar: tarfile.TarFile) -> Contents:
    entry = tar.next()
    stream = tar.extractfile(entry) if entry is not None and entry.name == CONTENTS else None
    if stream is None:
        raise BackupError("this is not a backup of Henge")
    try:
        raw = msgspec.json.decode(stream.read(CONTENTS_BYTES_MAX))
        if raw["version"] > VERSION:
            raise BackupError(
                f"the backup has version {raw['version']}, of Henge {raw['henge']}; this one reads version {VERSION}"
            )
        return msgspec.convert(raw, Contents)
    except (msgspec.MsgspecError, TypeError, KeyError) as error:
        raise BackupError(f"the backup does not say what it is: {error}") from error


def _entries(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Those that were not read yet: a stream has no way back to the first."""
    while (entry := tar.next()) is not None:
        yield entry


def _drain(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
    stream = tar.extractfile(entry) if entry.isfile() else None
    while stream is not None and stream.read(COPY_BYTES):
        pass


@contextlib.contextmanager
def _created(path: Path) -> Iterator[BinaryIO]:
    """A new file for its owner alone, on the disk when it is left."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


def _names(folder: Path) -> Iterator[str]:
    """What lies in a folder, if it is there: the lock file of the command that asks does not count."""
    with contextlib.suppress(FileNotFoundError):
        yield from (path.name for path in folder.iterdir() if path.name != LOCK_NAME)

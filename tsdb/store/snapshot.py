"""Snapshots of the whole store, taken while it runs, and putting one back. Layout and order: docs/format/snapshot.md.

A snapshot counts once its folder has its name; until then, and after a stop in the middle, the name ends in `.tmp`.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import google_crc32c
import msgspec

from tsdb.errors import CorruptData, NotReady, TsdbError
from tsdb.store.block.layout import BlockEntry, BlockName
from tsdb.store.disk import Disk, ReadFile, full_disk_named
from tsdb.store.frame import SEGMENT_HEADER_BYTES
from tsdb.store.tombstones import SUFFIX as TOMBSTONE_SUFFIX
from tsdb.store.tombstones import Tombstone

FORMAT = "henge-snapshot"
VERSION = 1
MANIFEST = "MANIFEST.json"
TEMPORARY_SUFFIX = ".tmp"
SAMPLES = "samples"
BLOCKS, TOMBSTONES = f"{SAMPLES}/blocks", f"{SAMPLES}/tombstones"
_CRC_DIGITS = 8
_PIECE_BYTES = 4 << 20  # Read, checked and copied at once, with a breath after it.

# File systems without hard links, or with too many of one file: its bytes are copied instead.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)

Breathe = Callable[[], None]


class StoredFile(msgspec.Struct, frozen=True):
    path: str
    size_bytes: int
    crc32c: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    format: str = FORMAT
    version: int = VERSION
    created_ms: int
    sample_count: int
    block_count: int
    files: list[StoredFile]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    def encoded(self) -> bytes:
        line = msgspec.json.encode(self)
        return line + f"\n{google_crc32c.value(line):0{_CRC_DIGITS}x}\n".encode()


class Occupied(NotReady):
    """There is something where a snapshot or a store is to be put."""

    code = "occupied"


def new_name(now_ms: int) -> str:
    """Names sort by time; two of one second differ."""
    return f"{datetime.fromtimestamp(now_ms / 1_000, UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def link(
    disk: Disk,
    folder: Path,
    staging: Path,
    entries: Sequence[BlockEntry],
    tombstones: Sequence[Tombstone],
) -> None:
    """Link blocks and tombstones of a store's folder into a new one; no block may go meanwhile.

    Raises: DiskFull, NotReady; nothing is left then, for a link keeps the bytes of a block that is deleted later.
    """
    remove_unfinished(disk, staging.parent)
    try:
        with full_disk_named("a snapshot"):
            _link_all(disk, folder, staging, entries, tombstones)
    except OSError as error:
        disk.remove_folder(staging)
        raise NotReady(f"the snapshot {staging} could not be begun: {error.strerror}") from error
    except TsdbError:
        disk.remove_folder(staging)
        raise


def remove_unfinished(disk: Disk, snapshots: Path) -> None:
    """Remove what a stop in the middle of a snapshot has left, as far as that is allowed."""
    for leftover in disk.folders(snapshots):
        if leftover.endswith(TEMPORARY_SUFFIX):
            with contextlib.suppress(OSError):
                disk.remove_folder(snapshots / leftover)


def _link_all(
    disk: Disk, folder: Path, staging: Path, entries: Sequence[BlockEntry], tombstones: Sequence[Tombstone]
) -> None:
    for made in (staging.parent, staging, staging / SAMPLES, staging / BLOCKS, staging / TOMBSTONES):
        disk.make_folder(made)
    for entry in entries:
        _linked(disk, folder / "blocks" / str(entry.name), staging / BLOCKS / str(entry.name))
    for tombstone in tombstones:
        name = tombstone.file_name
        _linked(disk, folder / "tombstones" / name, staging / TOMBSTONES / name)
    for below in (BLOCKS, TOMBSTONES, SAMPLES):
        disk.sync_folder(staging / below)


def _linked(disk: Disk, path: Path, new_path: Path) -> None:
    try:
        disk.link(path, new_path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _write(disk, new_path, _pieces(disk.open(path)), _no_breath)


def seal(disk: Disk, staging: Path, target: Path, entries: Sequence[BlockEntry], now_ms: int, breathe: Breathe) -> Path:
    """Write the manifest of linked files and give the snapshot its name; durable when it returns.

    Raises: Occupied, DiskFull, NotReady, or what breathe raises.
    """
    try:
        if _is_taken(disk, target):
            raise Occupied(f"{target} is there already; name a folder that is not, or remove it")
        files = []
        for below in (BLOCKS, TOMBSTONES):
            for name in disk.names(staging / below):
                file = disk.open(staging / below / name)
                files.append(StoredFile(f"{below}/{name}", file.size_bytes, _checksum(file, breathe)))
        raw = [entry for entry in entries if entry.name.is_raw]
        manifest = Manifest(
            created_ms=now_ms,
            sample_count=sum(entry.summary.sample_count for entry in raw),
            block_count=len(raw),
            files=files,
        )
        _write(disk, staging / MANIFEST, [manifest.encoded()], breathe)
        disk.sync_folder(staging)
        return _moved(disk, staging, target, manifest, breathe)
    except OSError as error:
        disk.remove_folder(staging)
        raise NotReady(f"the snapshot {target} could not be written: {error.strerror}") from error
    except TsdbError:
        disk.remove_folder(staging)
        raise


def _moved(disk: Disk, staging: Path, target: Path, manifest: Manifest, breathe: Breathe) -> Path:
    try:
        disk.rename(staging, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        disk.sync_folder(target.parent)
        return target
    temporary = target.with_name(target.name + TEMPORARY_SUFFIX)
    disk.remove_folder(temporary)
    copy(disk, staging, temporary, manifest, breathe)
    _write(disk, temporary / MANIFEST, [manifest.encoded()], breathe)
    disk.sync_folder(temporary)
    disk.rename(temporary, target)
    disk.sync_folder(target.parent)
    disk.remove_folder(staging)
    return target


def copy(disk: Disk, source: Path, target: Path, manifest: Manifest, breathe: Breathe) -> None:
    """Copy the files of a manifest into a new folder, durably. Raises: CorruptData, DiskFull."""
    for path in (target, target / SAMPLES, target / BLOCKS, target / TOMBSTONES):
        disk.make_folder(path)
    for stored in manifest.files:
        file = disk.open(source / stored.path)
        _compare(stored, file, breathe)
        _write(disk, target / stored.path, _pieces(file), breathe)
    for below in (BLOCKS, TOMBSTONES):
        disk.sync_folder(target / below)
    disk.sync_folder(target / SAMPLES)


def read_manifest(disk: Disk, snapshot: Path) -> Manifest:
    """Raises: CorruptData; NotReady, for a folder that is no snapshot or one of a later version."""
    try:
        file = disk.open(snapshot / MANIFEST)
        data = file.read(0, file.size_bytes)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotReady(f"{snapshot} holds no {MANIFEST}: it is no snapshot, or one that was never finished") from error
    line, _, rest = data.partition(b"\n")
    if rest.strip() != f"{google_crc32c.value(line):0{_CRC_DIGITS}x}".encode():
        raise CorruptData(f"{snapshot / MANIFEST}: the checksum of the manifest")
    try:
        version = msgspec.json.decode(line)["version"]
        if version != VERSION:
            raise NotReady(f"{snapshot} is a snapshot of version {version}; this program reads version {VERSION}")
        manifest = msgspec.json.decode(line, type=Manifest)
    except (msgspec.MsgspecError, TypeError, KeyError) as error:
        raise CorruptData(f"{snapshot / MANIFEST}: {error}") from error
    for stored in manifest.files:
        if not _is_name(stored.path):
            raise CorruptData(f"{snapshot / MANIFEST}: {stored.path[:120]!r} is no file of a snapshot")
    return manifest


def check(disk: Disk, snapshot: Path) -> Manifest:
    """The manifest of a snapshot all of whose files are as they were written. Raises: CorruptData, NotReady."""
    manifest = read_manifest(disk, snapshot)
    for stored in manifest.files:
        try:
            file = disk.open(snapshot / stored.path)
        except FileNotFoundError as error:
            raise CorruptData(f"{snapshot / stored.path} is missing") from error
        _compare(stored, file, _no_breath)
    return manifest


def restore(disk: Disk, snapshot: Path, data_dir: Path, *, is_forced: bool, now_ms: int) -> Manifest:
    """Make a snapshot the store of a data folder in which no appliance runs.

    Raises: Occupied, if there are samples and it is not forced; CorruptData, DiskFull, NotReady. Nothing is changed
    before every file of the snapshot has been read and found whole.
    """
    folder, restoring = data_dir / SAMPLES, data_dir / f"{SAMPLES}.restoring"
    unlock = disk.lock(folder / "LOCK") if SAMPLES in disk.folders(data_dir) else _no_breath
    try:
        is_occupied = _has_samples(disk, folder)
        if is_occupied and not is_forced:
            raise Occupied(
                f"{folder} holds samples; choose another folder with --data DIR, or --force to set them aside"
            )
        manifest = check(disk, snapshot)
        disk.remove_folder(restoring)
        disk.make_folder(restoring)
        copy(disk, snapshot, restoring, manifest, _no_breath)
        disk.sync_folder(restoring)
        if is_occupied:
            aside = f"{SAMPLES}.before-{datetime.fromtimestamp(now_ms / 1_000, UTC):%Y%m%dT%H%M%SZ}"
            disk.rename(folder, data_dir / aside)
        else:
            disk.remove_folder(folder)
        disk.rename(restoring / SAMPLES, folder)
        disk.sync_folder(data_dir)
        disk.remove_folder(restoring)
    finally:
        unlock()
    return manifest


def _has_samples(disk: Disk, folder: Path) -> bool:
    if any(disk.names(folder / below) for below in ("blocks", "tombstones", "quarantine")):
        return True
    wal = folder / "wal"
    return any(disk.size_bytes(wal / name) > SEGMENT_HEADER_BYTES for name in disk.names(wal))


def _is_taken(disk: Disk, target: Path) -> bool:
    return target.name in disk.folders(target.parent) or target.name in disk.names(target.parent)


def _is_name(path: str) -> bool:
    """Whether a path of a manifest is one that link() makes: a manifest from elsewhere writes nowhere else."""
    below, _, name = path.rpartition("/")
    if below == BLOCKS:
        return BlockName.parse(name) is not None
    return below == TOMBSTONES and name.removesuffix(TOMBSTONE_SUFFIX).isdecimal() and name.endswith(TOMBSTONE_SUFFIX)


def _compare(stored: StoredFile, file: ReadFile, breathe: Breathe) -> None:
    if file.size_bytes != stored.size_bytes:
        raise CorruptData(f"{stored.path} has {file.size_bytes:,} bytes, {stored.size_bytes:,} by the manifest")
    if _checksum(file, breathe) != stored.crc32c:
        raise CorruptData(f"{stored.path}: its checksum is not that of the manifest")


def _pieces(file: ReadFile) -> Iterator[bytes]:
    """Raises: CorruptData."""
    for start in range(0, file.size_bytes, _PIECE_BYTES):
        yield file.read(start, min(_PIECE_BYTES, file.size_bytes - start))


def _checksum(file: ReadFile, breathe: Breathe) -> int:
    crc = 0
    for piece in _pieces(file):
        crc = google_crc32c.extend(crc, piece)
        breathe()
    return crc


def _write(disk: Disk, path: Path, pieces: Iterable[bytes], breathe: Breathe) -> None:
    with full_disk_named(f"{path.name} of a snapshot"):
        file = disk.create(path)
        try:
            for piece in pieces:
                file.append([piece])
                breathe()
            file.sync()
        finally:
            file.close()


def _no_breath() -> None:
    """Outside a store nothing waits."""

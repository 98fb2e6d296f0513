"""The disk that the data folder lies on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.doctor.finding import Finding, advice, fault, ok, size
from appliance.doctor.patient import Patient

FULL_BYTES = 256 * 2**20  # Less than a flush of a full head needs; on a small disk, a fiftieth of it.
TIGHT_BYTES = 2 * 2**30  # Some days of a small team's samples; on a small disk, a tenth of it.
INODES_COUNT_MIN = 10_000  # A year of blocks is some thousand files.
MOUNTS = Path("/proc/self/mountinfo")
IN_MEMORY = ("tmpfs", "ramfs")
OVER_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p")  # mmap and locks are not what they are locally.


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    folder: Path
    free_bytes: int
    total_bytes: int
    free_inodes_count: int
    inodes_count: int  # 0: the file system has no limit of its own.
    is_read_only: bool
    kind: str  # Of the file system; empty where the kernel does not tell.


def examine(patient: Patient) -> Iterator[Finding]:
    return judge(read(patient.config.data_dir))


def read(folder: Path) -> Reading:
    """Of the folder, or of the nearest one above it that exists. Raises: OSError."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    status = os.statvfs(folder)
    mounts = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines() if MOUNTS.exists() else []
    return Reading(
        folder=folder,
        free_bytes=status.f_bavail * status.f_frsize,
        total_bytes=status.f_blocks * status.f_frsize,
        free_inodes_count=status.f_favail,
        inodes_count=status.f_files,
        is_read_only=bool(status.f_flag & os.ST_RDONLY),
        kind=kind_of(mounts, folder.resolve()),
    )


def kind_of(mounts: Sequence[str], folder: Path) -> str:
    """The kind of file system that a folder is on. mounts: the lines of /proc/self/mountinfo, see proc(5)."""
    found, found_depth = "", -1
    for line in mounts:
        before, separator, after = line.partition(" - ")
        if not separator:
            continue
        mount = Path(before.split(" ")[4].replace("\\040", " "))
        # Of two on one folder, the later one hides the other.
        if (mount == folder or mount in folder.parents) and len(mount.parts) >= found_depth:
            found, found_depth = after.split(" ")[0], len(mount.parts)
    return found


def is_full(free_bytes: int, total_bytes: int) -> bool:
    """Whether a disk has too little room for the store to go on."""
    return free_bytes < min(FULL_BYTES, total_bytes // 50)


def judge(reading: Reading) -> Iterator[Finding]:
    where = f"on the disk of {reading.folder}"
    if reading.is_read_only:
        way_out = "mount it for writing (see dmesg for why it is not), or choose another folder with --data DIR"
        yield fault("disk", f"{reading.folder} can only be read", way_out)
    free = f"{size(reading.free_bytes)} of {size(reading.total_bytes)}"
    if is_full(reading.free_bytes, reading.total_bytes):
        yield fault(f"free {where}", free, "free some; until then new samples are refused")
    elif reading.free_bytes < min(TIGHT_BYTES, reading.total_bytes // 10):
        yield advice(f"free {where}", free, "free some, or lower store.disk_bytes_max so that samples make room")
    else:
        yield ok(f"free {where}", free)
    if reading.inodes_count and reading.free_inodes_count < INODES_COUNT_MIN:
        verdict = advice if reading.free_inodes_count else fault
        way_out = "remove small files that nobody needs; no file can be made without an inode"
        yield verdict(f"free inodes {where}", f"{reading.free_inodes_count:,}", way_out)
    if reading.kind in IN_MEMORY:
        way_out = "choose a folder on a disk with --data DIR; a restart of this machine loses this one"
        yield advice("file system", f"{reading.kind}, in memory", way_out)
    elif reading.kind in OVER_NETWORK:
        way_out = "choose a folder on a disk of this machine with --data DIR"
        yield advice("file system", f"{reading.kind}, over the network", way_out)

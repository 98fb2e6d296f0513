"""Who may read and write the data folder and the key of its secrets."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.doctor.finding import Finding, advice, fault, ok
from appliance.doctor.patient import Patient
from appliance.secrets import KEY_BYTES, KEY_FILE_NAME
from appliance.state import state_path

ENTRIES_COUNT_MAX = 20_000  # Looked at: 200 ms; somebody else's file is rarely alone.
OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class Entry:
    path: str
    owner_id: int
    mode: int  # Permissions alone.
    is_link: bool = False
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    our_id: int
    folder: Entry | None  # None: there is none yet.
    may_write: bool = True  # Whether we may, in the folder.
    parent: str = ""  # The nearest folder that exists.
    may_make: bool = True  # Whether we may write there.
    key: Entry | None = None
    state: Entry | None = None
    strangers: tuple[Entry, ...] = ()  # What lies in the folder and is not its owner's.


def examine(patient: Patient) -> Iterator[Finding]:
    return judge(read(patient.config.data_dir))


def read(folder: Path) -> Reading:
    found = _entry(folder)
    if found is None:
        parent = folder
        while not parent.exists() and parent != parent.parent:
            parent = parent.parent
        may_make = os.access(parent, os.W_OK | os.X_OK)
        return Reading(our_id=os.geteuid(), folder=None, parent=str(parent), may_make=may_make)
    return Reading(
        our_id=os.geteuid(),
        folder=found,
        may_write=os.access(folder, os.R_OK | os.W_OK | os.X_OK),
        key=_entry(folder / KEY_FILE_NAME),
        state=_entry(state_path(folder)),
        strangers=tuple(_strangers(folder, found.owner_id)),
    )


def _entry(path: Path) -> Entry | None:
    try:
        status = path.lstat() if path.name == KEY_FILE_NAME else path.stat()
    except OSError:
        return None
    mode, is_link = stat.S_IMODE(status.st_mode), stat.S_ISLNK(status.st_mode)
    return Entry(str(path), status.st_uid, mode, is_link, status.st_size)


def _strangers(folder: Path, owner_id: int) -> Iterator[Entry]:
    seen_count = 0
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            seen_count += 1
            if seen_count > ENTRIES_COUNT_MAX:
                return
            try:
                status = os.lstat(os.path.join(root, name))  # noqa: PTH118 - twice as fast for ten thousand files.
            except OSError:
                continue
            if status.st_uid != owner_id:
                yield Entry(os.path.join(root, name), status.st_uid, stat.S_IMODE(status.st_mode))  # noqa: PTH118


def judge(reading: Reading) -> Iterator[Finding]:
    if reading.folder is None:
        if reading.may_make:
            yield ok("data folder", "not there yet; the first start makes it")
        else:
            way_out = "choose another folder with --data DIR, or have somebody make it for this user"
            yield fault("data folder", f"not there, and {reading.parent} cannot be written", way_out)
        return
    yield _judged_folder(reading.folder, reading.our_id, reading.may_write)
    if reading.strangers:
        first = reading.strangers[0]
        value = f"{len(reading.strangers):,} files of other users, such as {first.path} of user {first.owner_id}"
        way_out = f"stop the appliance, then: sudo chown -R {reading.folder.owner_id} {reading.folder.path}"
        yield fault("owners in the folder", value, way_out)
    if reading.key is not None:
        yield _judged_key(reading.key)
    if reading.state is not None and reading.state.mode & OTHERS:
        way_out = f"chmod 600 {reading.state.path}: it holds password hashes and sealed secrets"
        yield fault("state file", f"mode {reading.state.mode:03o}, others may read it", way_out)


def _judged_folder(folder: Entry, our_id: int, may_write: bool) -> Finding:
    what, value = f"data folder {folder.path}", f"mode {folder.mode:03o}, owner {folder.owner_id}"
    if not may_write:
        way_out = f"call this as its owner: sudo -u '#{folder.owner_id}' henge doctor --data {folder.path}"
        return fault(what, f"{value}, and user {our_id} may not write it", way_out)
    if folder.mode & 0o022:
        return fault(what, f"{value}, others may write it", f"chmod 700 {folder.path}")
    if folder.mode & OTHERS:
        return advice(what, f"{value}, others may look into it", f"chmod 700 {folder.path}")
    return ok(what, value)


def _judged_key(key: Entry) -> Finding:
    what, value = KEY_FILE_NAME, f"mode {key.mode:03o}, {key.size_bytes} bytes"
    if key.is_link:
        return fault(what, "a symbolic link, which is refused", f"put the key itself at {key.path}")
    if key.size_bytes != KEY_BYTES:
        way_out = "bring a copy back, or move it away and enter all secrets again"
        return fault(what, f"{value}, not {KEY_BYTES}", way_out)
    if key.mode & OTHERS:
        return fault(what, f"{value}, others may read it", f"chmod 600 {key.path}, and change the secrets it seals")
    return ok(what, value)

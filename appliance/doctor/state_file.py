"""The state file: whole, and with a backup that is not old."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass

from appliance.doctor.finding import Finding, advice, fault, ok, size
from appliance.doctor.patient import Patient
from appliance.state import state_path
from appliance.state.safekeeping import backups, found_damage

BACKUP_AGE_MS_MAX = 3 * 86_400_000  # One a day is made; three are a long weekend.


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    path: str
    size_bytes: int | None  # None: there is no file yet.
    damage: str | None = None  # As quick_check has it.
    unreadable: str | None = None  # Why it could not be checked.
    aside_names: tuple[str, ...] = ()  # Of damaged files that were set aside before.
    backup_age_ms: int | None = None  # Of the newest one; None: there is none.
    is_running: bool = False


def examine(patient: Patient) -> Iterator[Finding]:
    return judge(read(patient))


def read(patient: Patient) -> Reading:
    path = state_path(patient.config.data_dir)
    if not path.exists():
        return Reading(path=str(path), size_bytes=None)
    damage = unreadable = None
    is_at_rest = patient.pid is None and not path.with_name(f"{path.name}-wal").exists()
    try:
        damage = found_damage(path, is_at_rest=is_at_rest)
    except sqlite3.Error as error:
        unreadable = str(error)
    now_ms = time.time_ns() // 1_000_000
    ages_ms = [now_ms - backup.stat().st_mtime_ns // 1_000_000 for backup in backups(path)[-1:]]
    return Reading(
        path=str(path),
        size_bytes=path.stat().st_size,
        damage=damage,
        unreadable=unreadable,
        aside_names=tuple(
            sorted(found.name for found in path.parent.glob(f"{path.name}.damaged-*Z") if found.is_file())
        ),
        backup_age_ms=ages_ms[0] if ages_ms else None,
        is_running=patient.pid is not None,
    )


def judge(reading: Reading) -> Iterator[Finding]:
    if reading.size_bytes is None:
        yield ok("state file", "not there yet; the first start makes it")
        return
    what = f"state file {reading.path}"
    if reading.damage is not None:
        way_out = "restart the appliance: it sets the file aside and puts the newest whole backup in its place"
        yield fault(what, reading.damage, way_out)
    elif reading.unreadable is not None:
        yield fault(what, reading.unreadable, "call this as the user who owns the folder; see that its disk has room")
    else:
        yield ok(what, f"{size(reading.size_bytes)}, whole")
    if reading.aside_names:
        way_out = "see in the log what was restored; move it away when nothing is missing"
        yield advice("damaged state files set aside", ", ".join(reading.aside_names[-3:]), way_out)
    if reading.backup_age_ms is None:
        if reading.is_running:
            yield ok("backups of it", "none yet")
    elif reading.backup_age_ms > BACKUP_AGE_MS_MAX and reading.is_running:
        value = f"the newest is {reading.backup_age_ms // 86_400_000:,} days old"
        yield advice("backups of it", value, "see the log for why: one is made each day")
    else:
        yield ok("backups of it", f"the newest is {max(0, reading.backup_age_ms) // 3_600_000:,} hours old")

"""The scheduled backups: on, recent, and readable by nobody else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from appliance.doctor.finding import Finding, advice, fault, ok
from appliance.doctor.patient import Patient
from appliance.units import duration_text
from tsdb.backup.archive import BackupError
from tsdb.backup.keeping import read_passphrase, read_record
from tsdb.backup.schedule import Record

LATE_INTERVALS = 2  # One that failed once is tried again; so many intervals without one are a gap.
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    folder: str | None  # None: off.
    interval_ms: int
    is_folder_there: bool = False
    passphrase_error: str | None = None
    record: Record | None = None
    now_ms: int = 0
    is_running: bool = False


def examine(patient: Patient) -> Iterator[Finding]:
    return judge(read(patient))


def read(patient: Patient) -> Reading:
    settings = patient.config.backup
    if settings.dir is None:
        return Reading(folder=None, interval_ms=settings.interval_ms)
    error = None
    try:
        read_passphrase(settings.passphrase_file)
    except BackupError as problem:
        error = str(problem)
    return Reading(
        folder=str(settings.dir),
        interval_ms=settings.interval_ms,
        is_folder_there=settings.dir.is_dir(),
        passphrase_error=error,
        record=read_record(patient.config.data_dir),
        now_ms=time.time_ns() // 1_000_000,
        is_running=patient.pid is not None,
    )


def judge(reading: Reading) -> Iterator[Finding]:
    if reading.folder is None:
        yield ok("scheduled backups", "off; backup.dir and backup.passphrase_file turn them on")
        return
    what = f"scheduled backups to {reading.folder}"
    if not reading.is_folder_there:
        yield fault(what, "the folder is not there", "mount its disk, or make it, or name another in backup.dir")
    if reading.passphrase_error is not None:
        yield fault("passphrase of the backups", reading.passphrase_error, "correct the file, or name another")
    record = reading.record
    if record is not None and record.failures_count:
        value = f"failed {record.failures_count} times in a row: {record.error}"
        yield fault(what, value, "correct what it names; it is tried again within the hour")
    elif record is None or record.succeeded_ms is None:
        if reading.is_running:
            yield advice(what, "none has been made yet", "wait for the first, then see the System page")
    else:
        age_ms = max(0, reading.now_ms - record.succeeded_ms)
        value = f"the newest is {age_ms // HOUR_MS:,} hours old"
        if reading.is_running and age_ms > LATE_INTERVALS * reading.interval_ms:
            yield advice(what, value, f"one is due each {duration_text(reading.interval_ms)}; see the log for why not")
        else:
            yield ok(what, value)

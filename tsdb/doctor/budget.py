"""The disk budget of the samples, beside what is free."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from appliance.doctor.finding import Finding, advice, fault, ok, size
from appliance.doctor.patient import Patient
from tsdb.errors import CorruptData
from tsdb.store.budget import FILE_NAME, decode
from tsdb.store.disk import OsDisk

NEARLY = 0.95


@dataclass(frozen=True, slots=True)
class Reading:
    bytes_max: int | None  # None: the first start sets it.
    used_bytes: int
    free_bytes: int
    damage: str = ""  # Of the file that remembers it.


def examine(patient: Patient) -> Iterator[Finding]:
    yield judge(read(patient))


def read(patient: Patient) -> Reading:
    """Of the running store, which has measured it; else of the folder."""
    disk, folder = OsDisk(), patient.config.data_dir / "samples"
    bytes_max = patient.config.store.disk_bytes_max
    if stats := patient.stats.get("store"):
        return Reading(stats["disk_bytes_max"], stats["disk_bytes"], disk.free_bytes(folder))
    if not folder.is_dir():
        return Reading(bytes_max, 0, 0)
    damage = ""
    if bytes_max is None:
        try:
            with contextlib.suppress(FileNotFoundError):
                bytes_max = decode((folder / FILE_NAME).read_bytes()).disk_bytes_max
        except CorruptData as error:
            damage = str(error)
    return Reading(bytes_max, disk.tree_bytes(folder), disk.free_bytes(folder), damage)


def judge(reading: Reading) -> Finding:
    what = "disk budget of the samples"
    if reading.damage:
        return advice(what, reading.damage, "set store.disk_bytes_max; else the next start sets it by what is free")
    if reading.bytes_max is None:
        return ok(what, "set by the first start: 80 % of what is free then")
    value = f"{size(reading.used_bytes)} of {size(reading.bytes_max)} used"
    room_bytes = reading.bytes_max - reading.used_bytes
    if room_bytes < 0:
        return fault(
            what, value, "raise store.disk_bytes_max or shorten store.retention: samples leave before their time"
        )
    if reading.used_bytes and room_bytes > reading.free_bytes:
        way_out = "lower store.disk_bytes_max or free some: the disk will be full before the budget makes room"
        return advice(what, f"{value}, and only {size(reading.free_bytes)} are free", way_out)
    if reading.used_bytes > NEARLY * reading.bytes_max:
        way_out = "raise store.disk_bytes_max, or shorten store.retention, if raw samples shall not leave for its sake"
        return advice(what, value, way_out)
    return ok(what, value)

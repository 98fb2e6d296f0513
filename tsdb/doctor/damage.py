"""Damaged blocks and frames, as the running store counts them, or as the folder shows without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.doctor.finding import Finding, advice, fault, ok
from appliance.doctor.patient import Patient
from tsdb.store.disk import OsDisk

COUNTED = {  # Numbers of the store.
    "lost_samples": "samples lost",
    "damaged_blocks": "blocks damaged in part",
    "damaged_reads": "reads that met damage",
    "missing_blocks": "blocks that somebody has removed",
    "quarantined_blocks": "blocks in quarantine",
    "quarantined_frames": "frames of the log in quarantine",
    "quarantined_tombstones": "deletes in quarantine, whose samples are visible again",
}
LISTED_COUNT_MAX = 3


@dataclass(frozen=True, slots=True)
class Reading:
    count_by_key: Mapping[str, int]  # Of COUNTED, as the store says; empty: none runs.
    set_aside_names: tuple[str, ...]  # Files in samples/quarantine.


def examine(patient: Patient) -> Iterator[Finding]:
    return judge(read(patient))


def read(patient: Patient) -> Reading:
    stats: Mapping[str, Any] = patient.stats.get("store") or {}
    names = OsDisk().names(patient.config.data_dir / "samples" / "quarantine")
    return Reading({key: int(stats[key]) for key in COUNTED if stats.get(key)}, tuple(names))


def judge(reading: Reading) -> Iterator[Finding]:
    see = "henge db verify says what is damaged; then stop the appliance and call henge db repair"
    for key, count in reading.count_by_key.items():
        yield fault("samples", f"{count:,} {COUNTED[key]}", see)
    if reading.set_aside_names:
        shown = ", ".join(reading.set_aside_names[:LISTED_COUNT_MAX])
        more = ", …" * (len(reading.set_aside_names) > LISTED_COUNT_MAX)
        value = f"{len(reading.set_aside_names):,} damaged files, {shown}{more}"
        way_out = "see henge db repair; move them out of samples/quarantine when nothing in them is missed"
        yield advice("samples set aside", value, way_out)
    elif not reading.count_by_key:
        yield ok("samples", "no damage known; henge db verify reads every byte")

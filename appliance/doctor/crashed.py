"""Crashes that have left a report."""

from __future__ import annotations

import time
from collections.abc import Iterator

from appliance.crashes import FOLDER, Report, reports
from appliance.doctor.finding import Finding, advice, ok
from appliance.doctor.patient import Patient

RECENT_MS = 7 * 86_400_000


def examine(patient: Patient) -> Iterator[Finding]:
    folder = patient.config.data_dir / FOLDER
    yield judge(reports(patient.config.data_dir), str(folder), time.time_ns() // 1_000_000)


def judge(found: list[Report], folder: str, now_ms: int) -> Finding:
    """found: newest first."""
    recent = [report for report in found if report.at_ms > now_ms - RECENT_MS]
    if not recent:
        return ok("crashes in the last 7 days", "none")
    names = ", ".join(f"{report.process} ({report.exit})" for report in recent[:3])
    value = f"{len(recent)}, the latest: {names}"
    way_out = f"read the reports in {folder}; send them by hand to whoever looks after Henge, or remove them"
    return advice("crashes in the last 7 days", value, way_out)

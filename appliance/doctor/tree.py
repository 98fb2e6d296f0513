"""Whether the appliance runs, and whether its processes stay up."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.commands.running_appliance import Row
from appliance.doctor.finding import Finding, advice, fault, ok
from appliance.doctor.patient import Patient


def examine(patient: Patient) -> Iterator[Finding]:
    if patient.pid is None:
        yield ok("appliance", "none runs on this folder")
        return
    if patient.status is None:
        yield fault(
            "appliance", f"process {patient.pid} holds the folder and does not answer", f"end it: kill {patient.pid}"
        )
        return
    for row in patient.status.processes:
        yield judge(row)
    for name, stats in patient.stats.items():
        if stats is None and any(row.name == name and row.state == "up" for row in patient.status.processes):
            yield fault(name, "is up and does not answer", "see the log; henge reload starts it anew")


def judge(row: Row) -> Finding:
    last_words = f", last: {row.last_exit}" * bool(row.last_exit) + f" ({row.last_words})" * bool(row.last_words)
    if row.state != "up":
        return fault(row.name, f"{row.state}{last_words}", "see the log, log/henge.log in the data folder")
    if row.restarts:
        way_out = "see what the log says of it, log/henge.log in the data folder"
        return advice(row.name, f"up, restarted {row.restarts:,} times{last_words}", way_out)
    return ok(row.name, f"up, process {row.pid}")

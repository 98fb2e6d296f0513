"""The `host` probe: disk, memory and load of this machine, and its figures under node_exporter's names."""

from __future__ import annotations

import asyncio

from checks.model import Result, State
from checks.probes import Probe, ProbeContext
from checks.probes.findings import Findings
from checks.probes.host.measures import Measures, look
from checks.probes.host.options import HostOptions

GIB = 2**30


class HostProbe(Probe[HostOptions]):
    kind = "host"
    title = "This machine"
    summary = "Disk, memory, load and network of the machine that runs the appliance"
    options_type = HostOptions

    def target(self, options: HostOptions) -> str:
        return ""

    async def run(self, options: HostOptions, context: ProbeContext) -> Result:
        findings = Findings(context)
        try:
            async with asyncio.timeout(context.timeout_s):
                # A thread, because a network file system whose server is gone holds whoever looks at it.
                measures = await asyncio.to_thread(look, options.mounts, context.clock.now_ms())
        except TimeoutError:
            findings.fault(State.UNKNOWN, f"a file system did not answer within {context.timeout_s:g} s")
            return findings.result()
        return findings.result(_judge(options, measures, findings), metrics=measures.metrics)


def _judge(options: HostOptions, measures: Measures, findings: Findings) -> str:
    """Hold the figures against the options; returns the line that describes them."""
    for text in measures.unreadable:
        findings.fault(State.UNKNOWN, f"cannot look at {text}")
    for system in measures.file_systems:
        findings.measure(
            system.mount,
            round(system.used_percent, 2),
            "%",
            warning=options.disk_warning_percent,
            critical=options.disk_critical_percent,
            maximum=100,
        )
        findings.limit(
            f"{system.mount} ({system.available_bytes / GIB:.1f} GiB free) is full by",
            system.used_percent,
            "%",
            warning=options.disk_warning_percent,
            critical=options.disk_critical_percent,
            digits=1,
        )
    findings.measure(
        "memory",
        round(measures.memory_used_percent, 2),
        "%",
        warning=options.memory_warning_percent,
        critical=options.memory_critical_percent,
        maximum=100,
    )
    findings.limit(
        "memory in use",
        measures.memory_used_percent,
        "%",
        warning=options.memory_warning_percent,
        critical=options.memory_critical_percent,
        digits=1,
    )
    load = measures.load5 / measures.cpu_count
    findings.measure("load5_per_core", round(load, 3), warning=options.load_warning, critical=options.load_critical)
    findings.limit("5-minute load per core", load, "", warning=options.load_warning, critical=options.load_critical)
    fullest = max(measures.file_systems, key=lambda system: system.used_percent, default=None)
    disk = f", fullest disk {fullest.mount} {fullest.used_percent:.0f}%" if fullest else ""
    return f"memory {measures.memory_used_percent:.0f}%, load {measures.load5:.2f} on {measures.cpu_count} cores{disk}"

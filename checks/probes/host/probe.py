"""The `host` probe."""

from __future__ import annotations

from checks.model import Result, State
from checks.probes import Probe, ProbeContext
from checks.probes.host.options import HostOptions


class HostProbe(Probe[HostOptions]):
    kind = "host"
    title = "This machine"
    summary = "Disk, memory, load and network of the machine that runs the appliance"
    options_type = HostOptions

    def target(self, options: HostOptions) -> str:
        return ""

    async def run(self, options: HostOptions, context: ProbeContext) -> Result:
        return Result(state=State.UNKNOWN, output="not built yet", duration_s=0, at_ms=context.clock.now_ms())

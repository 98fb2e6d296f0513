"""The `dns` probe."""

from __future__ import annotations

from checks.model import Result, State
from checks.probes import Probe, ProbeContext
from checks.probes.dns.options import DnsOptions


class DnsProbe(Probe[DnsOptions]):
    kind = "dns"
    title = "DNS"
    summary = "Asks a name server and compares what it answers"
    options_type = DnsOptions

    def target(self, options: DnsOptions) -> str:
        return ""

    async def run(self, options: DnsOptions, context: ProbeContext) -> Result:
        return Result(state=State.UNKNOWN, output="not built yet", duration_s=0, at_ms=context.clock.now_ms())

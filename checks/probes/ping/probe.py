"""The `ping` probe."""

from __future__ import annotations

from checks.model import Result, State
from checks.probes import Probe, ProbeContext
from checks.probes.ping.options import PingOptions


class PingProbe(Probe[PingOptions]):
    kind = "ping"
    title = "Ping"
    summary = "Sends echo requests and measures loss and round-trip time"
    options_type = PingOptions

    def target(self, options: PingOptions) -> str:
        return options.host

    async def run(self, options: PingOptions, context: ProbeContext) -> Result:
        return Result(state=State.UNKNOWN, output="not built yet", duration_s=0, at_ms=context.clock.now_ms())

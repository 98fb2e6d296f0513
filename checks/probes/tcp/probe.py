"""The `tcp` probe."""

from __future__ import annotations

from checks.model import Result, State
from checks.probes import Probe, ProbeContext
from checks.probes.tcp.options import TcpOptions


class TcpProbe(Probe[TcpOptions]):
    kind = "tcp"
    title = "TCP port"
    summary = "Connects to a port, and may say something and wait for an answer"
    options_type = TcpOptions

    def target(self, options: TcpOptions) -> str:
        return options.host

    async def run(self, options: TcpOptions, context: ProbeContext) -> Result:
        return Result(state=State.UNKNOWN, output="not built yet", duration_s=0, at_ms=context.clock.now_ms())

"""The `nagios` probe."""

from __future__ import annotations

from checks.model import Result, State
from checks.probes import Probe, ProbeContext
from checks.probes.nagios.options import NagiosOptions


class NagiosProbe(Probe[NagiosOptions]):
    kind = "nagios"
    title = "Nagios plugin"
    summary = "Runs any check_* program and reads its exit code and performance data"
    options_type = NagiosOptions

    def target(self, options: NagiosOptions) -> str:
        return options.host

    async def run(self, options: NagiosOptions, context: ProbeContext) -> Result:
        return Result(state=State.UNKNOWN, output="not built yet", duration_s=0, at_ms=context.clock.now_ms())

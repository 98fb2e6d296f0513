"""The `push` probe."""

from __future__ import annotations

from checks.model import Result, State
from checks.probes import Probe, ProbeContext
from checks.probes.push.options import PushOptions


class PushProbe(Probe[PushOptions]):
    kind = "push"
    title = "Heartbeat"
    summary = "Waits for your job to call an address, and alarms when it does not"
    options_type = PushOptions

    def target(self, options: PushOptions) -> str:
        return ""

    async def run(self, options: PushOptions, context: ProbeContext) -> Result:
        return Result(state=State.UNKNOWN, output="not built yet", duration_s=0, at_ms=context.clock.now_ms())

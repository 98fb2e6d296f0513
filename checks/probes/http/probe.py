"""The `http` probe."""

from __future__ import annotations

from checks.model import Result, State
from checks.probes import Probe, ProbeContext
from checks.probes.http.options import HttpOptions


class HttpProbe(Probe[HttpOptions]):
    kind = "http"
    title = "HTTP"
    summary = "Asks a web address and looks at the status, the text and the time it took"
    options_type = HttpOptions

    def target(self, options: HttpOptions) -> str:
        return ""

    async def run(self, options: HttpOptions, context: ProbeContext) -> Result:
        return Result(state=State.UNKNOWN, output="not built yet", duration_s=0, at_ms=context.clock.now_ms())

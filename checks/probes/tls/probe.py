"""The `tls` probe."""

from __future__ import annotations

from checks.model import Result, State
from checks.probes import Probe, ProbeContext
from checks.probes.tls.options import TlsOptions


class TlsProbe(Probe[TlsOptions]):
    kind = "tls"
    title = "TLS certificate"
    summary = "Looks at a certificate: days left, who signed it, whom it is for"
    options_type = TlsOptions

    def target(self, options: TlsOptions) -> str:
        return options.host

    async def run(self, options: TlsOptions, context: ProbeContext) -> Result:
        return Result(state=State.UNKNOWN, output="not built yet", duration_s=0, at_ms=context.clock.now_ms())

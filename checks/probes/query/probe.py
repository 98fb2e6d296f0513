"""The `query` probe."""

from __future__ import annotations

from checks.model import Result, State
from checks.probes import Probe, ProbeContext
from checks.probes.query.options import QueryOptions


class QueryProbe(Probe[QueryOptions]):
    kind = "query"
    title = "Metric"
    summary = "Compares the answer of a PromQL expression with limits"
    options_type = QueryOptions

    def target(self, options: QueryOptions) -> str:
        return ""

    async def run(self, options: QueryOptions, context: ProbeContext) -> Result:
        return Result(state=State.UNKNOWN, output="not built yet", duration_s=0, at_ms=context.clock.now_ms())
